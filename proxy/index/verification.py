"""Asking the mirror about the files of a page: evidence becomes a verdict, and a denial becomes one once it is proven.

A denial raises a suspicion; `denials` asks again until it is proven, or the file is delivered.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import structlog

from proxy.core.flows.evidence import WHOLE, Asked, Evidence
from proxy.core.flows.exchange import Flow
from proxy.core.flows.probe import get_probe, head_status, plain_probe, probe, whole_probe
from proxy.core.identity import Identity
from proxy.core.page import File, Packaging
from proxy.core.twins import same_elsewhere
from proxy.core.verdict.file_refusals import REFUSALS
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, VerdictRules, cause_of, is_undeliverable, judge
from proxy.core.verdict.plan import is_young, order
from proxy.core.verdict.reason import Reason
from proxy.index.denials import DenialProver
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.head_trust import HeadTrust
from proxy.index.project import Project
from proxy.index.standing import SIGNED_FOR, Standing
from proxy.index.suspects import Ledger, Suspect, Urgency
from proxy.upstream import Mirror

_log = structlog.get_logger("mirrormend.index")

_WITNESS_PAUSE = 5.0
"""Seconds after a vain search for a witness before another one for the same project or during the same storm."""

_WITNESS_WITHIN = 5.0
"""Seconds that one witness has to answer in."""

_HEAD_WITHIN = 2.0
"""Seconds that HEAD has to answer in before a file is rescued; no answer refuses nothing."""

_HEAD_TESTED_FOR = 3600.0
"""Seconds for which it counts what was seen of HEAD at a file that is delivered."""

_DRAINED_WITHIN = 1.0
"""Seconds within which the probes under way have to end, so that something can be asked for alone."""

_SETTLED_WITHIN = 30.0
_PROVEN_AGAIN = 4
"""A proof is renewed after this part of the time for which it stands."""

_WITNESSES_ASKED = 4
_LOOKED_AT = 300
_NAMES = {asked: asked.name for asked in Asked}
_TRIED_IN_VAIN = 2

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_AVAILABLE = Cause.AVAILABLE
_HEAD = Asked.HEAD


@dataclass(frozen=True, slots=True)
class _Judged:
    """The state of one identity: how the mirror stands towards it, and who proves its denials."""

    standing: Standing
    prover: DenialProver


class Verifier:
    """Probes files of one mirror and turns what comes back into verdicts.

    Who asks waits for the proof of denials at most `patience` seconds (None: however long); `learned` hears of verdicts that come later.
    `head_lied` hears when HEAD is seen to lie: verdicts that rest on it alone are worth nothing then. `settled_after` is as in HeadTrust.
    """

    def __init__(
        self,
        mirror: Mirror,
        rules: VerdictRules,
        tasks: Tasks,
        clock: Callable[[], float] = time.time,
        *,
        patience: float | None = None,
        learned: Callable[[Project], None] | None = None,
        head_lied: Callable[[], None] = lambda: None,
        settled_after: float = 0.0,
    ) -> None:
        self._mirror = mirror
        self._counts = mirror.counts
        self._tasks = tasks
        self._searches: SingleFlight[tuple[str, str], bool] = SingleFlight(tasks, "witness")
        self._rules = rules
        self._clock = clock
        self._patience = patience
        self._learned = learned
        self._tell_of_lie = head_lied
        self._identities: dict[str, _Judged] = {}
        self._promises: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "promise of")
        self.head = HeadTrust(clock, settled_after)
        """The experience with HEAD of this mirror."""

    def storm(self, who: Identity) -> bool:
        """Whether dropping has stopped for this identity, since files known to be good fail."""
        return who.key in self._identities and self._identities[who.key].standing.guard.storm

    def last_good(self, who: Identity) -> float | None:
        """When a file was last delivered to this identity, in seconds since the epoch."""
        last = self._identities[who.key].standing.guard.last_good if who.key in self._identities else 0.0
        return last if last > 0 else None

    def expects_denial(self, who: Identity) -> Callable[[File], bool]:
        """Return a test whether the mirror denied so many wheels of a file's platform, and delivered none, that it will be denied too."""
        return self._of(who).standing.platforms.expects_denial

    @property
    def storms(self) -> int:
        """For how many identities dropping has stopped."""
        return sum(each.standing.guard.storm for each in self._identities.values())

    async def ask(
        self,
        project: Project,
        files: Iterable[File],
        *,
        background: bool = False,
        patient: bool = False,
        believe_head: bool = True,
        reason: Reason | Callable[[File], Reason] | None = None,
    ) -> bool:
        """Probe `files` of `project`, in their order, note a verdict on each as its answer comes, and return whether all were asked about.

        `patient` probes let those go first that somebody waits for, and `background` ones keep to the mirror's rate as well.
        Unless they `believe_head`, they ask by a GET whatever HEAD says, or has said just before.
        `reason` is why the files are asked about, or tells it of each; it is AWAITED unless given, or BACKGROUND if they are not urgent.
        Where nothing good comes of it and no witness is found, the rest is left for another time.
        """
        judged = self._of(project.who)
        suspects: list[Suspect] = []
        left = iter(files)
        urgency = Urgency.BACKGROUND if background else Urgency.PATIENT if patient else Urgency.AWAITED
        if reason is None:
            reason = Reason.AWAITED if urgency is Urgency.AWAITED else Reason.BACKGROUND
        while (file := next(left, None)) is not None:
            if self._in_vain(judged.standing) and not await self._revived(project, judged.standing):
                return False
            await self._ask_some(project, judged, file, left, suspects=suspects, urgency=urgency, believe_head=believe_head, reason=reason)
        await self._proven(judged.prover, suspects)
        return True

    async def _ask_some(
        self,
        project: Project,
        judged: _Judged,
        next_one: File,
        left: Iterator[File],
        *,
        suspects: list[Suspect],
        urgency: Urgency,
        believe_head: bool,
        reason: Reason | Callable[[File], Reason],
    ) -> None:
        """Ask about `next_one` and what is `left`, until it seems to be in vain, and add what is denied to the `suspects`."""
        standing = judged.standing

        def flows() -> Iterator[tuple[File, Flow[Evidence]]]:
            head, platforms, plain_only, verdicts = self.head, standing.platforms, standing.plain_only(self._clock()), project.verdicts
            file: File | None = next_one
            while file is not None:
                by_head = head.is_asked and not (platforms.files and platforms.expects_denial(file))
                verdict = verdicts.get(file.key)
                if plain_only and not (by_head and head.holds):
                    yield file, plain_probe(file.url)
                elif not believe_head and verdict is not None and verdict.rests_on_head:
                    # What HEAD says is known.
                    yield file, get_probe(file.url, verdict.evidence.status or 0, size=file.size, ranged=not plain_only)
                else:
                    believed = believe_head and (verdict is None or not verdict.needs_get)
                    yield file, probe(file.url, size=file.size, head=by_head, believe_head=believed, ranged=not plain_only)
                file = None if self._in_vain(standing) else next(left, None)

        def learned(file: File, evidence: Evidence) -> None:
            cause = cause_of(evidence, file.size)
            self.head.weigh(evidence, cause)
            suspect = self._note(project, judged, file, evidence, cause=cause, urgency=urgency, wanted=False)
            if cause is not _AVAILABLE:
                standing.misses += 1
            if suspect is not None:
                suspects.append(suspect)

        background, patient = urgency is Urgency.BACKGROUND, urgency is Urgency.PATIENT
        await self._mirror.converse_all(flows(), project.who, learned=learned, background=background, patient=patient, reason=reason)

    async def _proven(self, prover: DenialProver, suspects: list[Suspect], *, wait: bool = True) -> None:
        if wait:
            await prover.wait(suspects, self._patience)
        late = [suspect for suspect in suspects if not suspect.done.is_set()]
        if late and self._learned is not None:
            self._tasks.start(self._tell_late(prover, late), f"late verdicts of {late[0].project.name}")

    async def _tell_late(self, prover: DenialProver, late: list[Suspect]) -> None:
        await prover.wait(late, None)
        for project in {id(suspect.project): suspect.project for suspect in late}.values():
            if self._learned is not None:
                self._learned(project)

    async def settled(self, project: Project, seconds: float = _SETTLED_WITHIN, *, least: Urgency = Urgency.BACKGROUND) -> None:
        """Wait until the denials of files of `project` are proven, contradicted, or left for another time, at most so many seconds.

        Those that are less urgent than `least` are not waited for.
        """
        judged = self._identities.get(project.who.key)
        if judged is not None and judged.prover.suspects:
            await judged.prover.wait([each for each in judged.prover.of(project) if each.urgency <= least], seconds)

    def hasten(self, project: Project, files: Callable[[], Iterable[File]]) -> None:
        """Prove first what is being proven of `files` of `project`, since somebody waits for them."""
        judged = self._identities.get(project.who.key)
        if judged is not None and (suspects := judged.prover.of(project)):
            keys = {file.key for file in files()}
            for suspect in suspects:
                if suspect.file.key in keys:
                    judged.prover.hasten(suspect, Urgency.AWAITED)

    def is_proving(self, project: Project) -> bool:
        """Return whether somebody waits for the proof of a denial of a file of `project`."""
        judged = self._identities.get(project.who.key)
        return judged is not None and any(each.urgency is Urgency.AWAITED for each in judged.prover.of(project))

    def in_vain(self, who: Identity) -> bool:
        """Whether the mirror delivers nothing to this identity just now, as far as was seen."""
        return who.key in self._identities and self._in_vain(self._identities[who.key].standing)

    async def _revived(self, project: Project, standing: Standing) -> bool:
        """Whether the mirror delivers a file again; that is tried with a few, and not each time."""
        if not standing.may_try(self._clock(), self._rules.no):
            return False
        return await self._searches.do((project.who.key, ""), lambda: self._search(project, standing, frozenset(), "", _TRIED_IN_VAIN))

    def _in_vain(self, standing: Standing) -> bool:
        return standing.doubtful and standing.in_vain(self._clock(), self._rules.witness)

    async def correct(self, project: Project, file: File, evidence: Evidence, *, wait: bool = True) -> None:
        """Note what a request for the file itself showed; a denial is proven, or not, as that of a probe, and that is waited for or not."""
        judged = self._of(project.who)
        cause = cause_of(evidence, file.size)
        suspect = self._note(project, judged, file, evidence, cause=cause, urgency=Urgency.AWAITED, wanted=True)
        if suspect is not None:
            await self._proven(judged.prover, [suspect], wait=wait)

    def refuses(self, project: Project, file: File) -> bool:
        """Return whether the mirror refused `file`, or the same bytes at another address of the page, since it last denied it."""
        if not project.refusals:
            return False
        by_head = self.believes_head(project.who)
        alike = () if project.known is None else same_elsewhere(project.known.page, file)
        return any(project.refusals_of(each).refuse(by_head=by_head) for each in (file, *alike))

    def believes_head(self, who: Identity) -> bool:
        """Return whether HEAD tells `who` the truth, as far as was seen: there are mirrors that deny by it what they deliver."""
        return self.head.believed and not self._of(who).standing.refuses_head

    def head_tested(self, who: Identity) -> bool:
        """Return whether it was seen what a refusal of HEAD is worth that `who` gets."""
        return self._of(who).standing.refuses_head is not None

    async def ask_whole(self, project: Project, files: Iterable[File], *, patient: bool = False, alone: bool = False) -> None:
        """Ask for `files` as clients do, by HEAD and by a GET of the whole that is hung up on, and note what is said of each.

        Where they are asked for `alone`, one after the other with no other probe under way, a limit on requests at once refuses none.
        """
        files = list(files)
        evidences: list[tuple[File, Evidence]] = []
        flows = ((file, whole_probe(file.url, head=self.believes_head(project.who))) for file in files)
        if alone:
            await self._mirror.converse_alone(
                flows, project.who, learned=lambda *seen: evidences.append(seen), within=_DRAINED_WITHIN, reason=Reason.PROOF
            )
        else:
            await self._mirror.converse_all(
                flows, project.who, learned=lambda *seen: evidences.append(seen), patient=patient, reason=Reason.PROOF
            )
        for file, evidence in evidences:
            await self.correct(project, file, evidence, wait=False)
        if any(evidence.head in REFUSALS for _, evidence in evidences):
            await self._test_head(project)

    async def ask_head(self, project: Project, file: File, within: float = _HEAD_WITHIN) -> None:
        """Ask for `file` by HEAD, and note whether that is refused; the mirror has `within` so many seconds for it in all."""
        until = asyncio.get_running_loop().time() + within
        status = await self._mirror.converse(head_status(file.url), project.who, within=min(within, _HEAD_WITHIN), reason=Reason.PROOF)
        project.record_head(file, status, self._clock())
        if status in REFUSALS:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._test_head(project)

    async def _test_head(self, project: Project) -> None:
        """Find out whether HEAD is refused for a file that is delivered as well: then its refusals say nothing of others."""
        standing = self._of(project.who).standing
        if standing.refuses_head is not None and 0 <= self._clock() - standing.head_tested < _HEAD_TESTED_FOR:
            return
        good = next(islice(self._candidates(project, standing, frozenset()), 1), None)
        if good is None:
            return
        status = await self._mirror.converse(head_status(good.url), project.who, within=_HEAD_WITHIN, reason=Reason.WITNESS)
        if status not in REFUSALS:
            standing.refuses_head, standing.head_tested = False, self._clock()
            return
        plain = await self._mirror.converse(plain_probe(good.url), project.who, within=_HEAD_WITHIN, reason=Reason.WITNESS)
        if cause_of(plain, good.size) is _AVAILABLE:
            standing.refuses_head, standing.head_tested = True, self._clock()

    def _note(
        self, project: Project, judged: _Judged, file: File, evidence: Evidence, *, cause: Cause, urgency: Urgency, wanted: bool
    ) -> Suspect | None:
        """Note the verdict that `evidence` of this `cause` allows at once; return the suspect where it denies the file.

        `wanted` says that somebody wants the file itself: a mirror that fetches it only then has begun to.
        """
        previous = project.verdicts.get(file.key)
        standing, prover, suspect = judged.standing, judged.prover, None
        if cause in PROOF and _may_have_expired(project, file, evidence.at):
            cause = Cause.NOT_UNDERSTOOD
        if cause is _AVAILABLE:
            by_head = evidence.asked is _HEAD
            standing.delivered(file, evidence.at, promised=by_head)
            if standing.platforms.files:
                standing.platforms.delivered(file)
            if not by_head:
                self.head.agrees(project.name, file)
            if prover.suspects and not (by_head and self.head.is_denied(project.name, file)):
                # Where a GET was denied it, that HEAD promises it still contradicts nothing.
                prover.delivered(project, file)
        elif cause in PROOF and file.probeable:
            promised = self._promised(project, file, evidence, previous)
            if promised and not self.head.denied(project.name, file, evidence.at) and not wanted:
                # It may be on its way to the mirror, by the request that was denied.
                if previous is None or not previous.rests_on_head:
                    self._learn_from_probe(project, file, evidence, cause)
                return None
            suspect = self._note_denial(project, judged, file, evidence, cause=cause, urgency=urgency, promised=promised, wanted=wanted)
        self._learn_from_probe(project, file, evidence, cause)
        return suspect

    def _note_denial(
        self,
        project: Project,
        judged: _Judged,
        file: File,
        evidence: Evidence,
        *,
        cause: Cause,
        urgency: Urgency,
        promised: bool,
        wanted: bool,
    ) -> Suspect | None:
        previous, standing, suspect = project.verdicts.get(file.key), judged.standing, None
        if cause is Cause.ABSENT:
            standing.platforms.denied(file)
        # Where HEAD alone promised it, a comparison shows that this promise is worth nothing, and no outage.
        compared = promised and previous is not None and previous.rests_on_head and (self.head.lies or not wanted)
        known_good = previous is not None and previous.kind is Kind.DELIVERABLE and not compared
        if not self._stands(project, file, evidence) or (promised and not wanted and not self.head.lies):
            suspect = judged.prover.suspect(project, file, evidence, cause=cause, urgency=urgency, known_good=known_good)
            suspect.promised |= promised
        if known_good:
            self._known_good_failed(project, standing, file, evidence)
        return suspect

    def _promised(self, project: Project, file: File, evidence: Evidence, previous: Verdict | None) -> bool:
        """Return whether HEAD promised what `evidence` denies; while it lies, it is not asked, and might have."""
        if evidence.head is not None:
            if evidence.head not in WHOLE:
                self.head.agrees(project.name, file)
            return evidence.head in WHOLE
        if previous is None or previous.kind is Kind.UNKNOWN:
            return self.head.lies
        return previous.kind is Kind.DELIVERABLE and previous.rests_on_head

    def _stands(self, project: Project, file: File, evidence: Evidence) -> bool:
        """Return whether the file was proven absent so lately that another denial needs no proof of its own."""
        verdict, known = project.verdicts.get(file.key), project.known
        if verdict is None or verdict.kind is not Kind.UNDELIVERABLE:
            return False
        age = evidence.at - verdict.evidence.at
        if not 0 <= age < self._rules.no_keep / _PROVEN_AGAIN:
            return False
        if age < self._rules.confirm or verdict.confirmed_for(self._rules.confirm) or known is None:
            return True
        if known.page.by_key.get(file.key) != file:
            return True
        # The last file of a release leaves only after two proofs some minutes apart.
        return not all(is_undeliverable(project.verdicts.get(each.key)) for each in known.page.release_of(file).files)

    def _learn(self, project: Project, file: File, evidence: Evidence, cause: Cause, *, proven: bool) -> None:
        previous = project.verdicts.get(file.key)
        verdict = judge(cause, evidence, previous, proven=proven, rules=self._rules)
        if previous is None or previous.kind is not verdict.kind:
            self._counts.verdicts[verdict.kind, verdict.cause] += 1
        project.learn(file, verdict)

    def _conclude(self, project: Project, file: File, evidence: Evidence, cause: Cause) -> None:
        self._learn(project, file, evidence, cause, proven=True)
        suspect = self._of(project.who).prover.suspects.get((project.name, file.key))
        if suspect is not None and suspect.promised and not self.head.lies and self.head.denied(project.name, file, evidence.at):
            self._promises.start(suspect.key, lambda: self._look_at_promise(project, file))

    async def _look_at_promise(self, project: Project, file: File) -> None:
        """Find out whether HEAD promises `file` still, which was proven absent, and GET still denies it: then HEAD lies."""
        flow = probe(file.url, size=file.size, believe_head=False)
        evidence = await self._mirror.converse(flow, project.who, within=_WITNESS_WITHIN, reason=Reason.PROOF)
        if evidence.head in WHOLE and cause_of(evidence, file.size) in PROOF and self.head.lied():
            _log.warning(
                "head-lies",
                mirror=self._mirror.name,
                project=project.name,
                file=file.filename,
                meaning="the mirror promises by HEAD what it denies to GET: for an hour files are asked for by GET",
            )
            self._tell_of_lie()

    async def promises_looked_at(self) -> None:
        """Wait until it is known whether HEAD lies, as far as it promised files that were proven absent."""
        await self._promises.idle()

    async def _witness_failed(self, project: Project, standing: Standing, file: File, evidence: Evidence) -> None:
        """Note that a file known to be good is denied; if HEAD alone had promised it and does so still, no promise makes a file good."""
        was = standing.forget(file)
        if was is None and standing.breaks_promises(self._clock()):
            # It was taken for good no more meanwhile, with all that HEAD alone promised.
            return
        if was is not None and was.promised:
            status = await self._mirror.converse(head_status(file.url), project.who, within=_HEAD_WITHIN, reason=Reason.WITNESS)
            if status in WHOLE:
                standing.broke_promise(self._clock())
                return
        self._known_good_failed(project, standing, file, evidence)

    async def _find_witness(self, project: Project, standing: Standing, denied: frozenset[str]) -> bool:
        """Look for a file that the mirror delivers, none of those `denied`, and return whether one was found and there is no storm.

        Where several look for one, one search serves them all.
        """
        flight = "" if standing.guard.storm or self._in_vain(standing) else project.name
        if 0 <= self._clock() - standing.searched.get(flight, float("-inf")) < _WITNESS_PAUSE:
            return False
        return await self._searches.do((project.who.key, flight), lambda: self._search(project, standing, denied, flight))

    async def _search(
        self, project: Project, standing: Standing, denied: frozenset[str], flight: str, most: int = _WITNESSES_ASKED
    ) -> bool:
        for file in islice(self._candidates(project, standing, denied), most):
            evidence = await self._ask_as_witness(project, standing, file)
            if cause_of(evidence, file.size) is Cause.AVAILABLE:
                standing.delivered(file, evidence.at, promised=evidence.asked is Asked.HEAD)
                self._note_of_page(project, file, evidence)
                standing.searched.pop(flight, None)
                return not standing.guard.storm
            if any(good.file.url == file.url for good in standing.good):
                await self._witness_failed(project, standing, file, evidence)
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

    async def _ask_as_witness(self, project: Project, standing: Standing, file: File) -> Evidence:
        """Ask for `file` by HEAD or Range and, where these are denied, by an ordinary GET: there are mirrors that know nothing else."""
        plain_only = standing.plain_only(self._clock())
        if not plain_only:
            by_head = self.head.is_asked and not standing.breaks_promises(self._clock())
            flow = probe(file.url, size=file.size, head=by_head)
            evidence = await self._mirror.converse(flow, project.who, within=_WITNESS_WITHIN, reason=Reason.WITNESS)
            if evidence.asked is Asked.HEAD and cause_of(evidence, file.size) is not _AVAILABLE:
                # HEAD may fail where GET delivers.
                flow = probe(file.url, size=file.size, head=False)
                evidence = await self._mirror.converse(flow, project.who, within=_WITNESS_WITHIN, reason=Reason.WITNESS)
            if cause_of(evidence, file.size) not in PROOF:
                return evidence
        plain = await self._mirror.converse(plain_probe(file.url), project.who, within=_WITNESS_WITHIN, reason=Reason.WITNESS)
        if not plain_only and cause_of(plain, file.size) is Cause.AVAILABLE:
            standing.only_plain_get_delivered(self._clock())
        return plain

    def _note_of_page(self, project: Project, file: File, evidence: Evidence) -> None:
        listed = project.known is not None and project.known.page.by_key.get(file.key) == file
        if listed and evidence.at:
            self._learn_from_probe(project, file, evidence, cause_of(evidence, file.size))

    def _learn_from_probe(self, project: Project, file: File, evidence: Evidence, cause: Cause) -> None:
        """Note what `evidence` of this `cause` allows at once; a denial is not looked into."""
        self._counts.probes[_NAMES[evidence.asked], cause] += 1
        project.record(file, evidence, cause)
        self._learn(project, file, evidence, cause, proven=False)

    def _candidates(self, project: Project, standing: Standing, denied: frozenset[str]) -> Iterator[File]:
        """Gives files to look for a witness in, none of those `denied`, and each once; mostly the first one is enough."""
        chosen: set[str] = set()
        for file in self._possible(project, standing, denied):
            if file.key not in denied and file.url not in chosen:
                chosen.add(file.url)
                yield file

    def _possible(self, project: Project, standing: Standing, denied: frozenset[str]) -> Iterator[File]:
        yield from [file for file in standing.known_good(self._clock()) if file.key not in denied][:2]
        if project.known is None:
            return
        verdicts = project.verdicts
        for of_head in (False, True):
            for file in project.known.page.files:
                verdict = verdicts.get(file.key)
                if verdict is not None and verdict.kind is Kind.DELIVERABLE and verdict.rests_on_head is of_head and file.key not in denied:
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
            return 0.0 if verdict is None else verdict.checked, expects_denial(file), file.packaging is not Packaging.SDIST

        verdicts, expects_denial = project.verdicts, self._of(project.who).standing.platforms.expects_denial
        untold = (
            file
            for _, file in order(project.known.page, verdicts, None)
            if file.packaging is not Packaging.LEGACY and (file.key not in verdicts or verdicts[file.key].kind is Kind.UNKNOWN)
        )
        return sorted({file.key: file for file in islice(untold, _LOOKED_AT)}.values(), key=worth)

    def _known_good_failed(self, project: Project, standing: Standing, file: File, evidence: Evidence) -> None:
        standing.forget(file)
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

    def _of(self, who: Identity) -> _Judged:
        judged = self._identities.get(who.key)
        if judged is None:
            if len(self._identities) >= 1000:
                self._identities.pop(next(key for key in self._identities if key))
            standing = Standing()
            ledger = Ledger(
                record=Project.record,
                note=lambda project, file, evidence: self._delivered_again(project, standing, file, evidence),
                conclude=self._conclude,
                known_good_failed=lambda project, file, evidence: self._witness_failed(project, standing, file, evidence),
                find_witness=lambda project, denied: self._find_witness(project, standing, denied),
                is_young=lambda project, file: is_young(file, project.seen_since(file), self._clock()),
            )
            prover = DenialProver(self._mirror, who, standing, ledger, self._tasks, clock=self._clock)
            judged = self._identities[who.key] = _Judged(standing, prover)
        return judged

    def _delivered_again(self, project: Project, standing: Standing, file: File, evidence: Evidence) -> None:
        standing.delivered(file, evidence.at)
        standing.platforms.delivered(file)
        self._learn_from_probe(project, file, evidence, cause_of(evidence, file.size))


def _may_have_expired(project: Project, file: File, at: float) -> bool:
    """Return whether the link of `file` may have been signed, for a time that was over `at` (seconds since the epoch)."""
    if "?" not in file.url or project.known is None:
        return False
    return project.known.page.by_key.get(file.key) != file or not 0 <= at - project.known.checked < SIGNED_FOR
