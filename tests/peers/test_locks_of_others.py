"""Locks as pip, Poetry, PDM and Pipenv write them today, checked at the mirror that they were made at."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.audit.inputs import read_order
from proxy.audit.wanted import LockedFile, Order
from tests.clients import run_command
from tests.mirror import BrokenMirror
from tests.peers.serving import offline
from tests.programs import Programs
from tests.wheels import make_wheel

pytestmark = pytest.mark.timeout(300)

WHEEL, SDIST, SECRET, LOCAL = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "secret-3.0-py3-none-any.whl", "local-1.0-py3-none-any.whl"
ON_WINDOWS = "sys_platform == 'win32'"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror of two projects, one of which the project of each test needs on Windows alone."""
    for name in (WHEEL, SDIST, "winonly-2.0-py3-none-any.whl"):
        mirror.add(name)
    return mirror


@pytest.fixture
async def private() -> AsyncIterator[BrokenMirror]:
    """A private index."""
    async with BrokenMirror() as running:
        running.add(SECRET)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the project, with a wheel in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / LOCAL).write_bytes(make_wheel(LOCAL))
    return folder


async def run(folder: Path, command: Path, *args: str, **environment: str) -> None:
    done = await run_command([str(command), *args], offline(folder.parent) | environment, folder, 120.0)
    assert done.ok, done


def read(path: Path, upstream: str) -> Order:
    return read_order([], [path], [], upstream)


def files(order: Order) -> dict[str, tuple[LockedFile, ...]]:
    return {want.project: want.pins[0].files for want in order.wants}


def as_locked(mirror: BrokenMirror, *names: str) -> tuple[LockedFile, ...]:
    listed = mirror.projects["demo"].files
    return tuple(LockedFile(name, {"sha256": listed[name].hashes["sha256"]}) for name in names)


def needed(order: Order, project: str) -> set[str]:
    (pin,) = next(want.pins for want in order.wants if want.project == project)
    return {platform for platform, _ in pin.needed or ()}


async def test_the_lock_of_pip(stocked: BrokenMirror, private: BrokenMirror, folder: Path, programs: Programs) -> None:
    pip = programs.commands("pip") / "pip"
    indexes = ("--index-url", stocked.url, "--extra-index-url", private.url)
    await run(folder, pip, "lock", "--no-cache-dir", *indexes, "demo", "secret", str(folder / LOCAL))
    found = read(folder / "pylock.toml", stocked.url)
    assert files(found) == {"demo": as_locked(stocked, WHEEL)}
    assert found.sources[0].elsewhere == 2


async def test_the_lock_of_poetry(stocked: BrokenMirror, private: BrokenMirror, folder: Path, programs: Programs) -> None:
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11,<4"\ndynamic = ["dependencies"]\n'
        '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\ndemo = "*"\n'
        f'winonly = {{ version = "*", markers = "{ON_WINDOWS}" }}\n'
        f'secret = {{ version = "*", source = "private" }}\nlocal = {{ path = "{LOCAL}" }}\n'
        f'[[tool.poetry.source]]\nname = "mirror"\nurl = "{stocked.url}"\n'
        f'[[tool.poetry.source]]\nname = "private"\nurl = "{private.url}"\npriority = "explicit"\n',
        encoding="utf-8",
    )
    await run(folder, programs.commands("poetry") / "poetry", "lock", POETRY_NO_INTERACTION="1")
    found = read(folder / "poetry.lock", stocked.url)
    assert files(found)["demo"] == as_locked(stocked, WHEEL, SDIST)
    assert ([want.project for want in found.wants], found.sources[0].elsewhere) == (["demo", "winonly"], 2)
    assert needed(found, "winonly") == {"windows-amd64"}


@pytest.mark.parametrize("static_urls", [False, True])
async def test_the_lock_of_pdm(stocked: BrokenMirror, private: BrokenMirror, folder: Path, programs: Programs, static_urls: bool) -> None:
    second = f'[[tool.pdm.source]]\nname = "private"\nurl = "{private.url}"\n' if static_urls else ""
    dependencies = ["demo", f"winonly; {ON_WINDOWS}", f"local @ {(folder / LOCAL).as_uri()}", *(["secret"] if static_urls else [])]
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = {dependencies!r}\n'
        f'[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{stocked.url}"\n{second}',
        encoding="utf-8",
    )
    home = {f"XDG_{each}_HOME": str(folder.parent / "home" / each.lower()) for each in ("DATA", "STATE")}
    pdm = programs.commands("pdm[locked]") / "pdm"
    await run(folder, pdm, "use", "-f", sys.executable, PDM_CHECK_UPDATE="false", **home)
    await run(folder, pdm, "lock", *(["-S", "static_urls"] if static_urls else []), PDM_CHECK_UPDATE="false", **home)
    found = read(folder / "pdm.lock", stocked.url)
    assert files(found)["demo"] == as_locked(stocked, WHEEL, SDIST)
    assert ([want.project for want in found.wants], found.sources[0].elsewhere) == (["demo", "winonly"], 2 if static_urls else 1)
    assert needed(found, "winonly") == {"windows-amd64"}


async def test_the_lock_of_pipenv(stocked: BrokenMirror, private: BrokenMirror, folder: Path, programs: Programs) -> None:
    sources = (("mirror", stocked.url), ("private", private.url))
    (folder / "Pipfile").write_text(
        "".join(f'[[source]]\nname = "{name}"\nurl = "{url}"\nverify_ssl = true\n' for name, url in sources)
        + f'[packages]\ndemo = "*"\nsecret = {{ version = "*", index = "private" }}\nlocal = {{ file = "{LOCAL}" }}\n',
        encoding="utf-8",
    )
    await run(folder, programs.commands("pipenv") / "pipenv", "lock", PIPENV_IGNORE_VIRTUALENVS="1", WORKON_HOME=str(folder / "venvs"))
    assert "demo" in json.loads((folder / "Pipfile.lock").read_text(encoding="utf-8"))["default"]
    found = read(folder / "Pipfile.lock", stocked.url)
    ((want),) = found.wants
    listed = stocked.projects["demo"].files
    assert (want.project, want.pins[0].version, found.sources[0].elsewhere) == ("demo", "1.0", 2)
    assert want.pins[0].hashes == {f"sha256:{listed[name].hashes['sha256']}" for name in (WHEEL, SDIST)}
