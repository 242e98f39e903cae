"""Conversations: many at once, by the fast lane where it can be, at a pace, with repetitions, and without leaving anything behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.core.flows.exchange import Answer, Ask, Flow, Method, NoAnswer, Reply, Trouble
from proxy.core.identity import SHARED, Identity
from proxy.upstream.converse import Conversations
from proxy.upstream.fastlane import FastLane
from proxy.upstream.pace import Pace
from tests.edge.scripted import OK, Server, Wire, always, lane_to, on_both_loops, serving

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def probe(url: str) -> Flow[object]:
    """Asks once, and learns the status or the trouble."""
    reply = yield Ask(Method.HEAD, url)
    return reply.status if isinstance(reply, Answer) else reply.trouble


def confirmed(url: str) -> Flow[object]:
    """Asks by HEAD, then by GET."""
    one = yield Ask(Method.HEAD, url)
    two = yield Ask(Method.GET, url, 0, 0, 1)
    return [getattr(reply, "status", None) for reply in (one, two)]


class Slow:
    """A slow lane that answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Ask], Reply] | None = None, delay: float = 0.0) -> None:
        self.asked: list[str] = []
        self.under_way = 0
        self.most = 0
        self._answer = answer or (lambda ask: Answer(200, url=ask.url))
        self._delay = delay

    async def __call__(self, ask: Ask, who: Identity, sent: Callable[[], None]) -> Reply:
        sent()
        self.asked.append(ask.url)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self._delay)
            return self._answer(ask)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def talking(
    server: Server | None = None, slow: Slow | None = None, pace: Pace | None = None, lane: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Conversations]:
    async def with_lane(fast: FastLane | None) -> AsyncIterator[Conversations]:
        arguments: dict[str, Any] = {
            "authorization_for": lambda who: who.authorization,
            "retries": 2,
            "own_origin": lambda url: server is not None and url.startswith(server.url("/")),
        }
        talks = Conversations(slow or Slow(), fast, pace or Pace(8), **(arguments | changes))
        talks._share = lambda: 0.05
        try:
            yield talks
        finally:
            await talks.close()
            assert talks._pace.under_way == 0
            assert not talks._batches
            assert not talks._tasks

    if server is None:
        async for talks in with_lane(None):
            yield talks
        return
    async with lane_to(server.port, connections=8, **(lane or {})) as fast:
        async for talks in with_lane(fast):
            yield talks


def probes(server: Server, count: int) -> Iterator[tuple[int, Flow[object]]]:
    return ((number, probe(server.url(f"/{number}"))) for number in range(count))


# Through the lanes


@on_both_loops
async def test_all_conversations_are_driven_to_their_ends_and_each_is_told_of_once() -> None:
    learned: list[tuple[int, object]] = []
    async with serving(always(OK)) as server, talking(server) as talks:
        await talks.all(probes(server, 300), SHARED, learned=lambda key, what: learned.append((key, what)))
    assert sorted(learned) == [(number, 200) for number in range(300)]
    assert len(server.requests) == 300
    assert len(server.wires) <= 8


@on_both_loops
async def test_one_conversation_gives_what_it_learned() -> None:
    async with serving(always(NOT_FOUND)) as server, talking(server) as talks:
        assert await talks.one(confirmed(server.url()), SHARED) == [404, 404]
    assert [request.split()[0] for request in server.requests] == [b"HEAD", b"GET"]


@on_both_loops
async def test_what_is_unusual_or_elsewhere_goes_by_the_slow_lane() -> None:
    slow = Slow(lambda ask: Answer(206, url=ask.url))
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    async with serving(always(redirect)) as server, talking(server, slow) as talks:
        assert await talks.one(probe(server.url("/here")), SHARED) == 206
        assert await talks.one(probe("http://elsewhere.example.com/there"), SHARED) == 206
    assert slow.asked == [server.url("/here"), "http://elsewhere.example.com/there"]
    assert len(server.requests) == 1


@on_both_loops
async def test_a_mirror_that_is_always_unusual_is_not_asked_everything_twice() -> None:
    slow = Slow()
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    async with serving(always(redirect)) as server, talking(server, slow) as talks:
        await talks.all(probes(server, 200), SHARED, learned=lambda *_: None)
    assert len(slow.asked) == 200
    assert len(server.requests) < 30


@on_both_loops
async def test_the_fast_lane_rests_while_it_is_not_admitted_and_its_answers_are_told_of() -> None:
    heard: list[Reply] = []
    admitted = False
    slow = Slow()
    async with (
        serving(always(OK)) as server,
        talking(server, slow, admit=lambda: admitted, heard=lambda replies, _: heard.extend(replies)) as talks,
    ):
        await talks.one(probe(server.url()), SHARED)
        assert (len(server.requests), len(slow.asked), heard) == (0, 1, [])
        admitted = True
        await talks.one(probe(server.url()), SHARED)
        assert (len(server.requests), len(slow.asked), len(heard)) == (1, 1, 1)


@on_both_loops
async def test_each_identity_asks_with_its_own_credentials() -> None:
    async with serving(always(OK)) as server, talking(server) as talks:
        await asyncio.gather(talks.one(probe(server.url("/a")), Identity("a", "Basic YTph")), talks.one(probe(server.url("/none")), SHARED))
    by_path = {request.split()[1]: b"Authorization: Basic YTph" in request for request in server.requests}
    assert by_path == {b"/a": True, b"/none": False}


@on_both_loops
async def test_a_conversation_may_end_without_asking_anything() -> None:
    def silent() -> Flow[str]:
        yield from ()
        return "known"

    learned: list[str] = []
    async with talking() as talks:
        assert await talks.one(silent(), SHARED) == "known"
        await talks.all(((n, silent()) for n in range(1000)), SHARED, learned=lambda _, what: learned.append(what))
        await talks.all([], SHARED, learned=lambda *_: None)
    assert len(learned) == 1000


# Order and pace


async def test_conversations_start_in_order_and_only_as_slots_are_free() -> None:
    started: list[int] = []

    def flows() -> Iterator[tuple[int, Flow[object]]]:
        for number in range(20):
            started.append(number)
            yield number, probe(f"http://mirror.example.com/{number}")

    slow = Slow(delay=0.02)
    async with talking(slow=slow, pace=Pace(3)) as talks:
        running = asyncio.ensure_future(talks.all(flows(), SHARED, learned=lambda *_: None))
        await asyncio.sleep(0.01)
        assert started == [0, 1, 2]
        await running
    assert slow.most == 3
    assert [url.rpartition("/")[2] for url in slow.asked] == [str(number) for number in range(20)]


async def test_one_conversation_goes_before_a_batch_and_batches_take_turns() -> None:
    slow = Slow(delay=0.005)
    async with talking(slow=slow, pace=Pace(1)) as talks:

        def batch(name: str) -> list[tuple[str, Flow[object]]]:
            return [(f"{name}{number}", probe(f"http://mirror.example.com/{name}{number}")) for number in range(4)]

        running = [asyncio.ensure_future(talks.all(batch(name), SHARED, learned=lambda *_: None)) for name in "ab"]
        await asyncio.sleep(0.007)
        await talks.one(probe("http://mirror.example.com/first"), SHARED)
        await asyncio.gather(*running)
    order = [url.rpartition("/")[2] for url in slow.asked]
    assert order.index("first") <= 2
    for end in range(len(order)):
        names = "".join(order[:end])
        assert abs(names.count("a") - names.count("b")) <= 2


async def test_background_work_waits_for_foreground_work_and_keeps_to_its_rate() -> None:
    slow = Slow(delay=0.002)
    async with talking(slow=slow, pace=Pace(4, rate=50.0)) as talks:

        def batch(name: str, count: int) -> list[tuple[str, Flow[object]]]:
            return [(f"{name}{number}", probe(f"http://mirror.example.com/{name}{number}")) for number in range(count)]

        behind = asyncio.ensure_future(talks.all(batch("b", 10), SHARED, learned=lambda *_: None, background=True))
        await talks.all(batch("f", 40), SHARED, learned=lambda *_: None)
        assert len([url for url in slow.asked if "/b" in url]) <= 4
        began = time.monotonic()
        await behind
    assert len(slow.asked) == 50
    assert time.monotonic() - began > 0.1


async def test_a_wish_to_wait_is_that_of_its_path_alone_until_several_paths_have_it() -> None:
    """A Retry-After (RFC 9110, section 10.2.3) of one file holds up no other one."""
    times: dict[str, float] = {}
    slow = Slow(
        lambda ask: (
            Answer(503, {"retry-after": "60"}) if times.setdefault(ask.url[-1], time.monotonic()) and ask.url[-1] in "02" else Answer(200)
        )
    )
    async with talking(slow=slow, pace=Pace(1)) as talks:
        learned: dict[int, object] = {}
        began = time.monotonic()
        flows = [(number, probe(f"http://mirror.example.com/{number}")) for number in range(6)]
        await talks.all(flows, SHARED, learned=learned.__setitem__)
        assert time.monotonic() - began < 0.5
    assert learned == {0: 503, 1: 200, 2: 503, 3: 200, 4: 200, 5: 200}


async def test_nobody_waits_long_for_one_file_that_wants_to_be_left_alone() -> None:
    slow = Slow(lambda _: Answer(503, {"retry-after": "20"}))
    async with talking(slow=slow) as talks, asyncio.timeout(1):
        assert await talks.one(probe("http://mirror.example.com/a"), SHARED) == 503


async def test_a_pause_that_several_paths_want_holds_for_everybody_and_then_all_goes_on() -> None:
    times: list[float] = []

    def answer(ask: Ask) -> Reply:
        times.append(time.monotonic())
        return Answer(429, {"retry-after": "1"}) if len(times) <= 3 else Answer(200)

    learned: dict[int, object] = {}
    async with talking(slow=Slow(answer), pace=Pace(1)) as talks:
        flows = [(number, probe(f"http://mirror.example.com/{number}")) for number in range(5)]
        await talks.all(flows, SHARED, learned=learned.__setitem__)
    assert learned == dict.fromkeys(range(5), 200)
    assert times[2] - times[0] < 0.5
    assert times[3] - times[2] > 0.9


async def test_metadata_that_a_mirror_refuses_by_server_errors_says_nothing_of_what_it_bears() -> None:
    slow = Slow(lambda ask: Answer(503) if ask.url.endswith(".metadata") else Answer(200))
    async with talking(slow=slow, pace=Pace(16), retries=0) as talks:
        flows = ((n, probe(f"http://mirror.example.com/{n}.whl{'.metadata' if n % 2 else ''}")) for n in range(200))
        began = time.monotonic()
        await talks.all(flows, SHARED, learned=lambda *_: None)
        assert time.monotonic() - began < 1
        assert talks._pace.limit == 16


async def test_thousands_of_conversations_leave_the_loop_its_turn() -> None:
    """What else the proxy does must not wait while a page of 5,000 links is verified."""
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(always(OK)) as server, talking(server, pace=Pace(64)) as talks:
        watching = asyncio.ensure_future(watch())
        await talks.all(probes(server, 3000), SHARED, learned=lambda *_: None)
        watching.cancel()
    assert turns > 3000 / 128


# Repetitions


@on_both_loops
async def test_a_failure_in_passing_is_asked_again_and_never_reaches_the_conversation() -> None:
    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            again = sum(request.split()[1] == each.split()[1] for each in server.requests) > 1
            await wire.say(OK if again else BUSY)

    learned: dict[int, object] = {}
    async with serving(script) as server, talking(server) as talks:
        await talks.all(probes(server, 5), SHARED, learned=learned.__setitem__)
    assert learned == dict.fromkeys(range(5), 200)
    assert len(server.requests) == 10


@on_both_loops
async def test_a_failure_that_stays_reaches_the_conversation_after_the_retries() -> None:
    async with serving(always(BUSY)) as server, talking(server) as talks:
        assert await talks.one(probe(server.url()), SHARED) == 503
    assert len(server.requests) == 3


@on_both_loops
async def test_an_answer_is_not_asked_again() -> None:
    async with serving(always(NOT_FOUND)) as server, talking(server) as talks:
        assert await talks.one(probe(server.url()), SHARED) == 404
    assert len(server.requests) == 1


async def test_no_answer_by_the_slow_lane_is_asked_again_too() -> None:
    slow = Slow(lambda _: NoAnswer(Trouble.RESET) if len(slow.asked) < 3 else Answer(200))
    async with talking(slow=slow) as talks:
        assert await talks.one(probe("http://mirror.example.com/a"), SHARED) == 200
    assert len(slow.asked) == 3


async def test_a_mirror_in_trouble_is_not_asked_much_more_than_one_in_health() -> None:
    slow = Slow(lambda _: NoAnswer(Trouble.RESET))
    async with talking(slow=slow) as talks:
        await talks.all(((n, probe(f"http://mirror.example.com/{n}")) for n in range(400)), SHARED, learned=lambda *_: None)
    assert 400 < len(slow.asked) <= 400 * 1.2 + 15


async def test_a_few_files_that_are_refused_whatever_happens_do_not_hold_up_all_others() -> None:
    """Without a Retry-After each refusal pauses all; those of the same few files would add up to minutes."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.say(BUSY if b"/bad" in await wire.request() else OK)

    async with serving(script) as server, talking(server, pace=Pace(8)) as talks:
        names = [f"/{'bad' if number % 20 == 0 else 'good'}{number}" for number in range(160)]
        learned: dict[str, object] = {}
        async with asyncio.timeout(20):
            await talks.all(((name, probe(server.url(name))) for name in names), SHARED, learned=learned.__setitem__)
        assert {name for name, status in learned.items() if status == 503} == {name for name in names if "bad" in name}


@pytest.mark.parametrize("kind", ["patient", "background"])
async def test_after_a_pause_those_go_on_as_well_that_let_others_go_first(kind: str) -> None:
    slow = Slow(lambda ask: Answer(429, {"retry-after": "1"}) if ask.url[-1] in "012" else Answer(200))
    async with talking(slow=slow, pace=Pace(1), retries=0) as talks, asyncio.timeout(10):
        flows = ((number, probe(f"http://mirror.example.com/{number}")) for number in range(5))
        learned: dict[int, object] = {}
        began = time.monotonic()
        await talks.all(flows, SHARED, learned=learned.__setitem__, **{kind: True})
        assert time.monotonic() - began > 0.9
    assert learned == {0: 429, 1: 429, 2: 429, 3: 200, 4: 200}


async def test_a_pause_longer_than_anybody_waits_is_not_waited_for() -> None:
    slow = Slow(lambda _: Answer(503, {"retry-after": "3600"}))
    async with talking(slow=slow) as talks:
        assert await talks.one(probe("http://mirror.example.com/a"), SHARED) == 503
    assert len(slow.asked) == 1


# Ends


@pytest.mark.parametrize("background", [False, True])
@on_both_loops
async def test_in_time_or_not_a_conversation_ends(background: bool) -> None:
    async def script(wire: Wire) -> None:
        await wire.closed_by_client()

    async with serving(script) as server, talking(server) as talks:
        began = time.monotonic()
        learned = await talks.one(confirmed(server.url()), SHARED, within=0.1, background=background)
        assert learned == [None, None]
        assert time.monotonic() - began < 0.5


async def test_a_conversation_that_never_got_its_turn_ends_in_time_too() -> None:
    slow = Slow(delay=5)
    async with talking(slow=slow, pace=Pace(1)) as talks:
        first = asyncio.ensure_future(talks.one(probe("http://mirror.example.com/a"), SHARED, within=0.2))
        await asyncio.sleep(0)
        for background in (False, True):
            assert await talks.one(probe("http://mirror.example.com/b"), SHARED, within=0.05, background=background) is Trouble.TIMEOUT
        assert await first is Trouble.TIMEOUT
    assert slow.asked == ["http://mirror.example.com/a"]
    assert slow.under_way == 0


async def test_a_conversation_that_waits_to_ask_again_ends_in_time_too() -> None:
    slow = Slow(lambda _: Answer(503, {"retry-after": "20"}))
    async with talking(slow=slow) as talks:
        began = time.monotonic()
        assert await talks.one(probe("http://mirror.example.com/a"), SHARED, within=0.1) == 503
        assert time.monotonic() - began < 0.09


async def test_a_conversation_that_ended_in_time_during_a_pause_asks_no_more_after_it() -> None:
    slow = Slow(lambda _: Answer(429))
    async with talking(slow=slow) as talks:
        assert await talks.one(probe("http://mirror.example.com/a"), SHARED, within=0.1) is Trouble.TIMEOUT
        await asyncio.sleep(0.4)
    assert len(slow.asked) == 1


async def test_a_conversation_that_asks_for_ever_is_ended() -> None:
    def endless() -> Flow[None]:
        while True:
            yield Ask(Method.HEAD, "http://mirror.example.com/a")

    async with talking(slow=Slow(delay=5)) as talks:
        with pytest.raises(TimeoutError):
            await talks.one(endless(), SHARED, within=0.05)


@on_both_loops
async def test_a_cancelled_batch_starts_no_more_and_leaves_no_task_no_slot_and_no_connection_behind() -> None:
    closed: list[str] = []

    def watched(name: str, url: str) -> Generator[Ask, Reply, None]:
        try:
            yield Ask(Method.HEAD, url)
        finally:
            closed.append(name)

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await asyncio.sleep(0.1)
            await wire.say(OK)

    slow = Slow(delay=5)
    learned: list[object] = []
    async with serving(script) as server, talking(server, slow) as talks:
        flows = [
            ("fast", watched("fast", server.url("/a"))),
            ("slow", watched("slow", "http://elsewhere.example.com/")),
            *((str(number), watched("more", server.url(f"/{number}"))) for number in range(50)),
        ]
        running = asyncio.ensure_future(talks.all(flows, SHARED, learned=lambda *each: learned.append(each)))
        await asyncio.sleep(0.05)
        tasks = len(asyncio.all_tasks())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.2)
        assert len(asyncio.all_tasks()) <= tasks - 2
        assert len(closed) == 8
        assert slow.under_way == 0
        assert talks._pace.under_way == 0
        assert await talks.one(probe(server.url("/after")), SHARED) == 200
    assert learned == []
    assert len(server.requests) == 8
    assert len(server.wires) <= 8


@on_both_loops
async def test_what_a_conversation_raises_ends_its_batch_and_no_other() -> None:
    def broken(url: str) -> Flow[object]:
        yield Ask(Method.HEAD, url)
        raise LookupError("a mistake in the conversation")

    async with serving(always(OK)) as server, talking(server) as talks:
        other = asyncio.ensure_future(talks.all(probes(server, 50), SHARED, learned=lambda *_: None))
        with pytest.raises(LookupError):
            await talks.all([(1, broken(server.url())), *probes(server, 20)], SHARED, learned=lambda *_: None)
        with pytest.raises(LookupError):
            await talks.one(broken(server.url()), SHARED)
        await other


async def test_what_learned_or_the_flows_or_the_slow_lane_raise_is_raised_to_who_waits() -> None:
    def refuse(*_: object) -> None:
        raise LookupError("a mistake in learned")

    def flows() -> Iterator[tuple[int, Flow[object]]]:
        yield 1, probe("http://mirror.example.com/a")
        raise LookupError("a mistake in the flows")

    def fail(_: Ask) -> Reply:
        raise LookupError("a mistake in the slow lane")

    slow = Slow()
    async with talking(slow=slow, pace=Pace(1)) as talks:
        with pytest.raises(LookupError):
            await talks.all([(n, probe("http://mirror.example.com/a")) for n in range(9)], SHARED, learned=refuse)
        assert len(slow.asked) == 1
        with pytest.raises(LookupError):
            await talks.all(flows(), SHARED, learned=lambda *_: None)
    async with talking(slow=Slow(fail)) as talks:
        with pytest.raises(LookupError):
            await talks.one(probe("http://mirror.example.com/a"), SHARED)


async def test_closing_cancels_who_waits() -> None:
    slow = Slow(delay=5)
    async with talking(slow=slow) as talks:
        waiting = asyncio.ensure_future(talks.one(probe("http://mirror.example.com/a"), SHARED))
        await asyncio.sleep(0.01)
        await talks.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert slow.under_way == 0
