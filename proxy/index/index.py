"""The straight path: a name becomes a mended page, a file name becomes a link of the mirror, and both are remembered."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from proxy.config import LinkMode, Settings
from proxy.core.errors import (
    FileNotListed,
    PageUnreadable,
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.flows.evidence import Evidence
from proxy.core.identity import SHARED, Identity
from proxy.core.page import File, Page
from proxy.core.parse import parse_page_in_steps
from proxy.core.render import LinkMaker, MetadataOffer, proxied_links
from proxy.core.requires import required_projects
from proxy.core.verdict.budget import BUDGETS
from proxy.core.verdict.client import ClientPlatform
from proxy.core.verdict.judge import VerdictRules
from proxy.core.verdict.plan import Plan, plan, plan_in_steps, reading_picks
from proxy.core.verdict.settle import Policy, settle
from proxy.index.burst import Burst
from proxy.index.flights import SingleFlight, Tasks, finished
from proxy.index.gate import CoreMetadata, Gate
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Progress, Project
from proxy.index.projects import Projects
from proxy.index.served import Revision, ServedPage
from proxy.index.verification import Verifier
from proxy.store import Store
from proxy.upstream import FetchedPage, Mirror

_log = structlog.get_logger("mirrormend.index")

_STALE_PAUSE = 10.0
"""Seconds for which a stale page is served before the mirror is tried again."""

_RECENTLY = 60.0
_SPELLINGS = 5000
_PARSED_INLINE = 256 * 1024
_BACKGROUND_PIECE = 100


class Index:
    """The mended view of one mirror."""

    def __init__(self, mirror: Mirror, store: Store, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.mirror = mirror
        self._settings = settings
        self._upstream = next(section for section in settings.upstream if section.name == mirror.name)
        self._clock = clock
        verdict = settings.verdict
        self._keeper = Keeper(store, mirror.name, pages_for=self._upstream.fresh + self._upstream.stale, verdicts_for=verdict.yes)
        self._rules = VerdictRules(verdict.yes, verdict.no, verdict.no_young, verdict.no_keep, verdict.witness, verdict.confirm)
        self._policy = Policy(verdict.empty, verdict.sdist_only, verdict.confirm)
        self.tasks = Tasks()
        self._refreshes: SingleFlight[tuple[str, str], None] = SingleFlight(self.tasks, "page")
        self._rests: SingleFlight[tuple[str, str], None] = SingleFlight(self.tasks, "rest")
        self._verifier = Verifier(mirror, self._rules, self.tasks, clock)
        self._gate = Gate(mirror, self._verifier, self.tasks, clock)
        self._burst = Burst(clock)
        self._verifying = 0
        self._projects = Projects(self._keeper, clock)
        self._spellings: OrderedDict[str, str] = OrderedDict()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def close(self) -> None:
        """Stops the work in the background; what was learned is in the store's hands by then."""
        await self.tasks.close()
        for project in self._projects:
            self._keeper.keep(project)

    async def page(self, name: str, who: Identity, client: ClientPlatform | None = None) -> ServedPage:
        """Gives the mended page of the project with the normalised `name`, as `who` may see it.

        Waits for the mirror and for the probes that matter first, at most the deadline of `[probe]`.
        Raises UpstreamError or PageUnreadable where the mirror gives no page and none is remembered.
        """
        started = self._clock()
        self._burst.arrived(name, started)
        project = await self._fresh(name, who, client)
        project.asked_for = True
        self._look_ahead(project, client)
        progress = project.verification
        if progress is not None and not progress.rest.is_set():
            deadline = started + self._settings.probe.deadline
            await _wait(progress.first, deadline - self._clock())
            if progress.began >= started and self._alone(started):
                await _wait(progress.rest, min(deadline - self._clock(), self._settings.probe.patience))
        return self._serve(project)

    def spelled(self, name: str, spelling: str) -> None:
        """Notes how somebody spelled the project with the normalised `name`: some mirrors have its page under that spelling only."""
        self._spellings[name] = spelling
        if len(self._spellings) > _SPELLINGS:
            self._spellings.popitem(last=False)

    def at_hand(self, name: str) -> ServedPage | None:
        """Gives the page that `page` would give the shared identity this instant; None where it would have to wait or to work for it."""
        project = self._projects.known(SHARED, name)
        now = self._clock()
        if project is None or project.known is None or project.served is None or now - project.used > _RECENTLY:
            return None
        known, served = project.known, project.served
        if now - known.checked >= self._upstream.fresh or project.planned_for != known.checked or project.verification is not None:
            return None
        if project.stale_since is not None or served.revision != self._revision(project, known):
            return None
        self._burst.arrived(name, now)
        self._projects.touch(project)
        return served

    def _alone(self, started: float) -> bool:
        """Whether the page that was asked for then has the proxy to itself, so that it can wait for more than a resolver reads first."""
        return self._verifying <= 1 and not self._burst.lasts(max(started, self._clock()))

    async def file(self, name: str, filename: str, who: Identity) -> tuple[Project, File]:
        """Gives the file that the mirror's page lists under `filename`, whether the mended page lists it or not.

        Raises FileNotListed, or what `page` raises.
        """
        project = self._projects.known(who, name)
        if project is None or project.known is None or filename not in project.known.page.by_filename:
            project = await self._fresh(name, who, None)
        if filename not in _page_of(project).by_filename and self._clock() - _known(project).checked > 1.0:
            await self._refreshes.do((who.key, name), lambda: self._refresh(project))
        file = _page_of(project).by_filename.get(filename)
        if file is None:
            raise FileNotListed(name, filename)
        return project, file

    async def metadata(self, name: str, filename: str, who: Identity) -> CoreMetadata:
        """Gives the core metadata for a listed file; raises MetadataUnavailable, FileNotListed, or what `page` raises."""
        project, file = await self.file(name, filename, who)
        page = _page_of(project)
        known = filename in project.read
        try:
            async with asyncio.timeout(self._settings.probe.deadline):
                found = await self._gate.metadata(project, page, file)
        except TimeoutError:
            raise UpstreamTimeout(
                file.url.partition("?")[0], self._settings.probe.deadline, "the metadata could not be read in time"
            ) from None
        if not known:
            self._keeper.keep(project)
            self._hurry(project, page, file)
        return found

    async def correct(self, project: Project, file: File, evidence: Evidence) -> None:
        """Notes what a request for `file` itself showed: a verdict at once."""
        before = project.verdicts.get(file.filename)
        await self._verifier.correct(project, file, evidence)
        if before is None or before.kind is not project.verdicts[file.filename].kind:
            self._projects.learned(project)

    # How a page becomes fresh ---------------------------------------------------------------------------------------------------------

    async def _fresh(self, name: str, who: Identity, client: ClientPlatform | None) -> Project:
        project = self._projects.of(who, name)
        now = self._clock()
        fresh = project.known is not None and now - project.known.checked < self._upstream.fresh
        resting = project.stale_since is not None and now - project.stale_since < _STALE_PAUSE
        if not fresh and not resting:
            flight = self._refreshes.start((who.key, name), lambda: self._refresh(project))
            try:
                await self._landed(project, flight)
            finally:
                if project.known is None and flight.done():
                    self._projects.drop(project)
        self._verify(project, client)
        return project

    async def _landed(self, project: Project, flight: "asyncio.Task[None]") -> None:
        deadline = self._settings.probe.deadline
        if project.known is not None:
            # A page is at hand: a mirror that hangs must not hold it back for long.
            deadline = min(deadline, self._settings.probe.patience)
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
                raise UpstreamTimeout(f"{self.mirror.url}{project.name}/", deadline) from None
            project.stale_since = self._clock()
            _log.warning("stale-page", project=project.name, why=f"no answer within {deadline:g} s")

    def _may_serve_stale(self, project: Project, error: UpstreamError) -> bool:
        if isinstance(error, UpstreamStatus) and error.status < 500:
            return False
        return project.known is not None and self._clock() - project.known.checked < self._upstream.fresh + self._upstream.stale

    async def _refresh(self, project: Project) -> None:
        if not project.loaded:
            await self._load(project)
            if project.known is not None and self._clock() - project.known.checked < self._upstream.fresh:
                return
        known = project.known
        try:
            fetched = await self.mirror.fetch_page(
                project.name, project.who, None if known is None else known.validators, spelling=self._spellings.get(project.name)
            )
        except UpstreamStatus as error:
            if error.status in {401, 403, 404, 410}:
                self._forget(project)
            raise
        if known is not None and not isinstance(fetched, FetchedPage):
            known.checked = self._clock()
        elif isinstance(fetched, FetchedPage):
            project.known = await self._read_page(project, fetched, self._clock())
        project.stale_since = None
        if project.known is not None and project.who.shared and isinstance(fetched, FetchedPage):
            self._keeper.keep_page(project.name, fetched, project.known.checked)

    async def _read_page(self, project: Project, fetched: FetchedPage, checked: float) -> KnownPage:
        hashed = hashlib.sha256(fetched.url.encode())
        hashed.update(fetched.body)
        digest = hashed.hexdigest()
        if project.known is not None and project.known.digest == digest:
            page = project.known.page
        else:
            page = self._projects.page(project.name, digest) or await self._parse(project.name, fetched)
        return KnownPage(page, digest, fetched.validators, checked)

    async def _parse(self, name: str, fetched: FetchedPage) -> Page:
        steps = parse_page_in_steps(fetched.body, fetched.content_type, fetched.url, name, link_limit=self._upstream.link_limit)
        # The first step of a large page in HTML is one long call, during which the parser leaves the interpreter to others.
        html = not fetched.body[:64].lstrip().startswith(b"{")
        page = await asyncio.to_thread(finished, steps) if html and len(fetched.body) > _PARSED_INLINE else None
        while page is None:
            page = finished(steps)
            await asyncio.sleep(0)
        # Sorting the releases takes long enough to be a step of its own: what is planned next needs them.
        _ = page.releases
        await asyncio.sleep(0)
        return page

    # How it is verified ---------------------------------------------------------------------------------------------------------------

    def _verify(self, project: Project, client: ClientPlatform | None) -> None:
        known = project.known
        if known is None or project.verification is not None or project.planned_for == known.checked:
            return
        project.planned_for = known.checked
        self._projects.borrow(project, known)
        ahead = tuple(file for file in reading_picks(known.page, project.verdicts, client) if file.filename not in project.read)
        first = self._plan(project, known.page, self._budget(), client, awaited_only=True).first
        progress = project.verification = Progress(began=self._clock())
        if not first and not ahead:
            progress.first.set()
        run = self._run(project, known.page, first=first, ahead=ahead, client=client, progress=progress)
        self.tasks.start(run, f"verify {project.name}")

    def _plan(self, project: Project, page: Page, budget: int | None, client: ClientPlatform | None, *, awaited_only: bool = False) -> Plan:
        now = self._clock()
        return plan(page, project.verdicts, now, rules=self._rules, budget=budget, client=client, awaited_only=awaited_only)

    async def _plan_all(self, project: Project, page: Page, budget: int | None, client: ClientPlatform | None) -> Plan:
        steps = plan_in_steps(page, project.verdicts, self._clock(), rules=self._rules, budget=budget, client=client)
        while (planned := finished(steps)) is None:  # noqa: ASYNC110 - it gives way between steps, it waits for nobody
            await asyncio.sleep(0)
        return planned

    async def _run(
        self,
        project: Project,
        page: Page,
        *,
        first: tuple[File, ...],
        ahead: tuple[File, ...],
        client: ClientPlatform | None,
        progress: Progress,
    ) -> None:
        budget = self._budget()
        left = None if budget is None else max(0, budget - len(first))
        self._verifying += 1
        try:
            reading_ahead = self.tasks.start(self._gate.read_ahead(project, page, list(ahead)), f"read ahead {project.name}")
            reading_ahead.add_done_callback(lambda _: self._look_ahead(project, client))
            if self._costly:
                # What is read answers for the file, too: on such a mirror a probe besides could be a second download.
                reading = {file.filename for file in ahead}
                first = tuple(file for file in first if file.filename not in reading)
                await reading_ahead
            await self._verifier.ask(project, first)
            progress.first.set()
            await self._burst.calm()
            if not project.asked_for:
                # It was fetched ahead and nobody came: whoever does has the rest planned.
                project.planned_for = 0.0
                return
            wanted = await self._plan_all(project, page, left, client)
            await self._verifier.ask(project, wanted.files, patient=True)
            progress.rest.set()
            if first or wanted.files:
                self._report(project)
                self._projects.learned(project)
            if wanted.more:
                self._rests.start((project.who.key, project.name), lambda: self._verify_the_rest(project, client))
        except UpstreamError as error:
            _log.warning("verification-stopped", project=project.name, why=str(error))
        finally:
            self._verifying -= 1
            progress.first.set()
            progress.rest.set()
            project.verification = None
            self._projects.learned(project)

    def _look_ahead(self, project: Project, client: ClientPlatform | None) -> None:
        """Fetches the pages of what a project requires that a resolver has just asked for: it will ask for these next.

        It goes one step ahead of the client and no further.
        """
        known = project.known
        if known is None or client is None or not project.asked_for or project.looked_ahead_for == known.checked:
            return
        if self._costly or not self._settings.probe.ahead:
            return
        picks = reading_picks(known.page, project.verdicts, client)
        read = project.read.get(picks[0].filename) if picks else None
        if read is None:
            return
        project.looked_ahead_for = known.checked
        for name in required_projects(read.content, client.python):
            self.tasks.start(self._fetch_ahead(name, project.who, client), f"fetch ahead {name}")

    async def _fetch_ahead(self, name: str, who: Identity, client: ClientPlatform) -> None:
        try:
            await self._fresh(name, who, client)
        except (UpstreamError, PageUnreadable) as error:
            _log.debug("fetch-ahead failed", project=name, why=str(error))

    async def _verify_the_rest(self, project: Project, client: ClientPlatform | None) -> None:
        """Asks, slowly, about what the budget left out."""
        if (self._costly and self._settings.probe.rate == "auto") or self._settings.probe.budget == 0:
            return
        while project.known is not None:
            wanted = await self._plan_all(project, project.known.page, _BACKGROUND_PIECE, client)
            if not wanted.files:
                return
            await self._verifier.ask(project, wanted.files, background=True)
            self._projects.learned(project)

    def _hurry(self, project: Project, page: Page, file: File) -> None:
        """A resolver that reads the metadata of a release is likely to choose it: the rest of the release is asked about next."""
        budget = self._budget()
        release = page.release_of(file)
        wanted = [each for each in release.files if each.filename not in project.verdicts]
        if not wanted or (budget is not None and budget < len(wanted)):
            return
        self.tasks.start(self._verify_release(project, wanted), f"hurry {project.name}")

    async def _verify_release(self, project: Project, files: list[File]) -> None:
        await self._verifier.ask(project, files)
        self._projects.learned(project)

    @property
    def _costly(self) -> bool:
        """Whether a probe costs the mirror as much as a download."""
        return BUDGETS[self.mirror.kind].rate == 0

    def _budget(self) -> int | None:
        chosen = self._settings.probe.budget
        return BUDGETS[self.mirror.kind].probes if chosen == "auto" else chosen

    # How it is served -----------------------------------------------------------------------------------------------------------------

    def _serve(self, project: Project) -> ServedPage:
        known = _known(project)
        stale = None if project.stale_since is None else self._clock() - known.checked
        served = project.served
        current = self._revision(project, known)
        if served is None or served.revision != current or stale is not None:
            mended = settle(known.page, project.verdicts, self._policy)
            served = ServedPage(
                mended=mended,
                links=self._links(project),
                metadata=self._offers(project),
                revision=current,
                complete=mended.unasked == 0,
                private=not project.who.shared,
                storm=current[3],
                stale_for=stale,
                offered_anew=frozenset((*project.read, *project.unreadable)),
            )
            if project.served is not None:
                served.inherit(project.served)
            project.served = served
        return served

    def _revision(self, project: Project, known: KnownPage) -> Revision:
        return project.revision, project.offers, known.digest, self._verifier.storm(project.who)

    def _links(self, project: Project) -> LinkMaker:
        if self._settings.links.mode is LinkMode.DIRECT:
            return lambda files: [file.url for file in files]
        return proxied_links(project.name)

    def _offers(self, project: Project) -> MetadataOffer:
        if self._settings.links.mode is LinkMode.DIRECT:
            return lambda files: [file.core_metadata if file.filename in project.copied else None for file in files]
        return self._gate.offers(project)

    def _report(self, project: Project) -> None:
        mended = settle(_page_of(project), project.verdicts, self._policy)
        log = _log.warning if mended.dropped or mended.unknown else _log.info
        log(
            "verified",
            mirror=self.mirror.name,
            project=project.name,
            links=len(_page_of(project).files),
            dropped=len(mended.dropped),
            dropped_for={cause.value: count for cause, count in mended.causes.items()},
            unknown=sum(mended.unknown.values()),
            unknown_for={cause.value: count for cause, count in mended.unknown.items()},
            unasked=mended.unasked,
            releases_lost=list(mended.lost),
            held=mended.held.value,
        )

    # How it is remembered -------------------------------------------------------------------------------------------------------------

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


async def _wait(event: asyncio.Event, seconds: float) -> None:
    if not event.is_set() and seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def _known(project: Project) -> KnownPage:
    if project.known is None:
        raise PageUnreadable(project.name, "", "the mirror's page was withdrawn meanwhile")
    return project.known


def _page_of(project: Project) -> Page:
    return _known(project).page
