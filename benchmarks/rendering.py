"""A page of 5,000 links that is served again after one verdict changed: settling, rendering and compressing it, and what reading it takes.

    python benchmarks/rendering.py [--rounds N] [--links N]

It ends with the bytes that a client gets and their ETag; `another` is the same page in a second encoding, which is made of the first.
Each is compared with parsing the mirror's page, which is what a page costs before anything can be rendered.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import made
import mirrors

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.page import Page
from proxy.core.parse import parse_page
from proxy.core.render import Form, proxied_links
from proxy.core.verdict.judge import Cause, Verdict, VerdictRules, judge
from proxy.core.verdict.settle import Policy, settle
from proxy.index.served import ServedPage

_URL = "http://mirror.example.com/simple/large/"


def verdict(cause: Cause) -> Verdict:
    status = 200 if cause is Cause.AVAILABLE else 404
    return judge(cause, Evidence(Asked.HEAD, status, 1000.0), None, proven=True, rules=VerdictRules())


def rendered(page: Page, verdicts: dict[str, Verdict], revision: int, form: Form) -> ServedPage:
    now = ServedPage(
        settle(page, verdicts, Policy()),
        proxied_links("large"),
        lambda files: [file.filename.endswith(".whl") or None for file in files],
        (revision, 0, "", False, None),
        True,
        False,
    )
    now.body(form, "zstd")
    return now


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--links", type=int, default=5000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = made.tree(Path(folder), {"large": words.links}) / mirrors.SIMPLE.strip("/") / "large"
        bodies = {"JSON": (place / "index.json").read_bytes(), "HTML": (place / "index.html").read_bytes()}
    for said, body in bodies.items():
        for form in (Form.JSON, Form.LEGACY_HTML):
            page = parse_page(body, None, _URL, "large")
            verdicts = {file.filename: verdict(Cause.AVAILABLE) for file in page.files}
            times: dict[str, list[float]] = {"parsing": [], "rendering": [], "another": []}
            for number in range(words.rounds):
                verdicts[page.files[number * 37 % words.links].filename] = verdict(Cause.ABSENT)
                made_now: list[ServedPage] = []
                times["parsing"].append(timed(lambda: parse_page(body, None, _URL, "large")))
                times["rendering"].append(timed(lambda: made_now.append(rendered(page, verdicts, number, form))))
                times["another"].append(timed(lambda: made_now[0].body(form, "gzip")))
            for what in ("rendering", "another"):
                median = f"{statistics.median(times[what]) * 1e3:6.1f} ms {what:9}"
                print(f"from {said} to {form.name:11}  {median}  against parsing {made.ratios(times[what], times['parsing'])}")


if __name__ == "__main__":
    main()
