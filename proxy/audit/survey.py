"""The audit itself: pages are fetched and their files asked about by the verifier of the proxy, at the pace that the mirror bears.

What was learned can be reported at any moment, also after somebody ended the survey in the middle.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol, Self

import structlog

from proxy import __version__
from proxy.audit.closure import Closure, Step, first_readable
from proxy.audit.findings import Exchange, Fault, Finding, Level, Report
from proxy.audit.matrix import Matrix
from proxy.audit.metadata import MetadataCheck, read_first
from proxy.audit.overheard import Ear, OverheardMirror, spelled, telling_headers
from proxy.audit.pages import JSON_TYPE
from proxy.audit.platforms import pythons_of, spelled_python
from proxy.audit.subject import Subject
from proxy.audit.wanted import Order, Want
from proxy.config import LinkMode, Settings
from proxy.core.errors import (
    MirrormendError,
    OutboundProxyRefused,
    PageUnreadable,
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.identity import SHARED
from proxy.core.page import File, Page
from proxy.core.verdict.budget import BUDGETS
from proxy.core.verdict.judge import PASSING, Cause, Kind, Verdict, VerdictRules
from proxy.core.verdict.plan import confirmed_by_get, plan
from proxy.core.verdict.settle import Mended, Policy, settle
from proxy.index.flights import Tasks
from proxy.index.gate import Gate
from proxy.index.project import KnownPage
from proxy.index.reading import digest_of, read_page
from proxy.index.verification import Verifier
from proxy.upstream import FetchedPage, NotModified
from proxy.upstream.pages import wait_before

_log = structlog.get_logger("mirrormend.audit")

_AT_ONCE = 12
"""Projects that are looked at together: enough to keep the probes' window full."""

_ABSENT = frozenset({404, 410})
_PERHAPS_ELSEWHERE = "; another index may have it"


class Watch(Protocol):
    """Who is told how far it is."""

    def expects(self, projects: int) -> None:
        """There are so many projects to look at."""

    def asks(self, files: int) -> None:
        """So many files more are to be asked about."""

    def answered(self) -> None:
        """One answer more was heard."""

    def done(self, project: str, findings: int) -> None:
        """A project is done, with so many findings."""


class Survey:
    """Looks at what is wanted of the first mirror of `settings`, and holds what was found."""

    def __init__(self, settings: Settings, watch: Watch, *, everything: bool = False, clock: Callable[[], float] = time.time) -> None:
        section, verdict = settings.upstream[0], settings.verdict
        probe = settings.of(section).probe
        self._section = section
        self._clock = clock
        self._watch = watch
        self._chosen = probe.budget
        self._everything = everything
        # What fails in passing is asked again when the rest is done: between other probes it would hold these up each time.
        self.mirror = OverheardMirror(section.model_copy(update={"retries": 0}), probe, clock=clock)
        self.ear = self.mirror.ear = Ear(watch.answered)
        self._rules = VerdictRules(verdict.yes, verdict.no, verdict.no_young, verdict.no_keep, verdict.witness, verdict.confirm)
        self.rescuable = frozenset(Cause(each) for each in settings.rescue.causes) if settings.rescue.enabled else frozenset[Cause]()
        self._by_address = settings.links.mode is LinkMode.DIRECT
        self._policy = Policy(verdict.empty, verdict.sdist_only, verdict.confirm)
        self.tasks = Tasks()
        self.verifier = Verifier(self.mirror, self._rules, self.tasks, clock)
        self._subjects: dict[str, Subject] = {}
        self._order = Order(())
        self._began = clock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._ended = False

    async def __aenter__(self) -> Self:
        await self.mirror.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.close()
        await self.mirror.close()

    async def run(self, order: Order) -> None:
        """Looks at everything that `order` asks for; it may be cancelled at any time."""
        self._order = order
        self._watch.expects(len(order.wants))
        if order.closure:
            await self._follow(order)
        await asyncio.gather(*(self._look_at(want) for want in self._order.wants))
        await self.verifier.promises_looked_at()
        if self.verifier.head.lies:
            # What HEAD said before that was seen is worth nothing either.
            await asyncio.gather(*(self._ask(subject, subject.of_head_alone()) for subject in self._subjects.values()))
        self._ended = True

    async def _follow(self, order: Order) -> None:
        """Adds what the requirements lead to."""
        gate = Gate(self.mirror, self.verifier, self.tasks, self._clock)
        wants = {want.project: want for want in order.wants}

        def found(steps: Sequence[Step]) -> None:
            for step in steps:
                wants.setdefault(step.project, Want(step.project, step.spelling, named=False))
            self._order = replace(order, wants=tuple(wants[name] for name in sorted(wants)))
            self._watch.expects(len(wants))

        async def read(step: Step) -> bytes | None:
            async with self._slots:
                subject = await self.subject(wants[step.project])
                page = subject.page
                subject.require(step.specifier)
                file = None if page is None else first_readable(page, step.specifier)
                if page is None or file is None:
                    return None
                try:
                    return (await gate.metadata(subject.project, page, file)).content
                except MirrormendError:
                    # That it cannot be read is found, and told, when the release itself is looked at.
                    return None

        await Closure(read, found, order).follow()

    def report(self) -> Report:
        """Return what is known now."""
        projects = []
        seen = any(subject.page is not None for subject in self._subjects.values())
        for want in self._order.wants:
            subject = self._subjects.get(want.project)
            if subject is not None and (subject.whole or subject.page is not None):
                report = subject.report(self.settled, self.mirror, self.rescuable)
                projects.append(replace(report, findings=tuple(_proven(each, want, self._order, seen=seen) for each in report.findings)))
        return Report(
            self.mirror.address,
            self.mirror.kind.value,
            self._order.sources,
            self._began,
            self._clock(),
            tuple(projects),
            interrupted=not self._ended,
            unreached=len(self._order.wants) - len(projects),
            requests=self.ear.requests,
            price=self.mirror.counts.price.costs,
            matrix=self._matrix(),
            version=__version__,
        )

    def _matrix(self) -> Matrix | None:
        if not self._order.matrix:
            return None
        pythons = pythons_of(self._order.requires_python)
        rows = [row for want in self._order.wants if want.pins for row in self._subject(want).rows(pythons)]
        matrix = Matrix(tuple(map(spelled_python, pythons)), tuple(rows))
        return matrix.beside_other_indexes() if self._order.other_indexes else matrix

    def _subject(self, want: Want) -> Subject:
        return self._subjects.get(want.project) or Subject(want, f"{self.mirror.address}{want.project}/")

    async def _look_at(self, want: Want) -> None:
        async with self._slots:
            subject = await self.subject(want)
            if subject.page is not None:
                await self._verify(subject, subject.page)
            subject.whole = True
            self._watch.done(want.project, len(subject.report(self.settled, self.mirror, self.rescuable).findings))

    async def subject(self, want: Want) -> Subject:
        """Gives the project with its page, if the mirror gives one; it is fetched once."""
        subject = self._subjects.get(want.project)
        if subject is None:
            subject = self._subjects[want.project] = self._subject(want)
        if subject.page is None and not subject.findings:
            try:
                await self._fetch(subject)
            except (UpstreamError, PageUnreadable) as error:
                subject.findings.append(self._failure(subject, error))
        return subject

    def settled(self, page: Page, verdicts: Mapping[str, Verdict]) -> Mended:
        """Gives what the proxy would make of `page` by these verdicts."""
        return settle(page, verdicts, self._policy, by_address=self._by_address)

    async def _fetch(self, subject: Subject) -> None:
        want = subject.want
        fetched = await self._page_of(want)
        if not isinstance(fetched, FetchedPage):
            raise PageUnreadable(subject.url, "", "it was asked for without a condition, and said that nothing changed")
        self.ear.requests += 1
        page = await read_page(want.project, fetched, self._section.link_limit)
        now = self._clock()
        exchange = Exchange(
            spelled(fetched.url),
            "GET",
            200,
            now,
            headers=telling_headers(fetched.headers),
            credentials=self.mirror.credentials_for(fetched.url),
            accept=JSON_TYPE,
        )
        subject.project.known = KnownPage(page, digest_of(fetched), fetched.validators, now, page)
        subject.read(page, fetched, exchange)

    async def _page_of(self, want: Want) -> FetchedPage | NotModified:
        for attempt in count(1):
            try:
                return await self.mirror.fetch_page(want.project, SHARED, spelling=want.spelling)
            except (UpstreamStatus, UpstreamTimeout, UpstreamBroke) as error:
                wait = wait_before(attempt, error) if attempt <= self._section.retries else None
                if wait is None:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError

    def _failure(self, subject: Subject, error: UpstreamError | PageUnreadable) -> Finding:
        status = error.status if isinstance(error, UpstreamStatus) else 200 if isinstance(error, PageUnreadable) else None
        asked = Exchange(
            spelled(error.url),
            "GET",
            status,
            self._clock(),
            "" if status is not None else _trouble(error),
            credentials=self.mirror.credentials_for(subject.url),
            accept=JSON_TYPE,
        )
        unreadable = isinstance(error, PageUnreadable)
        return Finding(
            Level.ERROR if unreadable else Level.UNCHECKED,
            Fault.PAGE_UNREADABLE if unreadable else Fault.PAGE_FAILED,
            subject.want.project,
            str(error),
            cause="unreadable" if unreadable else "absent" if status in _ABSENT else "failed",
            exchange=asked,
            place=subject.want.place,
        )

    # Which files are asked about ------------------------------------------------------------------------------------------------------

    async def _verify(self, subject: Subject, page: Page) -> None:
        budget = None if self._everything else BUDGETS[self.mirror.kind].probes if self._chosen == "auto" else self._chosen
        if subject.want.pins:
            wanted: Sequence[File] = list({file.key: file for file in subject.pinned_files()}.values())[:budget]
        else:
            wanted = plan(page, subject.project.verdicts, self._clock(), rules=self._rules, budget=budget).files
        subject.asked = {file.key: file for file in wanted}
        await self._ask(subject, wanted)
        await self._confirm(subject, page)
        verdicts = subject.project.verdicts
        passing = [file for file in wanted if file.key in verdicts and verdicts[file.key].cause in PASSING]
        if passing and self._section.retries:
            await self._ask(subject, passing, believe_head=False)
        if budget != 0:
            first = read_first(page, subject.releases, subject.project)
            self._watch.asks(len(first))
            await MetadataCheck(self.mirror, subject.findings.append).check(page, first, subject.places)
        self.ear.forget(file.url for file in wanted if file.key in verdicts and verdicts[file.key].kind is Kind.DELIVERABLE)

    async def _confirm(self, subject: Subject, page: Page) -> None:
        """Ask by a GET for some of the files of which HEAD alone was asked: mirrors promise by it what they do not deliver."""
        alone, verdicts = subject.of_head_alone(), subject.project.verdicts
        if self.verifier.head.is_asked:
            chosen = {file.key for file in confirmed_by_get(page, alone, subject.releases, BUDGETS[self.mirror.kind].confirmed)}
            # If HEAD fails, GET may deliver the file.
            failed = {file.key for file in alone if file.key in verdicts and verdicts[file.key].kind is Kind.UNKNOWN}
            alone = [file for file in alone if file.key in chosen or file.key in failed]
        await self._ask(subject, alone, believe_head=False)

    async def _ask(self, subject: Subject, files: Iterable[File], *, believe_head: bool = True) -> None:
        files = list(files)
        usual = BUDGETS[self.mirror.kind].probes
        self._watch.asks(len(files))
        # What goes beyond the usual budget keeps to the rate of the proxy's background work.
        await self.verifier.ask(subject.project, files[:usual], believe_head=believe_head)
        if usual is not None and files[usual:]:
            await self.verifier.ask(subject.project, files[usual:], background=True, believe_head=believe_head)


def _proven(finding: Finding, want: Want, order: Order, *, seen: bool) -> Finding:
    """Return a finding at the level that is proven.

    A page that answers 404 is absent only where the same credentials got another page: it may be they that are refused. If clients may get
    the project or the release from another index, its absence is no fault of the mirror.
    """
    if finding.fault is Fault.RELEASE_ABSENT and order.other_indexes:
        return replace(finding, level=Level.NOTE, says=f"{finding.says}{_PERHAPS_ELSEWHERE}")
    if finding.fault is not Fault.PAGE_FAILED or finding.cause != "absent" or not seen:
        return finding
    says = "the mirror has no such project"
    if order.other_indexes:
        return replace(finding, level=Level.NOTE, fault=Fault.PROJECT_ABSENT, says=f"{says}{_PERHAPS_ELSEWHERE}")
    return replace(finding, level=Level.ERROR if want.named else Level.WARNING, fault=Fault.PROJECT_ABSENT, says=says)


def _trouble(error: UpstreamError | PageUnreadable) -> str:
    if isinstance(error, OutboundProxyRefused):
        return "outbound-proxy"
    # A failure of TLS is a kind of its own only for those who read the sentence.
    kind = UpstreamUnreachable if isinstance(error, UpstreamUnreachable) else type(error)
    return kind.__name__.removeprefix("Upstream").lower()
