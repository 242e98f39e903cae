"""The world holds what real uv needs of it, healthy or broken."""

from pathlib import Path

from tests.clients import Uv
from tests.mirror import BrokenMirror, artifactory_404
from tests.world import MACOS, World


async def test_uv_locks_the_hundred_packages_of_jupyter_from_the_healthy_stand_in(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    world = World.load()
    world.fill(mirror)
    locked = await uv.lock(world.write_project(tmp_path / "project"), mirror.url)
    assert locked.ok, locked
    assert "Resolved 100 packages" in locked.stderr
    assert locked.packages == world.chosen
    assert locked.packages["tornado"] == "6.6.1"
    assert locked.files[world.wheels("tornado")[0]] == mirror.file_url(world.wheels("tornado")[0])


async def test_a_mirror_without_the_wheels_for_macos_breaks_the_lock(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    world = World.load()
    world.fill(mirror)
    mirror.fault(MACOS, artifactory_404())
    locked = await uv.lock(world.write_project(tmp_path / "project"), mirror.url)
    assert not locked.ok
    assert "404 Not Found" in locked.stderr
    assert "macosx" in locked.stderr


async def test_mirrors_share_a_world_and_change_only_their_own(mirror: BrokenMirror) -> None:
    world = World.load()
    assert sum(len(project.files) for project in world.projects.values()) == 31_047
    world.fill(mirror)
    mirror.remove(world.wheels("tornado")[0])
    mirror.add("tornado-99.0-py3-none-any.whl")
    async with BrokenMirror() as other:
        world.fill(other)
        names = [set(each.projects["tornado"].files) for each in (mirror, other)]
        pages = [each.projects["tornado"].page("text/html").body for each in (mirror, other)]
    assert names[0] ^ names[1] == {world.wheels("tornado")[0], "tornado-99.0-py3-none-any.whl"}
    assert [b"tornado-99.0" in page for page in pages] == [True, False]
