"""What the pictures of terminals show: each a session of real commands at a broken mirror on loopback."""

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docs.pictures.broken import MISSING, WANTED, spoil, whole
from docs.pictures.terminal import Terminal
from proxy.demo.mirror import BASE, DEPENDENT, PROJECT
from tests.clients import Uv, clean_environment, run_command, write_project
from tests.mirror import BrokenMirror

COLUMNS, WIDE = 100, 114
PROXY, MIRROR = 8080, 8081
"""The ports that the pictures show."""


@dataclass(frozen=True)
class Bench:
    """Where the sessions are recorded: a folder that is thrown away, and two ports of loopback."""

    folder: Path
    proxy: int = PROXY
    mirror: int = MIRROR

    @property
    def listen(self) -> str:
        """Where the proxy listens."""
        return f"127.0.0.1:{self.proxy}"

    @property
    def simple(self) -> str:
        """The simple API of the mirror."""
        return f"http://127.0.0.1:{self.mirror}{BASE}/simple/"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands: no settings and caches but those in the folder."""
        quiet = {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_PYTHON": sys.executable}
        return clean_environment(self.folder / "home") | quiet | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def shown(self, written: str) -> str:
        """Gives what was written with the ports that the pictures show."""
        return written.replace(f"127.0.0.1:{self.proxy}", f"127.0.0.1:{PROXY}").replace(f"127.0.0.1:{self.mirror}", f"127.0.0.1:{MIRROR}")


def mirrormend(*words: str) -> list[str]:
    """Gives the command line of this mirrormend."""
    return [sys.executable, "-m", "proxy", *words]


def record_lock(bench: Bench) -> str:
    """Records the lock that fails at the demo's mirror, and the same lock through the proxy; gives what the terminal shows."""
    uv = Uv(bench.folder)
    project = write_project(bench.folder / "my-app", [DEPENDENT])
    _environment_of(uv, project)
    proxy = f"http://{bench.listen}/simple/"
    with (
        Terminal(bench.folder, bench.environment, COLUMNS) as apart,
        Terminal(project, bench.environment, COLUMNS) as terminal,
        apart.background("", mirrormend("demo", "--mirror", f"127.0.0.1:{bench.mirror}"), bench.mirror),
    ):
        terminal.run(f"uv lock --default-index {bench.simple}", [uv.command, "lock", "--default-index", bench.simple])
        serve = ("serve", "--log-level", "error", "--upstream", bench.simple)
        hidden = ("--listen", bench.listen, "--store", "memory")
        with terminal.background(f"mirrormend {' '.join(serve)} &", mirrormend(*serve, *hidden), bench.proxy):
            terminal.run(f"uv lock --default-index {proxy}", [uv.command, "lock", "--default-index", proxy])
            told = f"curl -sI {proxy}{PROJECT}/ | grep Mirrormend"
            terminal.run(told, ["sh", "-c", told])
        return bench.shown(terminal.written)


def record_check(bench: Bench) -> tuple[str, str]:
    """Records `mirrormend check` of a lock, and `mirrormend explain` of a file; gives what the terminal shows after each."""
    with spoiled(bench) as project:
        check = ("check", "-q", "--upstream", bench.simple, "--lock", "uv.lock")
        return _one(bench, project, check, WIDE), _one(bench, project, ("explain", "--upstream", bench.simple, MISSING), COLUMNS)


def _one(bench: Bench, project: Path, words: tuple[str, ...], columns: int) -> str:
    with Terminal(project, bench.environment, columns) as terminal:
        terminal.run(f"mirrormend {' '.join(words)}", mirrormend(*words))
        return bench.shown(terminal.written)


@contextmanager
def spoiled(bench: Bench) -> Iterator[Path]:
    """Serves the broken mirror; gives the folder of a project that was locked while nothing was wrong with it yet."""
    with running(whole(bench.mirror)) as mirror:
        project = locked(bench, "my-app", WANTED, bench.simple)
        spoil(mirror)
        yield project


def locked(bench: Bench, name: str, wanted: Sequence[str], simple: str) -> Path:
    """Locks a project that depends on what is `wanted`, by the index at `simple`; gives its folder."""
    uv = Uv(bench.folder / f"uv-of-{name}")
    project = write_project(bench.folder / name, list(wanted))
    _environment_of(uv, project)
    _made([uv.command, "lock", "--default-index", simple], uv.environment, project)
    return project


@contextmanager
def running(mirror: BrokenMirror) -> Iterator[BrokenMirror]:
    """Serves a mirror in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(mirror.start(), loop).result(10)
        yield mirror
        asyncio.run_coroutine_threadsafe(mirror.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _environment_of(uv: Uv, project: Path) -> None:
    # Where there is one, uv does not tell where it found a Python.
    _made([uv.command, "venv", "-q", "-p", uv.python], uv.environment, project)


def _made(args: list[str], environment: dict[str, str], folder: Path) -> None:
    done = asyncio.run(run_command(args, environment, folder))
    if not done.ok:
        raise RuntimeError(str(done))
