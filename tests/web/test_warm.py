"""A page at hand is answered without the ordinary way, and no client can tell but by the time it takes."""

import ast
import asyncio
import gzip
import inspect
import io
import json
import logging
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from aiohttp import web

from proxy.config import LogSection, Settings
from proxy.index import Index, ServedPage
from proxy.server import warm
from proxy.server.app import create_app
from proxy.server.warm import WarmHandler, WarmRunner, WarmServer, _PlainHandler
from proxy.telemetry import configure_logging
from tests.faults import artifactory_404, slow
from tests.mirror import BrokenMirror
from tests.waiting import until

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL = "demo-1.0-py3-none-any.whl"
OTHER = "demo-1.0-cp312-cp312-win_amd64.whl"


@dataclass
class Running:
    """A server, and how often a page went the ordinary way."""

    runner: web.AppRunner
    ordinary: int = 0

    @property
    def port(self) -> int:
        port: int = self.runner.addresses[0][1]
        return port

    @property
    def handlers(self) -> list[WarmHandler]:
        """The ends of all connections on this side."""
        server = self.runner.server
        assert isinstance(server, WarmServer)
        return server.connections

    @property
    def handler(self) -> WarmHandler:
        """What stands at this end of the only connection."""
        (handler,) = self.handlers
        return handler


class Connection:
    """A client's connection, on which bytes are what they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        length = int(headers.get("content-length", "0")) if status != 304 and body else 0
        return status, headers, await self.reader.readexactly(length)

    async def get(self, *lines: str) -> tuple[int, dict[str, str], bytes]:
        await self.send(request(*lines))
        found = await self.answer()
        # The server needs a moment to be ready for the next request.
        await asyncio.sleep(0.02)
        return found


def request(*lines: str, method: str = "GET", path: str = "/simple/demo/") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", f"Accept: {JSON}", *lines, "", ""]).encode()


@asynccontextmanager
async def running(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch, *, keepalive_timeout: float = 75.0, drain: float = 1.0, **sections: Any
) -> AsyncIterator[Running]:
    settings = Settings.model_validate({"upstream": {"url": mirror.url}, "store": {"location": "memory"}, **sections})
    app = create_app(settings)
    runner = WarmRunner(app, access_log=None, shutdown_timeout=drain, keepalive_timeout=keepalive_timeout)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = Running(runner)
    page = Index.page

    async def counted(self: Index, *arguments: Any) -> ServedPage:
        server.ordinary += 1
        return await page(self, *arguments)

    monkeypatch.setattr(Index, "page", counted)
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(server: Running, address: str = "127.0.0.1") -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def server(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    mirror.add(WHEEL)
    mirror.add(OTHER)
    async with running(mirror, monkeypatch) as started:
        yield started


async def warmed(server: Running, connection: Connection, *lines: str) -> tuple[int, dict[str, str], bytes]:
    """Asks until the answer is one that was at hand, and gives it."""
    for _ in range(50):
        before = server.ordinary
        found = await connection.get(*lines)
        if server.ordinary == before:
            return found
    pytest.fail("never at hand")


async def test_an_answer_at_hand_is_the_ordinary_answer(server: Running) -> None:
    async with connected(server) as connection:
        await warmed(server, connection)
        warm = await connection.get()
        plain = await connection.get("X-Unlike: others")
    assert warm[0] == plain[0] == 200
    assert warm[2] == plain[2]
    assert {**warm[1], "date": "", "x-request-id": ""} == {**plain[1], "date": "", "x-request-id": ""}
    assert warm[1]["date"].endswith("GMT")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_each_encoding_and_a_304_have_their_own(server: Running, encoding: str) -> None:
    async with connected(server) as connection:
        status, headers, body = await warmed(server, connection, f"Accept-Encoding: {encoding}")
        assert (status, headers["content-encoding"]) == (200, encoding)
        plain = await warmed(server, connection)
        assert "content-encoding" not in plain[1]
        assert plain[2] != body
        status, again, body = await warmed(server, connection, f"Accept-Encoding: {encoding}", f"If-None-Match: {headers['etag']}")
        assert (status, body) == (304, b"")
        assert again["etag"] == headers["etag"]
        assert again["vary"] == headers["vary"]
        assert "content-length" not in again
        assert (await warmed(server, connection, 'If-None-Match: "other"'))[0] == 200


async def test_a_page_that_changed_is_not_at_hand_any_more(server: Running, mirror: BrokenMirror) -> None:
    async with connected(server) as connection:
        assert OTHER.encode() in (await warmed(server, connection))[2]
        await warmed(server, connection, "Accept-Encoding: gzip")
        mirror.fault(OTHER, artifactory_404())
        await connection.send(request(path=f"/files/demo/{OTHER}"))
        assert (await connection.answer())[0] == 502
        after = await connection.get()
        again = await warmed(server, connection)
        await connection.get("Accept-Encoding: gzip", "X-Unlike: others")
        zipped = await connection.get("Accept-Encoding: gzip")
    assert gzip.decompress(zipped[2]) == after[2]
    assert zipped[1]["mirrormend-dropped"] == "1; absent=1"
    assert OTHER.encode() not in after[2]
    assert after[1]["mirrormend-dropped"] == again[1]["mirrormend-dropped"] == "1; absent=1"
    assert after[2] == again[2]


async def test_a_page_past_its_freshness_is_asked_for_at_the_mirror(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch, upstream={"url": mirror.url, "fresh": 0.3}) as server, connected(server) as connection:
        await warmed(server, connection)
        asked = mirror.count(kind="page")
        await asyncio.sleep(0.4)
        assert (await connection.get())[0] == 200
        assert mirror.count(kind="page") == asked + 1


async def test_what_a_client_with_credentials_of_its_own_asks_is_never_remembered(server: Running) -> None:
    async with connected(server) as connection:
        await warmed(server, connection)
        for _ in range(4):
            before = server.ordinary
            await connection.get("Authorization: Basic YTpi")
            assert server.ordinary == before + 1


@pytest.mark.parametrize("line", ["Connection: close", "Cookie: a=b", "Expect: 100-continue", "Content-Length: 0"])
async def test_unusual_requests_go_the_ordinary_way(server: Running, line: str) -> None:
    for _ in range(3):
        async with connected(server) as connection:
            await warmed(server, connection)
            before = server.ordinary
            await connection.send(request(line))
            found = await connection.answer()
            while found[0] == 100:
                found = await connection.answer()
            assert found[0] == 200
            assert server.ordinary == before + 1


async def test_head_gets_no_body_although_get_is_at_hand(server: Running) -> None:
    async with connected(server) as connection:
        await warmed(server, connection)
        for _ in range(3):
            await connection.send(request(method="HEAD"))
            assert (await connection.answer(body=False))[0] == 200
            await asyncio.sleep(0.02)
        assert (await connection.get())[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("trailing", [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n"])
async def test_a_request_with_bytes_behind_it_is_never_answered_from_memory(server: Running, method: str, trailing: bytes) -> None:
    async with connected(server) as connection:
        await warmed(server, connection)
    for _ in range(4):
        async with connected(server) as connection:
            before = server.ordinary
            await connection.send(request(method=method) + trailing)
            status, _, body = await connection.answer(body=method == "GET")
            assert (status, bool(body)) == (200, method == "GET")
            assert server.ordinary == before + 1
            with pytest.raises(TimeoutError):
                # Nothing follows: to HEAD no body (RFC 9110, section 9.3.2).
                await asyncio.wait_for(connection.reader.readexactly(1), 0.05)


async def test_requests_in_pieces_and_in_a_row_are_answered_each_in_its_turn(server: Running) -> None:
    async with connected(server) as connection:
        whole = (await warmed(server, connection))[2]
        tagged = await connection.get("Accept-Encoding: gzip")
        await connection.send(request() + request("Accept-Encoding: gzip") + request())
        assert [(await connection.answer())[2] for _ in range(3)] == [whole, tagged[2], whole]
        await connection.send(request()[:30])
        await asyncio.sleep(0.05)
        # What looks like a request of its own is the rest of the one that was begun.
        await connection.send(request())
        assert (await connection.answer())[0] == 400
    async with connected(server) as connection:
        await connection.send(request(f"Content-Length: {len(request())}", method="POST"))
        await asyncio.sleep(0.05)
        await connection.send(request())
        assert (await connection.answer())[0] == 405


async def test_what_is_at_hand_waits_for_the_request_before_it(server: Running) -> None:
    async with connected(server) as connection:
        whole = (await warmed(server, connection))[2]
        server.handler.data_received(request("Accept-Encoding: gzip"))
        server.handler.data_received(request())
        assert gzip.decompress((await connection.answer())[2]) == whole
        assert (await connection.answer())[2] == whole


def json_log() -> io.StringIO:
    """Have the log written as JSON from now on, and return where to."""
    stream = io.StringIO()
    configure_logging(LogSection.model_validate({"format": "json"}), stream)
    structlog.configure(cache_logger_on_first_use=False)
    return stream


def requests_in(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines of the log that tell of requests."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "request"]


async def test_each_answer_is_logged_as_others_are(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    stream = json_log()
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        await warmed(server, connection)
        stream.truncate(stream.seek(0))
        for _ in range(3):
            await connection.get()
        await connection.get("X-Unlike: others")
    requests = requests_in(stream)
    assert len(requests) == 4
    assert all(line.pop("timestamp").endswith("Z") and line.pop("ms") >= 0 for line in requests)
    assert len({line.pop("request_id") for line in requests}) == 4
    assert all(line == requests[0] for line in requests)
    assert requests[0]["project"] == "demo"
    assert requests[0]["outcome"] == "as-is"


async def test_clients_that_ask_the_same_in_one_turn_of_the_event_loop_have_each_its_own_line_of_the_log(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.add(WHEEL)
    stream = json_log()
    async with running(mirror, monkeypatch) as server, connected(server) as one:
        await warmed(server, one)
        first = server.handler
        async with connected(server, "127.0.0.2") as another:
            await until(lambda: len(server.handlers) == 2)
            (second,) = (each for each in server.handlers if each is not first)
            ordinary = server.ordinary
            stream.truncate(stream.seek(0))
            for handler in (first, second, second, first):
                handler.data_received(request("X-Request-ID: given") if handler is second else request())
            heads = [(await connection.answer())[1] for connection in (one, one, another, another)]
            assert server.ordinary == ordinary
    told = [(line["client"], line["request_id"]) for line in requests_in(stream)]
    assert [client for client, _ in told] == ["127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"]
    assert [request_id for client, request_id in told if client == "127.0.0.1"] == [head["x-request-id"] for head in heads[:2]]
    assert [request_id for client, request_id in told if client == "127.0.0.2"] == ["given", "given"]


async def test_a_client_that_does_not_read_is_not_written_to_without_end(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3000):
        mirror.add(f"demo-{number}.0-py3-none-any.whl")
    async with running(mirror, monkeypatch, upstream={"url": mirror.url, "kind": "static"}) as server, connected(server) as connection:
        size = len((await warmed(server, connection))[2])
        transport = server.handler.transport
        assert transport is not None
        for _ in range(60):
            await connection.send(request())
            await asyncio.sleep(0.002)
            assert transport.get_write_buffer_size() < 3 * size
        for _ in range(60):
            assert len((await connection.answer())[2]) == size


async def test_what_is_at_hand_is_not_sent_by_lines_which_may_not_say_that_a_client_is_slow(server: Running) -> None:
    """Transports of asyncio do not pause the protocol after `writelines` before Python 3.12.9 and 3.13.2."""

    def refuse(*_: object) -> None:
        raise AssertionError("nobody notices that the buffer is full")

    async with connected(server) as connection:
        warm = await warmed(server, connection)
        transport, before = server.handler.transport, server.ordinary
        assert isinstance(transport, asyncio.Transport)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(transport), "writelines", refuse)
            assert (await connection.get())[2] == warm[2]
        assert server.ordinary == before


async def test_a_connection_comes_back_to_what_is_at_hand_after_files_metadata_and_errors(server: Running) -> None:
    async with connected(server) as connection:
        await warmed(server, connection)
        for path in (f"/files/demo/{WHEEL}", f"/files/demo/{WHEEL}.metadata", "/simple/demo", "/no/such/address", "/healthz"):
            await connection.send(request(path=path))
            await connection.answer()
            await asyncio.sleep(0.02)
            # A request for metadata may change what the page offers.
            assert (await warmed(server, connection))[0] == 200


async def test_a_connection_that_asks_for_what_is_at_hand_is_not_idle_and_is_closed_once_it_asks_for_nothing(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch, keepalive_timeout=3.0) as server, connected(server) as connection:
        await warmed(server, connection)
        before, loop = server.ordinary, asyncio.get_running_loop()
        until = loop.time() + 5.0
        while loop.time() < until:
            # However slow the machine is: three seconds without a request are never due while one comes each moment.
            assert (await connection.get())[0] == 200
        assert server.ordinary == before
        assert await asyncio.wait_for(connection.reader.read(), 30) == b""


async def test_a_request_whose_client_went_away_has_the_time_to_finish_too(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    ended: list[str] = []
    page = Index.page

    async def slow_page(self: Index, *arguments: Any) -> ServedPage:
        began.set()
        try:
            await asyncio.sleep(0.6)
            ended.append("finished")
        except asyncio.CancelledError:
            ended.append("cut")
            raise
        return await page(self, *arguments)

    began = asyncio.Event()
    async with running(mirror, monkeypatch, drain=20.0) as server:
        monkeypatch.setattr(Index, "page", slow_page)
        async with connected(server) as connection:
            await connection.send(request())
            await began.wait()
        assert server.runner.server is not None
        await until(lambda: not server.runner.server or not server.runner.server.connections)
    assert ended == ["finished"]


async def test_a_request_that_takes_longer_than_an_idle_connection_is_kept_gets_its_answer(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.add(WHEEL)
    mirror.fault(WHEEL, slow(1.0), methods=["GET"])
    async with running(mirror, monkeypatch, keepalive_timeout=0.2) as server, connected(server) as connection:
        await connection.send(request(path=f"/files/demo/{WHEEL}"))
        assert (await connection.answer())[0] == 200
        assert await asyncio.wait_for(connection.reader.read(), 10) == b""


@pytest.mark.parametrize("ours", [WarmServer, WarmRunner, _PlainHandler])
def test_nothing_that_is_aiohttp_s_own_is_touched(ours: type) -> None:
    theirs = {name for base in ours.__mro__[1:] for name in _private(base)}
    mine = {node.attr for node in ast.walk(_source(ours)) if isinstance(node, ast.Attribute)} | vars(ours).keys()
    assert theirs
    assert not {name for name in mine if _is_private(name)} & theirs


def _source(each: type) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(each)))


def _private(each: type) -> set[str]:
    """The private names that a class has, or gives its instances."""
    stored = () if each is object else [node for node in ast.walk(_source(each)) if isinstance(node, ast.Attribute)]
    return {name for name in {*vars(each), *(node.attr for node in stored if isinstance(node.ctx, ast.Store))} if _is_private(name)}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_abc_impl"


async def test_the_server_ends_while_a_client_keeps_its_connection(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        connection = Connection(reader, writer)
        await warmed(server, connection)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_who_has_no_request_under_way_is_not_kept_while_another_has(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    began, may_end = asyncio.Event(), asyncio.Event()
    page = Index.page

    async def slow_page(self: Index, *arguments: Any) -> ServedPage:
        began.set()
        await may_end.wait()
        return await page(self, *arguments)

    async with (
        running(mirror, monkeypatch, drain=60.0) as server,
        connected(server) as warm,
        connected(server) as silent,
        connected(server) as halting,
        connected(server) as asking,
    ):
        await warmed(server, warm)
        await halting.send(request()[:9])
        monkeypatch.setattr(Index, "page", slow_page)
        await asking.send(request("X-Unlike: others"))
        await began.wait()
        ending = asyncio.create_task(server.runner.cleanup())
        for each in (warm, silent, halting):
            assert await asyncio.wait_for(each.reader.read(), 30) == b""
        assert not ending.done()
        may_end.set()
        assert (await asking.answer())[0] == 200
        await ending


NO_REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "another protocol": b"SSH-2.0-secret\r\n\r\n",
    "a header with a zero byte": b"GET /simple/demo/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\x00\r\n\r\n",
    "a byte that no address holds": b"GET /simple/?token=secret\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header without end": b"GET /simple/ HTTP/1.1\r\nAuthorization: secret" + b"x" * 20_000,
}


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request_is_refused_and_is_one_line_of_the_log_at_most_that_quotes_nothing(
    server: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    stream = io.StringIO()
    configure_logging(LogSection.model_validate({"format": "json"}), stream)
    monkeypatch.setattr(warm, "_log", structlog.get_logger("mirrormend.server"))
    async with connected(server) as connection:
        await connection.send(sent)
        head, _, body = (await asyncio.wait_for(connection.reader.read(), 10)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"Content-Type: application/problem+json\r\n" in head
    assert json.loads(body)["status"] == 400
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    # What speaks another protocol is common, and no line at all.
    assert [(line["event"], line["level"]) for line in lines] == [("no-request", "info")] * sent.startswith(b"GET")
    assert "secret" not in stream.getvalue()


async def test_a_body_that_cannot_be_read_is_nobodys_failure(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    body = b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    async with connected(server) as connection:
        for method in (b"POST", b"GET"):
            await connection.send(b"%b /healthz HTTP/1.1\r\nHost: localhost\r\n%b" % (method, body))
        await asyncio.wait_for(connection.reader.read(), 10)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_client_that_goes_away_before_its_file_comes_is_no_failure_of_the_server(
    mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.add(WHEEL)
    mirror.fault(WHEEL, slow(0.5), methods=["GET"])
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        await connection.send(request(path=f"/files/demo/{WHEEL}"))
        await asyncio.sleep(0.2)
        connection.writer.transport.abort()
        await asyncio.sleep(1.0)
    assert not [record for record in caplog.records if record.name.startswith("aiohttp") and record.levelno >= logging.WARNING]
