"""From one worker to several: what becomes of the throughput of warm pages, and of what the mirror is asked.

    python benchmarks/replicas.py [--rounds N] [--seconds S] [--workers N]

Warm: requests per second of a page of 300 files in zstd, wrk with 64 connections. Cold: 40 pages, each asked for by 12 clients at once,
and the requests that the mirror gets for them. Each round asks one worker, and several that share a SQLite file.
"""

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import made
import mirrors

_PAGES = 40
_LINKS = 300
_CLIENTS = 12
_HEADERS = {"Accept": made.JSON_TYPE, "Accept-Encoding": "zstd", "User-Agent": "wrk"}


@contextmanager
def proxy(upstream: str, workers: int, folder: Path) -> Iterator[made.Server]:
    """Runs mirrormend with so many workers, and an empty store that they share."""
    port = mirrors.free_port()
    command = [sys.executable, "-m", "proxy", "serve", "--upstream", upstream, "--listen", f"127.0.0.1:{port}", "--workers", str(workers)]
    command += ["--store", f"sqlite:{folder / 'store.sqlite3'}", "--log-level", "warning"]
    with made.running(command, port, {"MIRRORMEND_UPSTREAM_KIND": "static"}, mirrors.ROOT.parent) as server:
        yield server


async def cold(port: int) -> None:
    """Asks for each page by several clients at once, each with a connection of its own."""

    async def ask(page: int) -> None:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/simple/p{page}/", headers=_HEADERS) as answer:
            if answer.status != 200:
                raise SystemExit(f"page {page}: {answer.status}")
            await answer.read()

    for page in range(_PAGES):
        await asyncio.gather(*(ask(page) for _ in range(_CLIENTS)))
    # Whatever goes on behind comes to its end, and each worker gets to know the page that is asked for warm.
    await asyncio.sleep(2)
    await asyncio.gather(*(ask(0) for _ in range(4 * _CLIENTS)))
    await asyncio.sleep(1)


def warm(port: int, seconds: float) -> float:
    """Gives requests per second."""
    lines = [argument for name, value in _HEADERS.items() for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t2", "-c64", f"-d{seconds}s", *lines, f"http://127.0.0.1:{port}/simple/p0/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    words = parser.parse_args()
    asked: dict[int, list[float]] = {1: [], words.workers: []}
    served: dict[int, list[float]] = {1: [], words.workers: []}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o755)
        tree = made.tree(here / "tree", {f"p{number}": _LINKS for number in range(_PAGES)})
        for number in range(words.rounds):
            for workers in (1, words.workers):
                place = here / f"{number}-{workers}"
                place.mkdir()
                log = place / "mirror.log"
                with ExitStack() as stack:
                    origin = stack.enter_context(mirrors.nginx(tree, rules=made.FILES, log=log))
                    ours = stack.enter_context(proxy(f"http://127.0.0.1:{origin}{mirrors.SIMPLE}", workers, place))
                    asyncio.run(cold(ours.port))
                    served[workers].append(warm(ours.port, words.seconds))
                asked[workers].append(len(log.read_text().splitlines()))
    for workers, requests in asked.items():
        print(
            f"{workers} workers: {statistics.median(served[workers]):7.0f} warm pages/s, "
            f"{statistics.median(requests):6.0f} requests at the mirror for {_PAGES} cold pages of {_LINKS} links"
        )
    print(f"several against one, warm pages a second: {made.ratios(served[words.workers], served[1])}")
    print(f"several against one, asked of the mirror:  {made.ratios(asked[words.workers], asked[1])}")


if __name__ == "__main__":
    main()
