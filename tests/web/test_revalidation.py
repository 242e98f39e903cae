"""A client that wants a page as the mirror has it now gets it so, and a burst of such clients costs the mirror one request."""

import asyncio
from typing import Any

import pytest

from proxy.server.pages import wanted_age
from tests.clients import Uv, write_project
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import hang, slow, status
from tests.mirror import BrokenMirror
from tests.web.test_warm import connected, running

JSON = "application/vnd.pypi.simple.v1+json"
OLD, NEW = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"
WISHES = [
    {"Cache-Control": "no-cache"},
    {"Cache-Control": "max-age=0"},
    {"Pragma": "no-cache"},
    {"Cache-Control": "Max-Age=1, no-transform"},
]
wishes = pytest.mark.parametrize("wish", WISHES, ids=lambda wish: next(iter(wish.values())))


async def names(client: Any, **headers: str) -> list[str]:
    async with client.get("/simple/demo/", headers={"Accept": JSON, **headers}) as response:
        assert response.status == 200, await response.text()
        return [file["filename"] for file in (await response.json(content_type=None))["files"]]


@wishes
async def test_a_release_just_published_is_seen_by_who_asks_for_it_fresh(
    mirror: BrokenMirror, app_client: MakeClient, wish: dict[str, str]
) -> None:
    mirror.add(OLD)
    clock = Clock()
    client = await app_client(clock)
    assert await names(client) == [OLD]
    mirror.add(NEW)
    clock.passes(3)
    assert await names(client) == [OLD]
    assert await names(client, **wish) == [OLD, NEW]
    assert await names(client) == [OLD, NEW]


async def test_what_did_not_change_is_asked_for_conditionally_and_by_a_burst_once(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(OLD)
    clock = Clock()
    client = await app_client(clock)
    await names(client)
    clock.passes(3)
    mirror.fault("page:demo", slow(0.05))
    mirror.forget()
    assert await asyncio.gather(*(names(client, **WISHES[0]) for _ in range(50))) == [[OLD]] * 50
    assert await names(client, **WISHES[1]) == [OLD], "a moment later it is not asked for again"
    asked = mirror.asked_for("page:demo")
    assert len(asked) == 1
    assert "If-None-Match" in asked[0].headers


async def test_a_page_confirmed_again_and_again_is_not_planned_for_each_time_but_in_time(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(OLD)
    clock = Clock()
    client = await app_client(clock, verdict={"yes": 1})
    await names(client)
    await asyncio.sleep(0.05)
    mirror.forget()
    for _ in range(10):
        clock.passes(10)
        await names(client, **WISHES[0])
    await asyncio.sleep(0.05)
    assert not mirror.asked_for(OLD)
    for _ in range(4):
        clock.passes(10)
        await names(client, **WISHES[0])
    await asyncio.sleep(0.05)
    assert mirror.asked_for(OLD)


@pytest.mark.parametrize("how", ["500", "hang"])
async def test_who_asks_for_it_fresh_from_a_mirror_that_is_down_gets_it_stale_and_soon(
    mirror: BrokenMirror, app_client: MakeClient, how: str
) -> None:
    mirror.add(OLD)
    clock = Clock()
    client = await app_client(clock, probe={"patience": 0.3}, upstream={"retries": 0})
    await names(client)
    mirror.fault("page:demo", status(500) if how == "500" else hang(30))
    clock.passes(3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(20):
        assert await names(client, **WISHES[0]) == [OLD]
    assert loop.time() - began < 2
    assert len(mirror.asked_for("page:demo")) <= 4


@wishes
async def test_a_page_at_hand_is_not_the_answer_to_who_wants_it_fresh(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch, wish: dict[str, str]
) -> None:
    mirror.add(OLD)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        lines = [f"{name}: {value}" for name, value in wish.items()]
        for _ in range(3):
            await connection.get(*lines)
        assert server.ordinary == 3


async def test_uv_with_refresh_sees_a_release_just_published(mirror: BrokenMirror, app_client: MakeClient, uv: Uv, tmp_path: Any) -> None:
    mirror.add(OLD)
    clock = Clock()
    client = await app_client(clock)
    index = str(client.make_url("/simple/"))
    project = write_project(tmp_path / "project", ["demo"])
    assert (await uv.lock(project, index)).packages == {"demo": "1.0"}
    mirror.add(NEW)
    clock.passes(3)
    assert (await uv.lock(project, index, "--upgrade", "--refresh")).packages == {"demo": "2.0"}


@pytest.mark.parametrize(
    ("cache_control", "pragma", "age"),
    [
        ([], "", None),
        (["no-cache"], "", 0.0),
        (["max-age=0"], "", 0.0),
        (["max-age=60"], "", 60.0),
        (['max-age="5"'], "", 5.0),
        (["no-transform, MAX-AGE = 7", "max-age=9"], "", 7.0),
        (["max-age=60, no-cache"], "", 0.0),
        ([], "no-cache", 0.0),
        ([], "x, No-Cache", 0.0),
        (["max-age=60"], "no-cache", 60.0),
        (["max-age=-1"], "", None),
        (["max-age"], "", None),
        (["max-stale=3, no-store"], "", None),
        (["max-age=" + "9" * 400], "", 999999999.0),
        ([" , "], "no-cache", 0.0),
    ],
)
def test_how_old_a_page_may_be(cache_control: list[str], pragma: str, age: float | None) -> None:
    assert wanted_age(cache_control, pragma) == age
