"""Files that the mirror denied, how far the proof of their absence is, and what is asked and learned for it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from proxy.core.flows.evidence import Evidence
from proxy.core.flows.exchange import Flow
from proxy.core.flows.probe import plain_probe, probe
from proxy.core.page import File
from proxy.core.verdict.judge import Cause
from proxy.core.verdict.reason import Reason
from proxy.index.project import Project

_ATTEMPTS = 4
"""So often the denials of a file are counted from the beginning before it is left for the next time that its page is planned."""

_MOST_REPETITIONS = 64
"""So often a file is asked for again at most, for one proof."""

PASSING_FAILURES = 6
ALONE = 3
"""So many denials of a file that was asked for alone prove its absence, if clients are sent files meanwhile; else one does."""


Key = tuple[str, str]


class Urgency(IntEnum):
    """How much somebody waits for a proof; a smaller number goes first."""

    AWAITED = 0
    PATIENT = 1
    BACKGROUND = 2


@dataclass(slots=True, eq=False)
class Suspect:
    """A file that was denied, and how far the proof is.

    `denials` came in a row, `evidence` is one of them, and `cause` its cause; `delivered_before` is the state's count of
    delivered files when the first of them came. `known_good` says that it was delivered once, `proven_before` that it was proven absent.
    `alone` counts the denials that came when it was asked for with no other probe under way, the last of them at `alone_at` (seconds since
    the epoch); one that came while no client was sent a file counts as `ALONE`.
    `promised` says that HEAD had promised it.
    `done` is set when it is proven, delivered, or given up for now.
    """

    project: Project
    file: File
    evidence: Evidence
    cause: Cause
    urgency: Urgency
    known_good: bool
    proven_before: bool
    delivered_before: int
    denials: int = 1
    attempts: int = 0
    failures: int = 0
    repetitions: int = 0
    repetitions_before: int = 0
    alone: int = 0
    alone_at: float = float("-inf")
    promised: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        """The project and the file."""
        return self.project.name, self.file.key

    def restart(self, delivered: int) -> None:
        """Count denials from the beginning: those that came so far prove nothing."""
        self.denials, self.delivered_before, self.alone = 0, delivered, 0
        self.attempts += self.repetitions > self.repetitions_before
        self.repetitions_before = self.repetitions

    @property
    def exhausted(self) -> bool:
        """Tell whether it was asked for often enough for this time."""
        return self.attempts >= _ATTEMPTS or self.failures >= PASSING_FAILURES or self.repetitions >= _MOST_REPETITIONS


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a round; without a suspect it is for a file known to be good."""

    suspect: Suspect | None
    file: File
    plain: bool
    epoch: int

    @property
    def reason(self) -> Reason:
        """Why it is asked."""
        return Reason.WITNESS if self.suspect is None else Reason.PROOF

    def flow(self) -> Flow[Evidence]:
        """Return what is asked."""
        if self.plain:
            return plain_probe(self.file.url, spread=True)
        return probe(self.file.url, size=self.file.size, head=False, spread=True)


@dataclass(slots=True)
class Outcome:
    """The result of a round: which suspects were delivered, how many of the files known to be good were, and which of these were denied.

    `flickers` says that a good file was denied, and delivered when it was asked for alone.
    """

    delivered: list[tuple[Suspect, Evidence]] = field(default_factory=list)
    good: int = 0
    bad: list[tuple[File, Evidence]] = field(default_factory=list)
    flickers: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """The place to which a prover writes what it finds out.

    `record` takes each answer for a denied file, `note` takes evidence that is not yet a proof, `conclude` a proof,
    `known_good_failed` says that a file known to be good is denied.
    `find_witness` looks for a file that the mirror delivers, other than those named. `is_young` says whether a file may lag behind
    its page.
    """

    record: Callable[[Project, File, Evidence, Cause], None]
    note: Callable[[Project, File, Evidence], None]
    conclude: Callable[[Project, File, Evidence, Cause], None]
    known_good_failed: Callable[[Project, File, Evidence], Coroutine[Any, Any, None]]
    find_witness: Callable[[Project, frozenset[str]], Coroutine[Any, Any, bool]]
    is_young: Callable[[Project, File], bool]
