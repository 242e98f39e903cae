"""PDM as a client, before a mirror that lists a macOS wheel and has it not."""

import tomllib
from pathlib import Path

import pytest

from tests.clients import Completed, ProxyProcess, run_command, write_project
from tests.mirror import BrokenMirror
from tests.peers.releases import LOSING, REQUIRED
from tests.peers.serving import offline
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

# With the releases of what it requires that its authors have tried: the newest do not always go together.
_PDM = "pdm[locked]"
_NO_PACKAGE = "\n[tool.pdm]\ndistribution = false\n"

_MENDED = {LOSING.name: LOSING.newest - {LOSING.mac}, REQUIRED: {f"{REQUIRED}-1.0-py3-none-any.whl"}}


class Pdm:
    """The real PDM in a new project, which depends on `LOSING`, with a home of its own and `index` in the place of PyPI."""

    def __init__(self, programs: Programs, folder: Path, index: str) -> None:
        self.project = write_project(folder / "project", [LOSING.name], extra=_NO_PACKAGE)
        self._command = str(programs.commands(_PDM) / "pdm")
        places = {f"XDG_{each}_HOME": str(folder / "home" / each.lower()) for each in ("DATA", "STATE")}
        self._environment = offline(folder) | places | {"PDM_PYPI_URL": index, "PDM_CHECK_UPDATE": "false"}

    async def run(self, *args: str) -> Completed:
        """Runs PDM with these arguments."""
        return await run_command([self._command, *args], self._environment, self.project)

    @property
    def locked(self) -> dict[str, set[str]]:
        """The files in the lock, by package."""
        lock = tomllib.loads((self.project / "pdm.lock").read_text(encoding="utf-8"))
        return {package["name"]: {file["file"] for file in package["files"]} for package in lock["package"]}


async def test_pdm_locks_and_installs_through_the_proxy_what_it_cannot_lock_without(
    programs: Programs, losing: BrokenMirror, tmp_path: Path
) -> None:
    direct = await Pdm(programs, tmp_path / "direct", losing.url).run("lock")
    assert not direct.ok
    assert "404" in direct.stderr
    async with ProxyProcess(losing.url, tmp_path) as proxy:
        pdm = Pdm(programs, tmp_path / "through", proxy.simple)
        mended = await pdm.run("lock")
        assert mended.ok, mended
        assert pdm.locked == _MENDED
        installed = await pdm.run("install")
        assert installed.ok, installed
        listed = await pdm.run("list", "--freeze")
    assert sorted(listed.stdout.split()) == [f"{REQUIRED}==1.0", f"{LOSING.name}==2.0"]


async def test_without_hashes_on_the_pages_pdm_fetches_every_file_to_hash_it_and_finds_all_that_is_listed(
    programs: Programs, losing_without_hashes: BrokenMirror, tmp_path: Path
) -> None:
    async with ProxyProcess(losing_without_hashes.url, tmp_path) as proxy:
        pdm = Pdm(programs, tmp_path / "through", proxy.simple)
        mended = await pdm.run("lock")
    assert mended.ok, mended
    assert pdm.locked == _MENDED
    assert [each.method for each in losing_without_hashes.asked_for(f"{LOSING.name}-2.0.tar.gz")][-1] == "GET"
