"""`python -m tests.simulation`: runs histories of a simulated mirror for a while, and reports what broke.

python -m tests.simulation --seconds 60                 as many histories as fit, with drawn behaviours
python -m tests.simulation --behaviour limit --seeds 200   so many histories of a mirror with this behaviour (may be given repeatedly)
python -m tests.simulation --seed N -v                  one history again, with every request that reached the mirror
python -m tests.simulation --replicas --seconds 60      the same of replicas that share a store which breaks, with drawn behaviours

Histories with one of the behaviours of replicas, their clocks or their store have replicas as well.
"""

import argparse
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.behaviours import BEHAVIOURS
from tests.simulation.history import run_history
from tests.simulation.replica_behaviours import REPLICA_BEHAVIOURS
from tests.simulation.replica_history import run_replicas
from tests.simulation.report import Report

_SHOWN = 5
_ALL = BEHAVIOURS | REPLICA_BEHAVIOURS


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 where every promise was kept, 1 where one was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--behaviour", action="append", choices=sorted(_ALL), help="drawn where none is named")
    parser.add_argument("--replicas", action="store_true", help="several replicas that share a store")
    parser.add_argument("--seconds", type=float, metavar="N")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many histories")
    parser.add_argument("--seed", type=int, metavar="N", help="the only history, or the first one of several")
    parser.add_argument("--each", action="store_true", help="as many of each behaviour alone")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; each takes seeds in turn")
    parser.add_argument("-v", "--verbose", action="store_true")
    words = parser.parse_args(arguments)
    if words.each:
        return max(_run([name], words) for name in (REPLICA_BEHAVIOURS if words.replicas else BEHAVIOURS))
    return _run(words.behaviour, words)


def _run(behaviours: list[str] | None, words: argparse.Namespace) -> int:
    first = words.seed or 0
    count = words.seeds if words.seeds is not None else (None if words.seconds is not None else 1 if words.seed is not None else 100)
    began = time.perf_counter()
    workers = 1 if count == 1 else max(1, words.workers)
    end = None if count is None else first + count
    replicas = words.replicas or not REPLICA_BEHAVIOURS.keys().isdisjoint(behaviours or ())
    shares = [
        (replicas, behaviours, first + place, end, workers, words.seconds, words.verbose, words.verbose or count == 1)
        for place in range(workers)
    ]
    if workers == 1:
        reports = _lived(*shares[0])
    else:
        with ProcessPoolExecutor(workers) as pool:
            done = list(pool.map(_lived, *zip(*shares, strict=True)))
        reports = sorted((report for each in done for report in each), key=lambda report: report.seed)
    if words.verbose or count == 1:
        sys.stdout.write("".join(f"{report}\n" for report in reports))
    took = time.perf_counter() - began
    broken = [report for report in reports if not report.sound]
    if count != 1 and not words.each:
        for report in broken[:_SHOWN]:
            sys.stdout.write(f"seed {report.seed}: {'; '.join(report.behaviours)[:200]}\n  {report.violations[0].strip()}\n")
    sys.stdout.write(_summary(", ".join(behaviours or ["drawn"]), reports, took))
    return int(bool(broken))


def _lived(
    replicas: bool, behaviours: list[str] | None, first: int, end: int | None, step: int, seconds: float | None, verbose: bool, keep: bool
) -> list[Report]:
    """Run every `step`th history from seed `first` to before `end`, for at most so many seconds; `keep` what happened."""
    began = time.perf_counter()
    reports = []
    for seed in itertools.count(first, step) if end is None else range(first, end, step):
        if seconds is not None and time.perf_counter() - began >= seconds:
            break
        report = (run_replicas if replicas else run_history)(seed, behaviours, verbose=verbose)
        if not keep:
            # A long run would hold gigabytes of them; the seed brings them back.
            report.events.clear()
        reports.append(report)
    return reports


def _summary(title: str, reports: list[Report], took: float) -> str:
    broken = [report for report in reports if not report.sound]
    drops: Counter[str] = Counter()
    views: Counter[str] = Counter()
    seeds: dict[str, list[int]] = defaultdict(list)
    for report in reports:
        for each in report.behaviours:
            name = each.partition(":")[0]
            if _ALL[name].exact:
                continue
            drops[name] += len(report.tally.drops)
            if report.tally.drops:
                seeds[name].append(report.seed)
            views[name] += report.tally.file_views
    kinds = Counter[str]()
    for report in broken:
        kinds.update(report.tally.kinds.keys())
    asked, listed = sum(report.asked for report in reports), sum(report.listed for report in reports)
    line = f"{title}: {len(reports)} histories, {len(reports) / took:.0f} a second, {len(broken)} broken"
    line += f" (seeds {', '.join(str(report.seed) for report in broken[:10])})" if broken else ""
    line += f" [{', '.join(f'{kind} in {count}' for kind, count in kinds.most_common())}]" if kinds else ""
    line += f"; {asked / max(1, listed):.2f} requests for each listed file\n"
    dead = sum(report.tally.dead_at_first for report in reports)
    if dead:
        left = dead - sum(report.tally.listed_at_first for report in reports)
        line += f"  of {dead} dead files {left} ({left / dead:.0%}) were gone at the first view of their page\n"
    for name, count in drops.items():
        if count:
            line += f"  {name}: {count} healthy files dropped by chance in {views[name]} views of a file ({count / views[name]:.1e})"
            line += f", with seeds {', '.join(map(str, seeds[name][:10]))}\n"
    return line


if __name__ == "__main__":
    sys.exit(main())
