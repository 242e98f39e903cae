"""Poetry as a client, before a mirror that lists a macOS wheel and has it not."""

import tomllib
from pathlib import Path

import pytest

from tests.clients import Completed, ProxyProcess, run_command, write_project
from tests.mirror import BrokenMirror
from tests.peers.releases import LOSING, REQUIRED
from tests.peers.serving import offline
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

_NO_PACKAGE = "\n[tool.poetry]\npackage-mode = false\n"

_MENDED = {LOSING.name: LOSING.newest - {LOSING.mac}, REQUIRED: {f"{REQUIRED}-1.0-py3-none-any.whl"}}


class Poetry:
    """The real Poetry in a new project, which depends on `LOSING`, with a home of its own and `index` as the only source."""

    def __init__(self, programs: Programs, folder: Path, index: str) -> None:
        self.project = write_project(folder / "project", [LOSING.name], extra=_NO_PACKAGE)
        self._index = index
        self._command = str(programs.commands("poetry") / "poetry")
        self._environment = offline(folder) | {"POETRY_VIRTUALENVS_IN_PROJECT": "true", "POETRY_NO_INTERACTION": "1"}

    async def run(self, *args: str) -> Completed:
        """Runs Poetry with these arguments."""
        return await run_command([self._command, *args], self._environment, self.project)

    async def lock(self) -> Completed:
        """Names the source as the README says, and locks."""
        added = await self.run("source", "add", "--priority=primary", "mirror", self._index)
        assert added.ok, added
        return await self.run("lock")

    @property
    def locked(self) -> dict[str, set[str]]:
        """The files in the lock, by package."""
        lock = tomllib.loads((self.project / "poetry.lock").read_text(encoding="utf-8"))
        return {package["name"]: {file["file"] for file in package["files"]} for package in lock["package"]}


async def test_poetry_locks_and_installs_through_the_proxy_what_it_cannot_lock_without(
    programs: Programs, losing: BrokenMirror, tmp_path: Path
) -> None:
    direct = await Poetry(programs, tmp_path / "direct", losing.url).lock()
    assert not direct.ok
    assert "404" in direct.stderr
    async with ProxyProcess(losing.url, tmp_path) as proxy:
        poetry = Poetry(programs, tmp_path / "through", proxy.simple)
        mended = await poetry.lock()
        assert mended.ok, mended
        assert poetry.locked == _MENDED
        installed = await poetry.run("install")
        assert installed.ok, installed
    assert "Installing thunder (2.0)" in installed.stdout
    assert "Installing gale (1.0)" in installed.stdout


async def test_without_hashes_on_the_pages_poetry_fetches_every_file_to_hash_it_and_finds_all_that_is_listed(
    programs: Programs, losing_without_hashes: BrokenMirror, tmp_path: Path
) -> None:
    async with ProxyProcess(losing_without_hashes.url, tmp_path) as proxy:
        poetry = Poetry(programs, tmp_path / "through", proxy.simple)
        mended = await poetry.lock()
    assert mended.ok, mended
    assert poetry.locked == _MENDED
    assert [each.method for each in losing_without_hashes.asked_for(f"{LOSING.name}-2.0.tar.gz")][-1] == "GET"
