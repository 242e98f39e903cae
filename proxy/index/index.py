"""The straight path: a name becomes a mended page, a file name becomes a link of the mirror, and both are remembered."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from proxy.config import Settings
from proxy.core.errors import FileNotListed, PageUnreadable, UpstreamError, UpstreamTimeout
from proxy.core.flows.evidence import DELIVERED, Evidence
from proxy.core.identity import SHARED, Identity
from proxy.core.page import File, Page
from proxy.core.twins import file_at, same_elsewhere
from proxy.core.verdict.client import ClientPlatform
from proxy.core.verdict.explain import explain
from proxy.core.verdict.judge import Kind, Verdict, VerdictRules, is_undeliverable
from proxy.core.verdict.reason import Reason
from proxy.core.verdict.settle import Dropped, Mended, Policy
from proxy.index.explaining import explanation_data
from proxy.index.filling import Filling
from proxy.index.flights import Tasks
from proxy.index.gate import CoreMetadata, Gate
from proxy.index.keeper import Keeper
from proxy.index.overhearing import Overhearing
from proxy.index.own_time import OwnTime
from proxy.index.pages import Pages
from proxy.index.project import Project, mark_of
from proxy.index.projects import Projects
from proxy.index.repairs import NO_REPAIRS, Repairs
from proxy.index.replicas import Replicas
from proxy.index.requirements_seen import RequirementsSeen
from proxy.index.rescue import Rescue
from proxy.index.schedule import Schedule
from proxy.index.served import ServedPage
from proxy.index.serving import Serving, known_of
from proxy.index.verification import Verifier
from proxy.store import Store, patience_of_a_page
from proxy.upstream import Mirror
from proxy.upstream.addresses import shown

_RECENTLY = 60.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What an index holds in memory: projects, how many of them with a page, and about how many bytes they are.

    `dropped` files and `lost` releases are missing on the pages that all share; `storms` is for how many identities dropping has stopped.
    """

    projects: int
    pages: int
    memory_bytes: int
    dropped: int
    lost: int
    storms: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A project as one identity knows it: the mirror's page, the page as it is served, and the verdicts by the files' keys."""

    page: Page
    served: ServedPage
    verdicts: Mapping[str, Verdict]


class Index:
    """The mended view of one mirror; `repairs` come from a second index.

    `requirements` are those of the index whose place this one takes, if that was of the same mirror.
    """

    def __init__(
        self,
        mirror: Mirror,
        store: Store,
        settings: Settings,
        *,
        repairs: Repairs = NO_REPAIRS,
        clock: Callable[[], float] = time.time,
        requirements: RequirementsSeen | None = None,
    ) -> None:
        self.mirror = mirror
        self._settings = settings
        self._clock = clock
        self._own_time = OwnTime()
        upstream = next(section for section in settings.upstream if section.name == mirror.name)
        verdict = settings.verdict
        pages_for, denials_for = upstream.fresh + upstream.stale, max(verdict.no, verdict.no_keep)
        self._keeper = Keeper(store, mirror.key, pages_for=pages_for, verdicts_for=verdict.yes, denials_for=denials_for)
        rules = VerdictRules(verdict.yes, verdict.no, verdict.no_young, verdict.no_keep, verdict.witness, verdict.confirm)
        self._retired = False
        self.tasks = Tasks()
        self._keeping: asyncio.Task[None] | None = None
        self._stop_watching = store.watch_losses(self._store_lost)
        self._projects = Projects(self._keeper, clock, later=_call_later)
        self._verifier = Verifier(
            mirror,
            rules,
            self.tasks,
            clock,
            patience=settings.probe.patience,
            learned=self._projects.learned,
            head_lied=self._projects.plan_anew,
            settled_after=verdict.confirm,
        )
        self.rescue = _rescue(repairs, settings, self.tasks, self._verifier, clock)
        replicas = Replicas(self._keeper, self.tasks)
        self.requirements = requirements = requirements or RequirementsSeen(clock)
        self._overhearing = Overhearing(requirements, self.tasks)
        self._gate = Gate(mirror, self._verifier, self.tasks, clock, replicas=replicas, rescue=self.rescue, requirements=requirements)
        self._serving = Serving(
            mirror,
            self._verifier,
            self._gate,
            policy=Policy(verdict.empty, verdict.sdist_only, verdict.confirm),
            rescue=self.rescue,
            mode=settings.links.mode,
            clock=clock,
        )
        reference = repairs.reference
        self._pages = Pages(
            mirror,
            self._keeper,
            self._projects,
            self.tasks,
            upstream=upstream,
            probe=settings.probe,
            replicas=replicas,
            clock=clock,
            filling=None if reference is None else Filling(reference, settings.reference, self.tasks),
        )
        self._schedule = Schedule(
            mirror,
            self._verifier,
            self._gate,
            self._projects,
            self.tasks,
            replicas=replicas,
            probe=settings.probe,
            rules=rules,
            mended=self._serving.mended,
            fetch=self._fresh,
            clock=clock,
            rescue=self.rescue,
            requirements=requirements,
        )

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def retire(self) -> None:
        """Hand what was learned to the store, since another index takes the place of this one. Requests that have it may go on."""
        self._retired = True
        self._stop_watching()
        self._keep_all()
        # The other index may know more from now on.
        self._keeper.rest()
        self._schedule.rest()

    def _store_lost(self) -> None:
        for project in self._projects:
            if project.known is not None:
                # Only the mirror has the page as a whole: it is fetched so when it is due, unless the store's memory has it.
                project.known.kept = float("-inf")
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping = self.tasks.start(self._keep_again(), "keep again")

    async def _keep_again(self) -> None:
        """Keep again what the store lost and this index learned."""
        for project in self._projects:
            if project.who.shared and project.loaded:
                await self._keeper.catch_up(project)
                self._keeper.keep(project)

    async def close(self) -> None:
        """Stop the work in the background; what was learned is in the store's hands by then."""
        self._stop_watching()
        await self.tasks.close()
        self._keep_all()
        self._projects.clear()

    def _keep_all(self) -> None:
        for project in self._projects:
            self._keeper.keep(project)

    @property
    def has_pages(self) -> bool:
        """Whether there is any page that could be served although the mirror is down."""
        return self._projects.pages > 0

    @property
    def holding(self) -> Holding:
        """What is held in memory just now."""
        held = self._projects
        return Holding(
            projects=len(held),
            pages=held.pages,
            memory_bytes=held.weight,
            dropped=held.dropped,
            lost=held.lost,
            storms=self._verifier.storms,
        )

    @property
    def missing(self) -> list[tuple[str, Dropped]]:
        """The files that are missing on the pages which all share and that are held in memory, each with its project's name."""
        # Nothing can be missing where nothing is denied, and most projects are of that kind.
        undeliverable = Kind.UNDELIVERABLE
        shared = (project for project in self._projects if project.who.shared and project.known and project.served)
        denied = (project for project in shared if any(verdict.kind is undeliverable for verdict in project.verdicts.values()))
        return [(project.name, dropped) for project in denied for dropped in self._serving.mended_now(project).dropped]

    def storm(self, who: Identity) -> bool:
        """Whether dropping has stopped for this identity."""
        return self._verifier.storm(who)

    async def look(self, name: str, who: Identity) -> Looked:
        """Gives what is known of a project; asks for its page and verifies it as for any client, and raises what `page` raises."""
        served = await self.page(name, who)
        project = self._projects.of(who, name)
        return Looked(_page_of(project), served, dict(project.verdicts))

    async def verify_again(self, name: str, who: Identity) -> None:
        """Asks the mirror anew for the page and, within the budget, for its files; waits for that at most `[probe]` patience.

        Raises what `page` raises.
        """
        project = await self._fresh(name, who, None)
        await self._pages.ask_again(project)
        await self._schedule.verify_again(project, _page_of(project))

    async def page(self, name: str, who: Identity, client: ClientPlatform | None = None, max_age: float | None = None) -> ServedPage:
        """Return the mended page of the project with the normalised `name`, as `who` may see it.

        `max_age` is how many seconds ago the mirror may have confirmed it at most, None where the client leaves that to the settings.
        Waits for the mirror and for the probes that matter first, at most the deadline of `[probe]`.
        Raises UpstreamError or PageUnreadable where the mirror gives no page and none is remembered.
        """
        started = self._clock()
        self._schedule.arrived(name, started)
        with self._own_time.watched() as held_up:
            with patience_of_a_page():
                project = await self._fresh(name, who, client, max_age)
            project.asked_for = True
            self._schedule.look_ahead(project, client)
            await self._schedule.wait(project, started, client, held_up)
        if self.rescue is not None:
            await self.rescue.prepare(project, self._settings.probe.deadline - (self._clock() - started))
        served = self._serving.serve(project)
        self._projects.note(project)
        return served

    def spelled(self, name: str, spelling: str) -> None:
        """Notes how somebody spelled the project with the normalised `name`: some mirrors have its page under that spelling only."""
        self._pages.spelled(name, spelling)

    def at_hand(self, name: str) -> ServedPage | None:
        """Return the page that `page` would give the shared identity this instant; None where it would have to wait or to work for it.

        A retired index has none at hand: the one in its place has.
        """
        if self._retired:
            return None
        project = self._projects.known(SHARED, name)
        now = self._clock()
        if project is None or project.known is None or project.served is None or now - project.used > _RECENTLY:
            return None
        known, served = project.known, project.served
        if not self._pages.is_fresh(known) or project.planned_for != known.checked or project.verification is not None:
            return None
        if (
            self._verifier.is_proving(project)
            or not self._schedule.follows(project)
            or (self.rescue is not None and self.rescue.may_try_again(project))
        ):
            return None
        if project.stale_since is not None or served.stale_for is not None or not self._serving.is_current(project, served):
            return None
        self._schedule.arrived(name, now)
        self._projects.touch(project)
        return served

    async def file(self, name: str, key: str, who: Identity) -> tuple[Project, File]:
        """Return the file that the mirror's page lists under `key` (or its plain name), or did some hours ago, also where it was dropped.

        Raises FileNotListed, or what `page` raises.
        """
        project = self._projects.known(who, name)
        if project is not None and self._listed(project, key) is not None:
            await self._pages.look_again(project)
        if project is None or self._listed(project, key) is None:
            project = await self._fresh(name, who, None)
        if self._listed(project, key) is None:
            await self._pages.ask_again(project)
        _ = _page_of(project)
        file = self._listed(project, key)
        if file is not None and "?" in file.url and project.known is not None and not self._pages.is_fresh(project.known):
            # The link may be signed, and its time be over.
            with suppress(UpstreamError, PageUnreadable):
                await self._pages.ask_again(project)
            file = self._listed(project, key) or file
        if file is None:
            raise FileNotListed(name, key.rpartition("/")[2])
        if project.known is not None and file.key in project.known.page.by_key:
            # The page may be withdrawn since, and the file be there all the same.
            project.demand.note(project.known.page.release_of(file).spelling, self._clock())
        return project, file

    def addresses(self, project: Project, file: File) -> tuple[File, ...]:
        """Return `file` and the files of the page that are the same bytes at other addresses, those first that are not denied."""
        others = () if project.known is None else same_elsewhere(project.known.page, file)
        return tuple(sorted((file, *others), key=lambda each: is_undeliverable(project.verdicts.get(each.key)))) if others else (file,)

    def _listed(self, project: Project, key: str) -> File | None:
        """Return the file that the mirror's page lists, or listed some hours ago: nodes of one mirror give pages of different age."""
        if project.known is None:
            return None
        page = project.known.page
        # A lock that was made before the name had twins means the file that it had then.
        mark = project.plain_names.get(key)
        before = next((twin for twin in page.namesakes.get(key, ()) if mark_of(twin) == mark), None) if mark is not None else None
        file = before or file_at(page, key)
        return project.past_file(key, self._clock()) if file is None else file

    async def mirror_page(self, name: str, who: Identity) -> Page:
        """Gives the project's page as the mirror has it, nothing taken off, and asks about no file; raises what `page` raises."""
        project = self._projects.of(who, name)
        await self._pages.freshen(project)
        return _page_of(project)

    async def explained(self, name: str, key: str, who: Identity) -> dict[str, Any]:
        """Return what is known of a file and why it is listed or not, as data, and ask about no file; raise what `page` raises.

        Nothing is told that another identity learned, but for what that identity's pages share.
        """
        project = self._projects.of(who, name)
        await self._pages.freshen(project)
        page = _page_of(project)
        explanation = explain(page, key, project.verdicts, self._serving.mended(project, page))
        storm, last_good = self._verifier.storm(who), self._verifier.last_good(who)
        late = project.named_late.get(key)
        return explanation_data(explanation, self.mirror.url, storm=storm, last_good=last_good, proven_late=late)

    async def warm(self, name: str, releases: Collection[str] | None = None) -> Mended:
        """Learns ahead what clients without credentials of their own will ask about the project, and gives what became of its page.

        That is all that a request for the page would have asked about; where `releases` are named (their normalised versions),
        what such a page waits for and these, and what a resolver reads of them. Raises what `page` raises.
        """
        project = self._projects.of(SHARED, name)
        project.asked_for = True
        await self._pages.freshen(project)
        page = _page_of(project)
        if releases is None:
            self._schedule.begin(project, None)
            await self._schedule.finish(project, page)
        else:
            await self._schedule.prepare(project, page, releases)
        return self._serving.mended(project, page)

    def known(self, name: str) -> Mended | None:
        """Return what became of the page of a project that clients without credentials of their own see; None if it is not in memory."""
        project = self._projects.known(SHARED, name)
        return None if project is None or project.known is None else self._serving.mended_now(project)

    @property
    def known_names(self) -> list[str]:
        """The projects of whose pages `known` tells."""
        return [project.name for project in self._projects if project.who.shared and project.known is not None]

    async def settled(self) -> None:
        """Wait until the denials of files of all these projects are proven, contradicted, or left for another time."""
        await asyncio.gather(*(self._verifier.settled(project) for project in self._projects if project.who.shared))

    async def confirm(self, name: str) -> Mended:
        """Prove once more, as soon as `[verdict]` confirm allows, that those releases are absent that await it; return the page.

        Raises PageUnreadable if the page was withdrawn.
        """
        project = self._projects.of(SHARED, name)
        await self._verifier.settled(project)
        awaiting = self._serving.mended(project, _page_of(project)).awaiting
        if awaiting:
            await asyncio.sleep(self._until_confirmed(project, awaiting))
            await self._verifier.ask(project, awaiting, reason=Reason.PROOF)
            await self._verifier.settled(project)
            self._projects.learned(project)
        return self._serving.mended(project, _page_of(project))

    def _until_confirmed(self, project: Project, awaiting: Collection[File]) -> float:
        """Return the seconds until another proof counts beside the first; a clock that went back lets nobody wait for longer than that."""
        proven = max(project.verdicts[file.key].evidence.at for file in awaiting)
        confirm = self._settings.verdict.confirm
        return min(confirm, max(0.0, proven + confirm - self._clock()))

    async def metadata(self, name: str, key: str, who: Identity) -> CoreMetadata:
        """Return the core metadata for a listed file; raise MetadataUnavailable, FileNotListed, or what `page` raises."""
        deadline, url = self._settings.probe.deadline, f"{self.mirror.url}{name}/"
        try:
            async with asyncio.timeout(deadline):
                project, file = await self.file(name, key, who)
                page, url = _page_with(_page_of(project), file), shown(file.url)
                known = self._gate.has_read(project, file)
                found = await self._gate.metadata(project, page, file)
        except TimeoutError:
            raise UpstreamTimeout(url, deadline, "the metadata could not be read in time") from None
        if not known:
            self._keeper.keep(project)
        self._schedule.hurry(project, page, file, read_now=not known)
        return found

    def overheard(self, project: Project, file: File, chunks: AsyncIterator[bytes], length: int | None) -> AsyncIterator[bytes]:
        """Return `chunks`, which are all of `file`; what they show that it requires counts for the pages that are asked for next."""
        return self._overhearing.overheard(project, _page_with(_page_of(project), file), file, chunks, length)

    async def correct(self, project: Project, file: File, evidence: Evidence) -> None:
        """Notes what a request for `file` itself showed: a verdict at once."""
        before = project.verdicts.get(file.key)
        if evidence.status in DELIVERED:
            self._pages.delivered()
        await self._verifier.correct(project, file, evidence)
        after = project.verdicts.get(file.key)
        if before is None or after is None or before.kind is not after.kind:
            self._projects.learned(project)

    async def _fresh(self, name: str, who: Identity, client: ClientPlatform | None, max_age: float | None = None) -> Project:
        project = self._projects.of(who, name)
        await self._pages.freshen(project, max_age)
        self._schedule.begin(project, client)
        return project


def _rescue(repairs: Repairs, settings: Settings, tasks: Tasks, verifier: Verifier, clock: Callable[[], float]) -> Rescue | None:
    if repairs.rescue is None:
        return None
    patience, deadline, no = settings.reference.patience, settings.probe.deadline, settings.verdict.no
    return Rescue(repairs.rescue, settings.rescue, tasks, verifier=verifier, patience=patience, deadline=deadline, no=no, clock=clock)


def _page_with(page: Page, file: File) -> Page:
    """Return `page` with `file`, which it may have listed some hours ago."""
    return page if file.key in page.by_key else replace(page, files=(*page.files, file))


def _page_of(project: Project) -> Page:
    return known_of(project).page


def _call_later(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)
