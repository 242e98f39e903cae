"""A second index that fails is left alone for a while, and promises nothing meanwhile: pages are as without it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.core.page import File
from proxy.index.failure_backoff import FailureBackoff
from proxy.index.project import Project
from proxy.index.rescue import Rescue
from proxy.server import rescues
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Fault, artifactory_404, cut, hang, reset, status, wrong_type
from tests.mirror import BrokenMirror
from tests.waiting import eventually, until
from tests.web.test_known import index_of
from tests.web.test_request_id import lines, logging_to_text
from tests.web.test_rescue import ALIVE, DEAD, PATH, WHEEL, get, names, rescue
from tests.wheels import make_wheel

OTHER = "demo-2.0-cp311-cp311-macosx_11_0_arm64.whl"
SOON = {"deadline": 1.0, "patience": 1.0}
"""For what is silent: how long a test waits for nothing."""

BEYOND_ANY_TEST = 120.0
PATIENT = {"deadline": 14.0, "patience": 14.0}


def patient(whole: BrokenMirror) -> dict[str, Any]:
    """The settings of a rescue where pages wait until they are right, however slow the machine is."""
    return rescue(whole) | {"reference": {"url": whole.url, "patience": 5.0}, "probe": PATIENT}


def waiting_for(fault: Fault | None, whole: BrokenMirror) -> dict[str, Any]:
    """The settings for a second index with this `fault`: what says nothing is not waited for."""
    return rescue(whole) | {"probe": SOON} if fault is SILENCE else patient(whole)


async def listed(client: Client, *files: str) -> bool:
    """Whether the page has these files."""
    return set(files) <= set(await names(client))


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
    for name in (ALIVE, OTHER, "demo-2.0.tar.gz"):
        mirror.add(name)
    mirror.add(DEAD, WHEEL)
    for name in (DEAD, OTHER):
        mirror.fault(name, artifactory_404())
    return mirror


SILENCE = hang(60)
FAILURES = [status(503), status(500), status(429, {"Retry-After": "10"}), reset(), SILENCE, artifactory_404(), wrong_type()]
NAMES = ["503", "500", "429", "reset", "silence", "404", "a page"]


@pytest.mark.parametrize("fault", FAILURES, ids=NAMES)
async def test_a_file_that_it_lists_and_does_not_deliver_leaves_the_page_and_comes_back(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    clock = Clock()
    client = await app_client(clock, **waiting_for(fault, whole))

    async def is_rescued() -> bool:
        clock.passes(30)
        return (await get(client))[:2] == (200, WHEEL) and DEAD in await names(client)

    await eventually(is_rescued)
    rule = whole.fault(DEAD, fault)
    clock.stop()

    async def has_left() -> bool:
        assert (await get(client))[0] == 502
        clock.passes(5)
        return DEAD not in await names(client)

    async def rests() -> bool:
        before = len(whole.asked_for(DEAD))
        return (await get(client))[0] == 502 and len(whole.asked_for(DEAD)) == before

    await eventually(has_left)
    await eventually(rests)
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
    await eventually(is_rescued)


async def test_it_stays_away_while_the_second_index_fails_on(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await names(client)
    whole.fault(DEAD, status(500))
    assert (await get(client))[0] == 502
    clock.passes(2)
    for _ in range(40):
        clock.passes(30)
        assert DEAD not in await names(client)
    # After twenty minutes it was asked for some ten times: the pauses grew.
    assert 4 <= len(whole.asked_for(DEAD)) <= 14


async def test_a_wish_to_be_left_alone_is_granted(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await names(client)
    whole.fault(DEAD, status(503, {"Retry-After": "900"}), times=1)
    assert (await get(client))[0] == 502
    whole.forget()
    clock.passes(800)
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert whole.asked == []
    clock.passes(200)
    await eventually(lambda: listed(client, DEAD))


async def test_an_index_that_is_down_takes_all_its_files_off_the_page_at_once(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await eventually(lambda: listed(client, DEAD, OTHER))
    await whole.stop()
    assert (await get(client))[0] == 502
    clock.passes(2)
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
    clock = Clock()
    client = await app_client(clock, **waiting_for(fault, whole), upstream={"retries": 0})

    async def is_gone() -> bool:
        assert (await get(client))[0] == 502
        return DEAD not in await names(client)

    await eventually(is_gone)
    clock.stop()
    assert await is_gone()
    asked = len(whole.asked_for("page:demo"))
    for _ in range(3):
        assert await is_gone()
    assert len(whole.asked_for("page:demo")) == asked <= 4


async def test_the_mirror_s_silence_is_not_waited_for_where_the_second_index_has_the_file(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    lossy.heal()
    clock = Clock()
    settings = rescue(whole, causes=["no-answer"])
    client = await app_client(clock, **settings, probe=SOON, upstream={"retries": 0, "read_timeout": BEYOND_ANY_TEST})
    await names(client)
    lossy.fault(DEAD, hang(BEYOND_ANY_TEST))

    async def is_rescued() -> bool:
        clock.passes(30)
        return (await get(client))[:2] == (200, WHEEL)

    await eventually(is_rescued)


async def test_but_it_is_where_nobody_else_has_it(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    late = asyncio.Event()

    async def slow(_: Any) -> None:
        await late.wait()

    lossy.heal()
    whole.remove(DEAD)
    client = await app_client(**rescue(whole, causes=["no-answer"]), probe=SOON, upstream={"retries": 0, "read_timeout": BEYOND_ANY_TEST})
    await names(client)
    lossy.fault(DEAD, slow)
    getting = asyncio.create_task(get(client))
    await until(lambda: bool(whole.asked_for("page:demo")))
    await until(lambda: all(task.get_name() != "look elsewhere" for task in asyncio.all_tasks()))
    # From now on nothing would be left to wait for if the second index had it.
    await asyncio.sleep(SOON["deadline"])
    assert not getting.done()
    late.set()
    assert (await getting)[:2] == (200, WHEEL)


def test_pauses_grow_and_end_with_success() -> None:
    now = [1000.0]
    backoff = FailureBackoff(lambda: now[0])

    def failed_again(later: float) -> float:
        now[0] += later
        return backoff.failed("demo", "one")

    assert [failed_again(400) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert backoff.failed("demo", "one", at_least=1000) == 1000
    assert backoff.failed("demo", "one", at_least=1e9) == 3600
    assert backoff.rests("demo", "one")
    assert (backoff.due("demo"), backoff.count("demo")) == ([], 1)
    now[0] += 3600
    assert not backoff.rests("demo", "one")
    assert (backoff.due("demo"), backoff.failing("demo", "one")) == (["one"], True)
    backoff.succeeded("demo", "one")
    assert (backoff.count("demo"), backoff.failed("demo", "one")) == (0, 1)
    # Requests that were under way together fail once.
    assert backoff.failed("demo", "one") == 1
    now[0] += 10
    assert backoff.failed("demo", "one", since=now[0] - 12) == 1
    assert backoff.lasts("demo", "one")
    now[0] += 10
    assert backoff.failed("demo", "one", since=now[0] - 1) == 2
    assert (backoff.lasts("demo", "one"), backoff.lasting("demo")) == (True, 1)
    # One that fails in passing does not last, unless it is to be left alone for long, or fails again.
    assert (backoff.failed("demo", "two", at_least=11, passing=True), backoff.lasts("demo", "two")) == (11, True)
    assert (backoff.failed("demo", "three", passing=True), backoff.lasts("demo", "three")) == (1, False)
    now[0] += 10
    assert (backoff.failed("demo", "three", passing=True), backoff.lasts("demo", "three")) == (2, True)
    # The longer the wait, the longer the pauses.
    assert backoff.failed("demo", "slow", cost=8) == 4
    # One that seems to work counts as such, until it fails again: that is no first failure then.
    backoff.failed("demo", "eased")
    now[0] += 10
    assert backoff.failed("demo", "eased") == 2
    backoff.eased("demo", "eased")
    assert not backoff.failing("demo", "eased")
    assert (backoff.lasts("demo", "eased"), backoff.rests("demo", "eased")) == (False, False)
    assert "eased" not in backoff.due("demo")
    assert (backoff.failed("demo", "eased"), backoff.lasts("demo", "eased")) == (4, True)
    # A clock that goes back freezes nothing.
    now[0] -= 7200
    assert not backoff.rests("demo", "one")


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
    whole.fault(DEAD, status(500, {"Retry-After": "20"}), times=1)
    assert (await get(client))[0] == 502
    whole.fault(DEAD, slow)
    clock.passes(30)
    # It is tried again, and while nobody knows what comes of that the pages come without it.
    for _ in range(5):
        assert DEAD not in await names(client)
    assert len(lines(log, "second-index-late")) == 1
    never.set()


async def test_pages_are_at_hand_again_once_what_failed_is_no_longer_to_be_tried(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    index = index_of(client)
    await eventually(lambda: listed(client, DEAD))
    whole.fault(DEAD, status(500))
    assert (await get(client))[0] == 502
    lossy.remove(DEAD)
    whole.forget()

    async def is_at_hand() -> bool:
        clock.passes(700)
        return not await listed(client, DEAD) and index.at_hand("demo") is not None

    await eventually(is_at_hand)
    assert not whole.asked_for(DEAD)


async def test_finding_and_sending_have_one_deadline_together(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []
    loop, find, send = asyncio.get_running_loop(), Rescue.find, rescues._send

    async def finding(self: Rescue, project: Project, file: File, within: float | None = None) -> File | None:
        assert within is not None
        ends.append(loop.time() + within)
        await asyncio.sleep(0.05)
        return await find(self, project, file, within)

    async def sending(*args: Any, limit: asyncio.Timeout) -> None:
        end = limit.when()
        assert end is not None
        ends.append(end)
        await send(*args, limit=limit)

    async def after_the_deadline(target: Any) -> Any:
        await asyncio.sleep(0.4)
        return await artifactory_404()(target)

    monkeypatch.setattr(Rescue, "find", finding)
    monkeypatch.setattr(rescues, "_send", sending)
    # The least that the second index has, however late the mirror fails.
    monkeypatch.setattr(rescues, "_LEAST", BEYOND_ANY_TEST)
    lossy.heal()
    lossy.fault(DEAD, after_the_deadline, methods=("GET",))
    lossy.fault(DEAD, artifactory_404())
    client = await app_client(**rescue(whole), probe={"deadline": 0.2})
    assert (await get(client))[:2] == (200, WHEEL)
    found_by, sent_by = ends
    assert sent_by <= found_by


RECOVERS = [
    status(503),
    status(502),
    status(500),
    status(429),
    status(429, {"Retry-After": "1"}),
    reset(),
    cut(len(WHEEL), 100),
    wrong_type(),
]


@pytest.mark.parametrize("fault", RECOVERS, ids=["503", "502", "500", "429", "429 for a second", "reset", "cut", "other bytes"])
async def test_one_failure_is_made_good_within_the_request(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    client = await app_client(**patient(whole))
    await eventually(lambda: listed(client, DEAD))
    whole.fault(DEAD, fault, times=1, methods=("GET",))
    assert (await get(client))[:2] == (200, WHEEL)
    assert await listed(client, DEAD)


async def test_a_client_that_tries_again_after_a_second_or_two_wins(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await eventually(lambda: listed(client, DEAD))
    clock.stop()
    whole.fault(DEAD, status(503), times=2)
    assert (await get(client))[0] == 502
    # A page promises nothing that just failed twice.
    assert not await listed(client, DEAD)
    clock.passes(1.5)
    assert (await get(client))[:2] == (200, WHEEL)
    assert await listed(client, DEAD)


LARGE = make_wheel(DEAD, payload=bytes(range(256)) * 4000)


async def test_a_page_goes_on_to_list_what_broke_off_once(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    whole.remove(DEAD)
    whole.add(DEAD, LARGE)
    lossy.remove(DEAD)
    lossy.add(DEAD, LARGE)
    await eventually(lambda: listed(client, DEAD))
    clock.stop()
    whole.fault(DEAD, cut(len(LARGE), len(LARGE) - 100), methods=("GET",), times=1)
    with pytest.raises(aiohttp.ClientError):
        await get(client)
    assert await listed(client, DEAD)
    clock.passes(1.5)
    assert (await get(client))[:2] == (200, LARGE)


async def test_so_does_one_whose_second_index_was_restarted(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await eventually(lambda: listed(client, DEAD, OTHER))
    clock.stop()
    await whole.stop()
    assert (await get(client))[0] == 502
    await whole.start()
    assert not await listed(client, DEAD)
    clock.passes(1.5)
    assert (await get(client))[:2] == (200, WHEEL)
    assert await listed(client, DEAD, OTHER)


async def test_and_one_for_which_the_second_index_s_page_failed(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole), upstream={"retries": 0})
    rule = whole.fault("page:demo", status(500))
    assert (await get(client))[0] == 502
    clock.stop()
    whole.heal(rule)
    # For so long uv and pip try again.
    clock.passes(6)
    assert (await get(client))[:2] == (200, WHEEL)


@pytest.mark.parametrize("about", [OTHER, "page:other"])
async def test_a_wish_of_one_file_or_page_is_no_wish_of_the_index(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, about: str
) -> None:
    lossy.add("other-1.0.tar.gz", upload_time=None)
    whole.add("other-1.0.tar.gz")
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await eventually(lambda: listed(client, DEAD))
    clock.stop()
    whole.fault(about, status(503, {"Retry-After": "86400"}))
    await get(client, f"/files/demo/{OTHER}")
    await get(client, "/simple/other/")
    assert whole.asked_for(about)
    assert (await get(client))[:2] == (200, WHEEL)
    assert await listed(client, DEAD)


async def test_an_index_that_limits_is_tried_within_minutes_however_long_it_asks_for(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    client = await app_client(clock, **patient(whole))
    await eventually(lambda: listed(client, DEAD, OTHER))
    clock.stop()
    whole.fault(DEAD, status(429, {"Retry-After": "86400"}), times=1)
    assert (await get(client))[0] == 502
    assert not {DEAD, OTHER} & set(await names(client))
    whole.forget()
    clock.passes(290)
    assert not await listed(client, OTHER)
    assert whole.asked == []
    clock.passes(20)
    await eventually(lambda: listed(client, OTHER))
    assert (await get(client, f"/files/demo/{OTHER}"))[0] == 200


async def dribble(target: Any) -> web.StreamResponse:
    """Sends a byte now and then, without an end."""
    response = web.StreamResponse(headers={"Content-Type": target.content_type})
    await response.prepare(target.request)
    while True:
        await response.write(target.data[:1])
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("about", [DEAD, "page:demo"])
async def test_one_that_dribbles_fails_at_the_deadline_and_is_remembered(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, about: str
) -> None:
    rule = whole.fault(about, dribble, methods=("GET",))
    clock, log = Clock(), logging_to_text("json")
    client = await app_client(clock, **rescue(whole) | {"reference": {"url": whole.url, "patience": 0}}, probe={"deadline": 1.0})

    async def is_proven() -> bool:
        # It is listed where the second index's page comes.
        return await listed(client, DEAD) == (about == DEAD) and bool(whole.asked_for("page:demo"))

    await eventually(is_proven)
    clock.stop()
    assert (await get(client))[0] == 502
    asked = len(whole.asked_for(about))
    assert asked
    for _ in range(3):
        assert (await get(client))[0] == 502
    assert len(whole.asked_for(about)) == asked
    # It was waited for in vain once.
    assert len(lines(log, "second-index-failed")) == (about != DEAD)
    whole.heal(rule)

    async def is_rescued() -> bool:
        clock.passes(5)
        return (await get(client))[:2] == (200, WHEEL)

    await eventually(is_rescued)


async def test_a_file_that_comes_slowly_begins_within_the_deadline(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    begun = asyncio.Event()

    async def slow(target: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(target.request)
        # Less than is held back of a file that comes fast, and far from all.
        at = 60_000
        await response.write(WHEEL[:at])
        while not begun.is_set():
            await response.write(WHEEL[at : at + 1])
            at += 1
            await asyncio.sleep(0.02)
        await response.write(WHEEL[at:])
        return response

    whole.fault(DEAD, slow, methods=("GET",))
    client = await app_client(**rescue(whole), probe=PATIENT)
    async with client.get(PATH) as response:
        assert response.status == 200
        begun.set()
        assert await response.read() == WHEEL


@pytest.mark.parametrize("fault", [cut(len(WHEEL), 100), dribble], ids=["cut", "dribble"])
async def test_one_that_begins_and_never_ends_is_promised_ever_more_rarely(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole) | {"reference": {"url": whole.url, "patience": 5.0}}, probe={"deadline": 1.0})
    await eventually(lambda: listed(client, DEAD))
    whole.fault(DEAD, fault, methods=("GET",))
    clock.stop()
    # It seems to work each time that a page tries it, and each client learns that it does not.
    for pause in (1, 2, 4, 8):
        assert await listed(client, DEAD)
        assert (await get(client))[0] == 502
        clock.passes(pause - 0.1)
        assert not await listed(client, DEAD)
        clock.passes(0.2)
