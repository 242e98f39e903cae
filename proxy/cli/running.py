"""What all subcommands share: settings made ready, certificates looked at, and the loop that runs the work."""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog

from proxy.config import LogSection, Settings
from proxy.config.load import SettingsError, load_settings
from proxy.telemetry import configure_logging
from proxy.upstream.route import ProxyVariables, proxies_of_environment
from proxy.upstream.tls import tls_context, unusable_variables

_log = structlog.get_logger("mirrormend.upstream")

_ENTRIES_TOLD, _LONGEST_ENTRY = 8, 80
"""How many entries of NO_PROXY are warned of, and how many characters of each are told."""
_EXEMPTS_NOBODY = "it exempts no host from the outbound proxy"

Outcome = TypeVar("Outcome")


def settings_for(config: Path | None, options: Mapping[str, str | None]) -> Settings:
    """Return the settings of the file, the environment and the options.

    Raises SettingsError, also where TLS cannot use its files.
    """
    settings = load_settings(file=config, environ=os.environ, options=options)
    for upstream in settings.upstream:
        try:
            tls_context(upstream)
        except OSError as error:
            why = "ca_bundle, client_cert or client_key is no PEM file that TLS can use, or the key is another certificate's"
            raise SettingsError(f"upstream {upstream.name}", f"{why} ({reason(error)})") from error
    return settings


def begin_server_log(settings: Settings) -> None:
    """Begin to log as the settings say, and log what the environment says in vain of outbound proxies and authorities.

    Raises SettingsError where the environment names an outbound proxy by what is no address: nothing was dialled yet.
    """
    configure_logging(settings.log)
    for entry in _ignored_exemptions(proxies_of_environment(settings)):
        _log.warning("no-proxy-entry-not-understood", entry=entry, meaning=_EXEMPTS_NOBODY)
    for said in _ignored_authorities(settings):
        _log.warning("authorities-unusable", meaning=said)


def begin_command(settings: Settings, log: LogSection) -> None:
    """Begin to log by `log` for a command that somebody waits for, and say on standard error what the environment says in vain.

    Raises SettingsError as `begin_server_log` does.
    """
    configure_logging(log)
    _warn_of_exemptions(proxies_of_environment(settings))
    for said in _ignored_authorities(settings):
        _warn(said)


def begin_without_settings() -> None:
    """Do what `begin_command` does for a command that asks a running mirrormend, as the environment says."""
    _warn_of_exemptions(ProxyVariables.read())


def _warn_of_exemptions(variables: ProxyVariables | None) -> None:
    for entry in _ignored_exemptions(variables):
        _warn(f"{entry!r} in NO_PROXY is not understood: {_EXEMPTS_NOBODY}")


def _warn(said: str) -> None:
    click.echo(f"mirrormend: warning: {said}", err=True)


def _ignored_exemptions(variables: ProxyVariables | None) -> list[str]:
    """Return the entries of NO_PROXY that are not understood, shortened, and without the credentials that a URL among them may have."""
    entries = () if variables is None else variables.exemptions.not_understood
    return [f"{'…@' * ('@' in entry)}{entry.rpartition('@')[2]}"[:_LONGEST_ENTRY] for entry in entries[:_ENTRIES_TOLD]]


def _ignored_authorities(settings: Settings) -> list[str]:
    """Return what is wrong with the variables that name authorities, if an index is asked over TLS."""
    urls = (*(each.url for each in settings.upstream), settings.reference.url, settings.rescue.url)
    return unusable_variables(os.environ) if any(url is not None and url.startswith("https:") for url in urls) else []


def for_mirror(settings: Settings, name: str | None, **changes: object) -> Settings:
    """Gives the settings with one mirror alone, the one called `name` or the first, with changes of its section; raises SettingsError."""
    chosen = next((each for each in settings.upstream if name in {None, each.name}), None)
    if chosen is None:
        raise SettingsError("--mirror", f"no mirror is called {name!r}; choose one of {', '.join(each.name for each in settings.upstream)}")
    return settings.model_copy(update={"upstream": (chosen.model_copy(update=changes),)})


def quiet_log(settings: Settings, level: object) -> LogSection:
    """Gives how a command logs that people wait for: errors alone, unless a `level` was asked for on the command line."""
    return settings.log if level else settings.log.model_copy(update={"level": "error"})


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
