"""How the mirror's page of a project becomes fresh: fetched once however many ask, and served stale only where the mirror is down."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import structlog

from proxy.config import ProbeSection, UpstreamSection
from proxy.core.errors import PageUnreadable, UpstreamBroke, UpstreamError, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from proxy.index.filling import Filling
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Project
from proxy.index.projects import Projects
from proxy.index.reading import digest_of, read_page
from proxy.upstream import FetchedPage, Mirror

_log = structlog.get_logger("mirrormend.index")

_STALE_PAUSE = 10.0
"""Seconds for which a stale page is served before the mirror is tried again."""

_SPELLINGS = 5000


class Pages:
    """Keeps the pages of one mirror's projects fresh, as the settings of `[upstream]` and `[probe]` have it.

    `filling` fills in what a page lost, where a second index is configured; `clock` tells seconds since the epoch.
    """

    def __init__(
        self,
        mirror: Mirror,
        keeper: Keeper,
        projects: Projects,
        tasks: Tasks,
        *,
        upstream: UpstreamSection,
        probe: ProbeSection,
        clock: Callable[[], float],
        filling: Filling | None = None,
    ) -> None:
        self._mirror = mirror
        self._keeper = keeper
        self._projects = projects
        self._upstream = upstream
        self._probe = probe
        self._clock = clock
        self._filling = filling
        self._flights: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "page")
        self._spellings: OrderedDict[str, str] = OrderedDict()

    def is_fresh(self, known: KnownPage) -> bool:
        """Whether the mirror confirmed the page lately enough."""
        return self._clock() - known.checked < self._upstream.fresh

    async def freshen(self, project: Project) -> None:
        """Sees to it that the page of `project` is fresh, or stale for a reason.

        Raises UpstreamError or PageUnreadable where the mirror gives no page and none that is known may be served.
        """
        begun = self._clock()
        fresh = project.known is not None and self.is_fresh(project.known)
        resting = project.stale_since is not None and begun - project.stale_since < _STALE_PAUSE
        if not (fresh or resting):
            await self._ask(project)
        if self._filling is not None:
            await self._filling.fill(project, self._probe.deadline - (self._clock() - begun))

    async def _ask(self, project: Project) -> None:
        flight = self._flights.start((project.who.key, project.name), lambda: self._refresh(project))
        try:
            await self._landed(project, flight)
        finally:
            if project.known is None and flight.done():
                self._projects.drop(project)

    async def ask_again(self, project: Project) -> None:
        """Asks the mirror for the page although it is fresh, unless it was asked a moment ago; raises what `freshen` raises."""
        if project.known is None or self._clock() - project.known.checked > 1.0:
            await self._flights.do((project.who.key, project.name), lambda: self._refresh(project))

    def spelled(self, name: str, spelling: str) -> None:
        """Notes how somebody spelled the project with the normalised `name`: some mirrors have its page under that spelling only."""
        self._spellings[name] = spelling
        if len(self._spellings) > _SPELLINGS:
            self._spellings.popitem(last=False)

    async def _landed(self, project: Project, flight: "asyncio.Task[None]") -> None:
        deadline = self._probe.deadline
        if project.known is not None:
            # A page is at hand: a mirror that hangs must not hold it back for long.
            deadline = min(deadline, self._probe.patience)
        try:
            async with asyncio.timeout(deadline):
                await asyncio.shield(flight)
        except (UpstreamTimeout, UpstreamUnreachable, UpstreamBroke, UpstreamStatus) as error:
            if not self._may_serve_stale(project, error):
                raise
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why=str(error))
        except TimeoutError:
            if project.known is None:
                raise UpstreamTimeout(f"{self._mirror.url}{project.name}/", deadline) from None
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why=f"no answer within {deadline:g} s")

    def _may_serve_stale(self, project: Project, error: UpstreamError) -> bool:
        return (
            is_failure(error)
            and project.known is not None
            and self._clock() - project.known.checked < self._upstream.fresh + self._upstream.stale
        )

    async def _refresh(self, project: Project) -> None:
        if not project.loaded:
            await self._load(project)
            if project.known is not None and self._clock() - project.known.checked < self._upstream.fresh:
                return
        known = project.known
        try:
            fetched = await self._mirror.fetch_page(
                project.name, project.who, None if known is None else known.validators, spelling=self._spellings.get(project.name)
            )
        except UpstreamError as error:
            self._mirror.counts.page_fetches["failed" if is_failure(error) else "refused"] += 1
            if isinstance(error, UpstreamStatus) and error.status in {401, 403, 404, 410}:
                self._forget(project)
            raise
        self._mirror.counts.page_fetches["fetched" if isinstance(fetched, FetchedPage) else "not-modified"] += 1
        if known is not None and not isinstance(fetched, FetchedPage):
            known.checked = self._clock()
        elif isinstance(fetched, FetchedPage):
            project.known = await self._read_page(project, fetched, self._clock())
        project.stale_since = None
        if project.known is not None and project.who.shared and isinstance(fetched, FetchedPage):
            self._keeper.keep_page(project.name, fetched, project.known.checked)

    async def _read_page(self, project: Project, fetched: FetchedPage, checked: float) -> KnownPage:
        digest = digest_of(fetched)
        alike = project.known if project.known is not None and project.known.digest == digest else self._projects.like(project.name, digest)
        if alike is not None:
            return replace(alike, validators=fetched.validators, checked=checked, filled_for=0.0)
        page = await read_page(project.name, fetched, self._upstream.link_limit)
        # Sorting the releases takes long enough to be a step of its own: what is planned next needs them.
        _ = page.releases
        await asyncio.sleep(0)
        return KnownPage(page, digest, fetched.validators, checked, page)

    def _forget(self, project: Project) -> None:
        project.known = None
        project.served = None
        if project.who.shared:
            self._keeper.forget_page(project.name)

    async def _load(self, project: Project) -> None:
        self._projects.share(project.name, await self._keeper.commons(project.name))
        project.loaded = True
        fetched = await self._keeper.load(project)
        if fetched is None:
            return
        try:
            project.known = await self._read_page(project, fetched.page, fetched.checked)
        except (PageUnreadable, UpstreamError) as error:
            _log.warning("stored-page-unreadable", project=project.name, why=str(error))


def is_failure(error: UpstreamError) -> bool:
    """Whether the mirror failed, rather than gave an answer that is not to the liking of who asked."""
    return not isinstance(error, UpstreamStatus) or error.status >= 500
