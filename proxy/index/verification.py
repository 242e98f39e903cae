"""Asking the mirror about the files of a page, and making sure of what it denies before a file is dropped for it.

Absence is believed in two cases: a good answer came shortly before the denial, and another one that was asked for after it;
or the same denial came again, with such a good answer between the two. So neither the beginning of an outage nor its end,
nor all of it, takes a file off a page.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import structlog

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.flows.exchange import Flow
from proxy.core.flows.probe import probe
from proxy.core.identity import Identity
from proxy.core.page import File, Packaging
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, VerdictRules, cause_of, judge
from proxy.core.verdict.plan import order
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.project import Project
from proxy.index.standing import Denied, HeadTrust, Platforms, Standing
from proxy.upstream import Mirror

_log = structlog.get_logger("mirrormend.index")

_WITNESS_PAUSE = 5.0
"""Seconds after a vain search for a witness before another one for the same project or during the same storm."""

_WITNESS_WITHIN = 5.0
"""Seconds that one witness has to answer in."""

_WITNESSES_ASKED = 4
_LOOKED_AT = 300
_NAMES = {asked: asked.name for asked in Asked}
_TRIED_IN_VAIN = 2

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_AVAILABLE = Cause.AVAILABLE


class Verifier:
    """Probes files of one mirror and turns what comes back into verdicts, with all the care that a no needs."""

    def __init__(self, mirror: Mirror, rules: VerdictRules, tasks: Tasks, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._counts = mirror.counts
        self._searches: SingleFlight[tuple[str, str], bool] = SingleFlight(tasks, "witness")
        self._rules = rules
        self._clock = clock
        self._standings: dict[str, Standing] = {}
        self._platforms = Platforms()
        self._head = HeadTrust()

    def storm(self, who: Identity) -> bool:
        """Whether dropping has stopped for this identity, since files known to be good fail."""
        return who.key in self._standings and self._standings[who.key].guard.storm

    def last_good(self, who: Identity) -> float | None:
        """When a file was last delivered to this identity, in seconds since the epoch."""
        last = self._standings[who.key].guard.last_good if who.key in self._standings else 0.0
        return last if last > 0 else None

    def lacks(self, file: File) -> bool:
        """Whether the mirror denied so many wheels of the platform of `file`, and delivered none, that this one will be denied too."""
        return self._platforms.lacks(file)

    @property
    def storms(self) -> int:
        """For how many identities dropping has stopped."""
        return sum(standing.guard.storm for standing in self._standings.values())

    async def ask(self, project: Project, files: Iterable[File], *, background: bool = False, patient: bool = False) -> bool:
        """Probes `files` of `project`, in their order, and notes a verdict on each as its answer comes; gives whether all were asked about.

        `patient` probes let those go first that somebody waits for, and `background` ones keep to the mirror's rate as well.
        Where nothing good comes of it and no witness is found, the rest is left for another time.
        """
        standing = self._standing(project.who)
        left = iter(files)
        while (file := next(left, None)) is not None:
            if self._in_vain(standing) and not await self._revived(project, standing):
                return False
            await self._ask_some(project, standing, file, left, background=background, patient=patient)
        return True

    async def _ask_some(
        self, project: Project, standing: Standing, next_one: File, left: Iterator[File], *, background: bool, patient: bool
    ) -> None:
        """Asks about `next_one` and what is `left`, until it seems to be in vain."""
        denied: list[Denied] = []
        flanked = False

        def flows() -> Iterator[tuple[tuple[File, int], Flow[Evidence]]]:
            head, platforms = self._head, self._platforms
            file: File | None = next_one
            while file is not None:
                by_head = head.believed and not (platforms.denied and platforms.lacks(file))
                yield (file, standing.guard.moment()), probe(file.url, size=file.size, head=by_head)
                file = None if self._in_vain(standing) else next(left, None)

        def learned(asked: tuple[File, int], evidence: Evidence) -> None:
            nonlocal flanked
            file, began = asked
            cause = cause_of(evidence, file.size)
            self._note(project, standing, file, evidence, cause=cause, denied=denied, began=began)
            self._head.weigh(evidence, cause)
            if cause is not _AVAILABLE:
                standing.misses += 1
                flanked = flanked or (bool(denied) and denied[-1].flanked)
            elif flanked:
                flanked = self._conclude_flanked(project, standing, denied)

        await self._mirror.converse_all(flows(), project.who, learned=learned, background=background, patient=patient)
        await self.prove(project, denied)

    def in_vain(self, who: Identity) -> bool:
        """Whether the mirror delivers nothing to this identity just now, as far as was seen."""
        return who.key in self._standings and self._in_vain(self._standings[who.key])

    async def _revived(self, project: Project, standing: Standing) -> bool:
        """Whether the mirror delivers a file again; that is tried with a few, and not each time."""
        if not standing.may_try(self._clock(), self._rules.no):
            return False
        return await self._searches.do((project.who.key, ""), lambda: self._search(project, standing, frozenset(), "", _TRIED_IN_VAIN))

    def _in_vain(self, standing: Standing) -> bool:
        return standing.doubtful and standing.in_vain(self._clock(), self._rules.witness)

    async def correct(self, project: Project, file: File, evidence: Evidence) -> None:
        """Notes what a request for the file itself showed."""
        denied: list[Denied] = []
        self.note(project, file, evidence, denied)
        await self.prove(project, denied)

    def note(self, project: Project, file: File, evidence: Evidence, denied: list[Denied]) -> None:
        """Notes the verdict that `evidence` allows at once; a denial, which needs more, is added to `denied`."""
        self._note(project, self._standing(project.who), file, evidence, cause=cause_of(evidence, file.size), denied=denied)

    def _note(
        self, project: Project, standing: Standing, file: File, evidence: Evidence, *, cause: Cause, denied: list[Denied], began: int = 0
    ) -> None:
        """As `note`, of evidence that shows this `cause`; `began` is the guard's moment at which the file was asked for, 0: not known."""
        previous = project.verdicts.get(file.key)
        if cause is _AVAILABLE:
            standing.delivered(file, evidence.at, began)
            if self._platforms.denied:
                self._platforms.delivers(file)
        elif cause in PROOF:
            known_good = previous is not None and previous.kind is Kind.DELIVERABLE
            flanked = cause is Cause.ABSENT and not known_good and standing.guard.witnessed(evidence.at, self._rules.witness)
            denied.append(Denied(file, evidence, cause, standing.guard.moment(), flanked))
            if cause is Cause.ABSENT:
                self._platforms.denies(file)
            if known_good:
                self._known_good_failed(project, standing, file, evidence)
        self._counts.probes[_NAMES[evidence.asked], cause] += 1
        self._learn(project, file, previous, judge(cause, evidence, previous, proven=False, rules=self._rules))

    def _learn(self, project: Project, file: File, previous: Verdict | None, verdict: Verdict) -> None:
        if previous is None or previous.kind is not verdict.kind:
            self._counts.verdicts[verdict.kind, verdict.cause] += 1
        project.learn(file, verdict)

    async def prove(self, project: Project, denied: list[Denied]) -> None:
        """Looks for what the denials need: a witness, and after it the same answer again where none came before them."""
        standing = self._standing(project.who)
        self._conclude_flanked(project, standing, denied)
        if not denied or not await self._witness(project, standing, denied):
            return
        self._conclude_flanked(project, standing, denied)
        again = {each.file.key: each for each in denied}

        def learned(file: File, evidence: Evidence) -> None:
            if cause_of(evidence, file.size) is again[file.key].cause and not standing.guard.storm:
                self._conclude(project, file, evidence, again[file.key].cause)
            else:
                self.note(project, file, evidence, [])

        flows = ((each.file, probe(each.file.url, size=each.file.size, head=False)) for each in again.values())
        await self._mirror.converse_all(flows, project.who, learned=learned)

    def _conclude_flanked(self, project: Project, standing: Standing, denied: list[Denied]) -> bool:
        """Concludes, and takes out of `denied`, what had a good answer before it and has one after it; says whether some still lack one."""
        guard, window = standing.guard, self._rules.witness
        left = []
        for each in denied:
            if each.flanked and guard.delivered_since(each.moment) and guard.witnessed(each.evidence.at, window):
                self._conclude(project, each.file, each.evidence, each.cause)
            else:
                left.append(each)
        denied[:] = left
        return any(each.flanked for each in left)

    def _conclude(self, project: Project, file: File, evidence: Evidence, cause: Cause) -> None:
        previous = project.verdicts.get(file.key)
        self._learn(project, file, previous, judge(cause, evidence, previous, proven=True, rules=self._rules))

    def _concluded(self, project: Project, denial: Denied) -> bool:
        """Whether the same denial, from somebody else who asked about the file just now, was proven already."""
        verdict = project.verdicts.get(denial.file.key)
        if verdict is None or verdict.kind is not Kind.UNDELIVERABLE or verdict.cause is not denial.cause:
            return False
        return abs(denial.evidence.at - verdict.evidence.at) <= self._rules.witness

    async def _witness(self, project: Project, standing: Standing, denials: list[Denied]) -> bool:
        """Finds a file that the mirror delivers when it is asked after the last of the `denials`, and none of those denied.

        Where several look for one, one search serves them all. What was proven otherwise meanwhile needs none.
        """
        guard = standing.guard
        moment = max(each.moment for each in denials)
        denied = frozenset(each.file.key for each in denials)
        # A search under way may have begun too early for these.
        for _ in range(2):
            if all(self._concluded(project, each) for each in denials):
                return False
            if guard.delivered_since(moment):
                return True
            flight = "" if guard.storm or self._in_vain(standing) else project.name
            if self._clock() - standing.searched.get(flight, 0.0) < _WITNESS_PAUSE:
                return False
            if not await self._searches.do((project.who.key, flight), lambda: self._search(project, standing, denied, flight)):  # noqa: B023
                return False
        return guard.delivered_since(moment)

    async def _search(
        self, project: Project, standing: Standing, denied: frozenset[str], flight: str, most: int = _WITNESSES_ASKED
    ) -> bool:
        for file in islice(self._candidates(project, standing, denied), most):
            began = standing.guard.moment()
            evidence = await self._mirror.converse(
                probe(file.url, size=file.size, head=self._head.believed), project.who, within=_WITNESS_WITHIN
            )
            if cause_of(evidence, file.size) is Cause.AVAILABLE:
                standing.delivered(file, evidence.at, began)
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
        listed = project.known is not None and project.known.page.by_key.get(file.key) is file
        if listed and evidence.at:
            self.note(project, file, evidence, [])

    def _candidates(self, project: Project, standing: Standing, denied: frozenset[str]) -> Iterator[File]:
        """Gives files to look for a witness in, none of those `denied`, and each once; mostly the first one is enough."""
        chosen: set[str] = set()
        for file in self._possible(project, standing, denied):
            if file.key not in denied and file.url not in chosen:
                chosen.add(file.url)
                yield file

    def _possible(self, project: Project, standing: Standing, denied: frozenset[str]) -> Iterator[File]:
        yield from [file for file in reversed(standing.good) if file.key not in denied][:2]
        if project.known is None:
            return
        verdicts = project.verdicts
        for file in project.known.page.files:
            verdict = verdicts.get(file.key)
            if verdict is not None and verdict.kind is Kind.DELIVERABLE and file.key not in denied:
                yield file
                break
        yield from self._untold(project)

    def _untold(self, project: Project) -> list[File]:
        """Gives files of which nothing is known, those first that were not asked about for long, or are most likely to be delivered.

        Only so many are looked at, in the order of worth: a large page has thousands, and a few are enough.
        """
        if project.known is None:
            return []

        def worth(file: File) -> tuple[float, bool, bool]:
            verdict = project.verdicts.get(file.key)
            return 0.0 if verdict is None else verdict.checked, self._platforms.lacks(file), file.packaging is not Packaging.SDIST

        verdicts = project.verdicts
        untold = (
            file
            for _, file in order(project.known.page, verdicts, None)
            if file.packaging is not Packaging.LEGACY and (file.key not in verdicts or verdicts[file.key].kind is Kind.UNKNOWN)
        )
        return sorted({file.key: file for file in islice(untold, _LOOKED_AT)}.values(), key=worth)

    def _known_good_failed(self, project: Project, standing: Standing, file: File, evidence: Evidence) -> None:
        was_storm = standing.guard.storm
        standing.guard.known_good_failed(file.url, evidence.at)
        if standing.guard.storm and not was_storm:
            self._counts.storms += 1
            _log.warning(
                "storm",
                mirror=self._mirror.name,
                project=project.name,
                meaning="files known to be good fail: nothing is dropped until one answers",
            )

    def _standing(self, who: Identity) -> Standing:
        standing = self._standings.get(who.key)
        if standing is None:
            if len(self._standings) >= 1000:
                self._standings.pop(next(key for key in self._standings if key))
            standing = self._standings[who.key] = Standing()
        return standing
