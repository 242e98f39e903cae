"""Several processes that serve one port, so that more than one processor is used.

The parent serves nothing: it holds the listening sockets, starts the workers, passes signals on to them, and replaces those that die.
Workers end when the parent does, however it ended.
Rules for this file: nothing of the server is imported, and no thread is started before the fork.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from proxy.cli.listening import ListeningSockets
from proxy.cli.signals import HANDLED, hold_signals, release_signals
from proxy.telemetry import flush_within

_log = structlog.get_logger("mirrormend.server")

_FAILED_STARTS = 5
"""So many workers that died before they served, one after the other while no other one serves, and the parent gives up."""

_SHORT_LIFE = 10.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
"""Seconds. A worker that dies is replaced after the first pause; if it lived shorter than that, the pause doubles each time."""

_LAST_LINES_WITHIN = 1.0
_LOOK_FOR_PARENT = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Worker:
    number: int
    started: float
    serves: bool = False


class Workers:
    """The `count` processes that do `work(number, serves)`, numbered from 1 on, kept until this one is told to end.

    `work` calls `serves` once it answers requests, and returns an exit status. It begins with the signals held (`hold_signals`),
    and releases them once it handles them. The `listening` sockets are closed here when the end begins; what does not end within
    `end_within` seconds then is killed. At SIGHUP `reload` is called before the workers hear of it, so that a worker that is started
    later goes by the new settings; if `abandoned` returns True, the terminal is gone, and SIGHUP means the end.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, Callable[[], None]], int],
        listening: ListeningSockets,
        *,
        end_within: float,
        reload: Callable[[], None],
        abandoned: Callable[[], bool],
    ) -> None:
        self._work = work
        self._listening = listening
        self._end_within = end_within
        self._reload = reload
        self._abandoned = abandoned
        self._running: dict[int, _Worker] = {}
        self._due = dict.fromkeys(range(1, count + 1), 0.0)
        self._short_lives = dict.fromkeys(self._due, 0)
        self._failed_starts = 0
        self._kill_at: float | None = None
        self._killed = False
        self._status = 0
        self._line, self._workers_line = socket.socketpair()
        self._signals, self._wakeup = socket.socketpair()
        for each in (self._line, self._signals, self._wakeup):
            each.setblocking(False)

    def run(self) -> int:
        """Return the exit status once all have ended: 0 if that was asked for, 1 if they failed, 128 and more after a second signal."""
        with self._signals_received():
            while self._running or self._kill_at is None:
                self._start_due()
                for which in self._received():
                    self._handle(which)
                self._reap()
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._kill()
        return self._status

    @contextmanager
    def _signals_received(self) -> Iterator[None]:
        heard = (*HANDLED, signal.SIGCHLD)
        # The byte at the socket is what tells of a signal; without a handler there would be none.
        before = {each: signal.signal(each, lambda *_: None) for each in heard}
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        release_signals()
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for each, handler in before.items():
                signal.signal(each, handler)

    def _received(self) -> Iterator[signal.Signals]:
        """Wait for a signal, a worker's word, or the time of what is due; give the signals."""
        times = [*self._due.values(), *(() if self._kill_at is None or self._killed else (self._kill_at,))]
        select.select([self._line, self._signals], [], [], max(0.0, min(times) - time.monotonic()) if times else None)
        for number in _bytes(self._line):
            self._failed_starts = 0
            for worker in self._running.values():
                worker.serves = worker.serves or worker.number == number
        # A signal that came several times meanwhile is one, as it is for the system; else reloads could pile up before the end.
        for number in dict.fromkeys(_bytes(self._signals)):
            yield signal.Signals(number)

    def _handle(self, which: signal.Signals) -> None:
        if which is signal.SIGCHLD:
            return
        if which is signal.SIGHUP and not self._abandoned():
            if self._kill_at is None:
                self._reload()
                self._tell(signal.SIGHUP)
        elif self._kill_at is None:
            self._end()
        elif which is not signal.SIGHUP:
            self._status = 128 + which
            self._tell(signal.SIGKILL)
            self._killed = True

    def _end(self) -> None:
        self._kill_at = time.monotonic() + self._end_within
        self._due.clear()
        self._listening.close()
        self._tell(signal.SIGTERM)

    def _kill(self) -> None:
        """Kill what did not end in time: a process that is stopped, or whose event loop hangs, does not hear SIGTERM."""
        if not self._killed:
            _log.warning("workers-killed", workers=[worker.number for worker in self._running.values()], after=self._end_within)
            self._tell(signal.SIGKILL)
            self._killed = True

    def _tell(self, which: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, which)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # As the first process of a container this one is given orphans of others as well.
            worker = self._running.pop(pid, None)
            if worker is not None:
                self._died(worker, pid, os.waitstatus_to_exitcode(status))

    def _died(self, worker: _Worker, pid: int, code: int) -> None:
        if self._kill_at is not None:
            # A worker that ended by a signal which was sent from here did not fail.
            sent = {-each for each in (*HANDLED, *((signal.SIGKILL,) if self._killed else ()))}
            if code not in {0, *sent}:
                self._status = self._status or 1
            return
        number, now = worker.number, time.monotonic()
        self._failed_starts += not worker.serves
        self._short_lives[number] = self._short_lives[number] + 1 if now - worker.started < _SHORT_LIFE else 0
        hopeless = self._failed_starts >= _FAILED_STARTS and not any(each.serves for each in self._running.values())
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(max(0, self._short_lives[number] - 1), 10))
        then = "no worker could serve, so that the server ends" if hopeless else "another one starts"
        _log.error("worker-died", worker=number, pid=pid, exit_code=code, then=then)
        if hopeless:
            self._status = 1
            self._end()
        else:
            self._due[number] = now + pause

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        # From here on until the worker has handlers of its own a signal would end it, or be handled by its copy of the parent's.
        hold_signals()
        try:
            pid = os.fork()
        except OSError as error:
            # There may be no room for a process just now; those that serve go on.
            release_signals()
            _log.error("worker-not-started", worker=number, why=str(error), then=f"it is tried again in {_LONGEST_PAUSE:.0f} s")
            self._due[number] = time.monotonic() + _LONGEST_PAUSE
            return
        if pid == 0:
            status = 1
            try:
                status = self._as_worker(number, parent)
            except Exception:  # noqa: BLE001 - whatever it is, the log says why this worker died
                _log.exception("worker-failed")
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                flush_within(_LAST_LINES_WITHIN)
                os._exit(status)
        self._running[pid] = _Worker(number, time.monotonic())
        release_signals()

    def _as_worker(self, number: int, parent: int) -> int:
        structlog.contextvars.bind_contextvars(worker=number)
        signal.set_wakeup_fd(-1)
        for each in (*HANDLED, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        # As long as any process holds the parent's end of the line, nobody is told that the parent is gone.
        for end in (self._line, self._signals, self._wakeup):
            end.close()
        _wake_when_parent_dies()
        following = threading.Thread(
            target=_end_with_parent, args=(parent, self._workers_line, self._end_within), name="mirrormend-parent", daemon=True
        )
        following.start()

        def serves() -> None:
            with suppress(OSError):
                self._workers_line.send(bytes((number,)))

        return self._work(number, serves)


def _bytes(reading: socket.socket) -> bytes:
    try:
        return reading.recv(4096)
    except BlockingIOError:
        return b""


def _end_with_parent(parent: int, line: socket.socket, end_within: float) -> None:
    """Wait for the end of the process `parent`, then end this one: as at SIGTERM, and by force after `end_within` seconds.

    The line breaks at once. A process that was forked a moment before and does not run holds the parent's end as well,
    so the parent's id is looked at besides.
    """
    while os.getppid() == parent and not select.select([line], [], [], _LOOK_FOR_PARENT)[0]:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(end_within)
    flush_within(_LAST_LINES_WITHIN)
    os._exit(1)


def _wake_when_parent_dies() -> None:
    """Have a worker that is stopped (SIGSTOP) go on when its parent dies, so that it can end: else it would hold the port. Linux only."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
