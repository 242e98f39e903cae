"""The numbers as Prometheus reads them: every metric by its name, made from what was counted and from what is there at that moment.

Names and units follow Prometheus' conventions: base units, `_total` for what only grows. No label holds a project, a file or a client.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from platform import python_version

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.index import Index
from proxy.store import BackendState, StoreStats
from proxy.telemetry.counts import Counts, Durations, MirrorCounts
from proxy.telemetry.lag import LoopLag
from proxy.telemetry.price import EXACT_UP_TO

Row = tuple[tuple[str, ...], float]


def metrics_registry(
    counts: Counts, indexes: Mapping[str, Index], store: Callable[[], StoreStats | None], lag: LoopLag
) -> CollectorRegistry:
    """Gives a registry of its own for one application; `indexes` are looked at anew each time that it is read."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_OfTheApplication(counts, indexes, store, lag))
    return registry


class _OfTheApplication(Collector):
    def __init__(self, counts: Counts, indexes: Mapping[str, Index], store: Callable[[], StoreStats | None], lag: LoopLag) -> None:
        self._counts = counts
        self._indexes = indexes
        self._store = store
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("mirrormend_build", "Which mirrormend this is.", {"version": __version__, "python": python_version()})
        yield from self._requests()
        yield from _counted(self._counts.mirrors)
        yield from _mirrors(self._indexes.values())
        yield from _held(self._indexes.values())
        stats = self._store()
        if stats is not None:
            yield from _stored(stats)
        yield from self._process()

    def _requests(self) -> Iterator[Metric]:
        requests = self._counts.requests
        rows: list[Row] = []
        quick: dict[str, int] = {}
        for way, tally in requests.tallies.items():
            rows.append(((way.route, way.upstream, str(way.status), way.outcome), tally.ordinary + tally.at_hand))
            quick[way.route] = quick.get(way.route, 0) + tally.at_hand
        labels = ("route", "upstream", "status", "outcome")
        yield _counter("mirrormend_requests", "Requests answered, by kind of address, mirror, status and outcome.", labels, rows)
        took = HistogramMetricFamily(
            "mirrormend_request_duration_seconds", "How long requests took, files to their last byte.", labels=("route",)
        )
        for route in sorted(requests.took.keys() | quick.keys()):
            _add(took, (route,), requests.took.get(route, Durations()), quick.get(route, 0))
        yield took
        at_hand = [((route,), count) for route, count in quick.items()]
        yield _counter(
            "mirrormend_requests_at_hand",
            "Requests answered from memory before they were parsed; among mirrormend_requests_total.",
            ("route",),
            at_hand,
        )
        yield _gauge("mirrormend_requests_in_flight", "Requests being answered.", (), [((), requests.in_flight)])
        yield _counter("mirrormend_sent_bytes", "Bytes of files streamed to clients.", ("upstream",), _by_word(requests.sent))

    def _process(self) -> Iterator[Metric]:
        reloads = _by_word(self._counts.reloads)
        yield _counter("mirrormend_reloads", "Reloads of the settings, by outcome.", ("outcome",), reloads)
        lag = HistogramMetricFamily("mirrormend_event_loop_lag_seconds", "How late the event loop was, looked at a few times a second.")
        _add(lag, (), self._lag.durations)
        yield lag
        loop = asyncio.get_running_loop()
        worst = self._lag.worst(loop.time())
        yield _gauge("mirrormend_event_loop_lag_worst_seconds", "The longest delay of the last minute.", (), [((), worst)])
        yield _gauge("mirrormend_tasks", "Tasks of the event loop.", (), [((), len(asyncio.all_tasks(loop)))])


def _counted(mirrors: Mapping[str, MirrorCounts]) -> Iterator[Metric]:
    """Return what was counted of the mirrors, also of those that a reload took away."""

    def rows(of: Callable[[MirrorCounts], Mapping[str, int]]) -> list[Row]:
        return [((name, str(word)), count) for name, counts in mirrors.items() for word, count in of(counts).items()]

    def pairs(of: Callable[[MirrorCounts], Mapping[tuple[str, str], int]]) -> list[Row]:
        return [((name, *map(str, words)), count) for name, counts in mirrors.items() for words, count in of(counts).items()]

    def numbers(of: Callable[[MirrorCounts], int]) -> list[Row]:
        return [((name,), of(counts)) for name, counts in mirrors.items()]

    yield _counter(
        "mirrormend_upstream_requests",
        "Answers of the mirror by status, and what took the place of one.",
        ("upstream", "outcome"),
        rows(lambda counts: counts.answers),
    )
    took = HistogramMetricFamily(
        "mirrormend_upstream_duration_seconds",
        "How long the mirror took: for a page to its end with all attempts, for a probe its answer, for a file its headers.",
        labels=("upstream", "about"),
    )
    for name, counts in mirrors.items():
        for about, durations in counts.took.items():
            _add(took, (name, about), durations)
    yield took
    yield _counter(
        "mirrormend_probes",
        "What the mirror showed of a file when asked, by how it was asked and the cause.",
        ("upstream", "asked", "cause"),
        pairs(lambda counts: counts.probes),
    )
    yield _counter(
        "mirrormend_price_requests",
        "Requests for files that the proxy made on its own account, by why; metadata is counted in.",
        ("upstream", "reason"),
        rows(lambda counts: {cost.reason: cost.requests for cost in counts.price.costs}),
    )
    yield _gauge(
        "mirrormend_price_files",
        f"Of how many distinct files they were, by why; estimated beyond {EXACT_UP_TO}. A file counts for each of its reasons.",
        ("upstream", "reason"),
        rows(lambda counts: {cost.reason: cost.files for cost in counts.price.costs}),
    )
    yield _gauge(
        "mirrormend_price_distinct_files",
        f"Of how many distinct files they were in all; estimated beyond {EXACT_UP_TO}.",
        ("upstream",),
        numbers(lambda counts: counts.price.touched),
    )
    yield _counter(
        "mirrormend_relayed_requests",
        "Requests for files that clients made themselves, handed on to the mirror: no part of the price.",
        ("upstream",),
        numbers(lambda counts: counts.price.relayed),
    )
    yield _counter(
        "mirrormend_verdicts",
        "Files whose verdict became this one, by verdict and cause.",
        ("upstream", "verdict", "cause"),
        pairs(lambda counts: counts.verdicts),
    )
    yield _counter(
        "mirrormend_files_dropped", "Files that left a page, by cause.", ("upstream", "cause"), rows(lambda counts: counts.dropped)
    )
    yield _counter("mirrormend_files_restored", "Files that came back to a page.", ("upstream",), numbers(lambda counts: counts.restored))
    yield _counter(
        "mirrormend_files_proven_late",
        "Files proven absent after a page listed them and a client asked for metadata of their release.",
        ("upstream",),
        numbers(lambda counts: counts.proven_late),
    )
    yield _counter(
        "mirrormend_releases_lost", "Releases that left a page wholly.", ("upstream",), numbers(lambda counts: counts.releases_lost)
    )
    yield _counter("mirrormend_storms", "Times that dropping stopped.", ("upstream",), numbers(lambda counts: counts.storms))
    yield _counter(
        "mirrormend_page_fetches",
        "Pages asked of the mirror: fetched, not-modified, refused (4xx), failed.",
        ("upstream", "outcome"),
        rows(lambda counts: counts.page_fetches),
    )
    yield _counter(
        "mirrormend_metadata",
        "Core metadata found, by where: the mirror's copy, the wheel, another-file of the release, the sdist, none.",
        ("upstream", "source"),
        rows(lambda counts: counts.metadata),
    )


def _mirrors(indexes: Iterable[Index]) -> Iterator[Metric]:
    mirrors = [index.mirror for index in indexes]
    known = [mirror for mirror in mirrors if mirror.health.state != "unknown"]
    yield _gauge(
        "mirrormend_upstream_up",
        "Whether the mirror answered when it was asked last; there is no value before it was asked.",
        ("upstream",),
        [((mirror.name,), mirror.health.state == "answers") for mirror in known],
    )
    yield _gauge(
        "mirrormend_upstream_last_answer_timestamp_seconds",
        "When the mirror answered last.",
        ("upstream",),
        [((mirror.name,), mirror.health.last_answer) for mirror in mirrors if mirror.health.last_answer is not None],
    )
    yield _gauge(
        "mirrormend_breaker_open",
        "Whether the mirror is left alone for a while, since it did not answer.",
        ("upstream",),
        [((mirror.name,), mirror.breaker_open) for mirror in mirrors],
    )
    bounded = [(mirror, left) for mirror in mirrors if (left := mirror.left()) is not None]
    yield _gauge(
        "mirrormend_allowance_probes",
        "How many files the mirror may be asked about now that nobody waits for; there is no value where nothing bounds it.",
        ("upstream",),
        [((mirror.name,), left) for mirror, left in bounded],
    )
    yield _gauge(
        "mirrormend_allowance_rate_probes_per_second",
        "How fast that allowance comes back.",
        ("upstream",),
        [((mirror.name,), mirror.allowance.rate) for mirror, _ in bounded if mirror.allowance.rate is not None],
    )


def _held(indexes: Iterable[Index]) -> Iterator[Metric]:
    held = [((index.mirror.name,), index.holding, index.tasks.count) for index in indexes]
    label = ("upstream",)
    yield _gauge("mirrormend_projects", "Projects held in memory.", label, [(name, each.projects) for name, each, _ in held])
    yield _gauge(
        "mirrormend_projects_bytes", "About how much memory they take.", label, [(name, each.memory_bytes) for name, each, _ in held]
    )
    yield _gauge(
        "mirrormend_dropped_files", "Files missing on the pages held in memory.", label, [(name, each.dropped) for name, each, _ in held]
    )
    yield _gauge(
        "mirrormend_lost_releases", "Releases missing on the pages held in memory.", label, [(name, each.lost) for name, each, _ in held]
    )
    yield _gauge(
        "mirrormend_storm",
        "For how many identities dropping has stopped, since files known to be good fail; 0 in fair weather.",
        label,
        [(name, each.storms) for name, each, _ in held],
    )
    yield _gauge("mirrormend_background_tasks", "Pieces of work under way.", label, [(name, tasks) for name, _, tasks in held])


def _stored(stats: StoreStats) -> Iterator[Metric]:
    yield _counter(
        "mirrormend_store_reads", "Documents asked of the store.", ("result",), [(("hit",), stats.hits), (("miss",), stats.misses)]
    )
    yield _gauge("mirrormend_store_documents", "Documents in memory.", (), [((), stats.documents)])
    yield _gauge("mirrormend_store_memory_bytes", "Bytes of documents in memory.", (), [((), stats.memory_bytes)])
    yield _gauge("mirrormend_store_pending_documents", "Documents that wait to be written.", (), [((), stats.pending)])
    yield _gauge("mirrormend_store_pending_bytes", "Bytes that wait to be written.", (), [((), stats.pending_bytes)])
    yield _counter("mirrormend_store_lost_documents", "Documents given up before the backend had them.", (), [((), stats.lost)])
    yield _counter(
        "mirrormend_store_restored_documents", "Documents that the backend lost and was given again.", (), [((), stats.restored)]
    )
    yield _counter("mirrormend_store_failures", "Times that the backend did not answer as it should.", (), [((), stats.failures)])
    yield _gauge(
        "mirrormend_store_backend",
        "How the place behind the memory does: 1 for the state that it is in.",
        ("state",),
        [((state.value,), state is stats.backend) for state in BackendState],
    )


def _by_word(counter: Mapping[str, int]) -> list[Row]:
    return [((word,), count) for word, count in counter.items()]


def _counter(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for row, value in rows:
        family.add_metric(row, value)
    return family


def _gauge(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for row, value in rows:
        family.add_metric(row, float(value))
    return family


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], durations: Durations, quick: int = 0) -> None:
    """Adds a histogram; `quick` more took less than its first bound."""
    reached = quick
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*durations.bounds, float("inf")), durations.counts, strict=True):
        reached += count
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), reached))
    family.add_metric(labels, buckets, sum_value=durations.seconds)
