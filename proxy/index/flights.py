"""Work that is done once however many ask for it, and goes on although those who asked go away."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Generator, Hashable
from typing import Any, Generic, TypeVar

import structlog

from proxy.core.errors import MirrormendError
from proxy.store import context_of_nobody

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_log = structlog.get_logger("mirrormend.index")

_LAST_WORK_WITHIN = 1.0


def finished(steps: Generator[None, None, Value]) -> Value | None:
    """Takes one step of work that comes in steps; gives its outcome once there is one, None before."""
    try:
        next(steps)
    except StopIteration as end:
        outcome: Value = end.value
        return outcome
    return None


class Tasks:
    """The tasks of one index, so that closing it leaves none behind and no failure goes unseen."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Value], name: str, *, awaited: bool = False) -> "asyncio.Task[Value]":
        """Start `work`, whose failure is logged; `awaited` says that a page waits for it, and so is short of patience with the store.

        What the proxy raises on purpose is told by whoever waits for it, or is to be expected where nobody does; all else is a defect.
        """
        task = asyncio.get_running_loop().create_task(work, name=name, context=None if awaited else context_of_nobody())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if isinstance(error, MirrormendError):
            _log.debug("background-task-failed", task=task.get_name(), error=type(error).__name__)
            return
        # Without the error's own words: these may quote an address with a secret in it.
        where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        _log.error("background-task-failed", task=task.get_name(), error=type(error).__name__, exception=where)

    @property
    def count(self) -> int:
        """How many are running."""
        return len(self._running)

    async def close(self) -> None:
        """Cancels what still runs and waits for its end; what that leaves to be done has a moment to be done in."""
        await self._cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_LAST_WORK_WITHIN)
            await self._cancel()

    async def _cancel(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class SingleFlight(Generic[Key, Value]):
    """Runs one piece of work per key at a time; all who ask for the key meanwhile get its outcome.

    A caller that stops waiting does not stop the work of the others. `awaited` is as for `Tasks.start`.
    """

    def __init__(self, tasks: Tasks, name: str, *, awaited: bool = False) -> None:
        self._tasks = tasks
        self._awaited = awaited
        self._name = name
        self._flights: dict[Key, asyncio.Task[Value]] = {}

    async def do(self, key: Key, work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Gives the outcome of the flight under way for `key`, else starts `work` and gives its outcome; raises what it raises."""
        return await asyncio.shield(self.start(key, work))

    def start(self, key: Key, work: Callable[[], Coroutine[Any, Any, Value]]) -> "asyncio.Task[Value]":
        """As `do`, without waiting."""
        task = self._flights.get(key)
        # One that has ended is told of a little later; who asks meanwhile is not to get what was found before.
        if task is None or task.done():
            task = self._flights[key] = self._tasks.start(work(), f"{self._name} {key}", awaited=self._awaited)
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        if self._flights:
            await asyncio.wait(self._flights.values())

    def _ended(self, key: Key, task: "asyncio.Task[Value]") -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
