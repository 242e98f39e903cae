"""The longest stall of the event loop while a page of 15,000 links is fetched, parsed, planned, verified, rendered and compressed.

    python benchmarks/stall.py [--links N] [--rounds N] [--kind KIND] [--show]
    python benchmarks/stall.py --hostile [--only WORDS] [--show]

The server runs in a process of its own, with a task that wakes each millisecond and notes how late it is; another client asks for
the page in JSON and HTML, cold, and again while it is verified. Told are the latest wake-up, and the most CPU time that the loop's thread
spent between two: on a machine that others use too, the second is what the server did itself.
`--hostile` tells the same for one file at a time that is made to keep its reader busy, of each kind in `tests/hostile.py`: its page is
asked for, its metadata and the file itself.
`--show` prints where the loop was, by its CPU time.
"""

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

import made
import mirrors
import uvloop
from serving import fetch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proxy.config.load import load_settings
from proxy.server import serve
from proxy.telemetry import configure_logging
from tests.hostile import CODED, SDISTS, WHEELS

_FORMS = {"JSON": made.UV_ACCEPT, "HTML": "text/html"}


class Ticker:
    """Wakes each millisecond and notes the longest that it had to wait, as wall time and as CPU time of the loop's thread, in seconds."""

    def __init__(self, show: bool) -> None:
        self._main = threading.get_ident()
        self._tick, self._used = time.perf_counter(), time.thread_time()
        self.late = self.busy = 0.0
        self.seen: dict[str, float] = {}
        self._show = show

    async def run(self) -> None:
        """Ticks until it is cancelled."""
        self._tick, self._used = time.perf_counter(), time.thread_time()
        if self._show:
            threading.Thread(target=self._watch, daemon=True).start()
        while True:
            await asyncio.sleep(0.001)
            now, cpu = time.perf_counter(), time.thread_time()
            self.late = max(self.late, now - self._tick - 0.001)
            self.busy = max(self.busy, cpu - self._used)
            self._tick, self._used = now, cpu

    def _watch(self) -> None:
        clock = time.pthread_getcpuclockid(self._main)
        while True:
            time.sleep(0.004)
            late = time.clock_gettime(clock) - self._used
            frame = sys._current_frames().get(self._main)  # noqa: SLF001 - the only way to see another thread
            if late > 0.015 and frame is not None:
                where = " < ".join(
                    f"{Path(each.filename).name}:{each.lineno}:{each.name}" for each in reversed(traceback.extract_stack(frame)[-6:])
                )
                self.seen[where] = max(self.seen.get(where, 0.0), late)


async def _inside(upstream: str, port: int, store: str, show: bool, kind: str) -> Ticker:
    options = {"upstream": upstream, "listen": f"127.0.0.1:{port}", "store": store, "log_format": "json"}
    settings = load_settings(file=None, environ={**os.environ, "MIRRORMEND_UPSTREAM_KIND": kind}, options=options)
    configure_logging(settings.log)
    ticker = Ticker(show)

    def ready(_: str) -> None:
        ticks.append(asyncio.get_running_loop().create_task(ticker.run()))

    ticks: list[asyncio.Task[None]] = []
    await serve(settings, ready=ready)
    return ticker


_WHEEL, _SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
_CODED = f"location {mirrors.PACKAGES} {{ add_header Content-Encoding gzip; max_ranges 0; }}"


def hostile(only: str, *, show: bool) -> None:
    """Print the longest stall for each kind of hostile file whose name has these words."""
    kinds = [(f"wheel: {kind}", _WHEEL, make, "") for kind, make in WHEELS.items()]
    kinds += [(f"sdist: {kind}", _SDIST, make, "") for kind, make in SDISTS.items()]
    kinds += [(f"coded wheel: {kind}", _WHEEL, make, _CODED) for kind, make in CODED.items()]
    longest = 0.0
    for kind, filename, make, rules in kinds:
        if only not in kind:
            continue
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            here.chmod(0o755)
            place, page = here / "tree" / mirrors.PACKAGES.strip("/"), here / "tree" / mirrors.SIMPLE.strip("/") / "demo"
            place.mkdir(parents=True)
            page.mkdir(parents=True)
            (place / filename).write_bytes(make())
            entry = {"filename": filename, "url": f"{mirrors.PACKAGES}{filename}", "hashes": {}}
            (page / "index.json").write_text(json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": [entry]}))
            report, port = here / "report", mirrors.free_port()
            with mirrors.nginx(here / "tree", rules=rules) as origin:
                command = [sys.executable, __file__, *(["--show"] if show else [])]
                command += ["--inside", f"http://127.0.0.1:{origin}{mirrors.SIMPLE}", str(port), str(report)]
                with made.running(command, port) as server:
                    fetch(port, "/simple/demo/", {"Accept": made.UV_ACCEPT})
                    for path in (f"/files/demo/{filename}.metadata", f"/files/demo/{filename}"):
                        try:
                            fetch(port, path, {})
                        except (http.client.HTTPException, OSError):
                            # A file that is not what it says is broken off.
                            continue
                    server.process.terminate()
                    server.process.wait()
            found = json.loads(report.read_text())
        longest = max(longest, found["busy"])
        print(f"{kind:66} busy for at most {found['busy'] * 1e3:4.0f} ms, woken late by {found['late'] * 1e3:4.0f} ms", flush=True)
        told(found["seen"])
    print(f"any of them: {longest * 1e3:.0f} ms")


def told(seen: Mapping[str, float]) -> None:
    """Print where the loop was for longest."""
    for where, seconds in sorted(seen.items(), key=lambda each: -each[1])[:14]:
        print(f"    {seconds * 1e3:5.0f} ms  {where}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", default="static")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--only", default="", help="kinds of hostile files with these words alone")
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.inside:
        upstream, port, report = words.inside
        ticker = uvloop.run(_inside(upstream, int(port), f"sqlite:{report}.sqlite", words.show, words.kind))
        Path(report).write_text(json.dumps({"late": ticker.late, "busy": ticker.busy, "seen": ticker.seen}))
        return
    if words.hostile:
        hostile(words.only, show=words.show)
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o755)
        tree = made.tree(here / "tree", {"large": words.links})
        simple = tree / mirrors.SIMPLE.strip("/") / "large"
        for form, accept in _FORMS.items():
            size = (simple / f"index.{form.lower()}").stat().st_size
            late, busy, seen = [], [], {}
            html_only = f"location {mirrors.SIMPLE}large/ {{ try_files $uri/index.html =404; }}"
            rules = made.FILES if form == "JSON" else f"{made.FILES} {html_only}"
            with mirrors.nginx(tree, rules=rules) as origin:
                for number in range(words.rounds):
                    report = here / f"report-{form}-{number}"
                    port = mirrors.free_port()
                    command = [sys.executable, __file__, "--kind", words.kind, *(["--show"] if words.show else [])]
                    command += ["--inside", f"http://127.0.0.1:{origin}{mirrors.SIMPLE}", str(port), str(report)]
                    with made.running(command, port) as server:
                        headers = {"Accept": accept, "Accept-Encoding": "zstd"}
                        for _ in range(30):
                            if fetch(port, "/simple/large/", headers)[1].get("mirrormend-verified") == "complete":
                                break
                            time.sleep(0.2)
                        time.sleep(0.5)
                        server.process.terminate()
                        server.process.wait()
                    found = json.loads(report.read_text())
                    late.append(found["late"])
                    busy.append(found["busy"])
                    seen.update(found["seen"])
            print(
                f"{form} of {size / 1e6:.1f} MB, {words.links} links: woken late by at most {max(late) * 1e3:.0f} ms"
                f" (median of rounds {statistics.median(late) * 1e3:.0f}); busy for at most {max(busy) * 1e3:.0f} ms"
                f" (median {statistics.median(busy) * 1e3:.0f})",
                flush=True,
            )
            told(seen)


if __name__ == "__main__":
    main()
