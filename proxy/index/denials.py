"""Proves denials: asks for denied files again, in rounds, until `core.verdict.proof` says that they are absent, or they are delivered.

A round has few requests, a quarter of what the mirror is asked at once at most, in random order. Files known to be good are among them:
where they are denied as well, or a denied file is delivered, no denial counts that came before, the mirror is asked for fewer files at
once from then on, and the denied files are asked for once more from the beginning.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from operator import attrgetter
from typing import TypeVar

import structlog
from msgspec import structs

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.flows.exchange import Flow
from proxy.core.flows.probe import probe_alone
from proxy.core.identity import Identity
from proxy.core.page import File
from proxy.core.verdict.judge import PROOF, Cause, cause_of, is_undeliverable
from proxy.core.verdict.proof import PLATFORM_FILES, Suspicion, missing_answers, platform_tag, proves_absence
from proxy.core.verdict.reason import Reason
from proxy.index.flights import Tasks
from proxy.index.project import Project
from proxy.index.standing import Standing
from proxy.index.suspects import ALONE, PASSING_FAILURES, Key, Ledger, Outcome, Question, Suspect, Urgency
from proxy.upstream import Mirror

_log = structlog.get_logger("mirrormend.index")

T = TypeVar("T")

_WIDTH = 16
"""Requests of a round at most; halved whenever the mirror contradicts itself."""

_SHARE_OF_WINDOW = 4
"""A round has at most one of so many of the requests that the mirror is asked at once."""

_FILES_PER_WITNESS = 8
_ROUND_WITHIN = 5.0
"""Seconds within which the answers of a round have to come; what does not answer holds up nobody else's proof."""

_APART = 1.0
"""Seconds between two requests for a file alone while clients are being sent files."""

_LOOK_AGAIN = 0.1
_BACKGROUND_WIDTH = 4
_COPIES = 4
"""Times that one file is asked for in a round, at most."""

_LOOKED_AT = 200
"""Suspects that are looked at when a round is made up."""

_DRAINED_WITHIN = {Urgency.AWAITED: 1.0, Urgency.PATIENT: 0.5, Urgency.BACKGROUND: 0.3}
"""Seconds within which the probes under way have to end, so that a file can be asked for alone."""

_WIDENED_AFTER = 3600.0
"""Seconds without a contradiction after which a round may have twice as many requests again."""

_RANGED_DENIALS = 3
"""After so many denials of ranged requests an ordinary GET that is delivered shows that Range is refused, rather than a contradiction."""

_EVERY_PLAIN = 4
"""One of so many repetitions is an ordinary GET, without Range."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class DenialProver:
    """Proves the denials of one mirror for one identity, all projects together.

    `clock` tells the seconds since the epoch.
    """

    def __init__(
        self,
        mirror: Mirror,
        who: Identity,
        standing: Standing,
        ledger: Ledger,
        tasks: Tasks,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._mirror = mirror
        self._who = who
        self._standing = standing
        self._ledger = ledger
        self._tasks = tasks
        self._clock = clock
        self._width = _WIDTH
        self._narrowed = 0.0
        self._pause = 0.0
        self._epoch = 0
        self._running = False
        self._background_round: asyncio.Timeout | None = None
        self._queues: dict[Urgency, dict[Key, Suspect]] = {urgency: {} for urgency in Urgency}
        self._urls: set[str] = set()
        self.suspects: dict[Key, Suspect] = {}
        """The files whose denial is being proven, by project and name."""

    def suspect(self, project: Project, file: File, evidence: Evidence, *, cause: Cause, urgency: Urgency, known_good: bool) -> Suspect:
        """Begin to prove that `file`, denied by `evidence`, is absent, unless that is under way; `known_good` is as in Suspect."""
        known = self.suspects.get((project.name, file.key))
        if known is not None and known.project is project:
            self.hasten(known, urgency)
            return known
        if known is not None:
            self._finish(known)
        previous = project.verdicts.get(file.key)
        suspect = Suspect(
            project,
            file,
            evidence,
            cause,
            urgency,
            known_good=known_good,
            proven_before=is_undeliverable(previous),
            delivered_before=self._standing.delivered_count,
        )
        self.suspects[suspect.key] = self._queues[urgency][suspect.key] = suspect
        self._urls.add(file.url)
        self._overtake(urgency)
        if not self._running:
            self._running = True
            self._tasks.start(self._run(), f"prove denials for {project.name}")
        return suspect

    def hasten(self, suspect: Suspect, urgency: Urgency) -> None:
        """Make the proof of `suspect` at least that urgent."""
        if urgency < suspect.urgency:
            del self._queues[suspect.urgency][suspect.key]
            suspect.urgency = urgency
            self._queues[urgency][suspect.key] = suspect
            self._overtake(urgency)

    def of(self, project: Project) -> list[Suspect]:
        """Return the suspects among the files of `project`."""
        return [suspect for suspect in self.suspects.values() if suspect.project is project]

    @staticmethod
    async def wait(suspects: Iterable[Suspect], seconds: float | None) -> None:
        """Wait until all `suspects` are proven, delivered or given up, at most so many seconds (None: however long)."""
        waiting = [suspect for suspect in suspects if not suspect.done.is_set()]
        if not waiting:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for suspect in waiting:
                    await suspect.done.wait()

    def delivered(self, project: Project, file: File) -> None:
        """Record that a suspected file was delivered to somebody else who asked for it."""
        suspect = self.suspects.get((project.name, file.key))
        if suspect is not None and suspect.project is project:
            self._finish(suspect)
            self._start_over(crowded=suspect.denials > 0 and not self._ledger.is_young(project, file))

    def _overtake(self, urgency: Urgency) -> None:
        """End a round that keeps to the mirror's rate, for the sake of a suspect that is more urgent."""
        if urgency is not Urgency.BACKGROUND and self._background_round is not None:
            overtaken, self._background_round = self._background_round, None
            overtaken.reschedule(asyncio.get_running_loop().time())

    async def _run(self) -> None:
        try:
            # What is denied in the same moment is proven together.
            await asyncio.sleep(0)
            while self.suspects:
                if self._pause:
                    await asyncio.sleep(self._pause)
                chunk = self._next_chunk()
                if not chunk:
                    # All that is left was asked for alone a moment ago.
                    await asyncio.sleep(_LOOK_AGAIN)
                elif await self._has_witness(chunk):
                    await self._prove(chunk)
                else:
                    self._finish_all(chunk)
        finally:
            self._running = False
            self._finish_all(list(self.suspects.values()))

    async def _prove(self, chunk: list[Suspect]) -> None:
        """Take the proof of these files one round further."""
        unready = [suspect for suspect in chunk if not self._lacks_only_alone(suspect)]
        if unready:
            outcome = await self._ask(unready)
            await self._look_closer(outcome, unready[0].project)
            self._take(unready, outcome)
        await self._ask_alone([suspect for suspect in chunk if suspect.key in self.suspects and self._lacks_only_alone(suspect)])

    def _next_chunk(self) -> list[Suspect]:
        """Return the suspects of the next round: those of one urgency, the most urgent, that have waited longest."""
        urgency, queue = next(((urgency, queue) for urgency, queue in self._queues.items() if queue), (Urgency.AWAITED, {}))
        width = min(self._round_width(), _BACKGROUND_WIDTH) if urgency is Urgency.BACKGROUND else self._round_width()
        chosen: list[Suspect] = []
        platforms: Counter[str] = Counter()
        now = self._clock()
        for suspect in islice(queue.values(), _LOOKED_AT):
            if suspect.alone and abs(now - suspect.alone_at) < _APART:
                continue
            tag = platform_tag(suspect.file)
            # The proof of some files of a platform may spare the others theirs.
            if platforms[tag] < PLATFORM_FILES or self._suspicion(suspect) is not Suspicion.OF_FILE:
                platforms[tag] += 1
                chosen.append(suspect)
                if len(chosen) >= width:
                    break
        return chosen

    def _round_width(self) -> int:
        if self._width < _WIDTH and abs(self._clock() - self._narrowed) > _WIDENED_AFTER:
            self._width, self._narrowed = self._width * 2, self._clock()
        return max(1, min(self._width, self._mirror.window // _SHARE_OF_WINDOW))

    async def _has_witness(self, chunk: list[Suspect]) -> bool:
        if self._known_good(1) and not self._standing.guard.storm:
            return True
        return await self._ledger.find_witness(chunk[0].project, frozenset(name for _, name in self.suspects))

    def _known_good(self, most: int) -> list[File]:
        good = [file for file in self._standing.known_good(self._clock()) if file.url not in self._urls]
        if len(good) >= most:
            return random.sample(good, most)
        return random.choices(good, k=most) if good else []  # noqa: S311 - it mixes requests, it guards nothing

    def _questions(self, chunk: list[Suspect]) -> list[Question]:
        copies, epoch = min(_COPIES, max(1, self._round_width() // len(chunk))), self._epoch
        questions, good = [], 0
        for suspect in chunk:
            denials, delivered = self._weighed(missing_answers, suspect)
            good = max(good, delivered)
            repetitions = self._repetitions(suspect, max(1, min(copies, denials)))
            questions += [Question(suspect, suspect.file, plain, epoch) for plain in repetitions]
        witnesses = self._known_good(max(1 + len(questions) // _FILES_PER_WITNESS, min(copies, good)))
        questions += [Question(None, file, self._standing.plain_only(self._clock()), epoch) for file in witnesses]
        random.shuffle(questions)
        return questions

    def _repetitions(self, suspect: Suspect, count: int) -> Iterator[bool]:
        """Tell for each of the next repetitions whether it is an ordinary GET."""
        plain_only = self._standing.plain_only(self._clock())
        for _ in range(count):
            suspect.repetitions += 1
            yield plain_only or suspect.repetitions % _EVERY_PLAIN == 0

    def _weighed(self, rule: Callable[..., T], suspect: Suspect) -> T:
        """Return what a rule of `core.verdict.proof` says of the answers so far."""
        between = self._standing.delivered_count - suspect.delivered_before
        return rule(suspect.denials, between, self._suspicion(suspect), inconsistent=self._standing.inconsistent(self._clock()))

    def _suspicion(self, suspect: Suspect) -> Suspicion:
        if suspect.proven_before:
            return Suspicion.CONFIRMED
        lacking = not suspect.known_good and self._standing.platforms.lacks(suspect.file)
        return Suspicion.OF_PLATFORM if lacking else Suspicion.OF_FILE

    async def _ask(self, chunk: list[Suspect]) -> Outcome:
        outcome = Outcome()
        questions = self._questions(chunk)
        background, urgent = chunk[0].urgency is Urgency.BACKGROUND, chunk[0].urgency is Urgency.AWAITED
        alone = self._round_width() == 1
        unanswered = {id(question): question for question in questions}

        def learned(question: Question, evidence: Evidence) -> None:
            del unanswered[id(question)]
            self._learned(outcome, question, evidence)

        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ROUND_WITHIN) as limit:
                    self._background_round = limit if background else None
                    for asked in [[question] for question in questions] if alone else [questions]:
                        flows = ((question, question.flow()) for question in asked)
                        await self._mirror.converse_all(
                            flows, self._who, learned=learned, background=background, urgent=urgent, reason=attrgetter("reason")
                        )
        finally:
            overtaken, self._background_round = background and self._background_round is None, None
        for question in () if overtaken else unanswered.values():
            if question.suspect is not None:
                question.suspect.failures = PASSING_FAILURES
            else:
                self._standing.forget(question.file)
        return outcome

    def _learned(self, outcome: Outcome, question: Question, evidence: Evidence) -> None:
        suspect, file = question.suspect, question.file
        cause = cause_of(evidence, file.size)
        if suspect is not None:
            self._ledger.record(suspect.project, file, evidence, cause)
        if suspect is None:
            if cause is Cause.AVAILABLE:
                outcome.good += 1
                self._standing.delivered(file, evidence.at)
            elif cause in PROOF:
                outcome.bad.append((file, evidence))
        elif cause is Cause.AVAILABLE:
            outcome.delivered.append((suspect, evidence))
        elif cause not in PROOF:
            # It was not denied this time: the row is broken.
            suspect.failures += 1
            suspect.denials = 0
        elif question.epoch == self._epoch:
            self._denied_again(suspect, evidence, cause)

    def _denied_again(self, suspect: Suspect, evidence: Evidence, cause: Cause) -> None:
        if suspect.denials == 0:
            suspect.delivered_before = self._standing.delivered_count
        suspect.denials += 1
        if evidence.asked is Asked.GET and cause is not suspect.cause:
            # That is how clients ask.
            suspect.evidence, suspect.cause = evidence, cause
        elif evidence.asked is suspect.evidence.asked and cause is suspect.cause:
            suspect.evidence = evidence
        else:
            suspect.evidence = structs.replace(suspect.evidence, at=evidence.at)
        if cause is Cause.ABSENT:
            self._standing.platforms.denied(suspect.file)

    async def _look_closer(self, outcome: Outcome, project: Project) -> None:
        """Find out whether good files that were denied are gone, or are delivered to who asks alone."""
        plain_only = self._standing.plain_only(self._clock())
        bad, outcome.bad = outcome.bad, []
        for file, evidence in bad:
            question = Question(None, file, plain_only, self._epoch)
            again = await self._mirror.converse(question.flow(), self._who, reason=question.reason)
            if cause_of(again, file.size) is Cause.AVAILABLE:
                outcome.flickers = True
            else:
                outcome.bad.append((file, evidence))
        for file, evidence in {file.url: (file, evidence) for file, evidence in outcome.bad}.values():
            await self._ledger.known_good_failed(project, file, evidence)

    def _take(self, chunk: list[Suspect], outcome: Outcome) -> None:
        """Draw the conclusions of a round."""
        contradicted = outcome.flickers
        plain_only = self._standing.plain_only(self._clock())
        by_plain_get = {suspect.key for suspect, evidence in outcome.delivered if evidence.asked is Asked.GET}
        for suspect, evidence in {suspect.key: (suspect, evidence) for suspect, evidence in outcome.delivered}.values():
            if not plain_only and suspect.key in by_plain_get and suspect.denials >= _RANGED_DENIALS:
                # Where the ordinary GET filled a cache, ranged requests are delivered after it.
                self._standing.only_plain_get_delivered(self._clock())
            else:
                contradicted |= suspect.denials > 0 and not self._ledger.is_young(suspect.project, suspect.file)
            self._finish(suspect)
            self._ledger.note(suspect.project, suspect.file, evidence)
        if outcome.delivered or outcome.bad or outcome.flickers:
            self._start_over(crowded=contradicted)
        elif outcome.good:
            self._pause = 0.0
            for suspect in chunk:
                self._judge(suspect)
        else:
            # No file known to be good answered: what was denied meanwhile proves nothing.
            self._void(chunk)
        self._finish_all([suspect for suspect in chunk if suspect.exhausted])

    async def _ask_alone(self, suspects: list[Suspect]) -> None:
        """Ask for files one after the other with no other probe under way, until one is delivered; conclude what is denied."""
        if not suspects:
            return
        delivered: list[Suspect] = []
        quiet_before = False

        def flows() -> Iterator[tuple[Suspect, Flow[tuple[Evidence, Evidence | None]]]]:
            nonlocal quiet_before
            for suspect in suspects:
                # What was learned meanwhile may spare the others that.
                if not delivered and suspect.key in self.suspects and not self._judge(suspect):
                    quiet_before = self._mirror.downloads == 0
                    suspect.repetitions += 1
                    yield suspect, probe_alone(suspect.file.url, size=suspect.file.size)

        def learned(suspect: Suspect, seen: tuple[Evidence, Evidence | None]) -> None:
            plain, ranged = seen
            cause = cause_of(plain, suspect.file.size)
            self._ledger.record(suspect.project, suspect.file, plain, cause)
            if cause is Cause.AVAILABLE:
                delivered.append(suspect)
                self._delivered_alone(suspect, plain, ranged)
            elif cause in PROOF:
                quiet = quiet_before and self._mirror.downloads == 0
                suspect.alone, suspect.alone_at = ALONE if quiet else suspect.alone + 1, self._clock()
                self._denied_again(suspect, plain, cause)
                self._judge(suspect)
            else:
                suspect.failures, suspect.denials = suspect.failures + 1, 0

        within = _DRAINED_WITHIN[suspects[0].urgency]
        if not await self._mirror.converse_alone(flows(), self._who, learned=learned, within=within, reason=Reason.PROOF):
            # Something is under way for long: this is tried again in a moment.
            self._slow_down()
            for suspect in suspects:
                suspect.failures += 1
        self._finish_all([suspect for suspect in suspects if suspect.exhausted])

    def _delivered_alone(self, suspect: Suspect, plain: Evidence, ranged: Evidence | None) -> None:
        shown = None if ranged is None else cause_of(ranged, suspect.file.size)
        if shown in PROOF:
            self._standing.only_plain_get_delivered(self._clock())
        young = self._ledger.is_young(suspect.project, suspect.file)
        self._finish(suspect)
        self._ledger.note(suspect.project, suspect.file, plain)
        self._start_over(crowded=shown is Cause.AVAILABLE and not young)

    def _is_proven(self, suspect: Suspect) -> bool:
        return self._weighed(proves_absence, suspect)

    def _lacks_only_alone(self, suspect: Suspect) -> bool:
        return suspect.alone < ALONE and self._suspicion(suspect) is Suspicion.OF_FILE and self._is_proven(suspect)

    def _judge(self, suspect: Suspect) -> bool:
        """Conclude that `suspect` is absent if that is proven, and return whether it is."""
        if not self._is_proven(suspect) or self._lacks_only_alone(suspect):
            return False
        if not self._standing.guard.storm:
            if suspect.alone >= ALONE and not suspect.known_good:
                self._standing.platforms.proven(suspect.file)
            self._ledger.conclude(suspect.project, suspect.file, suspect.evidence, suspect.cause)
        self._finish(suspect)
        return True

    def _start_over(self, *, crowded: bool) -> None:
        """Void all denials so far; where a crowd may have caused them, ask the mirror for fewer files at once from now on."""
        self._void(list(self.suspects.values()))
        if not crowded:
            return
        self._standing.contradicted(self._clock())
        self._width, self._narrowed = max(1, self._width // 2), self._clock()
        self._slow_down()
        self._mirror.ask_less_at_once()
        _log.warning(
            "denials-contradicted",
            mirror=self._mirror.name,
            at_once=self._mirror.window,
            meaning="the mirror denied files that it delivers: nothing is dropped for these answers, and it is asked for fewer at once",
        )

    def _slow_down(self) -> None:
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)

    def _void(self, suspects: Iterable[Suspect]) -> None:
        self._epoch += 1
        for suspect in suspects:
            suspect.restart(self._standing.delivered_count)

    def _finish(self, suspect: Suspect) -> None:
        if self.suspects.get(suspect.key) is suspect:
            del self.suspects[suspect.key]
            del self._queues[suspect.urgency][suspect.key]
            self._urls.discard(suspect.file.url)
        suspect.done.set()

    def _finish_all(self, suspects: Iterable[Suspect]) -> None:
        for suspect in suspects:
            self._finish(suspect)
