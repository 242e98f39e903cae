"""Pages that wait for the end of a burst: one timer for all, those first that waited longest, and not all of them at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from proxy.index import burst as burst_module
from proxy.index.burst import Burst
from tests.simulation.virtual_loop import VirtualLoop

WAITERS = 1000


class Timers(VirtualLoop):
    """A loop in virtual time that counts the timers that were set."""

    def __init__(self) -> None:
        super().__init__()
        self.set = 0

    def call_later(self, *args: object, **more: object) -> asyncio.TimerHandle:  # type: ignore[override]
        """Count the timer, and set it."""
        self.set += 1
        return super().call_later(*args, **more)  # type: ignore[arg-type]

    @property
    def pending(self) -> int:
        """How many timers are set and not cancelled."""
        return sum(not handle.cancelled() for handle in self._scheduled)  # type: ignore[attr-defined]


@pytest.fixture
def loop() -> Iterator[Timers]:
    loop = Timers()
    yield loop
    loop.close()


def asked_for(burst: Burst, now: float) -> None:
    for name in ("a", "b", "c", "d"):
        burst.arrived(name, now)


def run(loop: Timers, work: Callable[[Burst], Awaitable[None]]) -> None:
    burst = Burst(loop.time)
    asked_for(burst, loop.now)
    loop.run_until_complete(work(burst))


def test_however_many_wait_one_timer_is_set_at_a_time(loop: Timers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst_module, "_MOST", 2 * WAITERS)

    async def work(burst: Burst) -> None:
        waiting = [asyncio.ensure_future(burst.calm()) for _ in range(WAITERS)]
        for _ in range(50):
            asked_for(burst, loop.now)
            await asyncio.sleep(0.1)
            assert loop.pending == 1
        assert not any(each.done() for each in waiting)
        await asyncio.wait(waiting)
        assert 5.9 < loop.now < 6.5

    run(loop, work)
    # One for each tenth of a second, as many of the test's own, and those by which they go on one after the other.
    assert loop.set < 300


def test_those_who_waited_longest_go_on_first_and_not_all_at_the_same_moment(loop: Timers) -> None:
    went_on: list[tuple[float, int]] = []

    async def one(burst: Burst, number: int) -> None:
        await burst.calm()
        went_on.append((loop.now, number))

    async def work(burst: Burst) -> None:
        await asyncio.gather(*(one(burst, number) for number in range(200)))

    run(loop, work)
    assert [number for _, number in went_on] == list(range(200))
    moments = [at for at, _ in went_on]
    assert max(moments.count(at) for at in set(moments)) <= 10
    assert moments[0] >= 1.0
    assert moments[-1] < 1.4


def test_nobody_waits_when_there_is_no_burst(loop: Timers) -> None:
    async def work(burst: Burst) -> None:
        await asyncio.sleep(1.5)
        before = loop.now
        await burst.calm()
        assert loop.now == before

    run(loop, work)


def test_a_burst_that_does_not_end_holds_nobody_for_longer_than_half_a_minute(loop: Timers) -> None:
    async def work(burst: Burst) -> None:
        waiting = asyncio.ensure_future(burst.calm())
        while not waiting.done():
            asked_for(burst, loop.now)
            await asyncio.sleep(0.05)
        assert 29.9 < loop.now < 30.2

    run(loop, work)


def test_only_so_many_wait_and_the_first_of_them_goes_on(loop: Timers) -> None:
    async def work(burst: Burst) -> None:
        waiting = [asyncio.ensure_future(burst.calm()) for _ in range(300)]
        await asyncio.sleep(0.3)
        assert [each.done() for each in waiting] == [True] * 44 + [False] * 256
        await asyncio.wait(waiting)

    run(loop, work)


def test_those_who_give_up_leave_no_timer_behind(loop: Timers) -> None:
    async def work(burst: Burst) -> None:
        waiting = [asyncio.ensure_future(burst.calm()) for _ in range(10)]
        await asyncio.sleep(0.05)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        assert loop.pending == 0
        # Who comes next is served as before.
        await burst.calm()
        assert loop.now < 1.3

    run(loop, work)
