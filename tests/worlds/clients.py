"""Real clients that lock a project from nothing: uv, Poetry and PDM."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.clients import Completed, Uv, run_command, write_project
from tests.peers.serving import offline
from tests.programs import Programs

_PATIENCE = 120.0


@dataclass(frozen=True)
class Lock:
    """How a lock went: the versions by project, and the names of all files that the lock names."""

    completed: Completed
    versions: Mapping[str, str]
    files: frozenset[str]


class Locker(Protocol):
    """A client that locks."""

    async def lock(self, folder: Path, index: str, roots: Sequence[str]) -> Lock:
        """Lock a new project below `folder`, with an empty cache, that requires `roots` from the index at `index`."""
        ...


class UvLocker:
    """uv, as it is installed beside this interpreter."""

    async def lock(self, folder: Path, index: str, roots: Sequence[str]) -> Lock:
        """Run `uv lock`."""
        project = write_project(folder / "project", list(roots))
        locked = await Uv(folder).lock(project, index, timeout=_PATIENCE, UV_HTTP_RETRIES="0")
        return Lock(locked, locked.packages, frozenset(locked.files))


class PoetryLocker:
    """Poetry, installed by `programs`."""

    def __init__(self, programs: Programs) -> None:
        self._command = str(programs.commands("poetry") / "poetry")

    async def lock(self, folder: Path, index: str, roots: Sequence[str]) -> Lock:
        """Run `poetry lock`, with the index as the only source."""
        source = f'\n[[tool.poetry.source]]\nname = "mirror"\nurl = "{index}"\npriority = "primary"\n'
        project = write_project(folder / "project", list(roots), extra=f"\n[tool.poetry]\npackage-mode = false\n{source}")
        settings = {"POETRY_VIRTUALENVS_CREATE": "false", "POETRY_NO_INTERACTION": "1"}
        done = await run_command([self._command, "lock"], offline(folder) | settings, project, _PATIENCE)
        return _read(done, project / "poetry.lock")


class PdmLocker:
    """PDM, installed by `programs` with the releases of what it requires that its authors have tried."""

    def __init__(self, programs: Programs) -> None:
        self._command = str(programs.commands("pdm[locked]") / "pdm")

    async def lock(self, folder: Path, index: str, roots: Sequence[str]) -> Lock:
        """Run `pdm lock`, with the index in the place of the default one."""
        source = f'\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\nverify_ssl = false\n'
        project = write_project(folder / "project", list(roots), extra=f"\n[tool.pdm]\ndistribution = false\n{source}")
        places = {f"XDG_{each}_HOME": str(folder / "home" / each.lower()) for each in ("DATA", "STATE")}
        done = await run_command([self._command, "lock"], offline(folder) | places | {"PDM_CHECK_UPDATE": "false"}, project, _PATIENCE)
        return _read(done, project / "pdm.lock")


def _read(done: Completed, path: Path) -> Lock:
    if not path.exists():
        return Lock(done, {}, frozenset())
    packages = tomllib.loads(path.read_text(encoding="utf-8")).get("package", [])
    files = frozenset(file["file"] for package in packages for file in package.get("files", []))
    return Lock(done, {package["name"]: package["version"] for package in packages}, files)


def locker(name: str, programs: Programs) -> Locker:
    """Return the client with this name: "uv", "poetry" or "pdm"."""
    if name == "uv":
        return UvLocker()
    return PoetryLocker(programs) if name == "poetry" else PdmLocker(programs)
