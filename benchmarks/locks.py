"""`uv lock` of the jupyter world: through the proxy, cold and warm, against the same lock direct on a healthy mirror.

    python benchmarks/locks.py [--rounds N] [--touched]

Rounds are interleaved: direct, cold, warm, near and 20 ms away. Every lock through the proxy must be whole and name no dead file.
`--touched` counts distinct files at the mirror instead, with the budget for costly mirrors.
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
from contextlib import ExitStack
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


def measure(rounds: int) -> None:
    """Prints the ratios."""
    locker = Locker()
    tree = mirrors.build()
    times: dict[str, list[float]] = {}
    named_dead = 0
    with ExitStack() as stack:
        healthy = stack.enter_context(mirrors.nginx(tree))
        broken = stack.enter_context(mirrors.nginx(tree, rules=mirrors.DEAD_MACOS))
        ports = {"near": (healthy, broken)}
        ports["far"] = tuple(stack.enter_context(mirrors.distant(port, LATENCY)) for port in (healthy, broken))
        for _ in range(rounds):
            for where, (good, bad) in ports.items():
                seconds, _ = locker.lock(f"http://127.0.0.1:{good}{mirrors.SIMPLE}")
                times.setdefault(f"{where} direct", []).append(seconds)
                with mirrors.proxy(f"http://127.0.0.1:{bad}{mirrors.SIMPLE}", "memory", "--log-format", "json") as port:
                    seconds, files = locker.lock(f"http://127.0.0.1:{port}/simple/")
                    times.setdefault(f"{where} cold", []).append(seconds)
                    named_dead += dead(files)
                    time.sleep(3.0)
                    seconds, files = locker.lock(f"http://127.0.0.1:{port}/simple/")
                    times.setdefault(f"{where} warm", []).append(seconds)
                    named_dead += dead(files)
    for where in ports:
        direct = statistics.median(times[f"{where} direct"])
        print(f"{where:5} direct on a healthy mirror {direct:6.2f} s")
        for state in ("cold", "warm"):
            ratios = [a / b for a, b in zip(times[f"{where} {state}"], times[f"{where} direct"], strict=True)]
            seconds = statistics.median(times[f"{where} {state}"])
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"{where:5} {state} proxy, macOS dead   {seconds:6.2f} s   {statistics.median(ratios):5.2f} x   {spread}")
    print(f"dead files named by all locks through the proxy: {named_dead}")


_ASKED = re.compile(r'"(?:GET|HEAD) \S*/packages/packages/(\S+) HTTP')


def touched(log: Path) -> int:
    """How many distinct files of a mirror were asked for, metadata aside."""
    return len({found[1].removesuffix(".metadata") for found in _ASKED.finditer(log.read_text())})


def measure_touched() -> None:
    """Prints how many distinct files one cold lock touches, direct and through a proxy with the budget for costly mirrors."""
    locker = Locker()
    tree = mirrors.build()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = Path(folder, "direct.log"), Path(folder, "proxied.log")
        healthy = stack.enter_context(mirrors.nginx(tree, log=logs[0]))
        broken = stack.enter_context(mirrors.nginx(tree, rules=mirrors.DEAD_MACOS, log=logs[1]))
        locker.lock(f"http://127.0.0.1:{healthy}{mirrors.SIMPLE}")
        environment = {"MIRRORMEND_UPSTREAM_KIND": "nexus"}
        with mirrors.proxy(f"http://127.0.0.1:{broken}{mirrors.SIMPLE}", "memory", environment=environment) as port:
            _, files = locker.lock(f"http://127.0.0.1:{port}/simple/")
            time.sleep(3.0)
        direct, proxied = map(touched, logs)
    print(f"distinct files touched: direct {direct}, through the proxy {proxied}: {proxied / direct:.2f} x")
    print(f"dead files in the lock: {dead(files)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--touched", action="store_true")
    words = parser.parse_args()
    if words.touched:
        measure_touched()
    else:
        measure(words.rounds)


if __name__ == "__main__":
    main()
