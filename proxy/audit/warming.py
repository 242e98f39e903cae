"""Learning ahead, by the index itself and into its store: pages, verdicts, and the metadata that a resolver reads first."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.audit.closure import Closure, Step, first_readable
from proxy.audit.findings import Exchange, Fault
from proxy.audit.locked import lock_findings, pinned_on, unmet_findings
from proxy.audit.survey import Watch
from proxy.audit.wanted import Order, Want
from proxy.core.errors import MirrormendError, UpstreamStatus, UpstreamTimeout
from proxy.core.identity import SHARED
from proxy.core.page import Page, parsed_version
from proxy.core.verdict.settle import Mended
from proxy.index import Index

_ABSENT = frozenset({404, 410})
_AT_ONCE = 12
_TRIES = 3
"""How often a page is asked for that does not come in time: the proxy gives up sooner than a job at night need."""


@dataclass(slots=True)
class Warmed:
    """What was learned so far: the mended pages by project, and what failed. `wanted` is how many projects there are.

    `missing` are the projects and releases that the mirror lacks and that it perhaps need not have: others require them on some platform or
    Python, or another index may have them. `absent` are sentences about pinned releases and locked files that the mirror does not have.
    """

    wanted: int = 0
    pages: dict[str, Mended] = field(default_factory=dict)
    failed: dict[str, MirrormendError] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


class Warmer:
    """Fills the store of one index; `learned` tells at any moment what it has done."""

    def __init__(self, index: Index, watch: Watch) -> None:
        self._index = index
        self._watch = watch
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._other_indexes = False
        self.learned = Warmed()

    async def run(self, order: Order) -> None:
        """Learns everything that `order` asks for; it may be cancelled at any time."""
        self._other_indexes = order.other_indexes
        wants = {want.project: want for want in order.wants}
        self._expect(wants)
        if order.closure:
            await self._follow(order, wants)
        await asyncio.gather(*(self._warm(want) for want in wants.values()))

    def _expect(self, wants: dict[str, Want]) -> None:
        self.learned.wanted = len(wants)
        self._watch.expects(len(wants))

    async def _follow(self, order: Order, wants: dict[str, Want]) -> None:
        def found(steps: Sequence[Step]) -> None:
            for step in steps:
                wants.setdefault(step.project, Want(step.project, step.spelling, named=False))
            self._expect(wants)

        async def read(step: Step) -> bytes | None:
            async with self._slots:
                try:
                    page = await self._index.mirror_page(step.project, SHARED)
                    file = first_readable(page, step.specifier)
                    return None if file is None else (await self._index.metadata(step.project, file.key, SHARED)).content
                except MirrormendError:
                    # What cannot be had is told when the project itself has its turn.
                    return None

        await Closure(read, found, order).follow()

    async def _warm(self, want: Want) -> None:
        async with self._slots:
            if want.spelling != want.project:
                self._index.spelled(want.project, want.spelling)
            releases = {str(parsed_version(pin.version) or pin.version) for pin in want.pins} or None
            try:
                mended = await self._warmed(want.project, releases)
                if want.pins or want.bounds:
                    self._compare(want, await self._index.mirror_page(want.project, SHARED), mended)
            except MirrormendError as error:
                perhaps = not want.named or self._other_indexes
                if perhaps and isinstance(error, UpstreamStatus) and error.status in _ABSENT:
                    self.learned.missing.append(want.project)
                else:
                    self.learned.failed[want.project] = error
            else:
                self.learned.pages[want.project] = mended
        dropped = self.learned.pages.get(want.project)
        self._watch.done(want.project, 0 if dropped is None else len(dropped.dropped))

    def _compare(self, want: Want, page: Page, mended: Mended) -> None:
        """Note the pinned releases and the locked files that the mirror does not list, or was found not to deliver."""
        pinned = pinned_on(page, want)
        for finding in lock_findings(page, pinned, Exchange("", "GET", 200, 0.0)):
            if finding.fault is Fault.RELEASE_ABSENT and self._other_indexes:
                self.learned.missing.append(f"{want.project} {finding.release}")
            else:
                what = " ".join(filter(None, (want.project, finding.release, finding.filename)))
                self.learned.absent.append(f"{what}: {finding.says}")
        for finding in unmet_findings(page, want.bounds, Exchange("", "GET", 200, 0.0)):
            (self.learned.missing if self._other_indexes else self.learned.absent).append(finding.says)
        dead = {each.file.key for each in mended.dropped} | {file.key for file in mended.awaiting}
        for each in pinned:
            denied = [file for file in each.files if file.key in dead or mended.held]
            if denied and len(denied) == len(each.files):
                self.learned.absent.append(f"{want.project} {each.spelling}: the mirror delivers none of its files")
            elif each.pin.files:
                self.learned.absent += [f"{want.project} {file.filename}: the mirror does not deliver it" for file in denied]

    async def _warmed(self, project: str, releases: set[str] | None) -> Mended:
        for _ in range(_TRIES - 1):
            try:
                return await self._index.warm(project, releases)
            except UpstreamTimeout:
                continue
        return await self._index.warm(project, releases)
