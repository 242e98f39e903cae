"""Whether a mirror is believed that all at once has no page, or an empty one, of a project that it had.

A project that is gone and a mirror that denies everything look the same from one page. So another page is asked for, which the mirror
had as well: where it still has that one, it is believed.
"""

import asyncio
from collections.abc import Callable

import structlog

from proxy.core.errors import PageUnreadable, UpstreamError
from proxy.core.identity import Identity
from proxy.index.project import Project
from proxy.index.projects import Projects
from proxy.index.reading import read_page
from proxy.upstream import FetchedPage, Mirror

_log = structlog.get_logger("mirrormend.index")

_ASKED = 2
"""Pages asked for: one of them may be gone as well."""

_DOUBTED_FOR = 300.0
"""Seconds for which a mirror that was not believed is not asked for a witness again, unless it gives a page."""


class Doubts:
    """Asks one mirror for other pages; `within` is how many seconds each has to come in, `clock` tells seconds since the epoch."""

    def __init__(self, mirror: Mirror, projects: Projects, *, within: float, clock: Callable[[], float]) -> None:
        self._mirror = mirror
        self._projects = projects
        self._within = within
        self._clock = clock
        self._doubted: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()

    def lasts(self, who: Identity) -> bool:
        """Whether the mirror was not believed a moment ago, and gave no page since."""
        return self._clock() - self._doubted.get(who.key, float("-inf")) < _DOUBTED_FOR

    async def believes(self, project: Project, *, without_witness: bool) -> bool:
        """Whether the mirror is believed about `project`; `without_witness` is the answer where it never had another page."""
        # One after the other: what the first finds out saves the others the question.
        async with self._one_at_a_time:
            return await self._believes(project, without_witness=without_witness)

    async def _believes(self, project: Project, *, without_witness: bool) -> bool:
        who = project.who
        if self.lasts(who):
            return False
        witnesses = [
            each
            for each in self._projects
            if each.who.key == who.key and each is not project and each.known is not None and each.known.page.files
        ]
        witnesses.sort(key=lambda each: each.known.checked if each.known is not None else 0.0, reverse=True)
        if not witnesses:
            return without_witness
        for witness in witnesses[:_ASKED]:
            if await self._has(witness):
                return True
        if len(self._doubted) > 1000:
            self._doubted.clear()
        self._doubted[who.key] = self._clock()
        _log.warning(
            "page-not-believed",
            mirror=self._mirror.name,
            project=project.name,
            meaning="the mirror denies other pages as well that it had, so that this is taken for an outage",
        )
        return False

    def answered(self, project: Project) -> None:
        """Notes that the mirror gave a page."""
        self._doubted.pop(project.who.key, None)

    async def _has(self, witness: Project) -> bool:
        known = witness.known
        try:
            async with asyncio.timeout(self._within):
                fetched = await self._mirror.fetch_page(witness.name, witness.who, None if known is None else known.validators, within=0.0)
            return not isinstance(fetched, FetchedPage) or bool((await read_page(witness.name, fetched)).files)
        except (UpstreamError, PageUnreadable, TimeoutError):
            return False
