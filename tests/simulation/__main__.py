"""`python -m tests.simulation`: runs histories of a simulated mirror for a while, and reports what broke.

python -m tests.simulation --seconds 60                 as many histories as fit, with drawn behaviours
python -m tests.simulation --behaviour limit --seeds 200   so many histories of a mirror with this behaviour (may be given repeatedly)
python -m tests.simulation --seed N -v                  one history again, with every request that reached the mirror
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.behaviours import BEHAVIOURS
from tests.simulation.history import Report, run_history

_SHOWN = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 where every promise was kept, 1 where one was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--behaviour", action="append", choices=sorted(BEHAVIOURS), help="one of the mirror's; drawn where none is named")
    parser.add_argument("--seconds", type=float, metavar="N")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many histories")
    parser.add_argument("--seed", type=int, metavar="N", help="the only history, or the first one of several")
    parser.add_argument("--each", action="store_true", help="as many of each behaviour alone")
    parser.add_argument("-v", "--verbose", action="store_true")
    words = parser.parse_args(arguments)
    if words.each:
        return max(_run([name], words) for name in BEHAVIOURS)
    return _run(words.behaviour, words)


def _run(behaviours: list[str] | None, words: argparse.Namespace) -> int:
    first = words.seed or 0
    count = words.seeds if words.seeds is not None else (None if words.seconds is not None else 1 if words.seed is not None else 100)
    began = time.perf_counter()
    reports: list[Report] = []
    seed = first
    while (count is None or seed < first + count) and (words.seconds is None or time.perf_counter() - began < words.seconds):
        report = run_history(seed, behaviours, verbose=words.verbose)
        reports.append(report)
        if words.verbose or (count == 1):
            sys.stdout.write(f"{report}\n")
        seed += 1
    took = time.perf_counter() - began
    broken = [report for report in reports if not report.sound]
    if count != 1 and not words.each:
        for report in broken[:_SHOWN]:
            sys.stdout.write(f"seed {report.seed}: {'; '.join(report.behaviours)[:200]}\n  {report.violations[0].strip()}\n")
    sys.stdout.write(_summary(", ".join(behaviours or ["drawn"]), reports, took))
    return int(bool(broken))


def _summary(title: str, reports: list[Report], took: float) -> str:
    broken = [report for report in reports if not report.sound]
    drops: Counter[str] = Counter()
    views: Counter[str] = Counter()
    for report in reports:
        for each in report.behaviours:
            name = each.partition(":")[0]
            drops[name] += len(report.tally.drops)
            views[name] += report.tally.file_views
    kinds = Counter[str]()
    for report in broken:
        kinds.update(report.tally.kinds.keys())
    asked, listed = sum(report.asked for report in reports), sum(report.listed for report in reports)
    line = f"{title}: {len(reports)} histories, {len(reports) / took:.0f} a second, {len(broken)} broken"
    line += f" (seeds {', '.join(str(report.seed) for report in broken[:10])})" if broken else ""
    line += f" [{', '.join(f'{kind} in {count}' for kind, count in kinds.most_common())}]" if kinds else ""
    line += f"; {asked / max(1, listed):.2f} requests for each listed file\n"
    for name, count in drops.items():
        if count:
            line += f"  {name}: {count} healthy files dropped by chance in {views[name]} views of a file ({count / views[name]:.1e})\n"
    return line


if __name__ == "__main__":
    sys.exit(main())
