"""The fast lane: what it asks, what it makes of good answers and of all the others, on real sockets."""

import asyncio
import itertools
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.errors import DestinationRefused
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble
from proxy.upstream.fastlane import FastLane, Unusual
from proxy.upstream.fastlane.answers import HEAD_LIMIT, LEFTOVER_LIMIT, AnswerReader, parsed_head
from proxy.upstream.fastlane.requests import Requests
from proxy.upstream.fastlane.words import Malformed
from tests.edge.scripted import OK, Wire, always, lane_to, on_both_loops, serving
from tests.waiting import eventually


def head(url: str) -> Ask:
    return Ask(Method.HEAD, url)


def first_byte(url: str, read: int = 1) -> Ask:
    return Ask(Method.GET, url, 0, 0, read)


async def told(answer: bytes, *, get: bool = False, read: int = 1, **changes: Any) -> Reply | Unusual:
    """What one request gets from a server that says these bytes and then nothing."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(answer)
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, **changes) as lane:
        return await lane.ask(first_byte(server.url(), read) if get else head(server.url()))


# What is asked


@on_both_loops
async def test_path_and_query_are_sent_byte_for_byte_with_the_headers_of_every_request() -> None:
    async with serving(always(OK)) as server, lane_to(server.port) as lane:
        await lane.ask(head(server.url("/p/a%2Bb/%7Efoo+bar-1.0%2Blocal.whl?x=1&y=%20")))
        assert server.requests == [
            b"HEAD /p/a%2Bb/%7Efoo+bar-1.0%2Blocal.whl?x=1&y=%20 HTTP/1.1\r\n"
            b"Host: 127.0.0.1:" + str(server.port).encode() + b"\r\nUser-Agent: mirrormend\r\nAccept-Encoding: identity\r\n\r\n"
        ]


@on_both_loops
async def test_a_range_and_credentials_are_sent_with_the_request_that_has_them_and_with_no_other() -> None:
    async with serving(always(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server, lane_to(server.port) as lane:
        await lane.ask(head(server.url()), "Basic YTpi")
        await lane.ask(head(server.url()), None)
        await lane.ask(Ask(Method.GET, server.url(), 10, None), "Bearer t")
        await lane.ask(Ask(Method.GET, server.url(), suffix=10))
    one, two, three, four = server.requests
    assert b"\r\nAuthorization: Basic YTpi\r\n\r\n" in one
    assert b"Authorization" not in two
    assert b"\r\nRange: bytes=10-\r\nAuthorization: Bearer t\r\n\r\n" in three
    assert b"\r\nRange: bytes=-10\r\n\r\n" in four


@pytest.mark.parametrize(
    ("url", "authorization"),
    [
        ("http://mirror.example.com/a b", None),
        ("http://mirror.example.com/a\r\nX: y", None),
        ("http://mirror.example.com/a\nb", None),
        ("http://mirror.example.com/ä", None),
        ("http://mirror.example.com/a#b", None),
        ("http://mirror.example.com", None),
        ("https://mirror.example.com/a", None),
        ("http://mirror.example.com:81/a", None),
        ("http://mirror.example.com.evil.test/a", None),
        ("http://user@mirror.example.com/a", None),
        ("http://mirror.example.com/a", "Basic a\r\nX: y"),
        ("http://mirror.example.com/a", ""),
        ("http://mirror.example.com/a", "Negotiate abc"),
        ("http://mirror.example.com/a", "NTLM abc"),
    ],
)
def test_what_could_smuggle_a_header_or_leads_elsewhere_or_binds_a_connection_never_leaves(url: str, authorization: str | None) -> None:
    requests = Requests("http", "mirror.example.com", 80, {})
    assert isinstance(requests.written(head(url), authorization), Unusual)


@pytest.mark.parametrize(("name", "value"), [("A b", "x"), ("A", "x\r\nB: y"), ("A\r\n", "x"), ("A", ""), ("A", "x\0")])
def test_a_header_that_is_none_is_refused_when_the_lane_is_made(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be a header"):
        Requests("http", "mirror.example.com", 80, {name: value})


def test_the_default_port_may_be_written_or_left_out() -> None:
    requests = Requests("https", "mirror.example.com", 443, {})
    for url in ("https://mirror.example.com/a", "https://mirror.example.com:443/a"):
        assert requests.written(head(url), None) == b"HEAD /a HTTP/1.1\r\nHost: mirror.example.com\r\n\r\n"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    requests = Requests("http", "::1", 8080, {})
    assert requests.written(head("http://[::1]:8080/a"), None) == b"HEAD /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"


# Plain answers


@on_both_loops
async def test_connections_are_kept_and_no_more_than_allowed_are_made() -> None:
    async with serving(always(OK)) as server, lane_to(server.port, connections=3) as lane:
        replies = await asyncio.gather(*(lane.ask(head(server.url(f"/{i}"))) for i in range(50)))
    assert {reply.status for reply in replies if isinstance(reply, Answer)} == {200}
    assert len(replies) == 50
    assert len(server.wires) <= 3
    assert len(server.requests) == 50


@on_both_loops
async def test_an_answer_carries_status_lower_case_headers_url_and_the_time_of_the_given_clock() -> None:
    answer = (
        b"HTTP/1.1 404 Not Found\r\nSERVER: Artifactory/7\r\nX-Checksum-Sha256:\t abc \r\nContent-Length: 0\r\nVia: a\r\nVia: b\r\n\r\n"
    )
    reply = await told(answer, clock=lambda: 1234.5)
    assert isinstance(reply, Answer)
    assert reply.status == 404
    assert reply.headers == {"server": "Artifactory/7", "x-checksum-sha256": "abc", "content-length": "0", "via": "a, b"}
    assert reply.url.endswith("/files/a.whl")
    assert reply.at == 1234.5


@on_both_loops
async def test_an_answer_that_comes_byte_by_byte_is_read_as_one_that_comes_whole() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.spell(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\r\nP")
        await wire.request()
        await wire.spell(b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nP\r\n0\r\nA: b\r\n\r\n")
        await wire.request()
        await wire.spell(OK)

    async with serving(script) as server, lane_to(server.port) as lane:
        for _ in range(2):
            reply = await lane.ask(first_byte(server.url()))
            assert isinstance(reply, Answer)
            assert (reply.status, reply.body) == (206, b"P")
        assert isinstance(await lane.ask(head(server.url())), Answer)
    assert len(server.wires) == 1


@on_both_loops
async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 206 Partial Content\r\n\r\nab")

    async with serving(script) as server, lane_to(server.port) as lane:
        reply = await lane.ask(first_byte(server.url(), read=10))
        assert isinstance(reply, Answer)
        assert reply.body == b"ab"


@on_both_loops
async def test_an_ignored_range_costs_no_more_than_the_bytes_wanted() -> None:
    """A mirror that sends the whole wheel is answered by closing, and what it answered is known all the same."""
    closed = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nPK")
        await wire.closed_by_client()
        closed.set()

    async with serving(script) as server, lane_to(server.port) as lane:
        reply = await lane.ask(first_byte(server.url()))
        assert isinstance(reply, Answer)
        assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"P", "50000000")
        async with asyncio.timeout(1):
            await closed.wait()


@on_both_loops
async def test_a_chunked_body_larger_than_wanted_is_cut_off() -> None:
    size = LEFTOVER_LIMIT * 2
    reply = await told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"P" * size + b"\r\n", get=True, read=3)
    assert isinstance(reply, Answer)
    assert reply.body == b"PPP"


@on_both_loops
async def test_a_small_body_that_nobody_wants_is_read_so_that_the_connection_serves_again() -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n" + b"n" * 100
    async with serving(always(page)) as server, lane_to(server.port) as lane:
        for _ in range(5):
            reply = await lane.ask(first_byte(server.url()))
            assert isinstance(reply, Answer)
            assert (reply.status, reply.body) == (404, b"n")
    assert len(server.wires) == 1


@on_both_loops
async def test_the_answer_of_a_server_that_closes_counts_and_the_next_request_takes_a_new_connection() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with serving(script) as server, lane_to(server.port) as lane:
        for _ in range(3):
            reply = await lane.ask(head(server.url()))
            assert isinstance(reply, Answer)
            assert reply.status == 404
    assert len(server.wires) == 3


@on_both_loops
async def test_it_speaks_tls_and_checks_the_name() -> None:
    authority = trustme.CA()
    serverside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mirror.example.com").configure_cert(serverside)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(always(OK), serverside) as server:
        async with lane_to(server.port, tls=trusting, server_hostname="mirror.example.com") as lane:
            for _ in range(3):
                assert isinstance(await lane.ask(head(server.url(scheme="https"))), Answer)
        async with lane_to(server.port, tls=trusting, server_hostname="other.example.com") as lane:
            reply = await lane.ask(head(server.url(scheme="https")))
            assert isinstance(reply, NoAnswer)
            assert reply.trouble is Trouble.TLS
        async with lane_to(server.port, tls=ssl.create_default_context(), server_hostname="mirror.example.com") as lane:
            reply = await lane.ask(head(server.url(scheme="https")))
            assert isinstance(reply, NoAnswer)
            assert reply.trouble is Trouble.TLS
    assert len([wire for wire in server.wires if wire.requests]) == 1


# Unusual answers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nP",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nP",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\nP" + b"\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nP",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nP",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nPP",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nPP",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nP\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nP\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nPP\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 600,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * HEAD_LIMIT,
    ],
)
@on_both_loops
async def test_what_is_no_plain_answer_is_handed_back(answer: bytes) -> None:
    assert isinstance(await told(answer, get=True), Unusual)


@on_both_loops
async def test_a_redirect_leaves_the_connection_in_use() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    async with serving(always(redirect)) as server, lane_to(server.port) as lane:
        for _ in range(3):
            assert isinstance(await lane.ask(head(server.url())), Unusual)
    assert len(server.wires) == 1


# Connections that break, and bytes that nobody asked for


@on_both_loops
async def test_a_connection_that_closed_while_idle_is_made_good_by_a_new_one() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK)
        if wire.number == 1:
            # Closes on the next request, as a server does whose patience ended while the request was on its way.
            await wire.request()
            wire.abort()
        else:
            await wire.request()

    async with serving(script) as server, lane_to(server.port) as lane:
        for _ in range(2):
            assert isinstance(await lane.ask(head(server.url())), Answer)
    assert [len(wire.requests) for wire in server.wires] == [2, 1]


@on_both_loops
async def test_a_server_that_always_closes_is_not_asked_for_ever() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()

    async with serving(script) as server, lane_to(server.port) as lane:
        reply = await lane.ask(head(server.url()))
        assert isinstance(reply, NoAnswer)
        assert reply.trouble is Trouble.RESET
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
@on_both_loops
async def test_an_answer_that_breaks_off_is_none_and_is_not_asked_again(said: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if wire.number == 1 and len(wire.requests) == 1:
            await wire.say(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nP")
            await wire.request()
        await wire.say(said)

    async with serving(script) as server, lane_to(server.port) as lane:
        assert isinstance(await lane.ask(first_byte(server.url())), Answer)
        reply = await lane.ask(first_byte(server.url(), read=10))
        assert isinstance(reply, NoAnswer)
        assert reply.trouble is Trouble.RESET
    assert len(server.requests) == 2


@on_both_loops
async def test_bytes_after_an_answer_are_never_the_next_answer() -> None:
    """A stray answer, sent at once or a moment later, would say of the next file what is true of another one."""
    stray = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    async def at_once(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK + stray)
        await wire.closed_by_client()

    async def later(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK)
        await asyncio.sleep(0.05)
        await wire.say(stray)
        await wire.closed_by_client()

    for script in (at_once, later):
        async with serving(script) as server, lane_to(server.port) as lane:
            for _ in range(3):
                reply = await lane.ask(head(server.url()))
                assert isinstance(reply, Answer)
                assert reply.status == 200
                await asyncio.sleep(0.1)
        assert len(server.wires) == 3


@on_both_loops
async def test_a_server_that_sends_bodies_after_head_gets_no_connection_twice() -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.say(OK)
            if wire.number == 1:
                await asyncio.sleep(0.02)
                await wire.say(b"<html>no such thing</html>")

    async with serving(script) as server, lane_to(server.port) as lane:
        assert isinstance(await lane.ask(head(server.url())), Answer)
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert isinstance(await lane.ask(head(server.url())), Answer)
    assert [len(wire.requests) for wire in server.wires] == [1, 1, 1, 1]


@on_both_loops
async def test_a_server_that_speaks_first_is_not_understood() -> None:
    async def script(wire: Wire) -> None:
        await wire.say(b"220 mail ready\r\n")
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, read_timeout=0.3, connect_timeout=0.3) as lane:
        assert not isinstance(await lane.ask(head(server.url())), Answer)


# Time


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
@on_both_loops
async def test_a_silent_server_is_left_at_the_deadline(said: bytes) -> None:
    began = time.monotonic()
    reply = await told(said, get=True, read_timeout=0.2)
    assert isinstance(reply, NoAnswer)
    assert reply.trouble is Trouble.TIMEOUT
    assert 0.15 < time.monotonic() - began < 1.0


@on_both_loops
async def test_a_server_that_drips_does_not_outlast_the_deadline() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await wire.say(b"x")
            await asyncio.sleep(0.02)

    began = time.monotonic()
    async with serving(script) as server, lane_to(server.port, read_timeout=0.3) as lane:
        reply = await lane.ask(head(server.url()))
    assert isinstance(reply, NoAnswer)
    assert reply.trouble is Trouble.TIMEOUT
    assert time.monotonic() - began < 1.0


@on_both_loops
async def test_requests_that_no_connection_becomes_free_for_end_in_time() -> None:
    async def script(wire: Wire) -> None:
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, connections=1, read_timeout=0.2, connect_timeout=0.2) as lane:
        began = time.monotonic()
        replies = await asyncio.gather(*(lane.ask(head(server.url())) for _ in range(8)))
    troubles = {reply.trouble for reply in replies if isinstance(reply, NoAnswer)}
    assert troubles == {Trouble.TIMEOUT, Trouble.OWN_LIMIT}, "that none of the proxy's connections came free is not the mirror's doing"
    assert time.monotonic() - began < 1.5


@on_both_loops
async def test_a_handshake_that_never_ends_is_left_after_the_connect_timeout() -> None:
    async def script(wire: Wire) -> None:
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, tls=ssl.create_default_context(), connect_timeout=0.2) as lane:
        began = time.monotonic()
        reply = await lane.ask(head(server.url(scheme="https")))
    assert isinstance(reply, NoAnswer)
    assert reply.trouble is Trouble.TIMEOUT
    assert time.monotonic() - began < 1.0


# Ways to a connection


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@on_both_loops
async def test_each_way_of_not_connecting_has_its_name() -> None:
    async def refused() -> list[tuple[int, str]]:
        raise DestinationRefused("http://mirror.example.com/")

    async def unknown() -> list[tuple[int, str]]:
        raise socket.gaierror("no such name")

    async def senseless() -> list[tuple[int, str]]:
        raise UnicodeError("a label is empty")

    async def empty() -> list[tuple[int, str]]:
        return []

    port = unused_port()
    url = f"http://127.0.0.1:{port}/a"
    for changes, trouble in (
        ({}, Trouble.REFUSED),
        ({"resolver": refused}, Trouble.FORBIDDEN_DESTINATION),
        ({"resolver": unknown}, Trouble.DNS),
        ({"resolver": senseless}, Trouble.DNS),
        ({"resolver": empty}, Trouble.DNS),
    ):
        async with lane_to(port, **changes) as lane:
            reply = await lane.ask(head(url))
            assert isinstance(reply, NoAnswer)
            assert reply.trouble is trouble


@on_both_loops
async def test_every_waiting_request_hears_that_the_port_refuses() -> None:
    port = unused_port()
    async with lane_to(port, connections=2) as lane:
        replies = await asyncio.gather(*(lane.ask(head(f"http://127.0.0.1:{port}/{i}")) for i in range(10)))
    assert all(isinstance(reply, NoAnswer) and reply.trouble is Trouble.REFUSED for reply in replies)


@on_both_loops
async def test_the_next_address_is_tried_and_the_one_that_answered_comes_first_from_then_on() -> None:
    async def resolver() -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]

    async with serving(always(OK)) as server, lane_to(server.port, resolver=resolver) as lane:
        assert isinstance(await lane.ask(head(server.url())), Answer)
        assert lane._dialler.addresses[0][1] == "127.0.0.1"


async def takes_two_connections(wire: Wire) -> None:
    """Cut connections beyond the second before their first answer."""
    if wire.number > 2:
        wire.abort()
        return
    while True:
        await wire.request()
        await asyncio.sleep(0.005)
        await wire.say(OK)


@on_both_loops
async def test_a_server_that_takes_few_connections_is_served_by_few() -> None:
    """Connections beyond the second are cut before their first answer; what waits for one makes do with the others."""
    async with serving(takes_two_connections) as server, lane_to(server.port, connections=2) as lane:
        await asyncio.gather(*(lane.ask(head(server.url())) for _ in range(4)))
        lane._configured = lane._most = 32
        replies = await asyncio.gather(*(lane.ask(head(server.url())) for _ in range(60)))
    good = [reply for reply in replies if isinstance(reply, Answer)]
    assert len(good) == 60


@on_both_loops
async def test_requests_that_are_spread_take_new_connections_in_the_place_of_idle_ones_unless_there_are_many() -> None:
    async with serving(always(OK)) as server, lane_to(server.port, connections=32) as lane:
        for _ in range(5):
            reply = await lane.ask(Ask(Method.HEAD, server.url(), spread=True))
            assert isinstance(reply, Answer)
            assert len(lane._all) == 1
        await asyncio.gather(*(lane.ask(head(server.url(f"/{number}"))) for number in range(100)))
        made = len(server.wires)
        for _ in range(40):
            await lane.ask(Ask(Method.HEAD, server.url(), spread=True))
    assert made >= 5 + 15
    assert len(server.wires) == made


@on_both_loops
async def test_requests_that_are_spread_do_with_the_few_connections_that_a_server_takes() -> None:
    async with serving(takes_two_connections) as server, lane_to(server.port, connections=32) as lane:
        assert isinstance(await lane.ask(head(server.url())), Answer)
        spread = Ask(Method.HEAD, server.url(), spread=True)
        replies = await asyncio.gather(*(lane.ask(spread) for _ in range(20)))
    assert {type(reply) for reply in replies} == {Answer}


@on_both_loops
async def test_a_server_that_hangs_up_on_every_connection_is_not_dialled_again_and_again() -> None:
    accepted = 0

    def hang_up() -> None:
        nonlocal accepted
        with suppress(OSError):
            while True:
                listener.accept()[0].close()
                accepted += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        async with lane_to(port) as lane:
            replies = await asyncio.gather(*(lane.ask(head(f"http://127.0.0.1:{port}/{number}")) for number in range(4)))
        listener.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(thread.join)
    assert {type(reply) for reply in replies} == {NoAnswer}
    assert accepted <= 12


@on_both_loops
async def test_a_request_that_a_new_connection_is_cut_for_takes_one_that_is_idle() -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            if wire.number > 1:
                # As a server does that takes no more connections; by then the first one is free.
                await asyncio.sleep(0.2)
                return
            await wire.say(OK)

    async with serving(script) as server, lane_to(server.port, connections=2) as lane:
        began = time.monotonic()
        replies = await asyncio.gather(*(lane.ask(head(server.url(f"/{number}"))) for number in range(2)))
        assert [type(reply) for reply in replies] == [Answer, Answer]
        assert time.monotonic() - began < 1.5


@on_both_loops
async def test_a_request_that_new_connections_are_cut_for_is_sent_no_more_than_twice() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if wire.number == 1:
            await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port) as lane:
        hanging = asyncio.ensure_future(lane.ask(head(server.url("/hangs"))))
        await asyncio.sleep(0.05)
        reply = await lane.ask(head(server.url("/cut")))
        assert isinstance(reply, NoAnswer)
        hanging.cancel()
    assert sum(b"/cut" in request for request in server.requests) <= 2


@on_both_loops
async def test_the_name_is_resolved_once_for_a_burst() -> None:
    asked = 0

    async def resolver() -> list[tuple[int, str]]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return [(socket.AF_INET, "127.0.0.1")]

    async with serving(always(OK)) as server, lane_to(server.port, resolver=resolver, connections=16) as lane:
        await asyncio.gather(*(lane.ask(head(server.url())) for _ in range(16)))
    assert asked == 1


# Leaving


@on_both_loops
async def test_who_abandons_a_request_is_not_called_and_its_connection_serves_again() -> None:
    heard: list[Reply | Unusual] = []

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await asyncio.sleep(0.05)
            await wire.say(OK)

    async with serving(script) as server, lane_to(server.port, connections=1) as lane:
        left = lane.submit(head(server.url("/left")), None, heard.append)
        waiting = lane.submit(head(server.url("/never")), None, heard.append)
        await asyncio.sleep(0.02)
        left.abandon()
        waiting.abandon()
        assert isinstance(await lane.ask(head(server.url("/asked"))), Answer)
    assert heard == []
    assert len(server.wires) == 1
    assert [request.split()[1] for request in server.requests] == [b"/left", b"/asked"]


@on_both_loops
async def test_what_is_abandoned_before_the_loop_has_its_turn_never_leaves() -> None:
    async with serving(always(OK)) as server, lane_to(server.port) as lane:
        await lane.ask(head(server.url("/first")))
        heard: list[Reply | Unusual] = []
        lane.submit(head(server.url("/never")), None, heard.append).abandon()
        await lane.ask(head(server.url("/second")))
        await lane.ask(head(server.url("/third")))
    assert [request.split()[1] for request in server.requests] == [b"/first", b"/second", b"/third"]
    assert heard == []


@on_both_loops
async def test_a_request_leaves_on_another_connection_where_its_own_closes_first() -> None:
    async with serving(always(OK)) as server, lane_to(server.port) as lane:
        await lane.ask(head(server.url("/first")))
        (connection,) = lane._all
        assert connection._transport is not None
        answered: asyncio.Future[Reply | Unusual] = asyncio.get_running_loop().create_future()
        connection._transport.abort()
        lane.submit(head(server.url("/second")), None, answered.set_result)
        assert isinstance(await answered, Answer)
    assert [len(wire.requests) for wire in server.wires] == [1, 1]


@on_both_loops
async def test_a_request_whose_connection_closes_first_takes_one_that_is_free() -> None:
    async with serving(always(OK)) as server, lane_to(server.port, connections=2, read_timeout=1.0) as lane:
        await asyncio.gather(*(lane.ask(head(server.url(name))) for name in ("/first", "/second")))
        assert len(lane._idle) == 2
        answered: asyncio.Future[Reply | Unusual] = asyncio.get_running_loop().create_future()
        taken = lane._idle[-1]
        assert taken._transport is not None
        # No other connection can be made.
        lane._most = 1
        taken._transport.abort()
        lane.submit(head(server.url("/third")), None, answered.set_result)
        assert isinstance(await answered, Answer)


@on_both_loops
async def test_a_lane_that_is_closed_answers_what_was_about_to_leave() -> None:
    async with serving(always(OK)) as server:
        async with lane_to(server.port) as lane:
            await lane.ask(head(server.url("/first")))
            heard: list[Reply | Unusual] = []
            lane.submit(head(server.url("/second")), None, heard.append)
        assert [type(each) for each in heard] == [NoAnswer]


@on_both_loops
async def test_a_closed_lane_answers_everybody_and_leaves_nothing_behind() -> None:
    async def script(wire: Wire) -> None:
        await wire.closed_by_client()

    async with serving(script) as server:
        async with lane_to(server.port, connections=2) as lane:
            asking = [asyncio.ensure_future(lane.ask(head(server.url()))) for _ in range(5)]
            await asyncio.sleep(0.05)
        replies = await asyncio.gather(*asking)
        assert all(isinstance(reply, NoAnswer) for reply in replies)
        assert isinstance(await lane.ask(head(server.url())), NoAnswer)
        assert not lane._all
        assert not lane._openers
        assert lane._sweeper is None


@on_both_loops
async def test_nothing_is_called_before_submit_returns() -> None:
    heard: list[Reply | Unusual] = []
    async with serving(always(OK)) as server, lane_to(server.port) as lane:
        lane.submit(head("http://elsewhere.example.com/"), None, heard.append)
        assert heard == []
        await asyncio.sleep(0)
        assert [type(each) for each in heard] == [Unusual]
        await lane.ask(head(server.url()))


@on_both_loops
async def test_idle_connections_are_closed_in_the_end_and_then_the_sweep_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.fastlane.lane._KEEP_IDLE", 0.1)
    async with serving(always(OK)) as server, lane_to(server.port, read_timeout=0.2) as lane:
        await lane.ask(head(server.url()))
        assert len(lane._all) == 1
        await asyncio.sleep(0.4)
        assert not lane._all
        assert lane._sweeper is None
        assert isinstance(await lane.ask(head(server.url())), Answer)
    assert len(server.wires) == 2


# The reader, given anything

_names = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"X-A", b"ETag", b"Content-Type"])
_values = st.sampled_from([b"0", b"1", b"5", b"9000", b"20000", b"chunked", b"close", b"keep-alive", b"text/html", b"", b"a b\t"])
_heads = st.builds(
    lambda status, fields: b"HTTP/1.1 %d X\r\n" % status + b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n",
    st.sampled_from([100, 200, 204, 206, 302, 304, 404, 416, 503]),
    st.lists(st.tuples(_names, _values), max_size=4),
)
_bodies = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda parts, trailer: b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n",
        st.lists(st.binary(min_size=1, max_size=20), max_size=5),
        st.sampled_from([b"", b"A: b\r\n", b"bad\r\n"]),
    ),
)
_streams = st.one_of(st.binary(max_size=200), st.builds(bytes.__add__, _heads, _bodies))


def outcome(pieces: list[bytes], *, bare: bool, read: int) -> tuple[object, ...]:
    """What a reader makes of these pieces and the end of the connection."""
    reader = AnswerReader()
    reader.expect(bare, read)
    try:
        whole = any(reader.feed(piece) for piece in pieces)
        whole = whole or reader.ends()
    except Malformed as malformed:
        return ("malformed", str(malformed))
    if not whole:
        return ("unfinished",)
    assert len(reader.kept) <= read or bare
    return (reader.status, reader.headers, bytes(reader.kept))


@given(data=_streams, bare=st.booleans(), read=st.sampled_from([0, 1, 4, 100]), cuts=st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=400, deadline=None)
def test_how_an_answer_is_cut_into_pieces_makes_no_difference(data: bytes, bare: bool, read: int, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    whole = outcome([data], bare=bare, read=read)
    assert outcome(pieces, bare=bare, read=read) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))], bare=bare, read=read) == whole


@pytest.mark.parametrize("length", [HEAD_LIMIT - 1, HEAD_LIMIT, HEAD_LIMIT + 1])
def test_the_limit_of_the_head_does_not_depend_on_how_it_comes(length: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nA: "
    data += b"b" * (length - len(data)) + b"\r\n\r\n"
    whole = outcome([data], bare=True, read=0)
    assert outcome([data[i : i + 1] for i in range(len(data))], bare=True, read=0) == whole
    assert (whole[0] == "malformed") == (length > HEAD_LIMIT)


def test_of_a_chunked_body_that_breaks_off_after_what_was_wanted_that_is_kept() -> None:
    data = b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nPKPKPKP\r\n"
    assert outcome([data], bare=False, read=5) == (206, {"transfer-encoding": "chunked"}, b"PKPKP")
    assert outcome([data], bare=False, read=8) == ("unfinished",)


def test_many_tiny_chunks_are_read_without_deep_recursion() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nP\r\n" * 5000 + b"0\r\n\r\n"
    assert outcome([data], bare=False, read=7000) == (200, {"transfer-encoding": "chunked"}, b"P" * 5000)


def test_what_is_remembered_of_lines_is_bounded() -> None:
    from proxy.upstream.fastlane import answers  # noqa: PLC0415  # only here is its inside looked at

    for number in range(5000):
        parsed_head(b"HTTP/1.1 200 OK\r\nETag: %d\r\nX: %s" % (number, b"x" * 1000))
    assert len(answers._fields) <= 1024
    assert all(len(line) <= 256 for line in answers._fields)


@given(said=st.lists(st.one_of(st.binary(max_size=100), _heads, _streams), max_size=4))
@settings(max_examples=25, deadline=None)
def test_whatever_a_server_says_every_request_ends_in_time(said: list[bytes]) -> None:
    async def script(wire: Wire) -> None:
        for piece in said:
            await wire.say(piece)
            await asyncio.sleep(0)
        await wire.closed_by_client()

    async def scenario() -> None:
        async with (
            serving(script) as server,
            lane_to(server.port, read_timeout=0.1, connect_timeout=0.2) as lane,
            asyncio.timeout(2),
        ):
            asks = [head(server.url()), first_byte(server.url())]
            await asyncio.gather(*(lane.ask(ask) for ask in asks))

    asyncio.run(scenario())


def test_it_needs_no_running_loop_to_be_made() -> None:
    async def resolver() -> list[tuple[int, str]]:
        return []

    FastLane(
        host="mirror.example.com",
        port=443,
        tls=ssl.create_default_context(),
        server_hostname=None,
        connections=1,
        connect_timeout=1,
        read_timeout=1,
        headers={},
        resolver=resolver,
    )


async def test_no_connection_is_opened_for_what_those_that_are_here_can_take() -> None:
    """Answers that come together free their connections for what is asked for then, also where something waits for another one."""
    together = asyncio.Event()

    async def script(wire: Wire) -> None:
        while await wire.request():
            await together.wait()
            await wire.say(OK)

    async with serving(script) as server, lane_to(server.port, connections=64) as lane:

        async def all_asked() -> bool:
            return len(server.requests) == 8

        first = [asyncio.create_task(lane.ask(head(server.url(f"/{number}")))) for number in range(8)]
        await eventually(all_asked)
        opening: list[int] = []

        def ask_more() -> None:
            if not opening and len(lane._idle) == 8:
                lane.submit(head(server.url("/waits")), None, lambda _: None)
                lane._waiting.append(lane._leaving.pop()[1])
                for number in range(len(lane._idle)):
                    lane.submit(head(server.url(f"/more{number}")), None, lambda _: None)
                opening.append(len(lane._openers))

        lane.turned = ask_more
        together.set()
        await asyncio.gather(*first)
    assert opening
    assert opening[0] <= 1
