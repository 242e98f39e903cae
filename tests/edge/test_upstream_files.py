"""Files: byte for byte as the mirror sends them, from the address that the page spelled, to an honest end."""

import asyncio
import time

import pytest

from proxy.core.errors import DestinationRefused, UpstreamBroke, UpstreamError, UpstreamTimeout
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.core.identity import SHARED
from tests.edge.dialling import answer, file_of, headers_of, mirror_at, path_of, saying
from tests.edge.scripted import Wire, always, serving
from tests.mirror import BrokenMirror


@pytest.mark.parametrize(
    "target",
    [
        "/demo-1.0%2Bcpu-py3-none-any.whl",
        "/demo-1.0+cpu-py3-none-any.whl",
        "/1%211.0/demo%21.whl",
        "/%c3%a9%C3%A9/demo.whl",
        "/a//b/./c/../demo.whl",
        "/%7Edemo/~demo.whl",
        "/demo.whl?sig=a%2Fb+c&e=1==",
        "/demo%zz.whl",
        "/demo[1].whl",
    ],
)
async def test_the_address_goes_out_byte_for_byte(target: str) -> None:
    async with serving(always(answer(200))) as server, mirror_at(server.url("/simple/")) as mirror:
        await file_of(mirror, server.url(target))
        await mirror.ask(Ask(Method.HEAD, server.url(target)), SHARED)
        await file_of(mirror, server.url(target) + "#sha256=00")
        assert [path_of(head) for head in server.requests] == [target] * 3


async def test_a_redirects_address_goes_out_byte_for_byte() -> None:
    def say(path: str, _: object) -> bytes:
        return answer(200) if path.startswith("/to") else answer(302, location="/to%2B+%21/d%c3%a9mo.whl?s=%2F")

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        await file_of(mirror, server.url("/x"))
        assert path_of(server.requests[1]) == "/to%2B+%21/d%c3%a9mo.whl?s=%2F"


async def test_a_link_cannot_smuggle_a_header_or_a_second_request() -> None:
    async with serving(always(answer(200))) as server, mirror_at(server.url("/simple/")) as mirror:
        await file_of(mirror, server.url("/a\r\nX-Evil: 1\r\n\r\nGET /b HTTP/1.1\r\n"))
        assert len(server.requests) == 1
        assert b"X-Evil: 1\r\n" not in server.requests[0]


async def test_conditions_and_ranges_are_passed_on_and_no_coding_is_accepted(mirror: BrokenMirror) -> None:
    mirror.add("demo-1.0.tar.gz", b"0123456789")
    url = mirror.file_url("demo-1.0.tar.gz")
    async with mirror_at(mirror.url) as upstream:
        assert await file_of(upstream, url, Range="bytes=2-4") == (206, b"234")
        assert await file_of(upstream, url, Range="bytes=2-4", If_Range='"other"') == (200, b"0123456789")
        assert await file_of(upstream, url, method="HEAD") == (200, b"")
        assert await file_of(upstream, url, If_None_Match='"x"', If_Modified_Since="Sat, 01 Nov 2025 00:00:00 GMT") == (200, b"0123456789")
        last = mirror.asked[-1].headers
        assert (last["If-None-Match"], last["If-Modified-Since"]) == ('"x"', "Sat, 01 Nov 2025 00:00:00 GMT")
        assert {each.headers["Accept-Encoding"] for each in mirror.asked} == {"identity"}


async def test_a_coding_that_was_not_asked_for_is_passed_on_as_it_is() -> None:
    """A .tar.gz that a server labels gzip is the very file, and not to be unpacked."""
    packed = b"\x1f\x8b not really gzip"
    async with serving(always(answer(200, packed, content_encoding="gzip"))) as server, mirror_at(server.url("/simple/")) as mirror:
        assert await file_of(mirror, server.url("/a.tar.gz")) == (200, packed)


async def test_any_status_is_the_callers_to_judge() -> None:
    async with (
        serving(always(answer(416, content_range="bytes */5"))) as server,
        mirror_at(server.url("/simple/")) as mirror,
        mirror.download("GET", server.url("/a"), SHARED) as download,
    ):
        assert (download.status, download.headers["content-range"]) == (416, "bytes */5")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_file_that_stops_short_is_told_from_a_whole_one(chunked: bool) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" if chunked else answer(200, length=1000)
        await wire.say(head + b"01234" + (b"\r\n" if chunked else b""))

    async with (
        serving(script) as server,
        mirror_at(server.url("/simple/")) as mirror,
        mirror.download("GET", server.url("/a?token=secret"), SHARED) as download,
    ):
        chunks = download.chunks()
        assert await anext(chunks) == b"01234"
        with pytest.raises(UpstreamBroke, match="/a broke off"):
            await anext(chunks)


async def test_a_mirror_that_falls_silent_in_the_middle_is_given_up() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(answer(200, b"01234", length=1000))
        await wire.closed_by_client()

    async with serving(script) as server, mirror_at(server.url("/simple/"), read_timeout=0.2) as mirror:
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout, match="fell silent"):
            await file_of(mirror, server.url("/a"))
        assert time.monotonic() - began < 1.5


async def test_a_client_that_reads_slowly_is_no_silence_of_the_mirror() -> None:
    body = bytes(8 << 20)
    async with serving(always(answer(200, body))) as server, mirror_at(server.url("/simple/"), read_timeout=0.2) as mirror:
        async with mirror.download("GET", server.url("/a"), SHARED) as download:
            received = 0
            async for chunk in download.chunks():
                if not received:
                    await asyncio.sleep(0.6)
                received += len(chunk)
        assert received == len(body)


async def test_who_stops_reading_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(answer(200, b"x", length=1 << 30))
        await wire.closed_by_client()
        closed.set()

    async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
        async with mirror.download("GET", server.url("/a"), SHARED) as download:
            async for _ in download.chunks():
                break
        async with asyncio.timeout(2):
            await closed.wait()


@pytest.mark.parametrize(("size", "connections"), [(100, 1), (100_000, 3)])
async def test_a_connection_is_kept_where_what_is_left_of_an_answer_is_little(size: int, connections: int) -> None:
    """Redirects and failures have small bodies that nobody wants; those that come a moment later cost no connection either."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.say(answer(404, length=size))
            await asyncio.sleep(0.02)
            await wire.say(bytes(size))

    async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
        for _ in range(3):
            assert isinstance(await mirror.ask(Ask(Method.GET, server.url("/a"), 0, 0, 1), SHARED), Answer)
        assert len(server.wires) == connections


class TestAsk:
    """One exchange of a conversation by the slow lane: whatever happens is an answer, or that there is none."""

    async def test_no_more_is_read_than_wanted(self) -> None:
        async with serving(always(answer(200, bytes(1 << 20)))) as server, mirror_at(server.url("/simple/")) as mirror:
            reply = await mirror.ask(Ask(Method.GET, server.url("/a"), 0, 9, 10), SHARED)
            assert isinstance(reply, Answer)
            assert (reply.status, reply.body, reply.headers["content-length"]) == (200, bytes(10), str(1 << 20))
            assert headers_of(server.requests[0])["range"] == "bytes=0-9"

    async def test_the_answer_is_that_of_the_last_hop(self) -> None:
        def say(path: str, _: object) -> bytes:
            return answer(206, b"x", x_storage="s3") if path.startswith("/blob") else answer(302, location="/blob?sig=secret")

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            reply = await mirror.ask(Ask(Method.GET, server.url("/a"), 0, 0, 1), SHARED)
            assert isinstance(reply, Answer)
            assert (reply.status, reply.body, reply.url, reply.headers["x-storage"]) == (206, b"x", server.url("/blob"), "s3")
            assert [headers_of(head)["range"] for head in server.requests] == ["bytes=0-0"] * 2

    @pytest.mark.parametrize(
        ("trouble", "said"),
        [
            (Trouble.RESET, None),
            (Trouble.RESET, answer(200, b"", length=10)),
            (Trouble.NOT_HTTP, b"220 ftp ready\r\n"),
            (Trouble.TIMEOUT, b""),
            (Trouble.TOO_MANY_REDIRECTS, answer(302, location="/a")),
            (Trouble.FORBIDDEN_DESTINATION, answer(302, location="http://169.254.169.254/latest/")),
        ],
    )
    async def test_trouble_is_no_answer(self, trouble: Trouble, said: bytes | None) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            if said is None:
                wire.abort()
                return
            await wire.say(said)
            if not said:
                await wire.closed_by_client()

        async with serving(script) as server, mirror_at(server.url("/simple/"), read_timeout=0.3) as mirror:
            reply = await mirror.ask(Ask(Method.GET, server.url("/a?token=secret"), 0, 9, 10), SHARED)
            assert isinstance(reply, NoAnswer)
            assert reply.trouble is trouble
            assert reply.at > 0
            assert "secret" not in reply.detail
            with pytest.raises(UpstreamError) as caught:
                await file_of(mirror, server.url("/a?token=secret"))
            assert "secret" not in str(caught.value)

    async def test_a_closed_port_and_an_unknown_name_are_no_answers(self) -> None:
        async with serving(always(b"")) as server:
            closed = server.url("/a")
        async with mirror_at(closed) as mirror, mirror_at("http://mirror.invalid/simple/") as nameless:
            refused = await mirror.ask(Ask(Method.HEAD, closed), SHARED)
            unknown = await nameless.ask(Ask(Method.HEAD, "http://mirror.invalid/a"), SHARED)
            assert [getattr(each, "trouble", None) for each in (refused, unknown)] == [Trouble.REFUSED, Trouble.DNS]


class TestRedirects:
    """Followed by hand, so that each hop is looked at."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_the_method_is_kept(self, method: str, status: int) -> None:
        def say(path: str, _: object) -> bytes:
            return answer(200) if path == "/b" else answer(status, location="b")

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            assert (await file_of(mirror, server.url("/a"), method=method))[0] == 200
            assert [head.split(b" ")[0].decode() for head in server.requests] == [method, method]

    async def test_a_circle_is_noticed_when_it_closes(self) -> None:
        def say(path: str, _: object) -> bytes:
            return answer(302, location={"/a": "/b", "/b": "/c", "/c": "/a"}[path])

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke, match="do not end"):
                await file_of(mirror, server.url("/a"))
            assert len(server.requests) == 3

    async def test_more_than_five_are_too_many(self) -> None:
        def say(path: str, _: object) -> bytes:
            number = int(path[1:])
            return answer(200) if number == 0 else answer(302, location=f"/{number - 1}")

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            assert (await file_of(mirror, server.url("/5")))[0] == 200
            with pytest.raises(UpstreamBroke, match="do not end"):
                await file_of(mirror, server.url("/99"))

    async def test_a_redirect_without_a_location_is_an_answer(self) -> None:
        async with serving(always(answer(302))) as server, mirror_at(server.url("/simple/")) as mirror:
            assert (await file_of(mirror, server.url("/a")))[0] == 302

    @pytest.mark.parametrize("location", ["ftp://host.example/a", "file:///etc/passwd", "gopher://host.example/"])
    async def test_only_http_is_followed(self, location: str) -> None:
        async with serving(always(answer(302, location=location))) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(DestinationRefused):
                await file_of(mirror, server.url("/a"))

    async def test_a_location_that_is_no_address_is_no_answer(self) -> None:
        async with serving(always(answer(302, location="http://[x/"))) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke):
                await file_of(mirror, server.url("/a"))


@pytest.mark.parametrize("late", [False, True], ids=["with the head", "after it"])
async def test_a_body_that_is_sent_to_head_breaks_neither_that_request_nor_the_next_ones(*, late: bool) -> None:
    body = b"x" * 3000

    async def say(wire: Wire) -> None:
        while True:
            await wire.request()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3000\r\n\r\n"
            if late:
                await wire.say(head)
                await asyncio.sleep(0.02)
                await wire.say(body)
            else:
                await wire.say(head + body)

    async with serving(say) as server, mirror_at(server.url("/simple/")) as mirror:
        for number in range(6):
            method = Method.GET if number % 2 else Method.HEAD
            reply = await mirror.ask(Ask(method, server.url(f"/{number}.whl"), read=10 if number % 2 else 0), SHARED)
            assert isinstance(reply, Answer), reply
            assert (reply.status, reply.headers["content-length"], len(reply.body)) == (200, "3000", 10 if number % 2 else 0)
            await asyncio.sleep(0.05)
        asked = [request.split()[0] for request in server.requests]
        assert asked.count(b"HEAD") == (3 if late else 1)
