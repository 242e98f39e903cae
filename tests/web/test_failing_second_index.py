"""A second index that fails is left alone for a while, and promises nothing meanwhile: pages are as without it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.index.pauses import Pauses
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Fault, artifactory_404, hang, reset, status, wrong_type
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.web.test_request_id import lines, logging_to_text
from tests.web.test_rescue import ALIVE, DEAD, WHEEL, get, names, rescue

OTHER = "demo-2.0-cp311-cp311-macosx_11_0_arm64.whl"
SOON = {"deadline": 1.0, "patience": 1.0}


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index, which has the files."""
    async with BrokenMirror() as running:
        running.add(DEAD, WHEEL)
        running.add(OTHER)
        yield running


@pytest.fixture
def lossy(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists two files and answers 404 for them."""
    for name in (ALIVE, DEAD, OTHER, "demo-2.0.tar.gz"):
        mirror.add(name, WHEEL if name == DEAD else None if name == OTHER else WHEEL)
    mirror.fault(DEAD, artifactory_404())
    mirror.add(OTHER)
    mirror.fault(OTHER, artifactory_404())
    return mirror


FAILURES = [status(503), status(500), status(429, {"Retry-After": "10"}), reset(), hang(30), artifactory_404(), wrong_type()]
NAMES = ["503", "500", "429", "reset", "silence", "404", "a page"]


@pytest.mark.parametrize("fault", FAILURES, ids=NAMES)
async def test_a_file_that_it_lists_and_does_not_deliver_leaves_the_page_and_comes_back(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole), probe=SOON)
    assert DEAD in await names(client)
    rule = whole.fault(DEAD, fault)
    assert (await get(client))[0] == 502
    asked = len(whole.asked_for(DEAD))
    for _ in range(3):
        assert DEAD not in await names(client)
        assert (await get(client))[0] == 502
    assert len(whole.asked_for(DEAD)) == asked
    whole.heal(rule)

    async def is_back() -> bool:
        clock.passes(30)
        return DEAD in await names(client)

    await eventually(is_back)
    assert (await get(client))[:2] == (200, WHEEL)


async def test_it_stays_away_while_the_second_index_fails_on(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole), probe=SOON)
    await names(client)
    whole.fault(DEAD, status(500))
    assert (await get(client))[0] == 502
    for _ in range(40):
        clock.passes(30)
        assert DEAD not in await names(client)
    # After twenty minutes it was asked for some ten times: the pauses grew.
    assert 4 <= len(whole.asked_for(DEAD)) <= 14


async def test_a_wish_to_be_left_alone_is_granted(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole), probe=SOON)
    await names(client)
    whole.fault(DEAD, status(503, {"Retry-After": "900"}), times=1)
    assert (await get(client))[0] == 502
    whole.forget()
    clock.passes(800)
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert whole.asked == []
    clock.passes(200)
    assert DEAD in await names(client)


async def test_an_index_that_is_down_takes_all_its_files_off_the_page_at_once(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole), probe=SOON)
    assert {DEAD, OTHER} <= set(await names(client))
    await whole.stop()
    assert (await get(client))[0] == 502
    assert not {DEAD, OTHER} & set(await names(client))
    await whole.start()

    async def is_back() -> bool:
        clock.passes(30)
        return {DEAD, OTHER} <= set(await names(client))

    await eventually(is_back)
    assert (await get(client))[:2] == (200, WHEEL)


@pytest.mark.parametrize("fault", [*FAILURES[:5], wrong_type(b"{"), None], ids=[*NAMES[:5], "garbage", "refused"])
async def test_one_whose_pages_fail_is_not_asked_each_time_and_changes_nothing(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Fault | None
) -> None:
    if fault is None:
        # The proxy does not go there.
        whole.add(DEAD, WHEEL, url=f"http://169.254.169.254/{DEAD}")
    else:
        whole.fault("page:demo", fault)
    client = await app_client(**rescue(whole), probe=SOON, upstream={"retries": 0})
    for _ in range(3):
        await names(client)
        assert (await get(client))[0] == 502
    assert DEAD not in await names(client)
    assert len(whole.asked_for("page:demo")) <= 2


async def test_the_mirror_s_silence_is_not_waited_for_where_the_second_index_has_the_file(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    lossy.heal()
    client = await app_client(**rescue(whole, causes=["no-answer"]), probe=SOON, upstream={"retries": 0, "read_timeout": 60})
    await names(client)
    lossy.fault(DEAD, hang(60))
    async with asyncio.timeout(30):
        assert (await get(client))[:2] == (200, WHEEL)


async def test_but_it_is_where_nobody_else_has_it(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    late = asyncio.Event()

    async def slow(_: Any) -> None:
        await late.wait()

    lossy.heal()
    whole.remove(DEAD)
    client = await app_client(**rescue(whole, causes=["no-answer"]), probe=SOON)
    await names(client)
    lossy.fault(DEAD, slow)
    getting = asyncio.create_task(get(client))
    async with asyncio.timeout(30):
        while not whole.asked_for("page:demo"):  # noqa: ASYNC110 - it is the proxy that asks
            await asyncio.sleep(0.02)
    await asyncio.sleep(2 * SOON["deadline"])
    late.set()
    assert (await getting)[:2] == (200, WHEEL)


def test_pauses_grow_and_end_with_success() -> None:
    now = [1000.0]
    pauses = Pauses(lambda: now[0])

    def failed_again(later: float) -> float:
        now[0] += later
        return pauses.failed("demo", "one")

    assert [failed_again(400) for _ in range(7)] == [15, 30, 60, 120, 240, 300, 300]
    assert pauses.failed("demo", "one", at_least=1000) == 1000
    assert pauses.failed("demo", "one", at_least=1e9) == 3600
    assert pauses.rests("demo", "one")
    assert (pauses.due("demo"), pauses.count("demo")) == ([], 1)
    now[0] += 3600
    assert not pauses.rests("demo", "one")
    assert (pauses.due("demo"), pauses.failing("demo", "one")) == (["one"], True)
    pauses.succeeded("demo", "one")
    assert (pauses.count("demo"), pauses.failed("demo", "one")) == (0, 15)
    # Requests that were under way together fail once.
    assert pauses.failed("demo", "one") == 15
    # A clock that goes back freezes nothing.
    now[0] -= 7200
    assert not pauses.rests("demo", "one")


async def test_pages_wait_once_for_one_that_is_slow_and_not_each_time(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock, log = Clock(), logging_to_text("json")
    never = asyncio.Event()

    async def slow(_: Any) -> None:
        await never.wait()

    settings = rescue(whole) | {"reference": {"url": whole.url, "patience": 0.1}}
    client = await app_client(clock, **settings, probe={"deadline": 14.0})
    await names(client)
    whole.fault(DEAD, status(500), times=1)
    assert (await get(client))[0] == 502
    whole.fault(DEAD, slow)
    clock.passes(20)
    # It is tried again, and while nobody knows what comes of that the pages come without it.
    for _ in range(5):
        assert DEAD not in await names(client)
    assert len(lines(log, "second-index-late")) == 1
    never.set()
