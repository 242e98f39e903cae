"""How the mirror's page of a project becomes fresh: fetched once however many ask, and served stale only where the mirror is down."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import structlog

from proxy.config import ProbeSection, UpstreamSection
from proxy.core.errors import (
    PageUnreadable,
    UpstreamBroke,
    UpstreamDoubted,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.page import SourceForm
from proxy.index.documents import PageDocument
from proxy.index.doubts import Doubts
from proxy.index.filling import Filling
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Project
from proxy.index.projects import Projects
from proxy.index.reading import digest_of, read_page
from proxy.index.refusals import Refusals, pause_after
from proxy.index.replicas import Replicas, Work
from proxy.upstream import FetchedPage, Mirror

_log = structlog.get_logger("mirrormend.index")

_PASSING = frozenset({408, 425, 429})
_GONE = frozenset({404, 410})
_SPELLINGS = 5000

_KEPT_ANEW = 4
"""So many times, while the store keeps it, a page that the mirror only confirms is written again with the time of that."""


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
        replicas: Replicas,
        clock: Callable[[], float],
        filling: Filling | None = None,
    ) -> None:
        self._mirror = mirror
        self._keeper = keeper
        self._replicas = replicas
        self._projects = projects
        self._upstream = upstream
        self._probe = probe
        self._clock = clock
        self._filling = filling
        self._flights: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "page")
        self._spellings: OrderedDict[str, str] = OrderedDict()
        self._doubts = Doubts(mirror, projects, within=probe.patience, clock=clock)
        self._refusals = Refusals(upstream.fresh)
        self._silent = False

    def is_fresh(self, known: KnownPage) -> bool:
        """Whether the mirror confirmed the page lately enough."""
        return self._clock() - known.checked < self._upstream.fresh

    async def freshen(self, project: Project) -> None:
        """Sees to it that the page of `project` is fresh, or stale for a reason.

        Raises UpstreamError or PageUnreadable where the mirror gives no page and none that is known may be served.
        """
        begun = self._clock()
        fresh = project.known is not None and self.is_fresh(project.known)
        if not (fresh or self._rests(project, begun)):
            await self._ask(project)
        if self._filling is not None:
            await self._filling.fill(project, self._probe.deadline - (self._clock() - begun))

    def _rests(self, project: Project, now: float) -> bool:
        if project.stale_since is None:
            return False
        return now - project.stale_since < pause_after(project.failures, self._upstream.fresh)

    async def _ask(self, project: Project) -> None:
        key = (project.who.key, project.name)
        refused = self._refusals.standing(key, self._clock()) if project.known is None else None
        if refused is not None:
            self._projects.drop(project)
            try:
                raise refused
            finally:
                # An error holds the frames it passes, and the requests in them: no frame must hold it.
                del refused
        flight = self._flights.start(key, lambda: self._refresh(project))
        try:
            await self._landed(project, flight)
        finally:
            # The flight's failure holds this frame: it must not hold the flight.
            del flight

    async def ask_again(self, project: Project) -> None:
        """Asks the mirror for the page although it is fresh, unless it was asked a moment ago; raises what `freshen` raises."""
        if project.known is None or self._clock() - project.known.checked > 1.0:
            try:
                async with asyncio.timeout(self._probe.deadline):
                    await self._flights.do((project.who.key, project.name), lambda: self._refresh(project))
            except TimeoutError:
                raise self._too_late(project) from None

    def spelled(self, name: str, spelling: str) -> None:
        """Notes how somebody spelled the project with the normalised `name`: some mirrors have its page under that spelling only."""
        self._spellings[name] = spelling
        if len(self._spellings) > _SPELLINGS:
            self._spellings.popitem(last=False)

    async def _landed(self, project: Project, flight: "asyncio.Task[None]") -> None:
        deadline = self._probe.deadline
        if project.known is not None:
            # A page is at hand: a mirror that hangs must not hold it back for long, and not at all where it is known to hang.
            waited = 0.0 if project.refreshing_since is None else self._clock() - project.refreshing_since
            deadline = 0.0 if self._silent else min(deadline, self._probe.patience - waited)
        try:
            async with asyncio.timeout(deadline):
                await asyncio.shield(flight)
        except (UpstreamTimeout, UpstreamUnreachable, UpstreamBroke, UpstreamDoubted, UpstreamStatus, PageUnreadable) as error:
            if not self._may_serve_stale(project, error):
                raise
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why=str(error))
        except TimeoutError:
            late = self._too_late(project)
            if not self._may_serve_stale(project, late):
                raise late from None
            self._silent = True
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why="no answer yet")
        finally:
            del flight

    def _too_late(self, project: Project) -> UpstreamTimeout:
        return UpstreamTimeout(f"{self._mirror.url}{project.name}/", self._probe.deadline)

    def _may_serve_stale(self, project: Project, error: UpstreamError | PageUnreadable) -> bool:
        known = project.known
        if known is None or self._clock() - known.checked >= self._upstream.fresh + self._upstream.stale:
            return False
        if isinstance(error, UpstreamDoubted | PageUnreadable):
            # To a client's own token that may be the mirror's way to say that it is no longer valid.
            return project.who.shared
        return is_failure(error)

    async def _refresh(self, project: Project) -> None:
        project.refreshing_since = self._clock()
        try:
            await self._refreshed(project)
        except (UpstreamError, PageUnreadable) as error:
            project.failures += 1
            self._refusals.failed((project.who.key, project.name), self._clock(), error)
            if not isinstance(error, UpstreamTimeout):
                self._silent = False
            raise
        else:
            project.failures, project.stale_since = 0, None
            self._silent = False
            self._refusals.succeeded((project.who.key, project.name))
        finally:
            project.refreshing_since = None
            if project.known is None:
                # Whether or not anybody still waits for it.
                self._projects.drop(project)

    async def _refreshed(self, project: Project) -> None:
        if not project.loaded:
            await self._load(project)
            if project.known is not None and self._clock() - project.known.checked < self._upstream.fresh:
                return
        async with self._replicas.turn(project, Work.PAGE) as theirs:
            if theirs is None or not await self._take_over(project, theirs):
                await self._fetch(project)

    async def _take_over(self, project: Project, theirs: PageDocument) -> bool:
        """Takes the page that a replica had confirmed by the mirror lately, and says whether that is so."""
        ours = project.known
        if self._clock() - theirs.checked >= self._upstream.fresh or (ours is not None and theirs.checked <= ours.checked):
            return False
        try:
            project.renew(await self._read_stored(project, theirs))
        except (PageUnreadable, UpstreamError) as error:
            _log.warning("stored-page-unreadable", project=project.name, why=str(error))
            return False
        return True

    async def _fetch(self, project: Project) -> None:
        known = project.known
        try:
            fetched = await self._mirror.fetch_page(
                project.name,
                project.who,
                None if known is None else known.validators,
                spelling=self._spellings.get(project.name),
                # What failed the last time as well is not asked for again and again.
                within=0.0 if self._refusals.lasts((project.who.key, project.name)) else None,
            )
        except UpstreamError as error:
            self._mirror.counts.page_fetches["failed" if is_failure(error) else "refused"] += 1
            await self._refused(project, error)
            raise
        self._mirror.counts.page_fetches["fetched" if isinstance(fetched, FetchedPage) else "not-modified"] += 1
        if known is not None and not isinstance(fetched, FetchedPage):
            known.checked = self._clock()
        elif isinstance(fetched, FetchedPage):
            now_known = await self._read_page(project, fetched, self._clock())
            if known is not None and known.bare.files and not now_known.bare.files:
                # Many mirrors answer an empty page in HTML for what they do not have, or not now.
                said = now_known.bare.form is not SourceForm.HTML
                if not await self._doubts.believes(project, without_witness=said):
                    raise UpstreamDoubted(fetched.url, "its page is empty all at once")
            project.renew(now_known)
        self._doubts.answered(project)
        known = project.known
        if known is None or not project.who.shared:
            return
        if isinstance(fetched, FetchedPage):
            self._keeper.keep_page(project.name, fetched, known.checked)
        elif self._replicas.share(project) or known.checked - known.kept > (self._upstream.fresh + self._upstream.stale) / _KEPT_ANEW:
            # A page that never changes would else be forgotten one day, although it was confirmed a moment ago.
            known.kept = known.checked
            await self._keeper.confirm_page(project.name, known.checked)

    async def _refused(self, project: Project, error: UpstreamError) -> None:
        """Forgets the page that is known where the mirror takes it back, and raises UpstreamDoubted where it is not believed."""
        if not isinstance(error, UpstreamStatus) or error.status not in {401, 403, *_GONE}:
            return
        if error.status in _GONE and not await self._believed(project):
            raise UpstreamDoubted(error.url, f"it answered {error.status}") from None
        self._forget(project)

    async def _believed(self, project: Project) -> bool:
        if project.known is None:
            # What was never there may be absent; but while the mirror denies all that it had, that means nothing.
            return not self._doubts.lasts(project.who)
        return await self._doubts.believes(project, without_witness=True)

    async def _read_page(self, project: Project, fetched: FetchedPage, checked: float) -> KnownPage:
        digest = digest_of(fetched)
        alike = project.known if project.known is not None and project.known.digest == digest else self._projects.like(project.name, digest)
        if alike is not None:
            return replace(alike, validators=fetched.validators, checked=checked, filled_for=0.0, kept=checked)
        page = await read_page(project.name, fetched, self._upstream.link_limit)
        # Sorting the releases takes long enough to be a step of its own: what is planned next needs them.
        _ = page.releases
        await asyncio.sleep(0)
        return KnownPage(page, digest, fetched.validators, checked, page, checked)

    async def _read_stored(self, project: Project, document: PageDocument) -> KnownPage:
        return await self._read_page(project, await document.page(self._upstream.page_limit), document.checked)

    def _forget(self, project: Project) -> None:
        project.known = None
        project.served = None
        if project.who.shared:
            self._keeper.forget_page(project.name)

    async def _load(self, project: Project) -> None:
        self._projects.share(project.name, await self._keeper.commons(project.name))
        project.loaded = True
        document = await self._keeper.load(project)
        if document is None:
            return
        try:
            project.known = await self._read_stored(project, document)
        except (PageUnreadable, UpstreamError) as error:
            _log.warning("stored-page-unreadable", project=project.name, why=str(error))


def is_failure(error: UpstreamError) -> bool:
    """Whether the mirror failed, rather than gave an answer that is not to the liking of who asked."""
    return not isinstance(error, UpstreamStatus) or error.status >= 500 or error.status in _PASSING
