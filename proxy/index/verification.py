"""Asking the mirror about the files of a page, and making sure of what it denies before a file is dropped for it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.flows.probe import probe
from proxy.core.identity import Identity
from proxy.core.page import File, Packaging
from proxy.core.verdict.guard import StormGuard
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, VerdictRules, cause_of, judge
from proxy.core.verdict.plan import order
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.project import Project
from proxy.upstream import Mirror

_log = structlog.get_logger("mirrormend.index")

_WITNESS_PAUSE = 5.0
"""Seconds after a vain search for a witness before another one for the same project or during the same storm."""

_HEAD_LIES = 3
"""So many denials of HEAD that a GET contradicts, and HEAD is not asked any more."""

_WITNESSES_ASKED = 4
_LACKING = 3
"""So many wheels of one platform denied in a row, and the next is expected to be."""


@dataclass(slots=True)
class _Denied:
    """A denial that needs something besides before it counts."""

    file: File
    evidence: Evidence
    cause: Cause
    known_good: bool


@dataclass(slots=True)
class _Standing:
    """How the mirror stands towards one identity."""

    guard: StormGuard = field(default_factory=StormGuard)
    good: deque[File] = field(default_factory=lambda: deque(maxlen=16))
    searched: dict[str, float] = field(default_factory=dict)


class _Platforms:
    """Which platforms the mirror has: where it denied all wheels of one so far, asking by HEAD first is a request for nothing."""

    def __init__(self) -> None:
        self._denied: Counter[str] = Counter()

    def learn(self, file: File, cause: Cause) -> None:
        """Notes what came of asking about `file`."""
        if cause is Cause.AVAILABLE and self._denied:
            self._denied.pop(_platform(file), None)
        elif cause is Cause.ABSENT:
            self._denied[_platform(file)] += 1

    def lacks(self, file: File) -> bool:
        """Whether a denial is to be expected for `file`."""
        return bool(self._denied) and self._denied[_platform(file)] >= _LACKING


def _platform(file: File) -> str:
    """The system that a wheel is for, such as `macosx`."""
    tag = file.filename.rpartition("-")[2]
    return tag.partition("_")[0] if file.filename.endswith(".whl") else ""


class Verifier:
    """Probes files of one mirror and turns what comes back into verdicts, with all the care that a no needs."""

    def __init__(self, mirror: Mirror, rules: VerdictRules, tasks: Tasks, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._searches: SingleFlight[tuple[str, str], bool] = SingleFlight(tasks, "witness")
        self._rules = rules
        self._clock = clock
        self._standings: dict[str, _Standing] = {}
        self._platforms = _Platforms()
        self._head_lies = 0
        self._head_holds = 0

    def storm(self, who: Identity) -> bool:
        """Whether dropping has stopped for this identity, since files known to be good fail."""
        return who.key in self._standings and self._standings[who.key].guard.storm

    @property
    def storms(self) -> int:
        """For how many identities dropping has stopped."""
        return sum(standing.guard.storm for standing in self._standings.values())

    async def ask(self, project: Project, files: Iterable[File], *, background: bool = False, patient: bool = False) -> None:
        """Probes `files` of `project`, in their order, and notes a verdict on each as its answer comes.

        `patient` probes let those go first that somebody waits for, and `background` ones keep to the mirror's rate as well.
        """
        denied: list[_Denied] = []

        def learned(file: File, evidence: Evidence) -> None:
            self._weigh_head(file, evidence)
            self.note(project, file, evidence, denied)

        flows = ((file, probe(file.url, size=file.size, head=self._head_believed and not self._platforms.lacks(file))) for file in files)
        await self._mirror.converse_all(flows, project.who, learned=learned, background=background, patient=patient)
        await self.prove(project, denied)

    async def correct(self, project: Project, file: File, evidence: Evidence) -> None:
        """Notes what a request for the file itself showed."""
        denied: list[_Denied] = []
        self.note(project, file, evidence, denied)
        await self.prove(project, denied)

    def note(self, project: Project, file: File, evidence: Evidence, denied: list[_Denied]) -> None:
        """Notes the verdict that `evidence` allows at once; a denial that needs more is added to `denied`."""
        standing = self._standing(project.who)
        cause = cause_of(evidence, file.size)
        previous = project.verdicts.get(file.filename)
        known_good = previous is not None and previous.kind is Kind.DELIVERABLE
        self._platforms.learn(file, cause)
        if cause is Cause.AVAILABLE:
            standing.guard.good(evidence.at)
            standing.good.append(file)
        elif known_good and cause in PROOF:
            self._known_good_failed(project, standing, file, evidence)
        proven = cause is Cause.ABSENT and not known_good and standing.guard.witnessed(evidence.at, self._rules.witness)
        if cause in PROOF and not proven:
            denied.append(_Denied(file, evidence, cause, known_good))
        self._mirror.counts.probes[evidence.asked.name, cause] += 1
        self._learn(project, file, previous, judge(cause, evidence, previous, proven=proven, rules=self._rules))

    def _learn(self, project: Project, file: File, previous: Verdict | None, verdict: Verdict) -> None:
        if previous is None or previous.kind is not verdict.kind:
            self._mirror.counts.verdicts[verdict.kind, verdict.cause] += 1
        project.learn(file.filename, verdict)

    async def prove(self, project: Project, denied: list[_Denied]) -> None:
        """Looks for what the denials need: a witness, and for those other than absence the same answer again after it."""
        if not denied:
            return
        guard = self._standing(project.who).guard
        unproven = []
        for each in denied:
            if each.cause is Cause.ABSENT and not each.known_good and guard.witnessed(each.evidence.at, self._rules.witness):
                self._conclude(project, each.file, each.evidence, each.cause)
            else:
                unproven.append(each)
        if not unproven or not await self._witness(project, unproven):
            return
        for each in unproven:
            if each.cause is Cause.ABSENT and guard.witnessed(each.evidence.at, self._rules.witness):
                self._conclude(project, each.file, each.evidence, each.cause)
        again = {each.file.filename: each for each in unproven if each.cause is not Cause.ABSENT}

        def learned(file: File, evidence: Evidence) -> None:
            if cause_of(evidence, file.size) is again[file.filename].cause and not guard.storm:
                self._conclude(project, file, evidence, again[file.filename].cause)
            else:
                self.note(project, file, evidence, [])

        flows = ((each.file, probe(each.file.url, size=each.file.size, head=False)) for each in again.values())
        await self._mirror.converse_all(flows, project.who, learned=learned)

    def _conclude(self, project: Project, file: File, evidence: Evidence, cause: Cause) -> None:
        previous = project.verdicts.get(file.filename)
        self._learn(project, file, previous, judge(cause, evidence, previous, proven=True, rules=self._rules))

    async def _witness(self, project: Project, denied: list[_Denied]) -> bool:
        """Finds a file that the mirror delivers now, after the denials; where several look for one, one search serves them all."""
        standing = self._standing(project.who)
        flight = "" if standing.guard.storm else project.name
        latest = max(each.evidence.at for each in denied)
        if standing.guard.last_good > latest and not standing.guard.storm:
            return True
        if self._clock() - standing.searched.get(flight, 0.0) < _WITNESS_PAUSE:
            return False
        return await self._searches.do((project.who.key, flight), lambda: self._search(project, standing, denied, flight))

    async def _search(self, project: Project, standing: _Standing, denied: list[_Denied], flight: str) -> bool:
        for file in self._candidates(project, standing, {each.file.filename for each in denied}):
            evidence = await self._mirror.converse(probe(file.url, size=file.size, head=self._head_believed), project.who)
            if cause_of(evidence, file.size) is Cause.AVAILABLE:
                standing.guard.good(evidence.at)
                self._note_of_page(project, file, evidence)
                standing.searched.pop(flight, None)
                return not standing.guard.storm
            if file in standing.good:
                standing.good.remove(file)
                self._known_good_failed(project, standing, file, evidence)
            self._note_of_page(project, file, evidence)
        if len(standing.searched) > 10_000:
            standing.searched.clear()
        standing.searched[flight] = self._clock()
        _log.warning(
            "no-witness",
            project=project.name,
            denied=len(denied),
            storm=standing.guard.storm,
            meaning="the mirror delivers no other file just now, so nothing is dropped for what it denies",
        )
        return False

    def _note_of_page(self, project: Project, file: File, evidence: Evidence) -> None:
        listed = project.known is not None and project.known.page.by_filename.get(file.filename) is file
        if listed and evidence.at:
            self.note(project, file, evidence, [])

    def _candidates(self, project: Project, standing: _Standing, denied: set[str]) -> list[File]:
        chosen: dict[str, File] = {}
        for file in reversed(standing.good):
            if file.filename not in denied and len(chosen) < 2:
                chosen.setdefault(file.url, file)
        if project.known is not None:
            page = project.known.page
            for file in page.files:
                verdict = project.verdicts.get(file.filename)
                if verdict is not None and verdict.kind is Kind.DELIVERABLE and file.filename not in denied:
                    chosen.setdefault(file.url, file)
                    break
            untried = (file for _, file in order(page, project.verdicts, None) if file.filename not in project.verdicts)
            for file in sorted({file.filename: file for file in untried}.values(), key=_sdist_first):
                if len(chosen) >= _WITNESSES_ASKED:
                    break
                if file.packaging is not Packaging.LEGACY and file.filename not in denied:
                    chosen.setdefault(file.url, file)
        return list(chosen.values())[:_WITNESSES_ASKED]

    def _known_good_failed(self, project: Project, standing: _Standing, file: File, evidence: Evidence) -> None:
        was_storm = standing.guard.storm
        standing.guard.known_good_failed(file.url, evidence.at)
        if standing.guard.storm and not was_storm:
            self._mirror.counts.storms += 1
            _log.warning(
                "storm",
                mirror=self._mirror.name,
                project=project.name,
                meaning="files known to be good fail: nothing is dropped until one answers",
            )

    def _standing(self, who: Identity) -> _Standing:
        standing = self._standings.get(who.key)
        if standing is None:
            if len(self._standings) >= 1000:
                self._standings.pop(next(key for key in self._standings if key))
            standing = self._standings[who.key] = _Standing()
        return standing

    @property
    def _head_believed(self) -> bool:
        return self._head_lies < _HEAD_LIES or self._head_holds > self._head_lies

    def _weigh_head(self, file: File, evidence: Evidence) -> None:
        if evidence.asked is Asked.RANGE and self._head_believed and cause_of(evidence, file.size) is Cause.AVAILABLE:
            self._head_lies += 1
        elif evidence.asked is Asked.HEAD and evidence.status == 200:
            self._head_holds += 1


def _sdist_first(file: File) -> bool:
    return file.packaging is not Packaging.SDIST
