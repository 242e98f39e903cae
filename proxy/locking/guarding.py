"""A process beside this one that restores lock files and ends uv where this one is killed, or cannot do so itself."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.locking import crash_guard
from proxy.locking.errors import LockFailed

_UNTIL_UV_IS_ENDED = 25.0
"""Seconds within which the guard has ended what is left of uv, wherever it finds the processes."""


class CrashGuard:
    """The guard's ears; `inherited` are descriptors that each uv has to inherit, so that the guard sees when it has ended."""

    def __init__(self, process: "subprocess.Popen[bytes] | None", inherited: tuple[int, ...]) -> None:
        self._process = process
        self.inherited = inherited
        self.uv_may_live = False
        """True if uv did not end by itself, so that processes of it may be left."""

    def uv_runs(self, process: int | None) -> None:
        """Tell the guard which process of uv runs now, None where it ended by itself."""
        self.uv_may_live = process is not None
        self.tell(crash_guard.news_of_uv(process))

    def tell(self, line: bytes) -> None:
        """Send the guard a line of `crash_guard`."""
        if self._process is not None and self._process.stdin is not None:
            # A guard that was killed is missed only by who is killed as well.
            with suppress(OSError):
                self._process.stdin.write(line)
                self._process.stdin.flush()


@contextmanager
def guarded(files: Mapping[Path, bytes | None], proxies: Sequence[str], exclusion: int) -> Iterator[CrashGuard]:
    """Have the files restored to these bytes where they name one of the proxies and the block does not end well, or is killed within.

    What is left of a uv that did not end by itself is ended then. The descriptor `exclusion` keeps other runs waiting until that is done.
    Raise LockFailed where no process can be started.
    """
    if sys.platform == "win32":
        # Its processes inherit no descriptors: there the next run repairs the lock.
        yield CrashGuard(None, ())
        return
    try:
        process, uv_runs = _started(exclusion)
    except OSError as error:
        raise LockFailed(
            f"no process can be started that guards the lock ({error.strerror})", "see the limits on processes and open files (ulimit -a)"
        ) from error
    guard = CrashGuard(process, (uv_runs,))
    guard.tell(crash_guard.order_to_restore(files, proxies))
    try:
        yield guard
        if not guard.uv_may_live:
            guard.tell(crash_guard.all_done())
    finally:
        # Untold that all is done, it looks after the files itself, and cannot be interrupted.
        os.close(uv_runs)
        with suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(timeout=_UNTIL_UV_IS_ENDED)


def _started(exclusion: int) -> "tuple[subprocess.Popen[bytes], int]":
    """Start the guard; return it and the end of a pipe that uv is to inherit. Raise OSError."""
    ends, uv_runs = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - this Python, and a file of this package
            [sys.executable, "-I", "-S", crash_guard.__file__, str(ends)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # It survives what is sent to all processes of a terminal or of a job.
            start_new_session=True,
            pass_fds=(ends, exclusion),
        )
    except BaseException:
        os.close(uv_runs)
        raise
    finally:
        os.close(ends)
    return process, uv_runs
