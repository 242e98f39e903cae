"""Filling in what the mirror's pages lost, from a second index: in the time that a page can wait for it, else behind."""

import asyncio

import structlog

from proxy.config import ReferenceSection
from proxy.core.filling import filled_in_steps, lacks
from proxy.index.flights import SingleFlight, Tasks, finished
from proxy.index.project import KnownPage, Project
from proxy.index.second import SecondIndex

_log = structlog.get_logger("mirrormend.index")


class Filling:
    """Fills pages of one mirror from `second`, as the settings of `[reference]` have it."""

    def __init__(self, second: SecondIndex, section: ReferenceSection, tasks: Tasks) -> None:
        self._second = second
        self._fields = section.fields
        self._patience = section.patience
        self._flights: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "fill")

    async def fill(self, project: Project, left: float) -> None:
        """Fills the page of `project`, where that was not tried since the mirror confirmed it.

        A page that was never filled waits for it, at most as long as the settings say and `left` allows (seconds).
        """
        known = project.known
        if known is None or known.filled_for == known.checked:
            return
        current = bool(known.filled) and self._second.is_current(project.name, known.filled)
        if not current and self._second.asked_about(project.name) and lacks(known.bare, self._fields):
            filling = self._flights.start((project.who.key, project.name), lambda: self._fill(project, known))
            if not known.filled:
                await self._second.patiently(filling, project.name, min(self._patience, left))
        known.filled_for = known.checked

    async def _fill(self, project: Project, known: KnownPage) -> None:
        told = await self._second.page(project.name)
        if told.digest == known.filled:
            return
        steps = filled_in_steps(known.bare, told.page, self._fields)
        while (page := finished(steps)) is None:  # noqa: ASYNC110 - it gives way between steps, it waits for nobody
            await asyncio.sleep(0)
        # As for the mirror's own page: what is planned next needs the releases sorted.
        _ = page.releases
        await asyncio.sleep(0)
        known.page, known.filled = page, told.digest
        count = sum(before != after for before, after in zip(known.bare.files, page.files, strict=True))
        if count:
            _log.info("filled", project=project.name, index=self._second.mirror.url, files=count, of=len(page.files))
