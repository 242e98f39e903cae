"""A page of 5,000 links that is rendered again after one verdict changed, beside rendering it anew.

    python benchmarks/rendering.py [--rounds N] [--links N]

Both begin with the parsed page and its verdicts, and end with the bytes that a client gets and their ETag. `--parsed` adds parsing to
what is done anew, as for a page that the mirror changed.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
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


def served(page: Page, verdicts: dict[str, Verdict], revision: int, earlier: ServedPage | None) -> ServedPage:
    mended = settle(page, verdicts, Policy())
    now = ServedPage(
        mended,
        proxied_links("large"),
        lambda files: [file.filename.endswith(".whl") or None for file in files],
        (revision, 0, "", False, None),
        True,
        False,
    )
    if earlier is not None:
        now.inherit(earlier)
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
    parser.add_argument("--parsed", action="store_true", help="parse the page before it is rendered anew")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = made.tree(Path(folder), {"large": words.links}) / mirrors.SIMPLE.strip("/") / "large"
        bodies = {"JSON": (place / "index.json").read_bytes(), "HTML": (place / "index.html").read_bytes()}
    for said, body in bodies.items():
        for form in (Form.JSON, Form.LEGACY_HTML):
            for encoding in ("identity", "zstd"):
                page = parse_page(body, None, _URL, "large")
                verdicts = {file.filename: verdict(Cause.AVAILABLE) for file in page.files}
                earlier = served(page, verdicts, 0, None)
                earlier.body(form, encoding)
                anew, again = [], []
                for number in range(words.rounds):
                    fresh = parse_page(body, None, _URL, "large")
                    # The page that is rendered again has these for long.
                    _ = fresh.by_key, fresh.probeable, fresh.releases

                    def serve_anew() -> None:
                        given = parse_page(body, None, _URL, "large") if words.parsed else fresh
                        served(given, verdicts, 0, None).body(form, encoding)

                    anew.append(timed(serve_anew))
                    name = page.files[number * 37 % words.links].filename
                    verdicts[name] = verdict(Cause.ABSENT)
                    changed: list[ServedPage] = []

                    def serve_again() -> None:
                        now = served(page, verdicts, number + 1, earlier)
                        now.body(form, encoding)
                        changed.append(now)

                    again.append(timed(serve_again))
                    earlier = replace(changed[0])
                times = f"{statistics.median(anew) * 1e3:6.1f} ms anew {statistics.median(again) * 1e3:6.1f} ms again"
                print(f"from {said} to {form.name:11} {encoding:8}  {times}  {made.ratios(again, anew)}")


if __name__ == "__main__":
    main()
