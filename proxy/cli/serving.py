"""`mirrormend serve`: from the command line to a server that runs, and back to an exit status."""

import errno
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import click
import structlog

from proxy.cli.listening import ListeningSockets
from proxy.cli.running import begin_server_log, reason, run_loop, settings_for
from proxy.cli.workers import Workers
from proxy.config import Settings
from proxy.config.load import SettingsError
from proxy.server import serve
from proxy.server.access import read_accounts_at_rest
from proxy.server.reload import changeable
from proxy.server.run import Listening, has_terminal, seconds_to_end
from proxy.server.siblings import Siblings
from proxy.server.tls import listener_tls
from proxy.telemetry import descriptors

_log = structlog.get_logger("mirrormend.server")


def run_server(config: Path | None, options: Mapping[str, str | None]) -> int:
    """Serves until the process is told to end, and gives the exit status.

    Raises SettingsError or StoreMisconfigured for what the user wrote, click.ClickException where listening is not possible.
    """
    settings = settings_to_serve(config, options)
    begin_server_log(settings)
    # A warning of a library, written as plain text, would break a stream of JSON lines.
    logging.captureWarnings(True)

    def load() -> Settings:
        return settings_to_serve(config, options)

    try:
        descriptors.raise_limit()
        if settings.server.workers == 1:
            _serve_alone(settings, load)
            return 0
        return _serve_by_workers(settings, load)
    except OSError as error:
        raise click.ClickException(_why_not(error, settings.server.listen)) from error


def _serve_alone(settings: Settings, load: Callable[[], Settings]) -> None:
    def ending() -> None:
        _end_within(seconds_to_end(settings.server))

    if sys.platform == "win32":
        # Its event loop cannot wait for sockets of others.
        run_loop(serve(settings, load=load, ending=ending))
        return
    with ExitStack() as opened:

        def listen() -> Listening:
            return opened.enter_context(closing(ListeningSockets(settings.server.host, settings.server.port, 1))).of(1)

        run_loop(serve(settings, load=load, ending=ending, listen=listen))


def _end_within(seconds: float) -> None:
    """End the process by force after so many seconds: what blocks the event loop or a thread must not keep it for longer."""

    def wait_and_end() -> None:
        time.sleep(seconds)
        _log.error("ended-by-force", after=seconds)
        os._exit(1)

    threading.Thread(target=wait_and_end, name="mirrormend-end", daemon=True).start()


def _serve_by_workers(settings: Settings, load: Callable[[], Settings]) -> int:
    if not hasattr(os, "fork"):
        raise click.ClickException("this system cannot have several workers on one port; leave --workers at 1")
    count, in_force, has_had_terminal = settings.server.workers, settings, has_terminal()
    with (
        closing(ListeningSockets(settings.server.host, settings.server.port, count)) as listening,
        tempfile.TemporaryDirectory(prefix="mirrormend-workers-") as folder,
    ):

        def work(number: int, serves: Callable[[], None]) -> int:
            siblings = Siblings(Path(folder), number, count)
            run_loop(serve(in_force, ready=lambda _: serves(), load=load, siblings=siblings, listen=lambda: listening.of(number)))
            return 0

        def reload() -> None:
            nonlocal in_force
            # Where it fails, whatever it is, the workers go on with what they have, and say so.
            with suppress(Exception):
                in_force, _ = changeable(in_force, load())

        def abandoned() -> bool:
            return has_had_terminal and not has_terminal()

        return Workers(count, work, listening, end_within=seconds_to_end(settings.server), reload=reload, abandoned=abandoned).run()


def settings_to_serve(config: Path | None, options: Mapping[str, str | None]) -> Settings:
    """As `settings_for`, and looks besides at what a server needs: its certificate, and the accounts of who is let in."""
    settings = settings_for(config, options)
    try:
        listener_tls(settings.server)
    except OSError as error:
        raise SettingsError("[server]", str(error)) from error
    read_accounts_at_rest(settings.access)
    return settings


def _why_not(error: OSError, listen: str) -> str:
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}:
        return f"cannot listen on {listen} ({reason(error)}); choose another address with --listen"
    return f"cannot serve ({reason(error)})"
