"""Several processes on one port, so that more than one processor serves.

The parent serves nothing: it holds the address, starts the workers, hands on what it is told, and starts anew who dies.
Rules for this file: nothing of the server is imported, and no thread is started before the fork.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import structlog

_log = structlog.get_logger("mirrormend.server")

_SHORT_LIFE = 2.0
_SHORT_LIVES = 5
"""So many workers that died within moments of their start, one after the other, and the parent gives up."""

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def held_address(host: str, port: int) -> socket.socket:
    """Gives a socket that holds the address for all workers, though none can connect to it: so that the port is known, and is free.

    Raises OSError where the address cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except BaseException:
        held.close()
        raise
    return held


class Workers:
    """Keeps `count` processes that do `work(number)`, numbered from 1 on, until this one is told to end. `work` gives an exit status.

    At SIGHUP it calls `again` before handing it on, so that who is started anew after it does not go by what was before.
    """

    def __init__(self, count: int, work: Callable[[int], int], again: Callable[[], None]) -> None:
        self._count = count
        self._work = work
        self._again = again
        self._numbers: dict[int, int] = {}
        self._started: dict[int, float] = {}
        self._ending = False
        self._short_lives = 0

    def run(self) -> int:
        """Gives the exit status once all have ended: 0 where that was asked for."""
        for each in _HANDED_ON:
            signal.signal(each, self._hand_on)
        for number in range(1, self._count + 1):
            self._start(number)
        failed = 0
        while self._numbers:
            pid, status = os.wait()
            if pid not in self._numbers:
                continue
            number = self._numbers.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if self._ending:
                failed = failed or int(code not in {0, -signal.SIGTERM, -signal.SIGINT})
            elif self._gives_up(pid, number, code):
                failed = 1
                self._tell(signal.SIGTERM)
            else:
                self._start(number)
        return failed

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for each in _HANDED_ON:
                    signal.signal(each, signal.SIG_DFL)
                structlog.contextvars.bind_contextvars(worker=number)
                status = self._work(number)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        self._numbers[pid] = number
        self._started[number] = time.monotonic()

    def _gives_up(self, pid: int, number: int, code: int) -> bool:
        lived = time.monotonic() - self._started[number]
        self._short_lives = self._short_lives + 1 if lived < _SHORT_LIFE else 0
        hopeless = self._short_lives >= _SHORT_LIVES
        _log.error("worker-died", worker=number, pid=pid, exit_code=code, then="the others end too" if hopeless else "another one starts")
        if not hopeless:
            time.sleep(min(1.0, 0.1 * self._short_lives))
        return hopeless

    def _hand_on(self, which: int, _: FrameType | None) -> None:
        if which == signal.SIGHUP:
            self._again()
        self._tell(signal.Signals(which))

    def _tell(self, which: signal.Signals) -> None:
        if which is not signal.SIGHUP:
            self._ending = True
        for pid in list(self._numbers):
            os.kill(pid, which)
