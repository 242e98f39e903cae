"""Limits per client: what is too much waits, what would wait too long is refused, and other clients notice nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import TooManyRequests
from proxy.server.access import turns as module
from proxy.server.access.turns import Turns
from tests.waiting import BEYOND_ANY_TEST


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def slept(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[float]]:
    """How long somebody was made to wait for the rate's sake; nobody really waits."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    yield slept
    monkeypatch.undo()


async def test_no_more_requests_are_under_way_than_are_allowed_and_the_others_follow(clock: Clock) -> None:
    turns = Turns(3, None, clock)
    under_way = most = done = 0

    async def request() -> None:
        nonlocal under_way, most, done
        async with turns.turn("a"):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1
            done += 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert (most, done) == (3, 20)


async def test_whoever_waits_too_long_is_refused_and_others_are_not(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    turns = Turns(1, None, clock)
    async with turns.turn("a"):
        with pytest.raises(TooManyRequests):
            async with turns.turn("a"):
                pytest.fail("it is not its turn")
        async with turns.turn("b"):
            pass
    async with turns.turn("a"):
        pass


async def test_only_so_many_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 2)
    turns = Turns(1, None, clock)

    async def request() -> None:
        async with turns.turn("a"):
            await asyncio.sleep(0.01)

    ends = await asyncio.gather(*(request() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(end, TooManyRequests) for end in ends) == 2


async def test_ten_seconds_worth_may_come_in_a_row_and_then_they_come_evenly(clock: Clock, slept: list[float]) -> None:
    turns = Turns(None, 2.0, clock)
    for _ in range(20):
        async with turns.turn("a"):
            pass
    assert slept == []
    for _ in range(4):
        async with turns.turn("a"):
            pass
    assert slept == [0.5, 1.0, 1.5, 2.0]
    async with turns.turn("b"):
        pass
    assert len(slept) == 4


async def test_what_would_wait_longer_than_the_patience_is_told_when_to_come_again(clock: Clock, slept: list[float]) -> None:
    turns = Turns(None, 2.0, clock)
    for _ in range(30):
        async with turns.turn("a"):
            pass
    assert max(slept) == 5.0
    with pytest.raises(TooManyRequests) as caught:
        async with turns.turn("a"):
            pytest.fail("it is not its turn")
    assert caught.value.seconds == 0.5
    # Whoever was refused used nothing up.
    clock.now += 0.5
    async with turns.turn("a"):
        pass


async def test_a_rate_below_one_in_ten_seconds_lets_the_first_one_pass(clock: Clock, slept: list[float]) -> None:
    turns = Turns(None, 0.01, clock)
    async with turns.turn("a"):
        pass
    assert slept == []
    with pytest.raises(TooManyRequests):
        async with turns.turn("a"):
            pytest.fail("it is not its turn")


async def test_whoever_gives_up_or_fails_leaves_the_place_to_others(clock: Clock) -> None:
    turns = Turns(1, None, clock)
    held = asyncio.Event()

    async def hold() -> None:
        async with turns.turn("a"):
            held.set()
            await asyncio.sleep(60)

    async def wait() -> None:
        async with turns.turn("a"):
            pass

    holder = asyncio.create_task(hold())
    await held.wait()
    waiter = asyncio.create_task(wait())
    await asyncio.sleep(0)
    for task in (waiter, holder):
        task.cancel()
    await asyncio.gather(waiter, holder, return_exceptions=True)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn("a"):
            _ = 1 / 0
    async with asyncio.timeout(BEYOND_ANY_TEST), turns.turn("a"):
        pass


async def test_clients_who_are_done_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLIENTS", 3)
    turns = Turns(1, 1.0, clock)
    async with turns.turn("busy"):
        for number in range(20):
            async with turns.turn(f"client {number}"):
                pass
            clock.now += 11
        assert len(turns._clients) <= 4
        assert "busy" in turns._clients
