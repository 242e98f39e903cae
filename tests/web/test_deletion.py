"""Files that are deleted, and mirrors that only seem to delete."""

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.web.test_pages import names

NAMES = [f"demo-1.0-cp3{minor}-cp3{minor}-{platform}.whl" for minor in (11, 12, 13) for platform in ("macosx_11_0_arm64", "win_amd64")]


async def test_a_platform_that_is_deleted_is_dropped_once_other_files_bear_witness(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in NAMES:
        mirror.add(name)
    client = await app_client(upstream={"fresh": 0}, verdict={"yes": 0})
    assert await names(client) == NAMES
    mirror.fault("*macosx*", artifactory_404())
    assert await names(client) == [name for name in NAMES if "macosx" not in name]


async def test_known_good_files_that_all_fail_at_once_are_a_storm_and_stay_until_it_is_over(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    for name in NAMES:
        mirror.add(name)
    clock = Clock()
    client = await app_client(clock, upstream={"fresh": 0}, verdict={"yes": 0, "no_young": 0})
    assert await names(client) == NAMES
    rule = mirror.fault("demo-*", artifactory_404())
    assert await names(client) == NAMES
    async with client.get("/simple/demo/") as response:
        assert "Mirrormend-Storm" in response.headers
    mirror.heal(rule)
    clock.passes(60)
    assert await names(client) == NAMES
    async with client.get("/simple/demo/") as response:
        assert "Mirrormend-Storm" not in response.headers


async def test_one_deleted_file_is_dropped_and_all_else_stays(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in NAMES:
        mirror.add(name)
    client = await app_client(upstream={"fresh": 0}, verdict={"yes": 0})
    assert await names(client) == NAMES
    mirror.remove(NAMES[2], still_listed=True)
    assert await names(client) == [name for name in NAMES if name != NAMES[2]]
