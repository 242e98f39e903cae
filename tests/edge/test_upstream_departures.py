"""HEADs that follow each other on one connection: each gets its own answer, and none is believed that could be another's."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply
from proxy.upstream.fastlane import FastLane, Unusual, lane
from tests.edge.scripted import Server, Wire, always, lane_to, on_both_loops, serving

NAMES = [f"/files/{number}.whl" for number in range(8)]
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"


def of(name: str) -> bytes:
    """The answer for the file of that name: its length tells whose it is."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {int(name[7]) + 100}\r\n\r\n".encode()


async def asked_for(wire: Wire) -> str:
    return (await wire.request()).split()[1].decode()


async def probed(lane: FastLane, server: Server, names: list[str] = NAMES) -> list[Reply | Unusual]:
    """What comes of HEADs for these, asked for at one go once a connection is there."""
    await lane.ask(Ask(Method.HEAD, server.url("/files/0.whl")))
    return list(await asyncio.gather(*(lane.ask(Ask(Method.HEAD, server.url(name))) for name in names)))


def lengths(replies: list[Reply | Unusual]) -> list[str]:
    return [reply.headers["content-length"] if isinstance(reply, Answer) else "" for reply in replies]


OWN = [str(number + 100) for number in range(8)]


async def files(wire: Wire) -> None:
    while True:
        await wire.say(of(await asked_for(wire)))


def after(number: int, then: Callable[[Wire, str], Awaitable[None]]) -> Callable[[Wire], Awaitable[None]]:
    """Serves files, but for request `number` of the first connection, with which something else happens."""

    async def script(wire: Wire) -> None:
        while True:
            name = await asked_for(wire)
            if wire.number == 1 and len(wire.requests) == number:
                await then(wire, name)
            else:
                await wire.say(of(name))

    return script


@on_both_loops
async def test_they_share_connections_and_each_gets_its_own_answer() -> None:
    async def all_at_once(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        while True:
            await wire.say(b"".join([of(await asked_for(wire)) for _ in range(4)]))

    async with serving(all_at_once) as server, lane_to(server.port, together=4, connections=1) as shared:
        assert lengths(await probed(shared, server)) == OWN
    assert len(server.requests) == 9


@on_both_loops
async def test_answers_that_come_byte_by_byte_are_told_apart() -> None:
    async def script(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        await wire.spell(b"".join([of(await asked_for(wire)) for _ in range(8)]))
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, together=8, connections=1) as shared:
        assert lengths(await probed(shared, server)) == OWN


@on_both_loops
async def test_whatever_is_no_200_is_asked_for_again_alone() -> None:
    """A server that mixes up the answers to requests which follow each other takes no file away."""

    async def script(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        for _ in range(4):
            await asked_for(wire)
        await wire.say(MISSING + of(NAMES[0]) + b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n" + of(NAMES[3]))
        while True:
            name = await asked_for(wire)
            await wire.say(MISSING if name == NAMES[2] else of(name))

    async with serving(script) as server, lane_to(server.port, together=4, connections=1) as shared:
        replies = await probed(shared, server, NAMES[:4])
    assert [reply.status for reply in replies if isinstance(reply, Answer)] == [200, 200, 404, 200]
    assert lengths(replies)[0] == "100"


@on_both_loops
async def test_a_server_that_answers_only_the_first_is_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_FOLLOWS_WITHIN", 0.2)

    async def script(wire: Wire) -> None:
        while True:
            await wire.say(of(await asked_for(wire)))
            # What has come by now is lost, as with a server that reads into a buffer which it throws away.
            wire.forget()

    async with serving(script) as server, lane_to(server.port, together=4) as shared:
        assert lengths(await probed(shared, server)) == OWN
        before = len(server.requests)
        assert lengths(await probed(shared, server)) == OWN
        assert len(server.requests) - before == 9, "none is asked for twice any more"


@pytest.mark.parametrize("farewell", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 101\r\n\r\n"])
@on_both_loops
async def test_where_the_connection_ends_in_between_the_rest_is_asked_for_again(farewell: bytes) -> None:
    async def end(wire: Wire, _: str) -> None:
        await wire.say(farewell)
        wire.close()

    async with serving(after(3, end)) as server, lane_to(server.port, together=8) as shared:
        assert lengths(await probed(shared, server)) == OWN


@on_both_loops
async def test_a_body_after_the_answer_to_head_is_no_answer_to_the_next() -> None:
    async def body(wire: Wire, name: str) -> None:
        await wire.say(of(name) + b"x" * 102)

    async with serving(after(3, body)) as server, lane_to(server.port, together=8) as shared:
        assert lengths(await probed(shared, server)) == OWN


@on_both_loops
async def test_a_server_that_answers_none_of_them_is_left_at_the_deadline() -> None:
    async def silence(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        await wire.closed_by_client()

    async with serving(silence) as server, lane_to(server.port, together=8, read_timeout=0.3) as shared:
        assert {type(reply) for reply in await probed(shared, server)} == {NoAnswer}


@pytest.mark.parametrize(("method", "together"), [(Method.GET, 8), (Method.HEAD, 1)])
@on_both_loops
async def test_ranges_never_follow_each_other_nor_does_anything_where_it_is_not_wanted(method: Method, together: int) -> None:
    waiting = 0

    async def script(wire: Wire) -> None:
        nonlocal waiting
        while True:
            await wire.request()
            await asyncio.sleep(0.01)
            waiting += wire.unread
            await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(script) as server, lane_to(server.port, together=together, connections=1) as alone:
        await asyncio.gather(*(alone.ask(Ask(method, server.url(name))) for name in NAMES))
    assert len(server.requests) == 8
    assert waiting == 0


@on_both_loops
async def test_what_shares_a_connection_can_be_abandoned_and_a_closed_lane_answers_all_of_it() -> None:
    heard: dict[str, Reply | Unusual] = {}

    async def script(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        await wire.say(of(await asked_for(wire)))
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, together=8) as shared:
        await shared.ask(Ask(Method.HEAD, server.url("/files/0.whl")))
        for name in NAMES:
            exchange = shared.submit(Ask(Method.HEAD, server.url(name)), None, partial(heard.__setitem__, name))
            if name == NAMES[3]:
                exchange.abandon()
        await asyncio.sleep(0.1)
        await shared.close()
    assert [type(heard.get(name)) for name in NAMES] == [Answer, NoAnswer, NoAnswer, type(None), *[NoAnswer] * 4]
    assert b"/files/3" not in b"".join(server.requests)


@given(said=st.lists(st.sampled_from([of(NAMES[0]), of(NAMES[7]), MISSING, b"HTTP/1.1 200 OK\r\n", b"\r\n", b"x", b""]), max_size=10))
def test_whatever_a_server_says_to_them_every_request_ends_in_time(said: list[bytes]) -> None:
    async def script(wire: Wire) -> None:
        await wire.say(of(await asked_for(wire)))
        for part in said:
            await wire.say(part)
        if len(said) % 2:
            await wire.closed_by_client()

    async def scenario() -> None:
        async with serving(script) as server, lane_to(server.port, together=4, read_timeout=0.1, connect_timeout=0.2) as shared:
            async with asyncio.timeout(5):
                replies = await probed(shared, server)
        assert len(replies) == len(NAMES)

    asyncio.run(scenario())


@on_both_loops
async def test_the_same_requests_alone_get_the_same_answers() -> None:
    async with serving(files) as server, lane_to(server.port) as alone:
        assert lengths(await probed(alone, server)) == OWN
    async with serving(always(MISSING)) as server, lane_to(server.port, together=8) as shared:
        assert {reply.status for reply in await probed(shared, server) if isinstance(reply, Answer)} == {404}
