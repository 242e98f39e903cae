"""How the proxy does, at one moment, as data: for the page that people look at and for `/status.json` alike.

Nothing of what only one client may see is in it, and no secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest

from proxy import __version__
from proxy.config import Settings
from proxy.config.showing import Shown, shown_settings
from proxy.core.identity import SHARED
from proxy.core.platform import platform_of
from proxy.core.verdict.settle import Dropped
from proxy.index import Index
from proxy.status.history import History, Minute
from proxy.telemetry.counts import Counts
from proxy.telemetry.price import Cost, Price

LISTED = 200
"""Missing files that are listed, those that went last first."""


@dataclass(frozen=True, slots=True)
class PriceStatus:
    """The price of the proxy to a mirror since the start: its own requests for files and of how many distinct ones, in all and by reason.

    `relayed` are the requests that clients made themselves.
    """

    requests: int
    files: int
    relayed: int
    reasons: tuple[Cost, ...]


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """A mirror: what it is, how it does, and what is missing on its pages. Times are in seconds since the epoch.

    `state` is `answers`, `fails`, `rests` (it is left alone since it did not answer) or `unknown` (it was not asked yet).
    """

    name: str
    url: str
    kind: str
    state: str
    storm: bool
    last_answer: float | None
    last_failure: str
    last_failure_at: float | None
    requests: int
    failures: int
    projects: int
    dropped: int
    releases_lost: int
    price: PriceStatus


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that left its project's page: why, what the mirror answered to which request, since when, and when it was asked last."""

    mirror: str
    project: str
    filename: str
    platform: str
    cause: str
    status: int | None
    asked: str
    since: float | None
    checked: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted since the start."""

    requests: int
    probes: int
    dropped: int
    restored: int
    storms: int
    proven_late: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page tells. `missing` lists at most `LISTED` of the `missing_in_all` files on the pages held in memory."""

    version: str
    at: float
    started: float
    mirrors: tuple[MirrorStatus, ...]
    totals: Totals
    missing: tuple[MissingFile, ...]
    missing_in_all: int
    minutes: tuple[Minute, ...]
    settings: tuple[Shown, ...]


def status_of(indexes: Mapping[str, Index], counts: Counts, history: History, settings: Settings, *, started: float, now: float) -> Status:
    """Gives how the proxy does; `started` and `now` are in seconds since the epoch."""
    missing = [(index.mirror.name, project, dropped) for index in indexes.values() for project, dropped in index.missing]
    return Status(
        version=__version__,
        at=now,
        started=started,
        mirrors=tuple(_mirror(index) for index in indexes.values()),
        totals=_totals(counts),
        missing=tuple(_missing(*each) for each in nsmallest(LISTED, missing, key=_by_time)),
        missing_in_all=len(missing),
        minutes=tuple(history.minutes(now)),
        settings=shown_settings(settings),
    )


def _mirror(index: Index) -> MirrorStatus:
    mirror, health, holding = index.mirror, index.mirror.health, index.holding
    return MirrorStatus(
        name=mirror.name,
        url=mirror.url,
        kind=mirror.kind.value,
        state=health.state,
        storm=index.storm(SHARED),
        last_answer=health.last_answer,
        last_failure=health.last_failure,
        last_failure_at=health.last_failure_at,
        requests=health.requests,
        failures=health.failures,
        projects=holding.projects,
        dropped=holding.dropped,
        releases_lost=holding.lost,
        price=_price(mirror.counts.price),
    )


def _price(price: Price) -> PriceStatus:
    return PriceStatus(sum(price.requests.values()), price.touched, price.relayed, price.costs)


def _by_time(missing: tuple[str, str, Dropped]) -> tuple[float, str, str]:
    _, project, dropped = missing
    return 0.0 if dropped.verdict is None else -dropped.verdict.since, project, dropped.file.filename


def _missing(mirror: str, project: str, dropped: Dropped) -> MissingFile:
    verdict, file = dropped.verdict, dropped.file
    return MissingFile(
        mirror=mirror,
        project=project,
        filename=file.filename,
        platform=platform_of(file),
        cause="release-dropped" if verdict is None else verdict.cause.value,
        status=None if verdict is None else verdict.evidence.status,
        asked="" if verdict is None else verdict.evidence.asked.value,
        since=None if verdict is None else verdict.since,
        checked=None if verdict is None else verdict.checked,
    )


def _totals(counts: Counts) -> Totals:
    mirrors = counts.mirrors.values()

    def every(numbers: Iterable[int]) -> int:
        return sum(numbers)

    return Totals(
        requests=every(tally.ordinary + tally.at_hand for tally in counts.requests.tallies.values()),
        probes=every(count for each in mirrors for count in each.probes.values()),
        dropped=every(count for each in mirrors for count in each.dropped.values()),
        restored=every(each.restored for each in mirrors),
        proven_late=every(each.proven_late for each in mirrors),
        storms=every(each.storms for each in mirrors),
    )
