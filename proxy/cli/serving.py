"""`mirrormend serve`: from the command line to a server that runs, and back to an exit status."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import click

from proxy.config import Settings
from proxy.config.load import SettingsError, load_settings
from proxy.server import serve
from proxy.telemetry import configure_logging
from proxy.upstream.tls import tls_context


def run_server(config: Path | None, options: Mapping[str, str | None]) -> int:
    """Serves until the process is told to end, and gives the exit status.

    Raises SettingsError or StoreMisconfigured for what the user wrote, click.ClickException where listening is not possible.
    """
    settings = load_settings(file=config, environ=os.environ, options=options)
    _check_certificates(settings)
    configure_logging(settings.log)
    # A warning of a library, written as plain text, would break a stream of JSON lines.
    logging.captureWarnings(True)
    try:
        _loop_runner()(serve(settings))
    except OSError as error:
        raise click.ClickException(_why_not(error, settings.server.listen)) from error
    return 0


def _check_certificates(settings: Settings) -> None:
    for upstream in settings.upstream:
        try:
            tls_context(upstream)
        except OSError as error:
            why = "ca_bundle, client_cert or client_key is no PEM file that TLS can use, or the key is another certificate's"
            raise SettingsError(f"upstream {upstream.name}", f"{why} ({_reason(error)})") from error


def _why_not(error: OSError, listen: str) -> str:
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}:
        return f"cannot listen on {listen} ({_reason(error)}); choose another address with --listen"
    return f"cannot serve ({_reason(error)})"


def _reason(error: OSError) -> str:
    # The event loop puts a sentence of its own into strerror; the system's is the shorter one.
    of_the_system = error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError)
    return (os.strerror(error.errno or 0) if of_the_system else error.strerror or str(error)).lower()


def _loop_runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop  # noqa: PLC0415 - not to be had on every platform
    except ImportError:
        return asyncio.run
    return uvloop.run
