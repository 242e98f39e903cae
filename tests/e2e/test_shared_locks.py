"""The two other ways in which a team shares a lock: one stable address of the proxy, and links that lead to the mirror."""

from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, read_lock, write_project
from tests.mirror import BrokenMirror

DEAD, WHEEL = "storm-6.4.2-cp39-abi3-macosx_10_9_universal2.whl", "storm-6.4.2-py3-none-any.whl"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel and answers 404 for it."""
    mirror.add(DEAD, None)
    mirror.add(WHEEL)
    return mirror


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that requires the release with the dead wheel."""
    return write_project(tmp_path / "project", ["storm"])


def a_teammate(uv: Uv, project: Path) -> Path:
    """The same project, checked out on a machine that has nothing of it in its cache."""
    uv.fresh_cache()
    there = write_project(project.parent / "teammate", ["storm"])
    (there / "uv.lock").write_bytes((project / "uv.lock").read_bytes())
    return there


@pytest.mark.parametrize("how", ["--locked", "--frozen"])
async def test_a_lock_holds_for_everybody_who_has_the_proxy_at_its_address_whenever_it_was_started(
    stocked: BrokenMirror, project: Path, uv: Uv, tmp_path: Path, how: str
) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        assert (await uv.lock(project, proxy.simple)).ok
        address, simple = proxy.url.removeprefix("http://"), proxy.simple
    there = a_teammate(uv, project)
    alone = await uv.sync(there, simple, how)
    assert not alone.ok
    assert address in alone.stderr
    async with ProxyProcess(stocked.url, tmp_path, "--listen", address) as proxy:
        assert proxy.simple == simple
        shared = await uv.sync(there, simple, how)
        assert shared.ok, shared
    assert "storm==6.4.2" in shared.stderr


async def test_the_same_proxy_by_another_name_is_another_index(stocked: BrokenMirror, project: Path, uv: Uv, tmp_path: Path) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        assert (await uv.lock(project, proxy.simple)).ok
        other = proxy.simple.replace("127.0.0.1", "localhost")
        refused = await uv.sync(a_teammate(uv, project), other, "--locked")
        assert "needs to be updated" in refused.stderr
        bare = await uv.sync(a_teammate(uv, project), proxy.simple.rstrip("/"), "--locked")
        assert "needs to be updated" in bare.stderr


async def test_with_direct_links_the_files_come_from_the_mirror_and_only_the_index_is_the_proxys(
    stocked: BrokenMirror, project: Path, uv: Uv, tmp_path: Path
) -> None:
    async with ProxyProcess(stocked.url, tmp_path, "--links", "direct") as proxy:
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        simple = proxy.simple
    assert read_lock(project / "uv.lock")[1] == {WHEEL: stocked.file_url(WHEEL)}
    assert f'registry = "{simple}"' in (project / "uv.lock").read_text(encoding="utf-8")
    # The proxy is gone.
    frozen = await uv.run("sync", "--frozen", cwd=a_teammate(uv, project))
    assert frozen.ok, frozen
    fits = await uv.sync(a_teammate(uv, project), simple, "--locked", "--reinstall")
    assert fits.ok, fits
    other = await uv.sync(a_teammate(uv, project), stocked.url, "--locked")
    assert "needs to be updated" in other.stderr
