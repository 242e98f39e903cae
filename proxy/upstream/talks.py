"""Conversations under way, and what each of them waits for."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from proxy.core.flows.exchange import Ask, Flow, Reply
from proxy.core.identity import Identity
from proxy.core.verdict.reason import Reason
from proxy.upstream.fastlane import Exchange

K = TypeVar("K")
T = TypeVar("T")


class Batch(Generic[K, T]):
    """Conversations that somebody waits for together: `flows` are those not yet started, `talks` those under way.

    `reason` is why the files are asked for, or tells it by the key of a conversation.
    `until` is when, in the loop's time, the wait ends; `expired` says that it has. `finished` is set when all have ended.
    """

    __slots__ = ("authorization", "background", "expired", "finished", "flows", "learned", "reason", "talks", "until", "who")

    def __init__(
        self,
        flows: Iterator[tuple[K, Flow[T]]],
        who: Identity,
        authorization: str | None,
        learned: Callable[[K, T], None],
        *,
        background: bool,
        reason: Reason | Callable[[K], Reason],
    ) -> None:
        self.flows: Iterator[tuple[K, Flow[T]]] | None = flows
        self.who = who
        self.authorization = authorization
        self.learned = learned
        self.background = background
        self.reason = reason
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.talks: set[Talk[K, T]] = set()
        self.until = float("inf")
        self.expired = False

    def settle(self) -> None:
        """Sets `finished` where nothing is left to do."""
        if self.flows is None and not self.talks and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, error: Exception) -> None:
        """Ends the batch by `error`: who waits for it hears of it, and then drops the rest."""
        self.flows = None
        if not self.finished.done():
            self.finished.set_exception(error)


class Talk(Generic[K, T]):
    """One conversation: its `flow`, what it asked last, and the `exchange` that it waits for.

    `attempts` counts the repetitions of this request. `began`, in the loop's time, is when it left; `under_way` says that it has,
    and has not been answered; `fast` in which lane. `reason` is why it is asked.
    """

    __slots__ = ("ask", "attempts", "batch", "began", "exchange", "fast", "flow", "key", "reason", "under_way")

    ask: Ask
    attempts: int
    began: float
    fast: bool

    def __init__(self, batch: Batch[K, T], key: K, flow: Flow[T]) -> None:
        self.batch = batch
        self.key = key
        self.reason = batch.reason if isinstance(batch.reason, Reason) else batch.reason(key)
        # What a generator is sent first is None.
        self.flow: Generator[Ask, Reply | None, T] = flow  # type: ignore[assignment]  # exactly because of that
        self.exchange: Exchange | None = None
        self.under_way = False
        batch.talks.add(self)

    def close(self) -> None:
        """Ends the conversation; what it says last is nobody's business any more."""
        self.batch.talks.discard(self)
        with suppress(Exception):
            self.flow.close()


class Pause:
    """A wait before a request is asked again, as an `Exchange`."""

    __slots__ = ("_timer",)

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self._timer = timer

    def abandon(self) -> None:
        """Ends the wait."""
        self._timer.cancel()


class SlowExchange:
    """A request in the slow lane, as an `Exchange`."""

    __slots__ = ("_task",)

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self._task = task

    def abandon(self) -> None:
        """Cancels the request."""
        self._task.cancel()
