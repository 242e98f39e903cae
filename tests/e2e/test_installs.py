"""What real uv and pip install through the proxy, and what becomes of locks that were made before it."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.clients import Pip, ProxyProcess, Uv, write_project
from tests.faults import artifactory_404, slow
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel
from tests.world import MACOS, World

HANDFUL = ["jinja2", "requests", "tornado", "rpds-py"]


@pytest.fixture
def full(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror with all that jupyter needs, but for macOS."""
    World.load().fill(mirror)
    mirror.fault(MACOS, artifactory_404())
    return mirror


def requests(proxy: ProxyProcess) -> int:
    """How many requests the proxy answered."""
    return sum(line.get("event") == "request" for line in proxy.log)


async def test_uv_sync_installs(full: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", HANDFUL)
    async with ProxyProcess(full.url, tmp_path) as proxy:
        done = await uv.sync(project, proxy.simple)
        assert done.ok, done
        listed = await uv.run("pip", "list", "--format", "freeze", "--python", str(project / ".venv"), cwd=project)
    for name in HANDFUL:
        assert f"{name}=={World.load().chosen[name]}" in listed.stdout.lower(), listed


async def test_pip_installs(full: BrokenMirror, pip: Pip, tmp_path: Path) -> None:
    async with ProxyProcess(full.url, tmp_path) as proxy:
        done = await pip.install(proxy.simple, *HANDFUL)
        assert done.ok, done
        listed = await pip.run("freeze", "--all")
    for name in HANDFUL:
        assert f"{name}=={World.load().chosen[name]}" in listed.stdout.lower().replace("_", "-"), listed


async def test_a_lock_of_the_old_index_is_not_taken_for_current_and_a_frozen_one_bypasses_the_proxy(
    mirror: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    World.load().fill(mirror)
    project = write_project(tmp_path / "project", ["jinja2"])
    assert (await uv.lock(project, mirror.url)).ok
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        locked = await uv.sync(project, proxy.simple, "--locked")
        assert not locked.ok
        assert "needs to be updated" in locked.stderr
        so_far = requests(proxy)
        frozen = await uv.sync(project, proxy.simple, "--frozen")
        assert frozen.ok
        assert requests(proxy) == so_far
        again = await uv.lock(project, proxy.simple)
        assert again.ok
        assert all(url.startswith(proxy.url) for url in again.files.values())


async def test_dead_files_stay_in_a_valid_lock_until_it_is_refreshed(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    World.load().fill(mirror)
    project = write_project(tmp_path / "project", ["tornado"])
    async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_UPSTREAM_FRESH": "0", "MIRRORMEND_VERDICT_YES": "0"}) as proxy:
        first = await uv.lock(project, proxy.simple)
        dead = [name for name in first.files if MACOS(name)]
        assert dead
        mirror.fault(MACOS, artifactory_404())
        kept = await uv.lock(project, proxy.simple)
        assert set(dead) <= set(kept.files)
        mended = await uv.lock(project, proxy.simple, "--refresh")
        assert mended.ok
        assert not set(dead) & set(mended.files)


async def test_sigterm_lets_a_download_finish_and_refuses_new_ones(mirror: BrokenMirror, tmp_path: Path) -> None:
    name = "demo-1.0-py3-none-any.whl"
    wheel = make_wheel(name, payload=b"x" * 100_000)
    mirror.add(name, wheel)
    async with ProxyProcess(mirror.url, tmp_path) as proxy, aiohttp.ClientSession() as session:
        async with session.get(proxy.simple + "demo/") as page:
            assert page.status == 200
        mirror.fault(name, slow(1.0))
        download = asyncio.create_task(_whole(session, f"{proxy.url}/files/demo/{name}"))
        await asyncio.sleep(0.3)
        code = await proxy.stop()
        assert await download == wheel
        assert code == 0
        assert proxy.log[-1]["event"] == "ended"
        with pytest.raises(aiohttp.ClientError):
            await _whole(session, proxy.simple)


async def _whole(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as response:
        assert response.status == 200
        return await response.read()
