"""What happened since the start, in plain numbers.

Everything is counted on the event loop, so that counting is an addition and needs no lock; `status.metrics` tells Prometheus about it.
Rules for this file: a key is made of words that the code itself has, never of a project, a file, a URL, or of what a client sent.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.telemetry.price import Price

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, from a page that is at hand to the patience of uv."""


def _from_none(*words: str) -> Counter[str]:
    """Gives a counter that has these from the start: Prometheus sees no increase in a series that begins with its first event."""
    return Counter(dict.fromkeys(words, 0))


class Durations:
    """How often something took how long: `counts[i]` is for what took at most `bounds[i]` seconds, the last one for all that took longer.

    `seconds` is the sum.
    """

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Notes one duration."""
        self.add_all((seconds,))

    def add_all(self, durations: Iterable[float]) -> None:
        """Notes several durations."""
        counts, bounds = self.counts, self.bounds
        for seconds in durations:
            counts[bisect_left(bounds, seconds)] += 1
            self.seconds += seconds


@dataclass(slots=True)
class MirrorCounts:
    """What was asked of one mirror, and what came of it.

    `answers` counts its answers by status, and what took the place of one by its name; `took` is how long it took to answer, by what was
    asked for. `probes` are by how the mirror was asked and by cause, `verdicts` (each time one changes) by kind and cause,
    `dropped` (each time a file leaves a page) by cause. `proven_late` counts files that were proven absent after a page had listed them and
    a client had asked for metadata of their release. `page_fetches` are by what became of them, `metadata` by where it came from.
    `price` has the requests for files by their reason.
    """

    answers: Counter[str] = field(default_factory=Counter)
    took: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    probes: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=lambda: _from_none("absent", "blocked", "no-file", "release"))
    restored: int = 0
    proven_late: int = 0
    releases_lost: int = 0
    storms: int = 0
    page_fetches: Counter[str] = field(default_factory=lambda: _from_none("fetched", "not-modified", "refused", "failed"))
    metadata: Counter[str] = field(default_factory=lambda: _from_none("copy", "wheel", "another-file", "sdist", "none"))
    price: Price = field(default_factory=Price)


@dataclass(slots=True)
class Tally:
    """How many requests were answered in one way; `at_hand` counts those answered before they were parsed."""

    ordinary: int = 0
    at_hand: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The way in which a request was answered: the kind of address, the mirror's name, the status, and the outcome in a word."""

    route: str
    upstream: str
    status: int
    outcome: str


@dataclass(slots=True)
class RequestCounts:
    """The requests of clients.

    `took` is by kind of address and leaves out those at hand, which take less than the first bound. `sent` is bytes of files, by mirror.
    """

    tallies: dict[Answered, Tally] = field(default_factory=dict)
    took: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    sent: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0

    def tally(self, answered: Answered) -> Tally:
        """Gives the tally of requests that are answered so."""
        found = self.tallies.get(answered)
        if found is None:
            found = self.tallies[answered] = Tally()
        return found

    def note(self, answered: Answered, seconds: float) -> None:
        """Counts one request, which took so long."""
        self.tally(answered).ordinary += 1
        self.took[answered.route].add(seconds)


@dataclass(slots=True)
class Counts:
    """All that one application counts; it outlives a reload of the settings, and so the objects that count."""

    requests: RequestCounts = field(default_factory=RequestCounts)
    mirrors: dict[str, MirrorCounts] = field(default_factory=dict)
    reloads: Counter[str] = field(default_factory=lambda: _from_none("done", "restart-needed", "failed"))

    def of_mirror(self, name: str) -> MirrorCounts:
        """Gives what is counted of the mirror with this name."""
        return self.mirrors.setdefault(name, MirrorCounts())
