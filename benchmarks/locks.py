"""`uv lock` of the jupyter world: through the proxy, cold and warm, against the same lock direct on a healthy mirror.

    python benchmarks/locks.py [--rounds N] [--tls [1.2]] [--touched [--kind KIND] [--seconds S]]

Rounds are interleaved: direct, through the proxy, and through nginx as a cache, which mends nothing; near and 20 ms away.
Every lock through the proxy must be whole and name no dead file. With `--tls` the mirrors speak TLS, and HTTP/2 to whoever asks for it,
as uv does; the connections that a cold lock opened are counted by the mirror.
`--touched` counts distinct files at the mirror instead, until a minute after one cold lock, for the kinds of mirror that `--kind` names.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import mirrors

from tests.world import World

LATENCY = 20
_MACOS = "macosx"


class Locker:
    """Runs real uv with an empty cache."""

    def __init__(self) -> None:
        beside = Path(sys.executable).with_name("uv")
        self.uv = str(beside) if beside.exists() else shutil.which("uv") or sys.exit("uv is missing: pip install uv")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UV_", "PIP_", "SSL_")) and "proxy" not in name.lower()
        }
        self.environment = {**kept, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable}

    def trust(self, authority: mirrors.Authority) -> None:
        """Trust certificates by this authority, and no others."""
        self.environment["SSL_CERT_FILE"] = str(authority.bundle)

    def lock(self, index: str) -> tuple[float, set[str]]:
        """Gives seconds and the names of the locked files; ends the run where the lock is not whole."""
        with tempfile.TemporaryDirectory() as folder:
            project = World.write_project(Path(folder, "project"))
            environment = {**self.environment, "UV_CACHE_DIR": f"{folder}/cache", "HOME": folder}
            started = time.perf_counter()
            done = subprocess.run(
                [self.uv, "lock", "--default-index", index], cwd=project, env=environment, capture_output=True, text=True, check=False
            )
            seconds = time.perf_counter() - started
            if done.returncode:
                sys.exit(f"uv lock from {index} failed:\n{done.stderr}")
            packages = tomllib.loads((project / "uv.lock").read_text())["package"]
        if len(packages) != 100:
            sys.exit(f"uv lock from {index} resolved {len(packages)} packages")
        return seconds, {file["url"].rpartition("/")[2] for package in packages for file in package.get("wheels", [])}


def dead(files: set[str]) -> int:
    """How many of the files a mirror without macOS wheels cannot deliver."""
    return sum(_MACOS in name for name in files)


@dataclass(frozen=True)
class Place:
    """A healthy mirror and one without macOS wheels, both so far away, and the log of the latter."""

    healthy: int
    broken: int
    log: Path


@dataclass(frozen=True)
class Dialled:
    """Connections that a mirror was asked by, and how many of them resumed a session; requests besides."""

    connections: int
    resumed: int
    requests: int

    @classmethod
    def read(cls, lines: list[str]) -> "Dialled":
        """Return what these lines of a mirror's log say."""
        words = [line.split(" ", 2) for line in lines]
        return cls(len({number for number, *_ in words}), len({number for number, reused, _ in words if reused == "r"}), len(lines))


class Measured:
    """Times and connections by what was done."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.dialled: dict[str, list[Dialled]] = {}
        self.dead = 0

    @contextmanager
    def dials(self, what: str, log: Path) -> Iterator[None]:
        """Note what a mirror is asked meanwhile."""
        before = len(log.read_text().splitlines())
        yield
        self.dialled.setdefault(what, []).append(Dialled.read(log.read_text().splitlines()[before:]))

    def report(self, where: str) -> None:
        """Print the ratios."""
        direct = self.times[f"{where} direct"]
        print(f"{where:5} direct on a healthy mirror {statistics.median(direct):6.2f} s")
        for what in ("cold proxy, macOS dead", "warm proxy, macOS dead", "cold cache", "warm cache"):
            times = self.times[f"{where} {what}"]
            ratios = [a / b for a, b in zip(times, direct, strict=True)]
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"{where:5} {what:22} {statistics.median(times):6.2f} s   {statistics.median(ratios):5.2f} x   {spread}", end="")
            dialled = self.dialled.get(f"{where} {what}")
            if dialled:
                connections, resumed, requests = (
                    statistics.median(values) for values in zip(*(astuple(each) for each in dialled), strict=True)
                )
                print(f"   {connections:.0f} connections, {resumed:.0f} of them resumed, {requests:.0f} requests", end="")
            print()


def measure(rounds: int, version: str | None) -> None:
    """Prints the ratios, over this version of TLS if any."""
    locker, measured, tree = Locker(), Measured(), mirrors.build()
    authority = None if version is None else mirrors.Authority.make()
    tls, scheme, environment = "", "http", {}
    if authority is not None:
        tls, scheme, environment = authority.rules(version or ""), "https", {"SSL_CERT_FILE": str(authority.bundle)}
        locker.trust(authority)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        log = Path(folder, "broken.log")
        healthy = stack.enter_context(mirrors.nginx(tree, tls=tls))
        broken = stack.enter_context(mirrors.nginx(tree, rules=mirrors.DEAD_MACOS, tls=tls, log=log))
        far = [stack.enter_context(mirrors.distant(port, LATENCY)) for port in (healthy, broken)]
        places = {"near": Place(healthy, broken, log), "far": Place(far[0], far[1], log)}
        for _ in range(rounds):
            for where, place in places.items():

                def timed(what: str, index: str, *, where: str = where) -> set[str]:
                    seconds, files = locker.lock(index)
                    measured.times.setdefault(f"{where} {what}", []).append(seconds)
                    return files

                timed("direct", f"{scheme}://127.0.0.1:{place.healthy}{mirrors.SIMPLE}")
                upstream = f"{scheme}://127.0.0.1:{place.broken}{mirrors.SIMPLE}"
                with mirrors.proxy(upstream, "memory", "--log-format", "json", environment=environment) as port:
                    for what in ("cold proxy, macOS dead", "warm proxy, macOS dead"):
                        with measured.dials(f"{where} {what}", place.log):
                            measured.dead += dead(timed(what, f"http://127.0.0.1:{port}/simple/"))
                        time.sleep(3.0)
                with mirrors.cache(place.healthy, authority) as port:
                    for what in ("cold cache", "warm cache"):
                        timed(what, f"http://127.0.0.1:{port}{mirrors.SIMPLE}")
    for where in places:
        measured.report(where)
    print(f"dead files named by all locks through the proxy: {measured.dead}")


_ASKED = re.compile(r'"(?:GET|HEAD) \S*/packages/packages/(\S+) HTTP')


def touched(log: Path) -> int:
    """How many distinct files of a mirror were asked for, metadata aside."""
    return len({found[1].removesuffix(".metadata") for found in _ASKED.finditer(log.read_text())})


def files_of_releases(wheels: set[str]) -> int:
    """Return how many files the pages list of the releases of these `wheels`."""
    releases = {tuple(wheel.lower().split("-", 2)[:2]) for wheel in wheels}
    names = (name.lower() for project in World.load().projects.values() for name in project.files)
    return sum(tuple(name.removesuffix(".tar.gz").removesuffix(".zip").split("-", 2)[:2]) in releases for name in names)


_TOUCHED_WITHIN = 60.0
"""Seconds after a cold lock within which what the proxy asks for counts: its background work goes on for hours."""


def measure_touched(kind: str, seconds: float) -> None:
    """Print how many distinct files one cold lock touches, through a proxy before a mirror of this kind, against direct and the lock."""
    locker = Locker()
    tree = mirrors.build()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = Path(folder, "direct.log"), Path(folder, "proxied.log")
        healthy = stack.enter_context(mirrors.nginx(tree, log=logs[0]))
        broken = stack.enter_context(mirrors.nginx(tree, rules=mirrors.DEAD_MACOS, log=logs[1]))
        _, whole = locker.lock(f"http://127.0.0.1:{healthy}{mirrors.SIMPLE}")
        environment = {"MIRRORMEND_UPSTREAM_KIND": kind}
        with mirrors.proxy(f"http://127.0.0.1:{broken}{mirrors.SIMPLE}", "memory", environment=environment) as port:
            _, files = locker.lock(f"http://127.0.0.1:{port}/simple/")
            at_once = touched(logs[1])
            time.sleep(seconds)
        direct, proxied = map(touched, logs)
    named = files_of_releases(whole)
    print(f"{kind}: distinct files touched: direct {direct}, through the proxy {at_once}, and {proxied} within {seconds:g} s")
    print(f"{proxied / direct:.2f} x direct, {proxied / named:.2f} x the {named} files of the locked releases")
    print(f"dead files in the lock: {dead(files)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", nargs="?", const="1.3", choices=("1.2", "1.3"), help="speak this version of TLS, and HTTP/2")
    parser.add_argument("--touched", action="store_true")
    parser.add_argument("--kind", action="append", help="artifactory and nexus, unless given; may be repeated")
    parser.add_argument("--seconds", type=float, default=_TOUCHED_WITHIN)
    words = parser.parse_args()
    if words.touched:
        for kind in words.kind or ("artifactory", "nexus"):
            measure_touched(kind, words.seconds)
    else:
        measure(words.rounds, words.tls)


if __name__ == "__main__":
    main()
