"""A file that the mirror denied, and how far the proof of its absence is."""

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum

from proxy.core.flows.evidence import Evidence
from proxy.core.page import File
from proxy.core.verdict.judge import Cause
from proxy.index.project import Project

_ATTEMPTS = 4
"""So often the denials of a file are counted from the beginning before it is left for the next time that its page is planned."""

_MOST_REPETITIONS = 64
"""So often a file is asked for again at most, for one proof."""

_PASSING_FAILURES = 6

Key = tuple[str, str]


class Urgency(IntEnum):
    """Says who waits for a proof; a smaller number goes first."""

    AWAITED = 0
    PATIENT = 1
    BACKGROUND = 2


@dataclass(slots=True, eq=False)
class Suspect:
    """A file that was denied, and how far the proof is.

    `denials` came in a row, `evidence` is one of them, and `cause` its cause; `delivered_before` is the state's count of
    delivered files when the first of them came. `known_good` says that it was delivered once, `proven_before` that it was proven absent.
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
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        """The project and the file."""
        return self.project.name, self.file.key

    def restart(self, delivered: int) -> None:
        """Count denials from the beginning: those that came so far prove nothing."""
        self.denials, self.delivered_before = 0, delivered
        self.attempts += self.repetitions > self.repetitions_before
        self.repetitions_before = self.repetitions

    @property
    def exhausted(self) -> bool:
        """Whether it was asked for often enough for this time."""
        return self.attempts >= _ATTEMPTS or self.failures >= _PASSING_FAILURES or self.repetitions >= _MOST_REPETITIONS
