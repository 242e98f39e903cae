"""The share of downloads that one client has by default: however much it wants, others find places."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from proxy.core.errors import TooManyRequests
from proxy.server.access.turns import Shares
from tests.waiting import BEYOND_ANY_TEST, until


async def held(stack: AsyncExitStack, shares: Shares, client: str, wanted: int) -> int:
    """How many of the places that it wants a client gets without waiting."""
    for got in range(wanted):
        try:
            await stack.enter_async_context(shares.place(client))
        except TooManyRequests:
            return got
    return wanted


async def test_a_client_alone_has_two_thirds_and_leaves_places_for_the_next_ones() -> None:
    shares = Shares(512, patience=0.0)
    async with AsyncExitStack() as stack:
        assert await held(stack, shares, "greedy", 520) == 342
        assert [await held(stack, shares, client, 50) for client in ("a", "b")] == [50, 50]
        for number in range(20):
            assert await held(stack, shares, f"one-{number}", 1) == 1


async def test_clients_that_want_little_are_never_made_to_wait() -> None:
    shares = Shares(512, patience=0.0)
    async with AsyncExitStack() as stack:
        for number in range(9):
            # uv has fifty downloads under way at most.
            assert await held(stack, shares, f"uv-{number}", 50) == 50


async def test_what_waits_gets_a_place_that_comes_free_in_its_turn() -> None:
    shares = Shares(4, patience=BEYOND_ANY_TEST)
    order: list[int] = []

    async def download(number: int) -> None:
        async with shares.place("a"):
            order.append(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(download(number) for number in range(40)))
    assert order == list(range(40))


async def test_who_waits_in_vain_is_refused_and_takes_nothing_with_it() -> None:
    shares = Shares(4, patience=0.02)
    async with AsyncExitStack() as stack:
        assert await held(stack, shares, "a", 4) == 3
        with pytest.raises(TooManyRequests) as refused:
            await stack.enter_async_context(shares.place("a"))
        assert refused.value.seconds > 0
        assert await held(stack, shares, "b", 1) == 1
    async with AsyncExitStack() as stack:
        assert await held(stack, shares, "a", 4) == 3


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as its turn comes"])
async def test_who_goes_away_while_it_waits_leaves_its_place_to_others(late: bool) -> None:
    shares = Shares(1, patience=BEYOND_ANY_TEST)
    gone: asyncio.Task[None]

    async def download() -> None:
        async with shares.place("a"):
            await asyncio.Event().wait()

    async with shares.place("a"):
        gone = asyncio.create_task(download())
        await until(lambda: len(shares._waiting) == 1)
        if not late:
            gone.cancel()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with asyncio.timeout(BEYOND_ANY_TEST), shares.place("b"):
        pass
