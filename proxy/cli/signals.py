"""Signals that arrive before there is a handler for them. Nothing heavy is imported here: the sooner they are held, the better."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform == "win32":
    HANDLED: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
else:
    HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def hold_signals() -> None:
    """Let the signals that a server handles wait until its handlers are there, instead of ending the process.

    Threads and child processes that begin meanwhile inherit this, and go on holding them.
    """
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def release_signals() -> None:
    """Deliver what was held, and what comes from now on."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold signals for the block, or until they are released in it."""
    hold_signals()
    try:
        yield
    finally:
        release_signals()
