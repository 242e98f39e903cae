"""Writing again what the backend lost: Redis was emptied, let a document go, or was replaced; the file was removed."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from proxy.store.envelope import Header
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change
from proxy.store.write_behind import WriteBehind

_log = structlog.get_logger("mirrormend.store")

_AT_ONCE, _BYTES_AT_ONCE = 64, 2 * 1024 * 1024
_PAUSE = 0.05
_ONCE_IN = 600.0
"""Seconds in which a document that the backend let go of is written again once: two in a backend that is too small for both would else
drive each other out for ever."""

_AGAIN_AFTER = 2.0
"""Seconds after which all is compared once more: of two replicas that restored a document at the same time, either may have won."""

_MOST_REMEMBERED = 20_000


class Restorer:
    """Hands to `writer` the documents that `memory` has and the backend lost.

    `ready` tells whether the backend can be asked, and `now` is the time in seconds since the epoch.
    """

    def __init__(
        self,
        memory: BoundedMemory,
        writer: WriteBehind,
        *,
        ready: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._writer = writer
        self._ready = ready
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._lately: OrderedDict[str, float] = OrderedDict()
        self.restored = 0

    def restore(self, slot: str, sealed: bytes, header: Header, *, lost: bool) -> None:
        """Write again a document that the backend has `lost`, or has an earlier state of."""
        now = self._now()
        if header.expires <= now or self._writer.get(slot) is not None:
            return
        if lost:
            if 0 <= now - self._lately.get(slot, -math.inf) < _ONCE_IN:
                return
            self._lately.pop(slot, None)
            self._lately[slot] = now
            if len(self._lately) > _MOST_REMEMBERED:
                self._lately.popitem(last=False)
            self.restored += not header.forgotten
        self._writer.add(Change(slot, header.written, header.expires, sealed=sealed))

    def restore_all(self, compare: Callable[[list[str]], Awaitable[object]]) -> None:
        """Begin to write all that the memory has and the backend has not, at a bounded rate.

        `compare` compares these slots with the backend, and calls `restore` for what it lacks.
        """
        self._lately.clear()
        self.stop()
        self._task = asyncio.create_task(self._in_pieces(compare), name="store-restore")

    def stop(self) -> None:
        """End what was begun."""
        if self._task is not None:
            self._task.cancel()

    async def _in_pieces(self, compare: Callable[[list[str]], Awaitable[object]]) -> None:
        before = self.restored
        for _ in range(2):
            for slots in self._memory.pieces(_AT_ONCE, _BYTES_AT_ONCE):
                while not (self._ready() and self._writer.idle):  # noqa: ASYNC110 - two places would have to tell, seldom
                    await asyncio.sleep(_PAUSE)
                await compare(slots)
                await asyncio.sleep(_PAUSE)
            if self.restored > before:
                _log.info("store-restored", documents=self.restored - before)
                before = self.restored
            await asyncio.sleep(_AGAIN_AFTER)
