"""Work that replicas which share a store do once among them all: who has the turn does it, the others wait and take over what came of it.

A turn ends by itself, so that a replica that died holds up nobody for long, and where the store is away everybody goes on alone:
two replicas doing the same work is better than none doing it. What a client's own token shows is no other replica's matter.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from proxy.index.flights import Tasks
from proxy.index.keeper import Keeper, Kept
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
"""For how long a turn is given at most; one of a replica that died ends sooner."""


class Replicas:
    """Takes turns with the replicas that share the `keeper`'s store; there are none without a keeper."""

    def __init__(self, keeper: Keeper | None, tasks: Tasks) -> None:
        self._keeper = keeper
        self._tasks = tasks

    def share(self, project: Project) -> bool:
        """Whether what is learned of `project` is shared with replicas just now."""
        return project.who.shared and self._keeper is not None and self._keeper.shared

    @asynccontextmanager
    async def turn(
        self, project: Project, work: Work, about: str = "", *, enough: Callable[[Kept], bool] | None = None
    ) -> AsyncIterator[Kept | None]:
        """Wait for the turn to do `work` for `project` (on the file called `about`), which the block then has, with what is kept of it.

        By then the project knows what the replicas learned. If a replica has the turn, and what is kept is `enough`, nobody is waited for.
        If nobody shares the store the block is entered at once.
        """
        if self._keeper is None or not self.share(project):
            yield None
            return
        key = f"{work.value}/{about}" if about else work.value
        whole = work is Work.PAGE
        lease, kept = await _awaited(self._keeper, project, key, _SECONDS[work], whole=whole, enough=enough)
        try:
            if kept is None:
                kept = await self._keeper.kept(project, anew=True, whole=whole)
            self._keeper.take_over(project, kept)
            yield kept
        finally:
            handing_over = self._tasks.start(_hand_over(self._keeper, project, lease), f"hand over {work.value} {project.name}")
            if lease is not None:
                # Also if it is cancelled before it begins.
                handing_over.add_done_callback(lambda _: lease.let_go())


ALONE = Replicas(None, Tasks())
"""There are no others."""


async def _awaited(
    keeper: Keeper, project: Project, work: str, seconds: float, *, whole: bool, enough: Callable[[Kept], bool] | None
) -> tuple[Lease | None, Kept | None]:
    """Return the turn, None if it was waited for in vain or is not needed, and what is kept of the project if that was read with it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    lease, kept = await keeper.take_turn(project, work, seconds, whole=whole)
    if lease is not None:
        return lease, kept
    if enough is not None and enough(kept := await keeper.kept(project, anew=True, whole=whole)):
        return None, kept
    pauses = iter(_LOOK_AGAIN)
    while lease is None and loop.time() < until:
        await asyncio.sleep(next(pauses, _LOOK_AGAIN[-1]))
        lease = await keeper.take_turn_alone(project, work, seconds)
    return lease, None


async def _hand_over(keeper: Keeper, project: Project, lease: Lease | None) -> None:
    if keeper.has_news(project):
        # Others may have learned something else meanwhile, which is not to be overwritten.
        await keeper.catch_up(project)
        keeper.keep(project)
    if lease is not None:
        # Who has the turn next reads what was learned in this one, so that has to be there first.
        await keeper.settled(project.name, _HANDED_OVER_WITHIN)
        await lease.release()
