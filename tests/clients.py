"""Real clients for tests, and the proxy as a real process: nothing of this machine's configuration or caches reaches them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pytest

_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "COVERAGE_PROCESS_START", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Completed:
    """How a command ended; where it ran out of time, it was killed and `returncode` is negative."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.returncode == 0

    def __str__(self) -> str:
        return f"{' '.join(self.args)}\nended with {self.returncode}\n{self.stdout}\n{self.stderr}"


async def run_command(args: list[str], env: Mapping[str, str], cwd: Path, timeout: float = 60.0) -> Completed:  # noqa: ASYNC109 - kills the child
    """Runs a command to its end, or kills it after `timeout` seconds."""
    process = await asyncio.create_subprocess_exec(
        *args, env=dict(env), cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    talk = asyncio.ensure_future(process.communicate())
    try:
        await asyncio.wait({talk}, timeout=timeout)
    finally:
        if process.returncode is None:
            _signal(process, signal.SIGKILL)
        out, err = await talk
    return Completed(tuple(args), process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


def clean_environment(home: Path) -> dict[str, str]:
    """Gives an environment without proxies, credentials, certificates and settings of package clients, and with a home of its own."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "XDG_CONFIG_HOME": str(home / ".config")}


@dataclass(frozen=True)
class Locked(Completed):
    """How `uv lock` ended, and what its lock says: versions by name of the package, URLs by name of the file."""

    packages: Mapping[str, str]
    files: Mapping[str, str]


class Uv:
    """The real uv, with a home and a cache of its own below `tmp_path`. `python` is the interpreter that it may use."""

    def __init__(self, tmp_path: Path) -> None:
        self.command = _find("uv")
        self.python = sys.executable
        self.environment = clean_environment(tmp_path / "uv-home") | {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
        self._caches = tmp_path / "uv-caches"
        self._number = 0
        self.fresh_cache()

    def fresh_cache(self) -> Path:
        """Starts with an empty cache from here on; gives its folder."""
        self._number += 1
        cache = self._caches / str(self._number)
        self.environment["UV_CACHE_DIR"] = str(cache)
        return cache

    async def run(self, *args: str, cwd: Path, timeout: float = 60.0, **environment: str) -> Completed:  # noqa: ASYNC109 - see run_command
        """Runs uv with these arguments; `environment` is added to its own."""
        chosen = {"UV_PYTHON": self.python} | self.environment | environment
        return await run_command([self.command, *args], chosen, cwd, timeout)

    async def lock(self, project: Path, index_url: str, *extra: str, timeout: float = 60.0, **environment: str) -> Locked:  # noqa: ASYNC109 - see run_command
        """Runs `uv lock` in the folder of a project against the index at `index_url`."""
        done = await self.run("lock", "--default-index", index_url, *extra, cwd=project, timeout=timeout, **environment)
        packages, files = read_lock(project / "uv.lock")
        return Locked(done.args, done.returncode, done.stdout, done.stderr, packages, files)

    async def sync(self, project: Path, index_url: str, *extra: str, timeout: float = 60.0, **environment: str) -> Completed:  # noqa: ASYNC109 - see run_command
        """Runs `uv sync` in the folder of a project against the index at `index_url`."""
        return await self.run("sync", "--default-index", index_url, *extra, cwd=project, timeout=timeout, **environment)


def read_lock(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Gives from a uv.lock versions by package and URLs by filename, both empty where there is no lock; the project itself is left out."""
    if not path.exists():
        return {}, {}
    packages = tomllib.loads(path.read_text(encoding="utf-8")).get("package", [])
    listed = [each for each in packages if "registry" in each["source"]]
    urls = [file["url"] for each in listed for file in [*each.get("wheels", []), *([each["sdist"]] if "sdist" in each else [])]]
    return {each["name"]: each["version"] for each in listed}, {unquote(urlsplit(url).path.rpartition("/")[2]): url for url in urls}


def write_project(folder: Path, dependencies: list[str], requires_python: str = ">=3.11", extra: str = "") -> Path:
    """Writes the pyproject.toml of an application that is no package; gives its folder. `extra` is appended to the file."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "myproject"\nversion = "1.0.0"\nrequires-python = "{requires_python}"\ndependencies = {dependencies!r}\n'
    (folder / "pyproject.toml").write_text(text + extra, encoding="utf-8")
    return folder


class Pip:
    """The real pip, in a fresh virtual environment below `tmp_path`."""

    def __init__(self, tmp_path: Path) -> None:
        self.venv = tmp_path / "pip-venv"
        self.environment = clean_environment(tmp_path / "pip-home") | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    @property
    def python(self) -> str:
        """The interpreter of the virtual environment."""
        return str(self.venv / "bin" / "python")

    async def run(self, *args: str, timeout: float = 90.0) -> Completed:  # noqa: ASYNC109 - see run_command
        """Runs pip with these arguments."""
        cwd = self.venv.parent
        if not self.venv.exists():
            made = await run_command([sys.executable, "-m", "venv", str(self.venv)], self.environment, cwd)
            assert made.ok, made
        return await run_command([self.python, "-m", "pip", *args], self.environment, cwd, timeout)

    async def install(self, index_url: str, *requirements: str) -> Completed:
        """Installs requirements (or runs with options of `pip install`) from the index at `index_url`, without a cache."""
        return await self.run("install", "--index-url", index_url, "--no-cache-dir", "--no-input", *requirements)


class ProxyProcess:
    """mirrormend as a process of its own, listening at a free port while the block runs.

    `options` are appended to the command line. `log` are the lines that it wrote to stderr, parsed; what is no JSON stands under `text`.
    Without `upstream` it is for a file among the options to name the mirrors.
    """

    def __init__(
        self, upstream: str | None, tmp_path: Path, *options: str, store: str = "memory", environment: Mapping[str, str] | None = None
    ) -> None:
        self.log: list[dict[str, Any]] = []
        self.url = ""
        self._command = [sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0"]
        self._command += [] if upstream is None else ["--upstream", upstream]
        self._command += ["--store", store, "--log-format", "json", *options]
        root = str(Path(__file__).resolve().parent.parent)
        self._environment = clean_environment(tmp_path / "proxy-home") | {"PYTHONPATH": root} | dict(environment or {})
        self._cwd = tmp_path
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    @property
    def simple(self) -> str:
        """The address of its simple API."""
        return f"{self.url}/simple/"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            limit=2**20,
            env=self._environment,
            cwd=self._cwd,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait_for(self._listening.wait(), 20)
        finally:
            if not self.url:
                await self.stop(signal.SIGKILL)
        assert self.url, f"the proxy did not start: {self.log}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process, if it still runs, and gives its exit code; what does not end within 15 s is killed."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            _signal(process, how)
        try:
            code = await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            code = await process.wait()
        if self._reader is not None:
            await self._reader
        return code

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            try:
                told = json.loads(line)
            except ValueError:
                told = None
            self.log.append(told if isinstance(told, dict) else {"text": line})
            if self.log[-1].get("event") == "listening":
                self.url = str(self.log[-1]["address"]).rstrip("/")
                self._listening.set()
        self._listening.set()


def _signal(process: asyncio.subprocess.Process, what: signal.Signals) -> None:
    # Not by the process's own methods: they would reap one that has just ended, and asyncio would not learn its exit code.
    with suppress(ProcessLookupError):
        os.kill(process.pid, what)


def free_port() -> int:
    """Gives a port of loopback that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def reachable(*ports: int, within: float = 30.0) -> None:
    """Waits until something listens at each of these ports of loopback; fails after `within` seconds."""
    async with asyncio.timeout(within):
        for port in ports:
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break


def _find(command: str) -> str:
    found = shutil.which(command, path=str(Path(sys.executable).parent)) or shutil.which(command)
    if found is None:
        pytest.fail(f"{command} is not installed: these tests need the real one (pip install 'mirrormend[test]')")
    return found
