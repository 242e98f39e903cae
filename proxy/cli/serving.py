"""`mirrormend serve`: from the command line to a server that runs, and back to an exit status."""

import errno
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click

from proxy.cli.running import reason, run_loop, settings_for
from proxy.cli.workers import Workers, held_address
from proxy.config import Settings
from proxy.config.load import SettingsError
from proxy.server import serve
from proxy.server.access import read_accounts
from proxy.server.reload import changeable
from proxy.server.siblings import Siblings
from proxy.server.tls import listener_tls
from proxy.telemetry import configure_logging


def run_server(config: Path | None, options: Mapping[str, str | None]) -> int:
    """Serves until the process is told to end, and gives the exit status.

    Raises SettingsError or StoreMisconfigured for what the user wrote, click.ClickException where listening is not possible.
    """
    settings = settings_to_serve(config, options)
    configure_logging(settings.log)
    # A warning of a library, written as plain text, would break a stream of JSON lines.
    logging.captureWarnings(True)

    def load() -> Settings:
        return settings_to_serve(config, options)

    try:
        if settings.server.workers == 1:
            run_loop(serve(settings, load=load))
            return 0
        return _serve_by_workers(settings, load)
    except OSError as error:
        raise click.ClickException(_why_not(error, settings.server.listen)) from error


def _serve_by_workers(settings: Settings, load: Callable[[], Settings]) -> int:
    if not hasattr(os, "fork") or not hasattr(socket, "SO_REUSEPORT"):
        raise click.ClickException("this system cannot have several workers on one port; leave --workers at 1")
    host, count = settings.server.host, settings.server.workers
    with held_address(host, settings.server.port) as held, tempfile.TemporaryDirectory(prefix="mirrormend-workers-") as folder:
        address = f"[{host}]" if ":" in host else host
        server = settings.server.model_copy(update={"listen": f"{address}:{held.getsockname()[1]}"})
        in_force = settings.model_copy(update={"server": server})

        def work(number: int) -> int:
            run_loop(serve(in_force, load=load, siblings=Siblings(Path(folder), number, count)))
            return 0

        def again() -> None:
            nonlocal in_force
            # Where it fails, whatever it is, the workers go on with what they have, and say so.
            with suppress(Exception):
                in_force, _ = changeable(in_force, load())

        return Workers(count, work, again).run()


def settings_to_serve(config: Path | None, options: Mapping[str, str | None]) -> Settings:
    """As `settings_for`, and looks besides at what a server needs: its certificate, and the accounts of who is let in."""
    settings = settings_for(config, options)
    try:
        listener_tls(settings.server)
    except OSError as error:
        raise SettingsError("[server]", str(error)) from error
    read_accounts(settings.access)
    return settings


def _why_not(error: OSError, listen: str) -> str:
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}:
        return f"cannot listen on {listen} ({reason(error)}); choose another address with --listen"
    return f"cannot serve ({reason(error)})"
