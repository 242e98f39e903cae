"""Drive metadata flows: requests by the mirror's conversations, and what may take long in a thread."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from proxy.core.flows.exchange import Flow
from proxy.core.flows.metadata import MetadataFlow, MetadataRead, Work
from proxy.core.identity import Identity
from proxy.core.verdict.reason import Reason
from proxy.upstream import Mirror

T = TypeVar("T")

_HASHED_INLINE = 256 * 1024
_DRAINED_WITHIN = 1.0
"""Seconds within which the probes under way have to end, so that something can be asked for alone."""


class MetadataReader:
    """Reads metadata of files at mirrors. One large piece of work is done at a time, so that threads never crowd out the event loop."""

    def __init__(self) -> None:
        self._at_work = asyncio.Semaphore(1)

    async def read(
        self, mirror: Mirror, flow: MetadataFlow, who: Identity, *, alone: bool = False, reason: Reason = Reason.DEMAND
    ) -> MetadataRead:
        """Return what `flow` learns when `mirror` is asked as `who`, with no other probe under way where it is to be `alone`."""
        sent: Any = None

        def until_work() -> Flow[MetadataRead | Work]:
            try:
                step = flow.send(sent)
                while not isinstance(step, Work):
                    step = flow.send((yield step))
            except StopIteration as end:
                learned: MetadataRead = end.value
                return learned
            return step

        while True:
            if alone:
                reached = await _alone(mirror, until_work, who, reason)
            else:
                reached = await mirror.converse(until_work(), who, reason=reason)
            if not isinstance(reached, Work):
                return reached
            sent = await self.apart(reached.run)

    async def apart(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, done in a thread."""
        async with self._at_work:
            return await asyncio.to_thread(work)

    async def sha256(self, content: bytes) -> str:
        """Return the hexadecimal SHA-256 of `content`."""
        if len(content) <= _HASHED_INLINE:
            return _sha256(content)
        return await self.apart(lambda: _sha256(content))


async def _alone(mirror: Mirror, flow: Callable[[], Flow[T]], who: Identity, reason: Reason) -> T:
    learned: list[T] = []
    flows = [(None, flow())]
    if not await mirror.converse_alone(flows, who, learned=lambda _, each: learned.append(each), within=_DRAINED_WITHIN, reason=reason):
        return await mirror.converse(flow(), who, reason=reason)
    return learned[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
