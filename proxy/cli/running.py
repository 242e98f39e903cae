"""What all subcommands share: settings made ready, certificates looked at, and the loop that runs the work."""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from proxy.config import Settings
from proxy.config.load import SettingsError, load_settings
from proxy.server.access import read_accounts
from proxy.server.tls import listener_tls
from proxy.upstream.tls import tls_context

Outcome = TypeVar("Outcome")


def settings_for(config: Path | None, options: Mapping[str, str | None]) -> Settings:
    """Gives the settings of the file, the environment and the options; raises SettingsError, also where TLS cannot use its files."""
    settings = load_settings(file=config, environ=os.environ, options=options)
    for upstream in settings.upstream:
        try:
            tls_context(upstream)
        except OSError as error:
            why = "ca_bundle, client_cert or client_key is no PEM file that TLS can use, or the key is another certificate's"
            raise SettingsError(f"upstream {upstream.name}", f"{why} ({reason(error)})") from error
    try:
        listener_tls(settings.server)
    except OSError as error:
        raise SettingsError("[server]", str(error)) from error
    read_accounts(settings.access)
    return settings


def reason(error: OSError) -> str:
    """Gives what the system says of an error, in lower case."""
    # The event loop puts a sentence of its own into strerror; the system's is the shorter one.
    of_the_system = error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError)
    return (os.strerror(error.errno or 0) if of_the_system else error.strerror or str(error)).lower()


def run_loop(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Runs `work` to its end on the fastest loop that this platform has."""
    outcome: Outcome = _runner()(work)
    return outcome


def _runner() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    try:
        import uvloop  # noqa: PLC0415 - not to be had on every platform
    except ImportError:
        return asyncio.run
    return uvloop.run
