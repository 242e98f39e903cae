"""Many clients for a minute, while the store fails on and off: who got no answer, and how long the others waited.

    python benchmarks/store_load.py [--store redis|sqlite] [--clients N] [--rounds N] [--phase S] [--tmpfs MB]

Each round runs the same clients twice, with a sound store and with one that fails: each fault lasts for `--phase` seconds, and as long
passes before the next one. The ratios compare both runs of a round, phase by phase. Clients ask for pages only, each a moment after the
answer to the last; every second some more projects are asked for, so that there is something to write at any time.

At the end the proxy and the mirror are stopped, and a new proxy over the same store is asked for all pages: they say what the store lacks.

Redis is killed and started empty, frozen, frozen and let go by turns, filled up, and emptied. The SQLite file is on a tmpfs that is
filled up (which needs root: without, that fault is left out), locked by another process, and removed.
"""

import argparse
import asyncio
import json
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import made
import mirrors
import uvloop

_PROJECTS = 250
_AT_FIRST = 20
_LINKS = 31
_THINKS = 0.35
"""Seconds that a client waits between an answer and its next request, on average."""

_PATIENCE = 30.0
_FRESH = 10
"""Seconds for which pages are fresh, here: so that the store is asked often."""

_AFTER = 20.0
"""Seconds with clients after the last fault, before the new proxy is started."""

_TRIES = (0.4, 0.4)
_REQUEST = (
    "GET /simple/{}/ HTTP/1.1\r\nHost: localhost\r\nAccept: " + made.JSON_TYPE + "\r\nAccept-Encoding: identity\r\nUser-Agent: load\r\n\r\n"
)


@dataclass
class Phase:
    """What clients saw in one phase: how long each answer took, in seconds, and why there was none."""

    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def share(self, part: float) -> float:
        """Return the wait that this share of the answers did not exceed, in milliseconds."""
        return 1000 * sorted(self.waits)[int(part * (len(self.waits) - 1))] if self.waits else float("nan")


class Redis:
    """A Redis on loopback that keeps nothing on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = mirrors.free_port()
        self.location = f"redis://127.0.0.1:{self._port}/0"
        self.faults: Mapping[str, Callable[[], AsyncIterator[None]]] = {
            "killed, then empty": self._killed,
            "frozen": self._frozen,
            "frozen by turns": self._flapping,
            "full": self._full,
            "emptied each second": self._emptied,
        }
        self._start()

    def _start(self) -> None:
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        mirrors.await_port(self._process, self._port)

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def _tell(self, command: str) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 2.0) as connection:
            connection.sendall(command.encode() + b"\r\n")
            connection.recv(100)

    async def _killed(self) -> AsyncIterator[None]:
        self._process.kill()
        self._process.wait()
        yield
        self._start()

    async def _frozen(self) -> AsyncIterator[None]:
        self._process.send_signal(signal.SIGSTOP)
        yield
        self._process.send_signal(signal.SIGCONT)

    async def _flapping(self) -> AsyncIterator[None]:
        async with _again(self._by_turns):
            yield
        self._process.send_signal(signal.SIGCONT)

    async def _by_turns(self) -> None:
        for number, seconds in zip((signal.SIGSTOP, signal.SIGCONT), _TRIES, strict=True):
            self._process.send_signal(number)
            await asyncio.sleep(seconds)

    async def _full(self) -> AsyncIterator[None]:
        self._tell("CONFIG SET maxmemory 100kb")
        yield
        self._tell("CONFIG SET maxmemory 0")

    async def _emptied(self) -> AsyncIterator[None]:
        async with _again(self._empty):
            yield

    async def _empty(self) -> None:
        self._tell("FLUSHALL")
        await asyncio.sleep(1.0)


class Sqlite:
    """A SQLite file on a tmpfs of so many megabytes, or in an ordinary folder where that cannot be mounted."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder = folder / "store"
        self._folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self._folder)]
        self._mounted = subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0
        self._file = self._folder / "store.sqlite3"
        self.location = f"sqlite:{self._file}"
        self.faults: Mapping[str, Callable[[], AsyncIterator[None]]] = {
            **({"disk full": self._full} if self._mounted else {}),
            "locked": self._locked,
            "removed": self._removed,
        }

    def close(self) -> None:
        """Take it away."""
        if self._mounted:
            subprocess.run(["umount", str(self._folder)], check=False)

    async def _full(self) -> AsyncIterator[None]:
        filler = self._folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(64 * 1024))
        yield
        filler.unlink()

    async def _locked(self) -> AsyncIterator[None]:
        connection = sqlite3.connect(self._file, timeout=5.0, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
        connection.close()

    async def _removed(self) -> AsyncIterator[None]:
        for file in self._folder.glob("store.sqlite3*"):
            file.unlink()
        yield


@asynccontextmanager
async def _again(once: Callable[[], "asyncio.Future[None] | object"]) -> AsyncIterator[None]:
    """Do it again and again while the block runs."""

    async def work() -> None:
        while True:
            await once()  # type: ignore[misc]

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Load:
    """The clients of the proxy at `port`, and what they see in the `phases`."""

    def __init__(self, port: int) -> None:
        self.phases: dict[str, Phase] = defaultdict(Phase)
        self.phase = ""
        self.asked: set[int] = set()
        self._port = port
        self._chance = random.Random(1)
        self._began = time.monotonic()
        self._growth = 1.0
        self._stopped = False

    async def run(self, clients: int, schedule: "list[tuple[str, float, Callable[[], AsyncIterator[None]] | None]]") -> None:
        """Run so many clients through the phases: their names, seconds, and faults."""
        self._growth = (_PROJECTS - _AT_FIRST) / sum(seconds for _, seconds, _ in schedule)
        work = [asyncio.create_task(self._client()) for _ in range(clients)]
        for name, seconds, fault in schedule:
            self.phase = name
            if fault is None:
                await asyncio.sleep(seconds)
                continue
            async with asynccontextmanager(fault)():
                await asyncio.sleep(seconds)
        self._stopped = True
        await asyncio.gather(*work)

    async def _client(self) -> None:
        connection = None
        while not self._stopped:
            await asyncio.sleep(2 * _THINKS * self._chance.random())
            number = self._chance.randrange(min(_PROJECTS, _AT_FIRST + int((time.monotonic() - self._began) * self._growth)))
            phase, began = self.phases[self.phase], time.monotonic()
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", self._port)
                async with asyncio.timeout(_PATIENCE):
                    status, _ = await page(*connection, f"p{number}")
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                phase.failures.append(type(error).__name__)
                connection = None
                continue
            phase.waits.append(time.monotonic() - began)
            self.asked.add(number)
            if status != 200:
                phase.failures.append(str(status))
        if connection is not None:
            connection[1].close()


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, project: str) -> tuple[int, bytes]:
    """Ask for a page, and return the status and the body."""
    writer.write(_REQUEST.format(project).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


@contextmanager
def proxy(upstream: str, location: str) -> Iterator[made.Server]:
    """Run mirrormend over this store."""
    port = mirrors.free_port()
    command = [sys.executable, "-m", "proxy", "serve", "--upstream", upstream, "--listen", f"127.0.0.1:{port}", "--store", location]
    environment = {"MIRRORMEND_UPSTREAM_KIND": "static", "MIRRORMEND_UPSTREAM_FRESH": str(_FRESH)}
    with made.running([*command, "--log-level", "error"], port, environment, mirrors.ROOT.parent) as server:
        yield server


async def kept(port: int, asked: set[int]) -> tuple[int, int]:
    """Return how many of the pages a proxy serves, and how many dead files they list."""
    served = dead = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in sorted(asked):
        status, body = await page(reader, writer, f"p{number}")
        served += status == 200
        dead += 0 if status != 200 else sum("macosx" in each["filename"] for each in json.loads(body)["files"])
    writer.close()
    return served, dead


def run(tree: Path, here: Path, words: argparse.Namespace, *, fails: bool) -> tuple[dict[str, Phase], str]:
    """Run the clients once, and return what they saw, and what the store had at the end."""
    here.mkdir()
    store = Redis(here) if words.store == "redis" else Sqlite(here, words.tmpfs)
    schedule: list[tuple[str, float, Callable[[], AsyncIterator[None]] | None]] = [("before", words.phase, None)]
    for name, fault in store.faults.items():
        schedule += [(name, words.phase, fault if fails else None), (f"after {name}", words.phase, None)]
    try:
        with ExitStack() as stack:
            origin = stack.enter_context(mirrors.nginx(tree, rules=made.FILES + mirrors.DEAD_MACOS))
            upstream = f"http://127.0.0.1:{origin}{mirrors.SIMPLE}"
            load = Load(stack.enter_context(proxy(upstream, store.location)).port)
            uvloop.run(load.run(words.clients, [*schedule, ("after all", _AFTER, None)]))
        with proxy(upstream, store.location) as server:
            served, dead = uvloop.run(kept(server.port, load.asked))
    finally:
        store.close()
    return load.phases, f"a new proxy with the mirror down serves {served} of {len(load.asked)} pages, with {dead} dead files"


def table(rounds: list[tuple[dict[str, Phase], dict[str, Phase]]]) -> Iterator[str]:
    """Return the lines of the table: the failing runs, all rounds together, and their ratios to the sound ones."""
    yield "| phase | answers | failures | p50 ms | p99 ms | longest ms | answers, p50, p99 against a sound store |"
    yield "|---|---|---|---|---|---|---|"
    for name in rounds[0][1]:
        failing, sound = [each[1][name] for each in rounds], [each[0][name] for each in rounds]
        both = Phase([wait for each in failing for wait in each.waits], [why for each in failing for why in each.failures])
        why = f" ({', '.join(sorted(set(both.failures)))})" if both.failures else ""
        measures: tuple[Callable[[Phase], float], ...] = (
            lambda phase: len(phase.waits),
            lambda phase: phase.share(0.5),
            lambda phase: phase.share(0.99),
        )
        ratios = [statistics.median(of(one) / of(other) for one, other in zip(failing, sound, strict=True)) for of in measures]
        figures = f"{both.share(0.5):.1f} | {both.share(0.99):.0f} | {both.share(1.0):.0f}"
        yield f"| {name} | {len(both.waits):,} | {len(both.failures)}{why} | {figures} | {', '.join(f'{each:.2f}' for each in ratios)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("redis", "sqlite"), default="redis")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--phase", type=float, default=6.0)
    parser.add_argument("--tmpfs", type=int, default=8, metavar="MB")
    words = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o755)
        tree = made.tree(here / "tree", {f"p{number}": _LINKS for number in range(_PROJECTS)})
        for number in range(words.rounds):
            sound, found = run(tree, here / f"{number}-sound", words, fails=False)
            print(f"round {number}, sound: {sum(len(each.waits) for each in sound.values()):,} answers; {found}", flush=True)
            failing, found = run(tree, here / f"{number}-failing", words, fails=True)
            print(f"round {number}, failing: {sum(len(each.waits) for each in failing.values()):,} answers; {found}", flush=True)
            rounds.append((sound, failing))
    print(f"\n{words.clients} clients, {words.store}, {words.rounds} rounds, {words.phase:g} s a phase\n")
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
