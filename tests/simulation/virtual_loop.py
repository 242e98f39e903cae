"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer, so that days pass in milliseconds.

It has no sockets and no threads: work for an executor is done at once, so that a run depends on nothing but its seed.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

EPOCH = 1_800_000_000.0
"""The wall clock at the loop's time zero, in seconds since the epoch."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set, and yet somebody waits."""


class _NoSelector:
    """Stands in the place of a selector: to wait is to move the loop's time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Deadlock("nothing is left that could end the wait")
        self._loop.now += timeout
        return ()


class _Task(asyncio.Task[Any]):
    """A task that sets hold in the order in which tasks were made, and not in that of their addresses."""

    def __init__(self, *arguments: Any, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(*arguments, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop in virtual time; `now` is the time, in seconds since its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._clock_resolution = 1e-7
        self._selector = _NoSelector(self)
        numbers = itertools.count()
        self.set_task_factory(lambda loop, work, **options: _Task(work, loop=loop, number=next(numbers), **options))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def _process_events(self, event_list: object) -> None:
        """Do nothing: there are no files and no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: there are no threads that could wake the loop."""

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Do the work at once, and return a future that is done."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to who waits for the work
            future.set_exception(error)
        return future


class WallClock:
    """A clock as the proxy reads it: the loop's time since EPOCH, and what it was set forward or back by."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.offset = 0.0

    def __call__(self) -> float:
        """Return seconds since the epoch."""
        return EPOCH + self._loop.now + self.offset
