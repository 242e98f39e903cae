"""What a second index gives real clients that the mirror's pages lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, write_project
from tests.mirror import BrokenMirror
from tests.world import World

CUT_OFF = "2025-06-01T00:00:00Z"
RELEASES = {"1.0": "2023-01-01T00:00:00Z", "1.1": "2025-01-01T00:00:00.123456Z", "2.0": "2025-09-01T00:00:00Z"}


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index."""
    async with BrokenMirror() as running:
        yield running


@pytest.mark.parametrize("form", ["html", "json"])
async def test_exclude_newer_works_behind_a_mirror_without_upload_times(
    mirror: BrokenMirror, whole: BrokenMirror, uv: Uv, tmp_path: Path, form: str
) -> None:
    mirror.forms = {form}
    for version, uploaded in RELEASES.items():
        mirror.add(name := f"demo-{version}-py3-none-any.whl")
        whole.add(name, upload_time=uploaded)
    project = write_project(tmp_path / "project", ["demo"])
    options = ("--exclude-newer", CUT_OFF)
    for index in (mirror.url, None):
        async with ProxyProcess(mirror.url, tmp_path) as proxy:
            assert not (await uv.lock(project, index or proxy.simple, *options)).ok
    async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_REFERENCE_URL": whole.url}) as proxy:
        uv.fresh_cache()
        locked = await uv.lock(project, proxy.simple, *options)
        assert locked.ok, locked
        assert locked.packages == {"demo": "1.1"}
        synced = await uv.sync(project, proxy.simple, *options)
        assert synced.ok, synced


async def test_a_lock_of_many_projects_is_the_same_with_a_second_index_that_is_down(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    World.load().fill(mirror)
    project = World.write_project(tmp_path / "project")
    environment = {"MIRRORMEND_REFERENCE_URL": "http://127.0.0.1:9/simple/", "MIRRORMEND_PROBE_DEADLINE": "14"}
    async with ProxyProcess(mirror.url, tmp_path, environment=environment) as proxy:
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        assert dict(locked.packages) == dict(World.load().chosen)
