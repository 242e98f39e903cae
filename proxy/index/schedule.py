"""When what is asked about a project: what its page waits for, what goes on behind it, and what a resolver will want next."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from proxy.config import ProbeSection
from proxy.core.errors import PageUnreadable, UpstreamError
from proxy.core.identity import Identity
from proxy.core.page import File, Packaging, Page, Release
from proxy.core.requirements import required_projects
from proxy.core.verdict.client import ClientPlatform
from proxy.core.verdict.judge import VerdictRules, is_undeliverable
from proxy.core.verdict.plan import Plan, awaited_files, due, outlived, plan, plan_in_steps, reading_picks, resolver_picks
from proxy.core.verdict.proof import platform_tag
from proxy.core.verdict.reason import Reason
from proxy.core.verdict.settle import Mended
from proxy.index.awaited import Awaited
from proxy.index.burst import Burst
from proxy.index.comparison import Comparison
from proxy.index.drawing import Drawing, Turns
from proxy.index.flights import SingleFlight, Tasks, finished
from proxy.index.gate import Gate
from proxy.index.project import Progress, Project
from proxy.index.projects import Projects
from proxy.index.replicas import Replicas, Work
from proxy.index.requirements_seen import RequirementsSeen
from proxy.index.rescue import Rescue
from proxy.index.small_pages import SmallPages, is_small
from proxy.index.suspects import Urgency
from proxy.index.verification import Verifier
from proxy.store import patience_anew
from proxy.upstream import Mirror

_log = structlog.get_logger("mirrormend.index")

_LOOK = 0.02
"""Seconds after which who waits alone looks whether it still does."""

_HEARD_WITHIN = 0.25
"""Seconds that a page waits for metadata that is being read, since it may hold a requirement on the project."""

_MOST_WHOLE = 1000
"""Files of pages that wait for all that they list, in all: what comes beyond that waits for what is likely only."""

_LONG_AFTER = 10 * 365 * 86400.0
"""Seconds after which no verdict stands any more."""


class Schedule:
    """Runs the plans of one mirror's projects.

    `mended` tells what becomes of a page, `fetch` sees to it that the page of a project is at hand for an identity;
    `clock` tells seconds since the epoch.
    """

    def __init__(
        self,
        mirror: Mirror,
        verifier: Verifier,
        gate: Gate,
        projects: Projects,
        tasks: Tasks,
        *,
        replicas: Replicas,
        probe: ProbeSection,
        rules: VerdictRules,
        mended: Callable[[Project, Page], Mended],
        fetch: Callable[[str, Identity, ClientPlatform], Awaitable[object]],
        clock: Callable[[], float],
        rescue: Rescue | None = None,
        requirements: RequirementsSeen | None = None,
    ) -> None:
        self._mirror = mirror
        self._verifier = verifier
        self._gate = gate
        self._projects = projects
        self._replicas = replicas
        self._tasks = tasks
        self._probe = probe
        self._rules = rules
        self._mended = mended
        self._fetch = fetch
        self._clock = clock
        self._rescue = rescue
        self._burst = Burst(clock)
        self._rests: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "rest")
        self._again: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "again")
        self._comparison = Comparison(verifier)
        self._comparing = asyncio.Lock()
        self._comparisons: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "compare HEAD and GET for")
        self._requirements = requirements or RequirementsSeen(clock)
        self._awaited = Awaited(self._requirements, clock)
        self._follows: SingleFlight[tuple[str, str, ClientPlatform | None], bool] = SingleFlight(
            tasks, "follow requirements on", awaited=True
        )
        self._hurries: SingleFlight[tuple[str, str, str], None] = SingleFlight(tasks, "hurry")
        self._whole = 0
        self._small = SmallPages(clock)
        self._turns = Turns(mirror)
        self._verifying = 0
        self._resting = False

    def rest(self) -> None:
        """Goes on with nothing that nobody waits for."""
        self._resting = True

    def arrived(self, project: str, now: float) -> None:
        """Notes that a client asked for the page of `project`."""
        self._burst.arrived(project, now)

    def begin(self, project: Project, client: ClientPlatform | None) -> None:
        """Begins to verify the page of `project` for `client`, unless that is under way or was done since the mirror confirmed the page."""
        known = project.known
        if known is None or project.verification is not None or project.planned_for == known.checked:
            return
        project.planned_for = known.checked
        self._projects.borrow(project, known)
        project.followed_for = self._followed(project, client)
        awaited = self._awaited.of(project, known.page, client)
        ahead = self._to_read_ahead(project, known.page, client, awaited)
        planned = self._plan(project, known.page, self._budget(), client, awaited=awaited, awaited_only=True)
        progress = project.verification = Progress(began=self._clock())
        progress.whole = self._begins_as_small(project, known.page, progress) or self._waits_for_whole(project, known.page)
        if not planned.first and not ahead:
            progress.first.set()
        run = self._run(project, known.page, planned, ahead=ahead, client=client, progress=progress)
        self._tasks.start(run, f"verify {project.name}", awaited=True)

    async def wait(self, project: Project, started: float, client: ClientPlatform | None, held_up: Callable[[], float]) -> None:
        """Waits, after a request that came at `started`, for the probes that matter first, at most the deadline of `[probe]`.

        If a requirement on the project was read since they were planned, it waits for the releases that satisfy it as well.
        Who asks for one page alone waits a little for the others as well, and so does who asks for a page that no metadata named.
        `held_up` tells for how many seconds this process itself was held up: these do not count.
        """

        def left(seconds: float) -> float:
            # The clock may go back meanwhile.
            return min(started + held_up() + seconds - self._clock(), seconds)

        probe, progress = self._probe, project.verification
        if progress is not None and not progress.rest.is_set():
            await _wait_awake(progress.first, left(probe.deadline), held_up)
        await self._requirements.heard(project.who, min(left(probe.deadline), _HEARD_WITHIN))
        if self._costly:
            # What the budget admits was asked about.
            project.followed_for = self._followed(project, client)
        else:
            await self._wait_until_followed(project, client, left(probe.deadline))
        if project.known is not None:
            page = project.known.page
            self._verifier.hasten(project, lambda: awaited_files(page, self._awaited.of(project, page, client)))
        # What was denied when metadata was read was not waited for then.
        await self._verifier.settled(project, min(left(probe.deadline), probe.patience), least=Urgency.AWAITED)
        if progress is None or progress.rest.is_set():
            return
        if progress.whole:
            await _wait_awake(progress.rest, min(left(probe.deadline), left(probe.patience)), held_up)
        elif progress.began >= started and self._alone(started):
            await self._wait_alone(progress.rest, min(left(probe.deadline), probe.patience))

    def follows(self, project: Project, client: ClientPlatform | None = None) -> bool:
        """Return whether all was asked about that the page waits for by what is required and asked for up to now.

        Where the `client` is not told, that of the last time counts.
        """
        followed, now = project.followed_for, self._followed(project, client)
        return followed == now if client is not None else followed[:-1] == now[:-1]

    def _followed(self, project: Project, client: ClientPlatform | None) -> tuple[object, ...]:
        digest = None if project.known is None else project.known.digest
        return digest, self._requirements.revision(project.who, project.name), client

    async def _wait_until_followed(self, project: Project, client: ClientPlatform | None, seconds: float) -> None:
        """Wait until all was asked about that the page waits for by what `client` may choose: others choose other releases of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                while not self.follows(project, client):
                    key = project.who.key, project.name, client
                    following = self._follows.start(key, lambda: self._follow(project, client))
                    await asyncio.wait({following})
                    if following.cancelled() or following.exception() is not None or not following.result():
                        return

    async def _follow(self, project: Project, client: ClientPlatform | None) -> bool:
        """Ask about what the page waits for by now, until no new requirement comes and no release that is passed over.

        Return False where the page was withdrawn meanwhile, or asking was in vain.
        """
        asked: set[str] = set()
        while project.known is not None:
            progress, page = project.verification, project.known.page
            if progress is not None:
                await progress.first.wait()
            followed = self._followed(project, client)
            planned = self._plan(project, page, self._budget(), client, awaited_only=True)
            files = planned.first
            under_way = set() if progress is None else progress.begun
            by_others = [file for file in files if file.key in project.following]
            wanted = [each for each in files if each.key not in asked and each.key not in under_way and each.key not in project.following]
            mine = {file.key for file in wanted}
            if progress is not None:
                progress.taken |= mine
            asked |= mine
            project.following |= mine
            try:
                if wanted and not await self._verifier.ask(project, wanted, reason=planned.reason):
                    return False
            finally:
                project.following -= mine
            while any(file.key in project.following for file in by_others):  # noqa: ASYNC110 - they end for many reasons
                await asyncio.sleep(_LOOK)
            while progress is not None and not progress.rest.is_set() and any(file.key not in project.verdicts for file in files):
                await _wait(progress.rest, _LOOK)
            if not wanted and not by_others and followed == self._followed(project, client):
                project.followed_for = followed
                return True
            self._projects.learned(project)
        return False

    def _waits_for_whole(self, project: Project, page: Page) -> bool:
        """Return whether `page` waits for all that it lists though that is much: no metadata named the project."""
        if self._costly:
            return False
        budget = self._budget()
        files = len(page.files) if budget is None else min(budget, len(page.files))
        return not self._requirements.on(project.who, project.name) and (not self._whole or self._whole + files <= _MOST_WHOLE)

    def _begins_as_small(self, project: Project, page: Page, progress: Progress) -> bool:
        """Return whether all of `page` is awaited, whatever is left of the allowance, since it lists little; `progress` says so then."""
        budget = self._budget()
        if self._costly or not is_small(len(page.files), budget):
            return False
        if progress.small is None:
            # Only what is to be asked about counts.
            now, verdicts, seen_since = self._clock(), project.verdicts, project.seen_since
            files = sum(due(each, verdicts.get(each.key), now, self._rules, seen_since=seen_since(each)) for each in page.files)
            progress.small = files if self._small.begin(files, budget) else None
        return progress.small is not None

    async def _wait_alone(self, rest: asyncio.Event, seconds: float) -> None:
        """Waits for the rest, unless other pages are asked for meanwhile: then it is put off, and a resolver waits for this page."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not rest.is_set() and not self._burst.lasts(self._clock()):
                    await _wait(rest, _LOOK)

    async def finish(self, project: Project, page: Page) -> None:
        """Waits until all that the budget allows was asked, and the metadata read that a resolver reads first."""
        if project.verification is not None:
            await project.verification.rest.wait()
        await self._verifier.settled(project)
        await self._gate.read_ahead(project, page, list(self._to_read_ahead(project, page, None, self._awaited.of(project, page, None))))
        self._projects.learned(project)

    async def prepare(self, project: Project, page: Page, releases: Collection[str]) -> None:
        """Ask about what a page waits for and these releases, wait for the proof of denials, and read the metadata that is read first."""
        chosen = [release for release in page.releases if release.spelling in releases]
        picks = [file for release in chosen for file in resolver_picks(release)[:1]]
        unread = [file for file in picks if file.filename.endswith(".whl") and not self._gate.has_read(project, file)]
        reading = self._gate.read_ahead(project, page, unread, reason=Reason.DEMAND)
        budget = self._budget()
        if self._costly:
            # What is read answers for the file, too.
            await reading
        else:
            wanted = self._to_prepare(project, page, chosen, picks)[:budget]
            await asyncio.gather(reading, self._verifier.ask(project, wanted, reason=Reason.DEMAND))
        await self._verifier.settled(project)
        self._projects.learned(project)

    def _to_prepare(self, project: Project, page: Page, chosen: Sequence[Release], picks: Sequence[File]) -> list[File]:
        first = self._plan(project, page, self._budget(), None, awaited_only=True).first
        files = dict.fromkeys(file.key for file in (*picks, *first, *(file for release in chosen for file in release.files)))
        now, listed, verdicts = self._clock(), page.by_key, project.verdicts
        return [
            listed[name]
            for name in files
            if due(listed[name], verdicts.get(name), now, self._rules, seen_since=project.seen_since(listed[name]))
        ]

    def look_ahead(self, project: Project, client: ClientPlatform | None) -> None:
        """Fetches the pages of what a project requires that a resolver has just asked for: it will ask for these next.

        It goes one step ahead of the client and no further.
        """
        known = project.known
        if known is None or client is None or not project.asked_for or project.looked_ahead_for == known.checked or not project.read:
            return
        if self._costly or not self._probe.ahead:
            return
        picks = self._reading_picks(project, known.page, client, self._awaited.of(project, known.page, client))
        read = project.read.get(picks[0].key) if picks else None
        if read is None:
            return
        project.looked_ahead_for = known.checked
        for name in required_projects(read.content, client.python):
            held = self._projects.known(project.who, name)
            if held is not None and held.busy:
                # It is being fetched, or what it lists is being asked about.
                continue
            self._tasks.start(self._fetch_ahead(name, project.who, client), f"fetch ahead {name}")

    def hurry(self, project: Project, page: Page, file: File, *, read_now: bool = True) -> None:
        """Ask about the rest of the release of `file` next, since a resolver that reads its metadata is likely to choose it.

        `read_now` says that the metadata was not at hand.
        """
        budget, release, progress = self._budget(), page.release_of(file), project.verification
        under_way = frozenset() if progress is None else progress.begun
        wanted = [each for each in release.files if each.probeable and each.key not in project.verdicts and each.key not in under_way]
        self._note_late(project, release)
        if not wanted or (self._costly and (not read_now or (budget is not None and budget < len(wanted)))):
            return
        if self._costly:
            left = self._mirror.left()
            if left is not None and left < len(wanted):
                # It is all of them or none: what would be taken for some would be lost.
                return
            self._mirror.take(len(wanted))
        key = project.who.key, project.name, release.spelling
        self._hurries.start(key, lambda: self._verify_release(project, wanted[:budget], release))

    async def verify_again(self, project: Project, page: Page) -> None:
        """Asks about the files of `page`, also those whose verdict still stands, within the budget.

        Waits for the answers at most the patience of `[probe]`; what is left goes on behind it.
        """
        asking = self._again.start((project.who.key, project.name), lambda: self._all_anew(project, page))
        await asyncio.wait({asking}, timeout=self._probe.patience)

    async def _all_anew(self, project: Project, page: Page) -> None:
        planned = await self._plan_all(project, page, self._budget(), None, at=self._clock() + _LONG_AFTER)
        await self._verifier.ask(project, planned.files, reason=Reason.DEMAND)
        self._report(project, page)
        self._projects.learned(project)

    def _alone(self, started: float) -> bool:
        """Whether the page that was asked for then has the proxy to itself, so that it can wait for more than a resolver reads first."""
        return self._verifying <= 1 and not self._burst.lasts(max(started, self._clock()))

    def _to_read_ahead(
        self, project: Project, page: Page, client: ClientPlatform | None, awaited: Mapping[str, Reason]
    ) -> tuple[File, ...]:
        if self._verifier.in_vain(project.who):
            return ()
        picks = self._reading_picks(project, page, client, awaited)
        if self._costly:
            # Where a request is a download, an sdist is read when a client asks for it.
            picks = tuple(file for file in picks if file.packaging is not Packaging.SDIST)
        return tuple(file for file in picks if not self._gate.has_read(project, file) and not self._gate.unreadable(project, file))

    async def _read_ahead(self, project: Project, page: Page, files: tuple[File, ...], client: ClientPlatform | None) -> None:
        """Read the metadata of `files`; during a burst, for one that is denied, that of the wheel that is read if it leaves the page."""
        if self._costly or self._alone(self._clock()):
            # Nobody is held up when a denied file is asked for alone.
            await self._gate.read_ahead(project, page, list(files))
            return
        denied = await self._gate.try_ahead(project, page, files)
        if denied:
            lacking, expects_denial = {platform_tag(file) for file in denied}, self._verifier.expects_denial(project.who)
            awaited = self._awaited.of(project, page, client)
            others = self._reading_picks(
                project, page, client, awaited, lacks=lambda file: platform_tag(file) in lacking or expects_denial(file)
            )
            others = tuple(file for file in others if platform_tag(file) not in lacking)
            if not others or await self._gate.try_ahead(project, page, others):
                # Nothing but these, or another file in their place, tells what the release requires.
                await self._gate.read_ahead(project, page, denied)

    def _reading_picks(
        self,
        project: Project,
        page: Page,
        client: ClientPlatform | None,
        awaited: Mapping[str, Reason],
        *,
        lacks: Callable[[File], bool] | None = None,
    ) -> tuple[File, ...]:
        # The first one satisfies most of what is required.
        spelling, reason = next(iter(awaited.items()), ("", Reason.AWAITED))
        release = page.release(spelling) if reason is Reason.CONSTRAINT else None
        lacks = lacks or self._verifier.expects_denial(project.who)
        return reading_picks(page, project.verdicts, client, lacks=lacks, likely=() if release is None else (release,))

    def _plan(
        self,
        project: Project,
        page: Page,
        budget: int | None,
        client: ClientPlatform | None,
        *,
        awaited: Mapping[str, Reason] | None = None,
        awaited_only: bool = False,
    ) -> Plan:
        now = self._clock()
        return plan(
            page,
            project.verdicts,
            now,
            rules=self._rules,
            budget=budget,
            client=client,
            awaited=self._awaited.of(project, page, client) if awaited is None else awaited,
            awaited_only=awaited_only,
            seen_since=project.seen_since,
        )

    async def _plan_all(
        self,
        project: Project,
        page: Page,
        budget: int | None,
        client: ClientPlatform | None,
        *,
        at: float | None = None,
        asked_since: float | None = None,
    ) -> Plan:
        now = self._clock() if at is None else at
        steps = plan_in_steps(
            page,
            project.verdicts,
            now,
            rules=self._rules,
            budget=budget,
            client=client,
            awaited=self._awaited.of(project, page, client),
            seen_since=project.seen_since,
            asked_since=asked_since,
        )
        while (planned := finished(steps)) is None:  # noqa: ASYNC110 - it gives way between steps, it waits for nobody
            await asyncio.sleep(0)
        return planned

    async def _run(
        self,
        project: Project,
        page: Page,
        awaited: Plan,
        *,
        ahead: tuple[File, ...],
        client: ClientPlatform | None,
        progress: Progress,
    ) -> None:
        budget = self._budget()
        whole = min(len(page.files), len(page.files) if budget is None else budget) if progress.whole else 0
        self._verifying += 1
        self._whole += whole
        came_alone = self._alone(self._clock())
        try:
            reading_ahead = self._tasks.start(self._read_ahead(project, page, ahead, client), f"read ahead {project.name}")
            reading_ahead.add_done_callback(lambda _: self.look_ahead(project, client))
            if self._costly:
                # What is read answers for the file, too: on such a mirror a probe besides could be a second download.
                await reading_ahead
            async with self._replicas.turn(project, Work.FIRST):
                reading = {file.key for file in ahead} if self._costly else set()
                was_sure = self._mirror.kind_is_sure
                counted = await self._ask_awaited(project, page, awaited, reading, client)
                if not was_sure and self._begins_as_small(project, page, progress):
                    progress.whole = True
                progress.first.set()
            # A client that asks for one page alone waits for the rest as well.
            patience_anew()
            if not progress.whole:
                await self._burst.calm()
            if not project.asked_for:
                # It was fetched ahead and nobody came: whoever does has the rest planned.
                project.planned_for = 0.0
                return
            async with self._replicas.turn(project, Work.REST):
                keep = _nothing if progress.whole else self._kept_for_others(came_alone=came_alone)
                asked, is_left = await self._ask_rest(project, page, client, progress, counted=counted, keep=keep)
            progress.rest.set()
            if self._rescue is not None:
                await self._rescue.prepare(project, self._probe.deadline)
            if counted or asked:
                self._report(project, page)
                self._projects.learned(project)
            if self._verifier.head.is_doubted and not self._costly and self._budget() != 0:
                self._comparisons.start((project.who.key, project.name), lambda: self._compare(project, page))
            if is_left:
                self._rests.start((project.who.key, project.name), lambda: self._verify_the_rest(project, client))
        except UpstreamError as error:
            _log.warning("verification-stopped", project=project.name, why=str(error))
        finally:
            self._verifying -= 1
            self._whole -= whole
            self._small.end(progress.small or 0)
            progress.first.set()
            progress.rest.set()
            project.verification = None
            self._projects.learned(project)

    async def _ask_awaited(
        self, project: Project, page: Page, awaited: Plan, reading: Collection[str], client: ClientPlatform | None
    ) -> int:
        """Ask about what `page` waits for, without what is `reading` already; return how many files count against the page's budget."""
        counted = len(awaited.first)
        first = tuple(file for file in awaited.first if file.key not in reading)
        if not self._mirror.kind_is_sure:
            # The first answer tells what the mirror is, and how much of it may be asked.
            await self._ask_first(project, self._still_due(project, page, first[:1], client), awaited.reason)
            awaited = self._plan(project, page, self._budget(), client, awaited_only=True)
            counted, first = max(counted, len(awaited.first)), awaited.first
        await self._ask_first(project, self._still_due(project, page, first, client), awaited.reason)
        return counted

    async def _ask_rest(
        self,
        project: Project,
        page: Page,
        client: ClientPlatform | None,
        progress: Progress,
        *,
        counted: int,
        keep: Callable[[], int],
    ) -> tuple[bool, bool]:
        """Ask about the rest of `page` as far as its budget and the mirror's allowance go.

        `counted` files of the budget are spent; `keep` tells how much of the allowance to leave.
        Return whether anything was asked about, and whether anything is left.
        """
        budget, small = self._budget(), progress.small is not None and not self._costly
        of_page = None if budget is None else max(0, budget - counted)
        left = [each for each in (of_page, None if small else self._mirror.left(keep=keep())) if each is not None]
        wanted = await self._plan_all(project, page, min(left, default=None), client)
        if wanted.more and self._leaves_the_rest:
            kept = {file.key for file in wanted.files}
            project.forget(outlived(page, project.verdicts, self._clock(), self._rules, kept))
        reason = Reason.AWAITED if progress.whole else Reason.BACKGROUND
        drawn = Drawing(self._mirror, wanted.files, keep, awaited=small, progress=progress)
        await self._verifier.ask(project, drawn, patient=not progress.whole, reason=reason)
        return bool(wanted.files), wanted.more or drawn.is_dry

    async def _compare(self, project: Project, page: Page) -> None:
        """Compare HEAD with GET, one page at a time."""
        async with self._comparing:
            if not self._resting and await self._comparison.compare(project, page, self._drawn):
                self._projects.learned(project)

    def _still_due(self, project: Project, page: Page, files: tuple[File, ...], client: ClientPlatform | None) -> tuple[File, ...]:
        """Gives those of `files` that no replica asked about meanwhile."""
        if not self._replicas.share(project):
            return files
        due = {file.key for file in self._plan(project, page, self._budget(), client, awaited_only=True).first}
        return tuple(file for file in files if file.key in due)

    async def _fetch_ahead(self, name: str, who: Identity, client: ClientPlatform) -> None:
        try:
            await self._fetch(name, who, client)
        except (UpstreamError, PageUnreadable) as error:
            _log.debug("fetch-ahead failed", project=name, why=str(error))

    async def _verify_the_rest(self, project: Project, client: ClientPlatform | None) -> None:
        """Ask, slowly, about what the budget left out: about each file once, as long as the project is held, and in turn with others."""
        if self._leaves_the_rest:
            return
        began = self._clock()
        while True:
            async with self._turns.mine():
                if project.known is None or not self._projects.holds(project) or self._resting:
                    return
                # Where it takes longer than a no counts, what was asked first would be due again at the end, and so without end.
                files = (await self._plan_all(project, project.known.page, self._turns.size, client, asked_since=began)).files
                if not files or not await self._turns.take(len(files)):
                    return
            asked = await self._verifier.ask(project, files, background=True)
            self._projects.learned(project)
            if not asked:
                return

    async def _ask_first(self, project: Project, files: tuple[File, ...], reason: Callable[[File], Reason]) -> None:
        """Ask about what the page waits for. Where a probe is a download, all pages share what may be asked of that as well."""
        await self._verifier.ask(project, self._drawn(files) if self._costly else files, reason=reason)

    def _drawn(self, files: Iterable[File]) -> Drawing:
        return Drawing(self._mirror, files, _nothing)

    def _kept_for_others(self, *, came_alone: bool) -> Callable[[], int]:
        """Return what tells how much of the allowance this page has to leave: nothing as long as it is alone, else the reserve."""
        return lambda: 0 if came_alone and self._alone(self._clock()) else self._mirror.allowance.reserve

    async def _verify_release(self, project: Project, files: list[File], release: Release) -> None:
        await self._verifier.ask(project, files, reason=Reason.DEMAND)
        await self._verifier.settled(project)
        self._projects.learned(project)
        self._note_late(project, release)

    def _note_late(self, project: Project, release: Release) -> None:
        """Tell of files of `release` that are proven absent and that the page listed which was given last.

        A resolver asks for metadata after it has the page, and locks all that the page listed of the release.
        """
        dead = [file for file in release.files if is_undeliverable(project.verdicts.get(file.key)) and file.key not in project.named_late]
        if not dead or project.served is None:
            return
        mended = project.served.mended
        expected = {each.file.key for each in mended.dropped} | {each.key for each in mended.rescued}
        late = [file for file in dead if file.key not in expected]
        if late:
            now = self._clock()
            project.named_late |= {file.key: now for file in late}
            self._mirror.counts.proven_late += len(late)
            _log.warning(
                "absence-proven-late",
                mirror=self._mirror.name,
                project=project.name,
                release=release.spelling,
                files=[file.filename for file in late],
                advice="a lock made at this moment may name them: run `uv lock --refresh`",
            )

    @property
    def _leaves_the_rest(self) -> bool:
        """Whether what the budget leaves out is not asked about in the background either."""
        return (self._costly and self._probe.rate == "auto") or self._probe.budget == 0

    @property
    def _costly(self) -> bool:
        """Tell whether a probe costs the mirror as much as a download."""
        return self._mirror.budget.costly

    def _budget(self) -> int | None:
        chosen = self._probe.budget
        return self._mirror.budget.probes if chosen == "auto" else chosen

    def _report(self, project: Project, page: Page) -> None:
        mended = self._mended(project, page)
        log = _log.warning if mended.dropped or mended.unknown else _log.info
        log(
            "verified",
            mirror=self._mirror.name,
            project=project.name,
            links=page.count,
            dropped=len(mended.dropped),
            dropped_for={cause.value: count for cause, count in mended.causes.items()},
            rescued=len(mended.rescued),
            unknown=sum(mended.unknown.values()),
            unknown_for={cause.value: count for cause, count in mended.unknown.items()},
            unasked=mended.unasked,
            releases_lost=list(mended.lost),
            held=mended.held.value,
        )


def _nothing() -> int:
    return 0


async def _wait(event: asyncio.Event, seconds: float) -> None:
    if not event.is_set() and seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


async def _wait_awake(event: asyncio.Event, seconds: float, held_up: Callable[[], float]) -> None:
    """Wait for `event`, at most so many seconds and as long besides as this process is `held_up` meanwhile."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds - held_up()
    while not event.is_set() and (left := due + held_up() - loop.time()) > 0:
        await _wait(event, left)
