"""Files that the mirror refuses are never fetched elsewhere, whatever it said before, and however it refuses."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Fault, artifactory_404, status
from tests.mirror import BrokenMirror
from tests.redis_server import RedisServer
from tests.waiting import at_rest, eventually
from tests.web.test_known import index_of
from tests.web.test_rescue import ALIVE, DEAD, PATH, WHEEL, get, names, rescue
from tests.wheels import metadata_of

REFUSALS = [401, 403, 451]


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index, which has the file."""
    async with BrokenMirror() as running:
        running.add(DEAD, WHEEL)
        running.add(ALIVE)
        yield running


@pytest.fixture
def lossy(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a file and answers 404 for it."""
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL)
    mirror.add("demo-2.0.tar.gz")
    mirror.fault(DEAD, artifactory_404())
    return mirror


def refuse(mirror: BrokenMirror, code: int) -> None:
    mirror.heal()
    mirror.fault(DEAD, status(code, {"WWW-Authenticate": 'Basic realm="x"'} if code == 401 else {}))


def whole_only(fault: Fault) -> Fault:
    """Answers so to those who ask for the whole file, by GET without Range."""

    async def chosen(target: Any) -> Any:
        return await fault(target) if target.request.method == "GET" and "Range" not in target.request.headers else None

    return chosen


def told_by(code: int) -> int:
    """The status that the client gets for a refusal of the mirror."""
    return 401 if code == 401 else 403


async def is_rescued(client: Client, **headers: str) -> bool:
    code, body, found = await get(client, **headers)
    return (code, body) == (200, WHEEL) and "Mirrormend-Rescued-From" in found


async def test_a_refusal_of_the_proxy_s_own_crowd_takes_no_file_off_for_long(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    """The mirror answers 403 to all above twelve requests at once; asked for alone, it denies each file."""
    dead = {f"demo-{number}.0-cp312-cp312-macosx_11_0_arm64.whl" for number in range(2, 62)}
    under_way = 0

    async def limit(target: Any) -> Any:
        nonlocal under_way
        under_way += 1
        try:
            await asyncio.sleep(0.02)
            denial = artifactory_404() if target.request.path.endswith(".whl") and "macosx" in target.request.path else None
            return await status(403)(target) if under_way > 12 else None if denial is None else await denial(target)
        finally:
            under_way -= 1

    mirror.add(ALIVE)
    for name in sorted(dead):
        mirror.add(name)
        mirror.add(name.replace("-cp312-cp312-macosx_11_0_arm64.whl", ".tar.gz"))
        whole.add(name)
    mirror.fault("*", limit)
    clock = Clock()
    clock.stop()
    client = await app_client(clock, **rescue(whole))

    async def all_listed() -> bool:
        return dead <= set(await names(client))

    await eventually(all_listed, within=60)
    for name in sorted(dead):
        assert (await get(client, f"/files/demo/{name}"))[0] == 200
    clock.passes(700)
    await eventually(all_listed, within=60)


@pytest.mark.parametrize("code", REFUSALS)
async def test_the_latest_answer_decides(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, code: int) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    assert await is_rescued(client)
    assert DEAD in await names(client)
    refuse(lossy, code)
    whole.forget()
    for _ in range(3):
        # The denial is due to be asked about again; each refusal must not make it stand for longer.
        clock.passes(700)
        assert (await get(client))[0] == told_by(code)
        assert DEAD not in await names(client)
        metadata = await get(client, PATH + ".metadata")
        assert (metadata[0], metadata[2].get("Mirrormend-Metadata-From")) == ((401, None) if code == 401 else (200, "demo-2.0.tar.gz"))
    assert not whole.asked_for(DEAD)
    lossy.heal()
    lossy.fault(DEAD, artifactory_404())
    clock.passes(700)
    assert await is_rescued(client)


@pytest.mark.parametrize("code", REFUSALS)
async def test_metadata_that_a_second_index_gave_is_refused_with_the_file(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, tmp_path: Path, code: int
) -> None:
    clock, store = Clock(), {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    mirror.add(DEAD, WHEEL)
    mirror.add(ALIVE)
    mirror.fault(DEAD, artifactory_404())
    client = await app_client(clock, **rescue(whole), store=store)

    async def is_given() -> bool:
        clock.passes(30)
        await names(client)
        return (await get(client, PATH + ".metadata"))[:2] == (200, metadata_of(WHEEL))

    await eventually(is_given)
    refuse(mirror, code)
    clock.passes(700)
    assert (await get(client))[0] == told_by(code)
    whole.forget()
    assert (await get(client, PATH + ".metadata"))[0] == (401 if code == 401 else 502)
    await client.close()
    again = await app_client(clock, **rescue(whole), store=store)
    assert (await get(again, PATH + ".metadata"))[0] == (401 if code == 401 else 502)
    assert not whole.asked_for(DEAD)
    mirror.heal()
    mirror.fault(DEAD, artifactory_404())
    clock.passes(700)
    assert await is_rescued(again)
    assert (await get(again, PATH + ".metadata"))[:2] == (200, metadata_of(WHEEL))


async def test_metadata_that_the_mirror_gave_stays(mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(DEAD, WHEEL)
    client = await app_client(**rescue(whole))
    assert (await get(client, PATH + ".metadata"))[:2] == (200, metadata_of(WHEEL))
    refuse(mirror, 403)
    assert (await get(client))[0] == 403
    assert (await get(client, PATH + ".metadata"))[:2] == (200, metadata_of(WHEEL))


@pytest.mark.parametrize("code", REFUSALS)
async def test_the_page_finds_out_by_itself(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, code: int) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    assert DEAD in await names(client)
    refuse(lossy, code)
    clock.passes(700)

    async def gone() -> bool:
        return DEAD not in await names(client)

    await eventually(gone)
    assert (await get(client))[0] == told_by(code)
    assert not whole.asked_for(DEAD)


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("page_first", [True, False])
@pytest.mark.parametrize("asking", [{}, {"Range": "bytes=0-9"}])
async def test_a_refusal_of_the_whole_file_counts_though_head_and_range_say_404(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, code: int, page_first: bool, asking: dict[str, str]
) -> None:
    lossy.heal()
    lossy.fault(DEAD, whole_only(status(code)))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole))
    if page_first:
        # Other files of the platform are lacking, so that no proof asks for the whole.
        await names(client)
        # Files that ask for credentials are on the mirror's page as well.
        assert (DEAD in await names(client)) == (code == 401)
    assert (await get(client, **asking))[0] == told_by(code)
    async with client.head(PATH) as response:
        assert response.status == told_by(code)
    assert not whole.asked_for(DEAD)


@pytest.mark.parametrize("page_first", [True, False])
async def test_so_does_a_refusal_of_head(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, page_first: bool) -> None:
    lossy.heal()
    lossy.fault(DEAD, status(403), methods=("HEAD",))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole))
    if page_first:
        assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert not whole.asked_for(DEAD)


@pytest.mark.parametrize("asking", [{}, {"Range": "bytes=10-19"}])
async def test_what_a_get_of_the_whole_delivers_is_the_mirror_s_own(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, asking: dict[str, str]
) -> None:
    async def only_whole(target: Any) -> Any:
        if target.request.method == "GET" and "Range" not in target.request.headers:
            return None
        return await artifactory_404()(target)

    lossy.heal()
    lossy.fault(DEAD, only_whole)
    client = await app_client(**rescue(whole))
    code, body, headers = await get(client, **asking)
    assert (code, body) == ((206, WHEEL[10:20]) if asking else (200, WHEEL))
    assert "Mirrormend-Rescued-From" not in headers
    async with client.head(PATH) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(WHEEL)))
    assert DEAD in await names(client)
    assert not whole.asked_for(DEAD)


async def test_a_wrong_password_of_one_client_forbids_nothing_to_others(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    async def by_password(target: Any) -> Any:
        return await (status(401) if "Authorization" in target.request.headers else artifactory_404())(target)

    lossy.heal()
    lossy.fault(DEAD, by_password)
    client = await app_client(**rescue(whole))
    assert await is_rescued(client)
    assert (await get(client, Authorization="Basic eDp5"))[0] == 401
    assert DEAD in await names(client)
    assert await is_rescued(client)


async def test_a_refusal_is_remembered_across_a_restart(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    clock, store = Clock(), {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    client = await app_client(clock, **rescue(whole), store=store)
    assert await is_rescued(client)
    refuse(lossy, 403)
    clock.passes(700)
    assert (await get(client))[0] == 403
    await client.close()
    whole.forget()
    # It is asked about the whole file no sooner than about any denial.
    again = await app_client(clock, **rescue(whole), store=store)
    asked = len(lossy.asked_for(DEAD))
    assert DEAD not in await names(again)
    assert len(lossy.asked_for(DEAD)) == asked
    assert (await get(again))[0] == 403
    assert not whole.asked_for(DEAD)


async def test_replicas_tell_each_other_of_a_refusal(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, redis: RedisServer
) -> None:
    clock, store = Clock(), {"location": redis.url}
    one = await app_client(clock, **rescue(whole), store=store)
    assert await is_rescued(one)
    refuse(lossy, 403)
    clock.passes(700)
    assert (await get(one))[0] == 403

    async def knows_of_it() -> bool:
        async with one.get("/simple/demo/", headers={"Cache-Control": "no-cache"}) as response:
            await response.read()
        asked = len(lossy.asked_for(DEAD))
        other = await app_client(clock, **rescue(whole), store=store)
        return DEAD not in await names(other) and len(lossy.asked_for(DEAD)) == asked

    await eventually(knows_of_it)
    assert len(whole.asked_for(DEAD)) == 1


async def test_a_mirror_that_refuses_head_of_every_file_loses_no_rescue(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    lossy.heal()
    lossy.fault("*", status(403), methods=("HEAD",))
    lossy.fault(DEAD, artifactory_404())
    store = {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    for _ in range(2):
        # The second run has all verdicts from the first one, and knows nothing of HEAD.
        client = await app_client(**rescue(whole), store=store)
        assert await is_rescued(client)
        assert DEAD in await names(client)
        await client.close()


async def test_head_is_looked_into_once_and_not_at_each_refusal(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    lossy.heal()
    lossy.fault(DEAD, status(403), methods=("HEAD",))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole))
    assert (await get(client, f"/files/demo/{ALIVE}"))[0] == 200
    for _ in range(3):
        lossy.forget()
        async with client.head(PATH) as response:
            assert response.status == 502
        await at_rest(index_of(client).tasks)
    assert {each.name for each in lossy.asked if each.method == "HEAD"} == {DEAD}


async def test_a_client_that_may_not_use_head_says_nothing_of_others(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    async def by_password(target: Any) -> Any:
        return await status(403)(target) if "Authorization" in target.request.headers else None

    lossy.heal()
    lossy.fault("*", by_password, methods=("HEAD",))
    lossy.fault(DEAD, status(403), methods=("HEAD",))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole))
    own = {"Authorization": "Basic eDp5"}
    assert (await get(client, f"/files/demo/{ALIVE}", **own))[0] == 200
    assert await is_rescued(client, **own)
    assert (await get(client))[0] == 502


async def test_a_mirror_that_refuses_parts_of_every_file_loses_no_rescue(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    async def no_parts(target: Any) -> Any:
        return await status(403)(target) if "Range" in target.request.headers else None

    lossy.heal()
    lossy.fault("*", no_parts, methods=("GET",))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole))
    for _ in range(3):
        assert await is_rescued(client)


@pytest.mark.parametrize("code", [401, 403])
async def test_head_that_is_refused_for_every_file_takes_nothing_off_the_page_later(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, code: int
) -> None:
    lossy.heal()
    lossy.fault("*", status(code), methods=("HEAD",))
    lossy.fault(DEAD, artifactory_404())
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    assert await is_rescued(client)
    for _ in range(3):
        await names(client)
        await at_rest(index_of(client).tasks)
        assert DEAD in await names(client)
        clock.passes(700)


async def test_the_whole_file_is_asked_for_again_though_its_parts_are_denied_as_before(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    assert await is_rescued(client)
    lossy.heal()
    lossy.fault(DEAD, whole_only(status(403)))
    lossy.fault(DEAD, artifactory_404())
    whole.forget()
    for _ in range(3):
        clock.passes(700)
        await names(client)
        await at_rest(index_of(client).tasks)
        assert (await get(client))[0] == 403
        assert DEAD not in await names(client)
    assert not whole.asked_for(DEAD)


async def test_a_refusal_for_a_moment_is_looked_into_soon(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    assert await is_rescued(client)
    refuse(lossy, 403)
    clock.passes(700)
    assert (await get(client))[0] == 403
    assert DEAD not in await names(client)
    lossy.heal()
    lossy.fault(DEAD, artifactory_404())
    waited = 0

    async def is_back() -> bool:
        nonlocal waited
        if DEAD in await names(client):
            return True
        await at_rest(index_of(client).tasks)
        clock.passes(20)
        waited += 20
        return False

    await eventually(is_back)
    assert waited <= 120
