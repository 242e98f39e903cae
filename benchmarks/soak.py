"""A bounded soak: the proxy before a mirror that keeps misbehaving, each few seconds in another way, and clients of every kind.

    python benchmarks/soak.py [--minutes N] [--clients N] [--seed N] [--store STORE]

The proxy runs in a process of its own, which tells on a socket how many tasks its loop has. The clients read to the end, hang up in the
middle, read slowly, or send what is no request; now and then a real `uv lock` runs. At the end the mirror is healthy and the clients
are gone: what is left of tasks, connections and descriptors then is a leak. Printed are samples, counts and a verdict; where something
leaks, or a request got no answer, the exit code is 1.
"""

import argparse
import asyncio
import json
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mirrors
import uvloop
from crowd import Counts, Crowd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proxy.config.load import load_settings
from proxy.server import serve
from proxy.telemetry import configure_logging
from tests import faults
from tests.clients import Uv, write_project
from tests.mirror import BrokenMirror

_SETTINGS = {
    "MIRRORMEND_UPSTREAM_FRESH": "2",
    "MIRRORMEND_UPSTREAM_READ_TIMEOUT": "2",
    "MIRRORMEND_UPSTREAM_CONNECT_TIMEOUT": "1",
    "MIRRORMEND_UPSTREAM_KIND": "static",
    "MIRRORMEND_VERDICT_NO": "5",
    "MIRRORMEND_VERDICT_YES": "10",
    "MIRRORMEND_VERDICT_CONFIRM": "5",
}
"""Everything is soon forgotten, so that minutes are as busy as days."""

_CHANGES_EVERY = 3.0
_LOCKS_EVERY = 15.0
_SAMPLES_EVERY = 2.0
_QUIET = 60.0
"""Seconds after which work in the background is done and idle connections are closed: what is left then stays."""

_MB_A_MINUTE = 2.0
_PROJECTS = 24
_PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64")
_LARGE = 2 * 1024 * 1024

FAULTS: dict[str, list[faults.Fault]] = {
    "healthy": [],
    "404": [faults.artifactory_404()],
    "403": [faults.status(403)],
    "401": [faults.status(401, {"WWW-Authenticate": 'Basic realm="x"'})],
    "500": [faults.status(500)],
    "503, Retry-After": [faults.status(503, {"Retry-After": "1"})],
    "429, Retry-After": [faults.status(429, {"Retry-After": "1"})],
    "hang": [faults.hang(4.0)],
    "slow": [faults.slow(0.5)],
    "cut": [faults.cut(100_000, 5_000)],
    "reset": [faults.reset()],
    "HTML with 200": [faults.wrong_type()],
    "wrong ranges": [faults.wrong_content_range()],
    "no ranges": [faults.ignores_range()],
    "empty": [faults.empty()],
    "redirects for ever": [faults.redirects("?again")],
    "all of them": [
        faults.artifactory_404(),
        faults.status(503),
        faults.cut(100_000, 5_000),
        faults.reset(),
        faults.hang(4.0),
        faults.empty(),
    ],
}


@dataclass(frozen=True)
class Sample:
    """What the proxy's process holds: seconds since the start, resident MB, descriptors, of these sockets, and tasks."""

    at: float
    resident: float
    descriptors: int
    sockets: int
    tasks: int


async def _inside(upstream: str, port: int, store: str, talk: str) -> None:
    """Serves, and tells everybody who connects to the socket `talk` what tasks there are."""
    options = {"upstream": upstream, "listen": f"127.0.0.1:{port}", "store": store, "log_format": "json"}
    settings = load_settings(file=None, environ=dict(_SETTINGS), options=options)
    configure_logging(settings.log)

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            others = [task.get_coro() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            names = Counter(getattr(work, "__qualname__", type(work).__name__) for work in others)
            writer.write(json.dumps(names).encode() + b"\n")
        writer.close()

    telling = await asyncio.start_unix_server(tell, talk)
    async with telling:
        await serve(settings)


class Watched:
    """The proxy's process, looked at from outside and from within."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer
        self._began = time.monotonic()
        self.samples: list[Sample] = []

    async def tasks(self) -> Counter[str]:
        """The tasks of its loop, by what they run."""
        self._writer.write(b"\n")
        return Counter(json.loads(await self._reader.readline()))

    async def sample(self) -> Sample:
        """Looks once."""
        tasks = (await self.tasks()).total()
        leads_to = descriptors(self.pid)
        sockets = sum(where.startswith("socket:") for where in leads_to)
        found = Sample(time.monotonic() - self._began, resident(self.pid), len(leads_to), sockets, tasks)
        self.samples.append(found)
        return found


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def sockets_of(pid: int) -> Counter[str]:
    """What the open sockets of a process are: state and ports, as the system's table of connections has them."""
    inodes = {where[8:-1] for where in descriptors(pid) if where.startswith("socket:")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    states = {"01": "established", "08": "close-wait", "0A": "listening"}
    return Counter(
        f"{states.get(row[3], row[3])} {int(row[1].partition(':')[2], 16)} to {int(row[2].partition(':')[2], 16)}"
        for row in rows
        if row[9] in inodes
    )


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process lead to."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.append(str(each.readlink()))
    return found


def stock(mirror: BrokenMirror) -> dict[str, list[str]]:
    """Lists projects at the mirror, some with a large file; gives file names by project."""
    projects: dict[str, list[str]] = {}
    large = random.Random(1).randbytes(_LARGE)
    for number in range(_PROJECTS):
        name = f"project{number}"
        names = [f"{name}-{minor}.0-cp312-cp312-{platform}.whl" for minor in range(1, 11) for platform in _PLATFORMS]
        names += [f"{name}-{minor}.0.tar.gz" for minor in range(1, 11)]
        for each in names:
            mirror.add(each)
        if number % 8 == 0:
            names.append(f"{name}-9.9-py3-none-any.whl")
            mirror.add(names[-1], large)
        projects[name] = names
    return projects


async def misbehave(mirror: BrokenMirror, chance: random.Random, seen: Counter[str]) -> None:
    """Changes every few seconds how the mirror fails, what share of requests, and now and then whether it is there."""

    def some(share: float) -> Callable[[str], bool]:
        return lambda _: chance.random() < share

    while True:
        mirror.heal()
        mirror.forget()
        if chance.random() < 0.08:
            seen["not there"] += 1
            await mirror.stop()
            try:
                await asyncio.sleep(1.0)
            finally:
                await mirror.start()
        kind = chance.choice(list(FAULTS))
        seen[kind] += 1
        share = chance.choice([0.1, 0.5, 1.0])
        for fault in FAULTS[kind]:
            mirror.fault(some(share / len(FAULTS[kind])), fault)
        await asyncio.sleep(_CHANGES_EVERY)


async def lock_now_and_then(port: int, folder: Path, chance: random.Random, ended: Counter[str]) -> None:
    """Runs a real `uv lock` of a few of the projects, each time from nothing."""
    uv = Uv(folder)
    number = 0
    while True:
        await asyncio.sleep(_LOCKS_EVERY)
        number += 1
        project = write_project(folder / f"lock{number}", [f"project{each}" for each in chance.sample(range(_PROJECTS), 6)])
        locked = await uv.lock(project, f"http://127.0.0.1:{port}/simple/", timeout=60)
        ended["whole" if locked.ok else "refused by uv" if locked.returncode > 0 else "no end in 60 s"] += 1
        shutil.rmtree(uv.fresh_cache(), ignore_errors=True)


def slope(samples: list[Sample]) -> float:
    """Gives how resident memory grows, in MB a minute: the line that fits the samples best."""
    return statistics.linear_regression([each.at / 60 for each in samples], [each.resident for each in samples]).slope


@asynccontextmanager
async def watched(upstream: str, store: str, folder: Path) -> AsyncIterator[tuple[Watched, int]]:
    """Runs the proxy; gives what watches it, and its port. What it logs is written to `folder`."""
    port, talk = mirrors.free_port(), str(folder / "talk")
    with (folder / "log").open("wb") as log:
        command = [sys.executable, __file__, "--inside", upstream, str(port), store, talk]
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(20):
                while process.returncode is None and not await asyncio.to_thread(_listens, port):  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_unix_connection(talk)
            yield Watched(process.pid, reader, writer), port
            writer.close()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def soak(minutes: float, clients: int, chance: random.Random, store: str, folder: Path) -> int:
    """Runs it; gives the exit code."""
    ways: Counter[str] = Counter()
    locks: Counter[str] = Counter()
    async with BrokenMirror() as mirror:
        projects = stock(mirror)
        async with watched(mirror.url, store, folder) as (proxy, port):
            await asyncio.sleep(1.0)
            first, tasks_first = await proxy.sample(), await proxy.tasks()
            crowd = Crowd(port, projects, chance)
            running = asyncio.create_task(crowd.run(clients))
            work = [
                asyncio.create_task(misbehave(mirror, chance, ways)),
                asyncio.create_task(lock_now_and_then(port, folder, chance, locks)),
            ]
            print("  seconds  resident MB  descriptors  sockets  tasks  answered", flush=True)
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                await asyncio.sleep(_SAMPLES_EVERY)
                show(await proxy.sample(), len(proxy.samples) % 8 == 0, crowd)
            busy = proxy.samples[1:]
            crowd.stop()
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            mirror.heal()
            await running
            last = await quiet(proxy, first)
            tasks_last = await proxy.tasks()
            show(last, True, crowd)
            print(f"\nsockets left: {told(sockets_of(proxy.pid))}; the proxy listens at {port}, the mirror is {mirror.url}")
    print(f"\nthe mirror's ways, each for {_CHANGES_EVERY:g} s: {told(ways)}")
    print(f"uv lock: {told(locks)}")
    return verdict(crowd.counts, busy, (first, last), (tasks_first, tasks_last), complaints(folder / "log"))


async def quiet(proxy: Watched, first: Sample) -> Sample:
    """Waits until the proxy holds no more than at first, or no longer; gives the last sample."""
    until = time.monotonic() + _QUIET
    while True:
        await asyncio.sleep(_SAMPLES_EVERY)
        now = await proxy.sample()
        if (now.sockets <= first.sockets and now.tasks <= first.tasks) or time.monotonic() > until:
            return now


def show(sample: Sample, now: bool, crowd: Crowd) -> None:
    """Prints a line of the table, if it is time."""
    if now:
        columns = (sample.at, sample.resident, sample.descriptors, sample.sockets, sample.tasks, crowd.counts.answered.total())
        print("{:9.0f} {:12.0f} {:12} {:8} {:6} {:9}".format(*columns), flush=True)


def told(counts: Counter[Any]) -> str:
    """Gives the counts in one line, the most frequent first."""
    return ", ".join(f"{what}: {count}" for what, count in counts.most_common()) or "none"


def complaints(log: Path) -> list[str]:
    """Gives what the proxy wrote that is no line of its log, or an error: tracebacks, and what asyncio says of lost exceptions."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            found.append(line)
        else:
            if event.get("level") in {"error", "critical"}:
                found.append(line)
    return found


def verdict(
    counts: Counts, busy: list[Sample], ends: tuple[Sample, Sample], tasks: tuple[Counter[str], Counter[str]], log: list[str]
) -> int:
    """Prints the figures and what they say; gives the exit code."""
    grows = slope(busy[len(busy) // 3 :])
    first, last = ends
    left = tasks[1] - tasks[0]
    waits = sorted(counts.waits)
    most = max(busy, key=lambda each: each.sockets)
    print(f"answered: {counts.answered.total()} ({told(counts.answered)})")
    print(f"broken off as the mirror's transfer was: {counts.broken}; hung up on: {counts.left}; no request at all: {counts.refused}")
    print(f"unanswered: {len(counts.unanswered)}{''.join(f'{chr(10)}    {each}' for each in counts.unanswered[:10])}")
    print(f"wait for the head: median {statistics.median(waits) * 1e3:.0f} ms, 99 % {waits[len(waits) * 99 // 100]:.2f} s,")
    print(f"    longest {counts.longest:.2f} s ({counts.longest_of})")
    print(
        f"memory: {busy[0].resident:.0f} MB at first, {busy[-1].resident:.0f} MB at last; over the last two thirds {grows:+.2f} MB a minute"
    )
    print(f"quiet after {last.at - busy[-1].at:.0f} s")
    print(f"descriptors: {first.descriptors} before, {most.descriptors} at most, {last.descriptors} after")
    print(f"sockets: {first.sockets} before, {most.sockets} at most, {last.sockets} after")
    print(f"tasks: {first.tasks} before, {max(each.tasks for each in busy)} at most, {last.tasks} after ({told(left)} more than before)")
    print(f"lines of the log that complain: {len(log)}{''.join(f'{chr(10)}    {each[-900:]}' for each in log[:20])}")
    faults_found = {
        "memory grows": grows > _MB_A_MINUTE,
        "connections leak": last.sockets > first.sockets,
        "descriptors leak": last.descriptors > first.descriptors + 2,
        "tasks leak": last.tasks > first.tasks,
        "requests unanswered": bool(counts.unanswered),
        "the log complains": bool(log),
    }
    found = [what for what, is_so in faults_found.items() if is_so]
    print(f"verdict: {'; '.join(found) or 'nothing grows, nothing leaks, every request was answered'}")
    return int(bool(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--clients", type=int, default=26)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.inside:
        upstream, port, store, talk = words.inside
        uvloop.run(_inside(upstream, int(port), store, talk))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:{Path(folder, 'store.sqlite')}" if words.store == "sqlite" else words.store
        return asyncio.run(soak(words.minutes, words.clients, random.Random(words.seed), store, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
