"""Work that replicas which share a store do once among them all: who has the turn does it, the others wait and take over what came of it.

A turn ends by itself, so that a replica that died holds up nobody for long, and where the store is away everybody goes on alone:
two replicas doing the same work is better than none doing it. What a client's own token shows is no other replica's matter.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

from proxy.index.documents import PageDocument
from proxy.index.flights import Tasks
from proxy.index.keeper import Keeper
from proxy.index.project import Project
from proxy.store import Lease

_LOOK_AGAIN = (0.01, 0.02, 0.04, 0.08, 0.1)
_HANDED_OVER_WITHIN = 2.0


class Work(StrEnum):
    """What only one replica need do at a time."""

    PAGE = "page"
    FIRST = "first"
    """The probes that a page waits for."""
    REST = "rest"
    METADATA = "metadata"


_SECONDS = {Work.PAGE: 5.0, Work.FIRST: 5.0, Work.REST: 30.0, Work.METADATA: 5.0}
"""For how long a turn is given at most, and so for how long a replica that died holds up the others."""


class Replicas:
    """Takes turns with the replicas that share the `keeper`'s store; there are none without a keeper."""

    def __init__(self, keeper: Keeper | None, tasks: Tasks) -> None:
        self._keeper = keeper
        self._tasks = tasks

    def share(self, project: Project) -> bool:
        """Whether what is learned of `project` is shared with replicas just now."""
        return project.who.shared and self._keeper is not None and self._keeper.shared

    @asynccontextmanager
    async def turn(self, project: Project, work: Work, about: str = "") -> AsyncIterator[PageDocument | None]:
        """Waits for the turn to do `work` for `project` (on the file called `about`), which the block then has.

        By then the project knows what the replicas learned; where the work is the page, the block is given the one that they have, if any.
        Where nobody shares the store the block is entered at once.
        """
        if self._keeper is None or not self.share(project):
            yield None
            return
        lease = await _awaited(self._keeper, project.name, f"{work.value}/{about}" if about else work.value, _SECONDS[work])
        try:
            await self._keeper.catch_up(project)
            yield await self._keeper.page(project.name) if work is Work.PAGE else None
        finally:
            self._tasks.start(_hand_over(self._keeper, project, lease), f"hand over {work.value} {project.name}")


ALONE = Replicas(None, Tasks())
"""There are no others."""


async def _awaited(keeper: Keeper, name: str, work: str, seconds: float) -> Lease | None:
    until = time.monotonic() + seconds
    pauses = iter(_LOOK_AGAIN)
    while True:
        lease = await keeper.take_turn(name, work, seconds)
        if lease is not None or time.monotonic() >= until:
            return lease
        await asyncio.sleep(next(pauses, _LOOK_AGAIN[-1]))


async def _hand_over(keeper: Keeper, project: Project, lease: Lease | None) -> None:
    # Others may have learned something else meanwhile, which is not to be overwritten.
    await keeper.catch_up(project)
    keeper.keep(project)
    if lease is not None:
        # Who has the turn next reads what was learned in this one, so that has to be there first.
        await keeper.settled(project.name, _HANDED_OVER_WITHIN)
        await lease.release()
