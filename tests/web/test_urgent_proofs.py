"""A denial that somebody waits for is proven before those that nobody does, whoever came upon it first."""

import asyncio

from aiohttp import web

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Target, artifactory_404
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.web.test_head_trust import index_of
from tests.web.test_pages import names

NEWEST = [f"demo-2.0-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl" for minor in range(10, 15)]
OLDER = [f"demo-1.{minor}.tar.gz" for minor in range(30)]
LOST = NEWEST[-2:]
_DENIED_AT_ONCE = 4


async def test_a_page_does_not_wait_for_the_rate_of_a_proof_that_began_behind(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (*NEWEST, *OLDER):
        mirror.add(name, upload_time="2023-01-01T00:00:00Z")
    gone = 0

    async def lost_after_the_first_look(target: Target) -> web.StreamResponse | None:
        nonlocal gone
        asked_before = len(mirror.asked_for(target.request.path.rpartition("/")[2])) > 1
        gone += asked_before
        return await artifactory_404()(target) if asked_before else None

    for name in LOST:
        mirror.fault(name, lost_after_the_first_look)
    client = await app_client(
        Clock(),
        upstream={"fresh": 0},
        verdict={"yes": 0},
        probe={"budget": len(NEWEST), "rate": 2, "patience": 3, "deadline": 14},
    )
    assert set(LOST) <= set(await names(client))

    async def doubted_behind() -> bool:
        return gone > 0

    await eventually(doubted_behind)
    before = mirror.count()
    assert not set(LOST) & set(await names(client))
    # At two requests a second the proof would take longer than a page waits.
    assert mirror.count() - before > 10


async def test_what_head_promises_while_a_get_is_denied_contradicts_nothing(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (*NEWEST, *OLDER[:3]):
        mirror.add(name, upload_time="2023-01-01T00:00:00Z")
    lost, looked = LOST[0], asyncio.Event()

    async def denied(target: Target) -> web.StreamResponse | None:
        if sum(each.method == "GET" for each in mirror.asked_for(lost)) > _DENIED_AT_ONCE:
            await looked.wait()
        return await artifactory_404()(target)

    mirror.fault(lost, denied, ("GET",))
    clock = Clock()
    client = await app_client(clock, upstream={"kind": "other", "fresh": 60, "retries": 0}, verdict={"yes": 60}, probe={"patience": 0})
    await names(client)
    window = index_of(client).mirror.window
    async with client.get(f"/files/demo/{lost}") as response:
        assert response.status == 502
    clock.passes(700)
    promised = sum(each.method == "HEAD" for each in mirror.asked_for(lost))

    async def promised_again() -> bool:
        await names(client)
        return sum(each.method == "HEAD" for each in mirror.asked_for(lost)) > promised

    await eventually(promised_again)
    looked.set()

    async def left() -> bool:
        clock.passes(100)
        return lost not in await names(client)

    await eventually(left)
    assert index_of(client).mirror.window == window
