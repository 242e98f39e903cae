"""How the mirror's page of a project becomes fresh: fetched once however many ask, and served stale only where the mirror is down."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import structlog

from proxy.config import ProbeSection, UpstreamSection
from proxy.core.errors import (
    OwnLimit,
    PageUnreadable,
    UpstreamBroke,
    UpstreamDoubted,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.index.documents import PageDocument
from proxy.index.doubts import Belief, Doubts
from proxy.index.filling import Filling
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.keeper import Keeper, Kept
from proxy.index.project import KnownPage, Project
from proxy.index.projects import Projects
from proxy.index.reading import digest_of, read_page
from proxy.index.refusals import Refusals
from proxy.index.replicas import Replicas, Work
from proxy.upstream import FetchedPage, Mirror, Validators

_log = structlog.get_logger("mirrormend.index")

_PASSING = frozenset({408, 425, 429})
_GONE = frozenset({404, 410})
_SPELLINGS = 5000

_EMPTY_FRESH = 10.0
"""Seconds for which a page without files is taken for fresh: mirrors in trouble send such pages, and a project is seldom empty for long."""

_ASKED_ANEW = 1.0
"""Seconds within which the mirror is not asked again, whatever a client wants: then a burst of clients that refresh costs one request."""

_LOOKED_FOR = 0.5
"""Seconds for which a file waits to hear whether the mirror still has the page that lists it, where that is due."""

_HANGING = 3
"""So many projects whose pages were late in a row, and no page is waited for any longer than a moment."""

_MOMENT = 0.25
_LATE_FOR = 60.0
"""Seconds for which a page that was late is taken to be so still, unless it comes."""

_MANY_VERDICTS = 10_000
_KEPT_ANEW = 4
"""So many times, while the store keeps it, a page that the mirror only confirms is written again with the time of that."""

_KEPT_WHOLE_FOR = 600.0
"""Seconds in which a page that the store lost is fetched as a whole for it once."""


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
        self._flights: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "page", awaited=True)
        self._spellings: OrderedDict[str, str] = OrderedDict()
        self._doubts = Doubts(mirror, projects, keeper, within=probe.patience, clock=clock)
        self._refusals = Refusals(upstream.fresh)
        self._trial: asyncio.Task[None] | None = None
        self._late: dict[tuple[str, str], float] = {}
        self._late_in_a_row: dict[tuple[str, str], float] = {}

    def is_fresh(self, known: KnownPage, max_age: float | None = None) -> bool:
        """Tell whether the mirror confirmed the page lately enough: within `max_age` seconds, where a client wants that.

        A page that was confirmed in the future, since the clock went back, is not fresh.
        """
        fresh = self._upstream.fresh if known.page.count else min(self._upstream.fresh, _EMPTY_FRESH)
        if max_age is not None:
            fresh = min(fresh, max(max_age, _ASKED_ANEW))
        return 0 <= self._clock() - known.checked < fresh

    async def freshen(self, project: Project, max_age: float | None = None) -> None:
        """Sees to it that the page of `project` is fresh, or stale for a reason.

        `max_age` is how old in seconds a client lets it be (RFC 9111, section 5.2.1.1), None where it does not care.
        Raises UpstreamError or PageUnreadable where the mirror gives no page and none that is known may be served.
        """
        begun = self._clock()
        fresh = project.known is not None and self.is_fresh(project.known, max_age)
        if not (fresh or self._rests(project, begun)):
            await self._ask(project)
        if self._filling is not None:
            await self._filling.fill(project, self._probe.deadline - (self._clock() - begun))

    async def look_again(self, project: Project) -> None:
        """Ask for the page of `project` where that is due, and wait a moment for what comes of it.

        It does not raise: who has the page already goes on with it, unless the mirror has withdrawn it.
        """
        if project.known is None or self.is_fresh(project.known) or self._rests(project, self._clock()):
            return
        key = (project.who.key, project.name)
        flight = self._flights.start(key, lambda: self._refresh(project))
        await asyncio.wait({flight}, timeout=0 if self._hangs(key) else _LOOKED_FOR)

    def delivered(self) -> None:
        """Note that the mirror delivered a file: pages that it failed to give are worth asking for again."""
        self._refusals.recovered(self._clock())

    def _rests(self, project: Project, now: float) -> bool:
        return project.stale_since is not None and self._refusals.rests(project.stale_since, project.failures, now)

    async def _ask(self, project: Project) -> None:
        key = (project.who.key, project.name)
        refused = self._refusals.standing(key, self._clock()) if project.known is None else None
        if refused is not None and self._trial is not None:
            # Another page that failed before is asked for: soon it is known whether the mirror is back.
            await asyncio.wait({self._trial}, timeout=_LOOKED_FOR)
            refused = self._refusals.standing(key, self._clock())
        if refused is not None:
            self._projects.drop(project)
            try:
                raise refused
            finally:
                # An error holds the frames it passes, and the requests in them: no frame must hold it.
                del refused
        flight = self._flights.start(key, lambda: self._refresh(project))
        if self._refusals.lasts(key):
            self._trial = flight
            # What has failed holds the frames that it passed: nothing must hold it.
            flight.add_done_callback(self._trial_over)
        try:
            await self._landed(project, flight)
        finally:
            # The flight's failure holds this frame: it must not hold the flight.
            del flight

    def _trial_over(self, flight: "asyncio.Task[None]") -> None:
        if self._trial is flight:
            self._trial = None

    async def ask_again(self, project: Project) -> None:
        """Asks the mirror for the page although it is fresh, unless it was asked a moment ago; raises what `freshen` raises."""
        if project.known is None or not 0 <= self._clock() - project.known.checked <= _ASKED_ANEW:
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
            waited = 0.0 if project.refreshing_since is None else max(0.0, self._clock() - project.refreshing_since)
            deadline = min(deadline, self._patience((project.who.key, project.name)) - waited)
        try:
            async with asyncio.timeout(deadline):
                await asyncio.shield(flight)
        except (UpstreamTimeout, UpstreamUnreachable, UpstreamBroke, UpstreamDoubted, UpstreamStatus, OwnLimit, PageUnreadable) as error:
            if not self._may_serve_stale(project, error):
                raise
            _log.warning("stale-page", project=project.name, why=str(error))
        except TimeoutError:
            late = self._too_late(project)
            if not self._may_serve_stale(project, late):
                raise late from None
            self._note_late((project.who.key, project.name))
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why="no answer yet")
        finally:
            del flight

    def _patience(self, key: tuple[str, str]) -> float:
        """Return for how many seconds a page at hand waits for the mirror: not at all where that one was late the last time."""
        if self._hangs(key):
            return 0.0
        now = self._clock()
        hanging = sum(0 <= now - at < _LATE_FOR for at in self._late_in_a_row.values()) >= _HANGING
        return min(_MOMENT, self._probe.patience) if hanging else self._probe.patience

    def _hangs(self, key: tuple[str, str]) -> bool:
        return 0 <= self._clock() - self._late.get(key, float("-inf")) < _LATE_FOR

    def _note_late(self, key: tuple[str, str]) -> None:
        if len(self._late) >= _SPELLINGS:
            self._late.clear()
        self._late[key] = self._clock()
        self._late_in_a_row.pop(key, None)
        self._late_in_a_row[key] = self._clock()
        if len(self._late_in_a_row) > _HANGING:
            del self._late_in_a_row[next(iter(self._late_in_a_row))]

    def _too_late(self, project: Project) -> UpstreamTimeout:
        return UpstreamTimeout(f"{self._mirror.url}{project.name}/", self._probe.deadline)

    def _may_serve_stale(self, project: Project, error: UpstreamError | PageUnreadable) -> bool:
        known = project.known
        if known is None or self._clock() - known.checked >= self._upstream.fresh + self._upstream.stale:
            return False
        if self._doubts.forbidden(project):
            # Since the mirror said so it has not said anything else.
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
            if self._may_serve_stale(project, error):
                project.stale_since = self._clock()
            if not isinstance(error, UpstreamTimeout):
                self._answered(project)
            raise
        else:
            project.failures, project.stale_since = 0, None
            self._answered(project)
            self._refusals.succeeded((project.who.key, project.name), self._clock())
        finally:
            project.refreshing_since = None
            self._projects.note(project)
            if project.known is None:
                # Whether or not anybody still waits for it.
                self._projects.drop(project)

    def _answered(self, project: Project) -> None:
        self._late.pop((project.who.key, project.name), None)
        self._late_in_a_row.clear()

    async def _refreshed(self, project: Project) -> None:
        loaded = project.loaded
        if not loaded:
            await self._doubts.load()
            if not self._replicas.share(project):
                await self._load(project)
                if self._may_go_on(project):
                    return
        enough = None if loaded else self._is_fresh_enough
        async with self._replicas.turn(project, Work.PAGE, enough=enough) as kept:
            if kept is not None and not loaded:
                await self._loaded(project, kept)
                if self._may_go_on(project):
                    return
            if kept is not None and kept.page is not None and await self._take_over(project, kept.page):
                return
            lost = kept is not None and kept.answered and kept.page is None
            try:
                await self._fetch(project, whole=await self._is_to_be_fetched_whole(project, lost=lost))
            except (UpstreamError, PageUnreadable) as error:
                if isinstance(error, PageUnreadable) or is_failure(error):
                    await self._load_at_last(project)
                raise

    async def _is_to_be_fetched_whole(self, project: Project, *, lost: bool) -> bool:
        """Return whether the store lost the page, so that it needs all of it, and not only the word that it still holds."""
        known = project.known
        if known is None or not project.who.shared or 0 <= self._clock() - known.kept_whole < _KEPT_WHOLE_FOR:
            return False
        return lost or (known.kept == float("-inf") and await self._keeper.lacks_page(project.name))

    def _is_fresh_enough(self, kept: Kept) -> bool:
        return kept.page is not None and 0 <= self._clock() - kept.page.checked < self._upstream.fresh

    def _may_go_on(self, project: Project) -> bool:
        """Return whether the page that was loaded needs not be asked for."""
        return project.known is not None and self.is_fresh(project.known) and not self._doubts.denied(project)

    async def _take_over(self, project: Project, theirs: PageDocument) -> bool:
        """Take the page that a replica had confirmed by the mirror lately, and return whether that is so."""
        ours = project.known
        fresh = 0 <= self._clock() - theirs.checked < self._upstream.fresh
        if not fresh or (ours is not None and theirs.checked <= ours.checked <= self._clock()):
            return False
        if self._doubts.denied_since(project, theirs.checked):
            return False
        try:
            project.renew(await self._read_stored(project, theirs))
        except (PageUnreadable, UpstreamError) as error:
            _log.warning("stored-page-unreadable", project=project.name, why=str(error))
            return False
        return True

    async def _fetch(self, project: Project, belief: Belief | None = None, *, whole: bool = False) -> None:
        """Ask the mirror for the page, all of it if `whole`; `belief` is what was thought of a denial of it a moment ago."""
        known = project.known
        try:
            fetched = await self._mirror.fetch_page(
                project.name,
                project.who,
                None if known is None or whole else known.validators,
                spelling=self._spellings.get(project.name),
                # What failed the last time as well is not asked for again and again.
                within=0.0 if self._refusals.lasts((project.who.key, project.name)) else None,
            )
        except UpstreamError as error:
            self._mirror.counts.page_fetches["failed" if is_failure(error) else "refused"] += 1
            status = error.status if isinstance(error, UpstreamStatus) else None
            if status in _GONE:
                belief = await self._denied(project, belief, error.url, f"it answered {status}")
            elif status in {401, 403} and known is not None:
                belief = await self._doubts.of_refusal(project)
            else:
                raise
            if belief is not None:
                self._forget(project, stored=belief is Belief.CONFIRMED)
                raise
        else:
            self._mirror.counts.page_fetches["fetched" if isinstance(fetched, FetchedPage) else "not-modified"] += 1
            if isinstance(fetched, FetchedPage):
                await self._take(project, fetched, belief)
                if whole and project.known is not None:
                    project.known.kept_whole = project.known.checked
            elif known is not None:
                await self._confirm(project, known)

    async def _denied(self, project: Project, belief: Belief | None, url: str, how: str) -> Belief | None:
        """Return how far a denial is believed; None where it was asked for again, since a witness spoke only after it, and the page came.

        An outage may have ended between the two. Raises UpstreamDoubted where the denial is not believed.
        """
        if belief is not None:
            return belief
        stranger = project.known is None and not self._doubts.denied(project)
        belief = await (self._doubts.of_stranger(project) if stranger else self._doubts.of_known(project))
        if belief is Belief.DOUBTED:
            raise UpstreamDoubted(url, how) from None
        if belief is Belief.UNOPPOSED:
            return belief
        await self._fetch(project, belief)
        return None

    async def _take(self, project: Project, fetched: FetchedPage, belief: Belief | None) -> None:
        """Take what the mirror gave for the page from now on; raise UpstreamDoubted where it is not believed."""
        now_known = await self._read_page(project, fetched, self._clock())
        had = project.known
        emptied = not now_known.bare.count and not now_known.bare.quarantined
        if emptied and ((had is not None and had.bare.count) or self._doubts.denied(project)):
            # Many mirrors answer an empty page for what they do not have, or not now.
            try:
                belief = await self._denied(project, belief, fetched.url, "its page is empty all at once")
            except UpstreamDoubted:
                if had is None or not had.bare.count:
                    # It was believed before: what the store has is better.
                    self._forget(project, stored=False)
                raise
            if belief is None:
                return
            if belief is not Belief.CONFIRMED:
                # Without validators it is asked for as a whole, so that it can be kept once that is repeated.
                project.renew(replace(now_known, validators=Validators()))
                return
        project.renew(now_known)
        self._doubts.gave(project, files=bool(now_known.bare.count))
        if project.who.shared:
            self._keeper.keep_page(project.name, fetched, now_known.checked)

    async def _confirm(self, project: Project, known: KnownPage) -> None:
        """Note that the mirror said that the page which is known still holds."""
        before, known.checked = known.checked, self._clock()
        project.confirmed(before, known.checked, self._upstream.fresh)
        self._doubts.gave(project, files=bool(known.bare.count))
        if not project.who.shared:
            return
        kept_for = known.checked - known.kept
        if not (self._replicas.share(project) or not 0 <= kept_for <= (self._upstream.fresh + self._upstream.stale) / _KEPT_ANEW):
            return
        # A page that never changes would else be forgotten one day, although it was confirmed a moment ago.
        known.kept = known.checked
        if not await self._keeper.confirm_page(project.name, known.checked):
            # The store lost it, and has it again once the mirror has sent all of it.
            known.validators = Validators()

    async def _read_page(self, project: Project, fetched: FetchedPage, checked: float) -> KnownPage:
        digest = digest_of(fetched)
        alike = project.known if project.known is not None and project.known.digest == digest else self._projects.like(project.name, digest)
        if alike is not None:
            return replace(alike, validators=fetched.validators, checked=checked, filled_for=0.0, kept=checked)
        page = await read_page(project.name, fetched, self._upstream.link_limit)
        # What is planned next needs the releases, and sorting them takes long enough for steps of their own.
        for _ in page.prepare():
            await asyncio.sleep(0)
        return KnownPage(page, digest, fetched.validators, checked, page, checked)

    async def _read_stored(self, project: Project, document: PageDocument) -> KnownPage:
        return await self._read_page(project, await document.page(self._upstream.page_limit), document.checked)

    def _forget(self, project: Project, *, stored: bool) -> None:
        project.known = None
        # Answers for files of this page may come when it has another one.
        project.replaced = True
        project.served = None
        project.past.clear()
        if stored and project.who.shared:
            self._keeper.forget_page(project.name)

    async def _load_at_last(self, project: Project) -> None:
        """Wait for a slow store after all: it may have what the mirror does not give."""
        if not project.loaded:
            await self._load(project, patient=True)

    async def _load(self, project: Project, *, patient: bool = False) -> None:
        """Take all that is kept of a project; with `patient`, wait for a slow store longer than a page does."""
        kept = await self._keeper.kept(project, patient=patient)
        if kept.verdicts is not None and len(kept.verdicts.verdicts) > _MANY_VERDICTS:
            # They were decoded just now, and comparing them takes as long again.
            await asyncio.sleep(0)
        if project.who.shared:
            self._keeper.take_over(project, kept)
        await self._loaded(project, kept)

    async def _loaded(self, project: Project, kept: Kept) -> None:
        """Take the page that is kept, and the commons. A project of which the store did not tell now is loaded another time."""
        self._projects.share(project.name, kept.commons)
        project.loaded = kept.answered
        if kept.page is None or project.known is not None:
            return
        try:
            project.known = await self._read_stored(project, kept.page)
            self._projects.note(project)
        except (PageUnreadable, UpstreamError) as error:
            _log.warning("stored-page-unreadable", project=project.name, why=str(error))


def is_failure(error: UpstreamError) -> bool:
    """Whether the mirror failed, rather than gave an answer that is not to the liking of who asked."""
    return not isinstance(error, UpstreamStatus) or error.status >= 500 or error.status in _PASSING
