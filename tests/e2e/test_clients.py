"""Other clients than `uv lock` at the proxy, really run, before a mirror without macOS wheels."""

import asyncio
import re
from pathlib import Path

import pypi_simple
import pytest

from tests.clients import Pip, ProxyProcess, Uv, write_project
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.world import MACOS, World

WANTED = ["jinja2", "tornado"]


@pytest.fixture
def full(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror with all that jupyter needs, but for macOS."""
    World.load().fill(mirror)
    mirror.fault(MACOS, artifactory_404())
    return mirror


async def test_uv_pip_compile_for_all_platforms_and_pip_with_the_hashes_that_it_wrote(
    full: BrokenMirror, uv: Uv, pip: Pip, tmp_path: Path
) -> None:
    requirements = tmp_path / "requirements.in"
    requirements.write_text("\n".join(WANTED), encoding="utf-8")
    async with ProxyProcess(full.url, tmp_path) as proxy:
        compiled = await uv.run(
            "pip",
            "compile",
            "--universal",
            "--generate-hashes",
            "--default-index",
            proxy.simple,
            "-o",
            "all.txt",
            "requirements.in",
            cwd=tmp_path,
        )
        assert compiled.ok, compiled
        installed = await pip.install(proxy.simple, "--require-hashes", "-r", str(tmp_path / "all.txt"))
        assert installed.ok, installed
    for name in WANTED:
        assert f"{name}=={World.load().chosen[name]}" in (tmp_path / "all.txt").read_text(encoding="utf-8")


async def test_uv_add(full: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", [])
    async with ProxyProcess(full.url, tmp_path) as proxy:
        added = await uv.run("add", "--default-index", proxy.simple, *WANTED, cwd=project)
        assert added.ok, added
    assert f"tornado>={World.load().chosen['tornado']}" in (project / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("accept", [pypi_simple.ACCEPT_JSON_ONLY, pypi_simple.ACCEPT_HTML_ONLY], ids=["json", "html"])
async def test_another_reader_of_the_simple_api_finds_on_a_page_what_the_mirror_says_but_for_what_it_cannot_deliver(
    full: BrokenMirror, tmp_path: Path, accept: str
) -> None:
    def read(index: str) -> dict[str, tuple[object, ...]]:
        with pypi_simple.PyPISimple(index, accept=accept) as client:
            page = client.get_project_page("tornado")
        assert page.project == "tornado"
        return {
            each.filename: (each.version, each.package_type, each.requires_python, each.digests, each.is_yanked) for each in page.packages
        }

    async with ProxyProcess(full.url, tmp_path) as proxy:
        mended = await asyncio.to_thread(read, proxy.simple)
    whole = await asyncio.to_thread(read, full.url)
    newest = World.load().chosen["tornado"]
    gone = whole.keys() - mended.keys()
    assert gone
    assert all(MACOS(name) for name in gone)
    assert not [name for name in mended if MACOS(name) and name.split("-")[1] == newest]
    assert mended == {name: facts for name, facts in whole.items() if name in mended}


async def test_the_links_and_metadata_on_a_page_lead_another_reader_to_the_right_bytes(full: BrokenMirror, tmp_path: Path) -> None:
    chosen = World.load().chosen["jinja2"]

    def read(index: str) -> tuple[str, bytes]:
        with pypi_simple.PyPISimple(index) as client:
            page = client.get_project_page("jinja2")
            wheel = next(each for each in page.packages if each.version == chosen and each.package_type == "wheel")
            client.download_package(wheel, tmp_path / "wheel.whl", verify=True)
            return wheel.filename, client.get_package_metadata_bytes(wheel, verify=False)

    async with ProxyProcess(full.url, tmp_path) as proxy:
        _, metadata = await asyncio.to_thread(read, proxy.simple)
    assert re.search(rb"^Version: " + re.escape(chosen.encode()), metadata, re.MULTILINE)
    assert (tmp_path / "wheel.whl").stat().st_size > 0
