"""An honest mirror pays nothing for it that others lie by HEAD, and is not taken for one of them."""

from collections import Counter

import pytest
from aiohttp import web

from proxy.index import Index
from proxy.server.context import GENERATIONS
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Fault, Target, artifactory_404, quota, status
from tests.mirror import BrokenMirror
from tests.waiting import at_rest

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64")
LINUX, WINDOWS = PLATFORMS[1:]


def stock(mirror: BrokenMirror, project: str = "demo", platforms: tuple[str, ...] = PLATFORMS, releases: int = 20) -> None:
    for minor in range(releases):
        for platform in platforms:
            mirror.add(f"{project}-1.{minor}-cp312-cp312-{platform}.whl", upload_time="2023-01-01T00:00:00Z")


def wheel(minor: int, platform: str = WINDOWS) -> str:
    return f"demo-1.{minor}-cp312-cp312-{platform}.whl"


async def names(client: Client, project: str = "demo") -> set[str]:
    """Return what the page lists, once nothing goes on behind it any more."""
    async with client.get(f"/simple/{project}/", headers=JSON) as response:
        listed = {each["filename"] for each in (await response.json(content_type=None))["files"]}
    await at_rest(index_of(client).tasks)
    return listed


def index_of(client: Client) -> Index:
    assert client.app is not None
    return next(iter(client.app[GENERATIONS].current.indexes.values()))


def asked(mirror: BrokenMirror) -> Counter[tuple[str, bool]]:
    """Count what was asked about files, by method and whether for a part."""
    return Counter((each.method, each.range is not None) for each in mirror.asked if each.kind == "file")


def lazy(seconds: float, clock: Clock, answer: Fault) -> Fault:
    """Misbehave for so long after a file was asked for first: the mirror fetches it meanwhile."""
    began: dict[str, float] = {}

    async def fetch(target: Target) -> web.StreamResponse | None:
        first = began.setdefault(target.request.path, clock())
        return await answer(target) if clock() - first < seconds else None

    return fetch


@pytest.mark.parametrize("kind", ["other", "artifactory", "nexus"])
async def test_a_page_of_an_honest_mirror_costs_no_get_of_a_file_beside_the_metadata(
    mirror: BrokenMirror, app_client: MakeClient, kind: str
) -> None:
    stock(mirror)
    client = await app_client(upstream={"kind": kind})
    await names(client)
    found = asked(mirror)
    assert found["HEAD", False] == (0 if kind == "nexus" else 60)
    # One of them reads metadata ahead.
    assert (found["GET", True], found["GET", False]) == (1, 0)


async def test_nobody_waits_for_the_comparison(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, releases=2)
    mirror.fault("*", status(404), ("GET",))
    client = await app_client(upstream={"kind": "other"})
    async with client.get("/simple/demo/", headers=JSON) as response:
        assert response.headers["Mirrormend-Verified"] == "complete"


async def test_a_quota_is_left_to_the_clients(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror)
    mirror.fault(lambda name: name.endswith(".whl"), quota(20, 403), ("GET",))
    client = await app_client(Clock(), upstream={"retries": 0})
    await names(client)
    for minor in range(15):
        async with client.get(f"/files/demo/{wheel(minor, LINUX)}") as response:
            assert response.status == 200


async def test_a_head_that_fails_for_one_page_is_asked_again(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, releases=4)
    stock(mirror, "later")
    failing = mirror.fault(lambda name: name.startswith("demo-"), status(503), ("HEAD",))
    clock = Clock()
    client = await app_client(clock, upstream={"kind": "other", "retries": 0})
    await names(client)
    mirror.heal(failing)
    mirror.forget()
    await names(client, "later")
    assert asked(mirror)["HEAD", False] == 60


async def test_a_file_that_arrives_and_is_denied_by_one_node_makes_no_liar_of_head(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror)
    stock(mirror, "later")
    gone = mirror.fault(wheel(3), artifactory_404())
    clock = Clock()
    client = await app_client(clock, upstream={"retries": 0, "fresh": 60})
    await names(client)
    assert wheel(3) not in await names(client)
    mirror.heal(gone)
    mirror.fault(wheel(3), artifactory_404(), ("GET",), times=2)
    clock.passes(700)
    await names(client)
    mirror.forget()
    await names(client, "later")
    assert asked(mirror)["HEAD", False] == 60


@pytest.mark.parametrize("platforms", [(LINUX, WINDOWS), PLATFORMS])
async def test_what_a_mirror_fetches_on_demand_is_never_dropped(
    mirror: BrokenMirror, app_client: MakeClient, platforms: tuple[str, ...]
) -> None:
    stock(mirror, platforms=platforms)
    clock = Clock()
    mirror.fault(f"*{WINDOWS}*", lazy(60, clock, artifactory_404()), ("GET",))
    client = await app_client(clock, upstream={"kind": "other", "retries": 0, "fresh": 60})
    for _ in range(8):
        assert len(await names(client)) == 20 * len(platforms)
        clock.passes(70)


async def test_half_of_a_page_that_head_promises_in_vain_raises_no_storm(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, platforms=(LINUX, WINDOWS))
    mirror.fault(f"*{WINDOWS}*", artifactory_404(), ("GET",))
    clock = Clock()
    # What HEAD promised is compared at the rate of the background.
    client = await app_client(clock, upstream={"kind": "other", "retries": 0, "fresh": 60}, probe={"rate": 20})
    for _ in range(12):
        await names(client)
        async with client.get(f"/files/demo/{wheel(7)}"):
            clock.passes(100)
    assert await names(client) == {wheel(minor, LINUX) for minor in range(20)}
    assert index_of(client).mirror.counts.storms == 0


@pytest.mark.parametrize("dead", [0, 3])
async def test_a_mirror_that_refuses_ranges_is_still_asked_by_head(mirror: BrokenMirror, app_client: MakeClient, dead: int) -> None:
    stock(mirror)
    stock(mirror, "later")

    async def refuses_ranges(target: Target) -> web.StreamResponse | None:
        return await status(404)(target) if "Range" in target.request.headers else None

    for minor in range(dead):
        mirror.fault(wheel(minor), artifactory_404())
    mirror.fault(lambda name: name.endswith(".whl"), refuses_ranges, ("GET",))
    client = await app_client(Clock(), upstream={"kind": "other", "retries": 0})
    await names(client)
    mirror.forget()
    await names(client, "later")
    # The one that metadata was read out of may be known by that.
    assert asked(mirror)["HEAD", False] >= 59


async def test_a_lost_file_has_the_pages_compared_at_the_rate_of_background_work(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror)
    mirror.fault(wheel(7), artifactory_404(), ("GET",))
    clock = Clock()
    client = await app_client(clock, upstream={"kind": "other", "retries": 0, "fresh": 60}, probe={"rate": 1000})
    await names(client)
    async with client.get(f"/files/demo/{wheel(7)}") as response:
        assert response.status == 502
    for _ in range(4):
        clock.passes(200)
        listed = await names(client)
    assert listed == {wheel(minor, platform) for minor in range(20) for platform in PLATFORMS} - {wheel(7)}
    mirror.add("new-1.0.tar.gz")
    mirror.forget()
    await names(client, "new")
    assert asked(mirror)["HEAD", False] == 0
    # That is forgotten after an hour: one file may be lost at any mirror.
    stock(mirror, "later")
    mirror.heal()
    clock.passes(3700)
    mirror.forget()
    await names(client, "later")
    assert asked(mirror)["HEAD", False] == 60
