"""The real uv, run so that nothing of this machine's settings, caches and credentials reaches it."""

import asyncio
import os
import shutil
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 60.0
"""Seconds after which a lock is given up; it takes a fraction of one."""

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True, slots=True)
class Lock:
    """What `command` did: the version that it locked (None where it failed), what it said, and how many seconds it took."""

    command: str
    chosen: str | None
    said: str
    seconds: float


def find_uv() -> str | None:
    """Gives the path of uv: the one installed beside this Python, else the one on the PATH; None where there is none."""
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


def concerns_clients(variable: str) -> bool:
    """Whether an environment variable changes what uv does, or by which way loopback is reached."""
    return variable.startswith("UV_") or variable.lower() in _PROXIES


async def lock(uv: str, folder: Path, index_url: str, requirement: str, name: str) -> Lock:
    """Locks a project that has this one requirement, with an empty cache, and looks what was chosen of the one called `name`.

    `folder` is made for it, and stays.
    """
    project = folder / "project"
    project.mkdir(parents=True)
    text = f'[project]\nname = "my-app"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["{requirement}"]\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    words = ("lock", "--default-index", index_url)
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        uv,
        *words,
        cwd=project,
        env=_environment(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            out, _ = await process.communicate()
    except TimeoutError:
        out = f"no answer within {_PATIENCE:g} s".encode()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    said = out.decode(errors="replace").strip()
    seconds = time.perf_counter() - started
    return Lock(f"uv {' '.join(words)}", _locked(project, name) if process.returncode == 0 else None, said, seconds)


def _locked(project: Path, name: str) -> str | None:
    packages = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8")).get("package", [])
    return next((str(each["version"]) for each in packages if each["name"] == name), None)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not concerns_clients(name)}
    ours = {"UV_CACHE_DIR": str(folder / "cache"), "UV_NO_CONFIG": "1", "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    return kept | ours | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
