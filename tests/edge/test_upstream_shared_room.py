"""All connections of a loop read into one room: what comes for one never ends up in another's answer."""

import asyncio
import random
import ssl
import threading

import pytest
import trustme

from proxy.core.flows.exchange import Answer, Ask, Method
from proxy.upstream.fastlane.connection import Connection
from tests.edge.scripted import Wire, lane_to, on_both_loops, serving

REQUESTS, CONNECTIONS, LARGEST = 60, 12, 300_000


def content(number: int) -> bytes:
    """A body that no other request has any part of, longer than the room for some."""
    draw = random.Random(number)  # noqa: S311  # nothing secret
    return draw.randbytes(draw.randint(1, LARGEST if number % 4 == 0 else 5000))


async def in_pieces(wire: Wire, answer: bytes, draw: random.Random) -> None:
    at = 0
    while at < len(answer):
        size = draw.choice((1, 7, 100, 4000, 20_000, 140_000))
        await wire.say(answer[at : at + size])
        await asyncio.sleep(0)
        at += size


async def script(wire: Wire) -> None:
    draw = random.Random(wire.number)  # noqa: S311  # nothing secret
    while True:
        number = int((await wire.request()).split(b" ")[1].rpartition(b"/")[2])
        body = content(number)
        if number % 3:
            answer = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body
        else:
            head = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % number
            chunks = [body[start : start + 9973] for start in range(0, len(body), 9973)]
            answer = head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        await in_pieces(wire, answer, draw)


@on_both_loops
@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["plain", "tls-1.2", "tls-1.3"])
async def test_answers_that_come_interleaved_in_pieces_of_any_size_are_each_their_own(version: ssl.TLSVersion | None) -> None:
    authority, theirs, ours = trustme.CA(), None, None
    if version is not None:
        theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        theirs.minimum_version = theirs.maximum_version = version
        authority.issue_cert("127.0.0.1").configure_cert(theirs)
        authority.configure_trust(ours)
    scheme = "http" if version is None else "https"
    async with serving(script, theirs) as server, lane_to(server.port, tls=ours, connections=CONNECTIONS, read_timeout=30.0) as lane:
        asks = [Ask(Method.GET, server.url(f"/{number}", scheme), read=LARGEST) for number in range(REQUESTS)]
        replies = await asyncio.gather(*map(lane.ask, asks))
    assert len(server.wires) > 1
    for number, reply in enumerate(replies):
        assert isinstance(reply, Answer)
        assert reply.headers["x-number"] == str(number)
        assert reply.body == content(number)


def test_connections_of_one_thread_share_their_room_and_those_of_another_thread_have_another() -> None:
    rooms = []

    def make() -> None:
        rooms.extend(Connection(None).get_buffer(-1) for _ in range(2))  # type: ignore[arg-type]  # nobody is told anything

    make()
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert rooms[0].obj is rooms[1].obj
    assert rooms[2].obj is rooms[3].obj
    assert rooms[0].obj is not rooms[2].obj
