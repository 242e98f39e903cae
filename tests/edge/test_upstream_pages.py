"""Pages: asked for in JSON, read within limits, asked for again where that helps."""

import asyncio
import gzip
import re
import time
from collections.abc import Mapping
from email.utils import formatdate

import pytest

from proxy.core.errors import (
    OwnLimit,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverLimit,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage, Mirror, NotModified, Packed, Validators
from tests.edge.dialling import answer, file_of, headers_of, mirror_at, page, path_of, saying
from tests.edge.scripted import Server, Wire, always, serving
from tests.mirror import BrokenMirror

_OF_A_PACKAGE_CLIENT = re.compile(r"mirrormend/\S+ (?:\S+ )*\(?(?:pip|uv)/")


class InTurn:
    """Says one answer after the other, the last one for ever; `heard` are the headers of the requests."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.heard: list[Mapping[str, str]] = []

    def __call__(self, _: str, headers: Mapping[str, str]) -> bytes | None:
        self.heard.append(headers)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_page_is_asked_for_in_json_and_comes_with_its_validators(mirror: BrokenMirror) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    async with mirror_at(mirror.url) as upstream:
        fetched = await upstream.fetch_page("demo", SHARED)
        assert isinstance(fetched, FetchedPage)
        assert fetched.content_type == "application/vnd.pypi.simple.v1+json"
        assert fetched.url == mirror.page_url("demo")
        assert fetched.validators.etag == fetched.headers["etag"]
        assert b"demo-1.0-py3-none-any.whl" in fetched.body
        assert isinstance(await upstream.fetch_page("demo", SHARED, fetched.validators), NotModified)


async def test_every_request_says_that_it_is_for_a_package_client_since_devpi_shows_others_no_page_at_the_address_of_an_index() -> None:
    def say(path: str, headers: Mapping[str, str]) -> bytes:
        return page() if _OF_A_PACKAGE_CLIENT.match(headers["user-agent"]) else answer(404)

    async with serving(saying(say)) as server, mirror_at(server.url("/root/pypi/")) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        async with mirror.fetch_project_list(SHARED, "text/html") as projects:
            assert projects.status == 200
        assert (await file_of(mirror, server.url("/demo.whl")))[0] == 200
        assert (await mirror.converse(probe(server.url("/demo.whl"), head=False), SHARED)).status == 200


async def test_a_mirror_on_the_same_machine_is_asked_for_no_content_coding_once_it_answers_at_once() -> None:
    def say(path: str, _: Mapping[str, str]) -> bytes:
        return answer(length=5) if path.endswith(".whl") else page()

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        assert await coding_wanted(mirror, server) == "gzip, deflate", "it may be far behind a tunnel that begins here"
        for _ in range(100):
            await mirror.converse(probe(server.url("/demo.whl"), size=5), SHARED)
            if await coding_wanted(mirror, server) == "identity":
                return
    pytest.fail("it answers at once")


async def test_a_mirror_behind_a_tunnel_that_begins_on_this_machine_is_asked_for_content_codings() -> None:
    async def script(wire: Wire) -> None:
        while True:
            head = await wire.request()
            await asyncio.sleep(0.01)
            await wire.say(answer(length=5) if path_of(head).endswith(".whl") else page())

    async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
        await mirror.converse(probe(server.url("/demo.whl"), size=5), SHARED)
        assert await coding_wanted(mirror, server) == "gzip, deflate"


async def coding_wanted(mirror: Mirror, server: Server) -> str:
    """Asks for a page; gives the Accept-Encoding that came."""
    await mirror.fetch_page("demo", SHARED)
    return headers_of(server.requests[-1])["accept-encoding"]


async def test_without_an_etag_the_time_is_the_condition() -> None:
    say = InTurn(answer(304))
    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        known = Validators(None, "Sat, 01 Nov 2025 00:00:00 GMT")
        assert isinstance(await mirror.fetch_page("demo", SHARED, known), NotModified)
        assert say.heard[0]["if-modified-since"] == known.last_modified


@pytest.mark.parametrize("status", [400, 412, 501])
async def test_a_condition_that_fails_is_asked_again_plainly(status: int) -> None:
    def say(_: str, headers: Mapping[str, str]) -> bytes:
        return answer(status) if "if-none-match" in headers else page()

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED, Validators('"x"', None)), FetchedPage)
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 406, 415])
async def test_a_mirror_that_refuses_json_is_asked_for_html(status: int) -> None:
    def say(_: str, headers: Mapping[str, str]) -> bytes:
        return answer(status) if "json" in headers["accept"] else page(b"<html>", Content_Type="text/html")

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        fetched = await mirror.fetch_page("demo", SHARED, Validators('"x"', None))
        assert isinstance(fetched, FetchedPage)
        assert fetched.content_type == "text/html"


async def test_nothing_changed_is_no_answer_to_who_has_nothing() -> None:
    async with serving(always(answer(304))) as server, mirror_at(server.url("/simple/")) as mirror:
        with pytest.raises(UpstreamBroke, match="304"):
            await mirror.fetch_page("demo", SHARED)


async def test_the_joins_of_a_redirected_page_start_where_it_ended() -> None:
    def say(path: str, _: object) -> bytes:
        return page() if path.startswith("/real/") else answer(301, location="/real/Demo/?token=secret#x")

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        fetched = await mirror.fetch_page("demo", SHARED)
        assert isinstance(fetched, FetchedPage)
        assert fetched.url == server.url("/real/Demo/")


async def test_another_spelling_is_tried_where_the_normalised_name_is_not_found() -> None:
    def say(path: str, _: object) -> bytes:
        return page() if path == "/simple/My.Demo/" else answer(404)

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        assert isinstance(await mirror.fetch_page("my-demo", SHARED, spelling="My.Demo"), FetchedPage)
        with pytest.raises(UpstreamStatus, match="my-other/ answered 404"):
            await mirror.fetch_page("my-other", SHARED, spelling="My.Other")


class TestWhatIsNoPage:
    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (b'{"errors":[{"status":404,"message":"Could not find resource"}]}', "Could not find resource"),
            (b'{"title":"Blocked","detail":"by\\tpolicy\\u0007 7"}', "by policy 7"),
            (b"plain \x1b[31m words\n", "plain [31m words"),
            (b"<html><title>Not found</title>", "Not found"),
            (b"x" * 5000, "x" * 200),
            (b"", ""),
            (b'["a", "list"]', '["a", "list"]'),
            (b'{"message": 3}', '{"message": 3}'),
        ],
    )
    async def test_the_mirrors_reason_is_given_in_a_short_line(self, body: bytes, detail: str) -> None:
        async with serving(always(answer(404, body))) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamStatus) as caught:
                await mirror.fetch_page("demo", SHARED)
            assert (caught.value.status, caught.value.detail) == (404, detail)

    async def test_a_reason_is_inflated_first(self) -> None:
        body = gzip.compress(b'{"message":"no such project"}')
        async with serving(always(answer(404, body, content_encoding="gzip"))) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamStatus, match="no such project"):
                await mirror.fetch_page("demo", SHARED)

    async def test_a_reason_that_cannot_be_read_is_left_out(self) -> None:
        async with serving(always(answer(404, b"\x0b\x02", content_encoding="br"))) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamStatus) as caught:
                await mirror.fetch_page("demo", SHARED)
            assert caught.value.detail == ""

    async def test_every_challenge_of_a_401_is_handed_on(self) -> None:
        said = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="a"\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n'
        async with serving(always(said)) as server, mirror_at(server.url("/simple/"), retries=2) as mirror:
            with pytest.raises(UpstreamStatus) as caught:
                await mirror.fetch_page("demo", SHARED)
            assert ", ".join(caught.value.challenges) == 'Basic realm="a", Bearer'
            assert len(server.requests) == 1

    async def test_a_page_in_a_content_coding_is_told_as_it_came_as_well(self) -> None:
        body = b'{"files":[]}' * 30_000
        for content, coding in ((gzip.compress(body), "gzip"), (gzip.compress(body), ""), (body, "gzip"), (body, "")):
            async with (
                serving(always(page(content, content_encoding=coding) if coding else page(content))) as server,
                mirror_at(server.url("/simple/")) as mirror,
            ):
                fetched = await mirror.fetch_page("demo", SHARED)
                assert isinstance(fetched, FetchedPage)
                assert fetched.body == body
                assert fetched.packed == (None if content == body else Packed(content, coding))

    async def test_a_gzip_bomb_is_over_the_limit(self) -> None:
        bomb = gzip.compress(bytes(20_000_000))
        async with (
            serving(always(page(bomb, content_encoding="gzip"))) as server,
            mirror_at(server.url("/simple/"), page_limit=100_000) as mirror,
        ):
            with pytest.raises(UpstreamOverLimit):
                await mirror.fetch_page("demo", SHARED)

    async def test_a_body_that_stops_short_is_no_page(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.say(answer(200, b"{}", length=1000))

        async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke):
                await mirror.fetch_page("demo", SHARED)

    async def test_headers_without_end_are_not_collected(self) -> None:
        said = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n"
        async with serving(always(said)) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke):
                await mirror.fetch_page("demo", SHARED)

    async def test_what_speaks_no_http_is_told_so(self) -> None:
        async with serving(always(b"SSH-2.0-OpenSSH_9.2\r\n")) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke, match="no proper HTTP"):
                await mirror.fetch_page("demo", SHARED)

    @pytest.mark.parametrize(
        "said",
        [
            b'{"url": "https://geheim@mirror.example.com/"}\r\n\r\n',
            b"HTTP/1.1 200 OK\r\ngeheim\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX-Long: geheim" + b"x" * 100_000,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ngeheim\r\n",
        ],
        ids=["no status line", "no header", "a long header", "no chunk"],
    )
    async def test_what_came_instead_of_an_answer_is_not_quoted_since_it_may_be_the_answer_to_somebody_else(self, said: bytes) -> None:
        async with serving(always(said)) as server, mirror_at(server.url("/simple/")) as mirror:
            with pytest.raises(UpstreamBroke) as broke:
                await mirror.fetch_page("demo", SHARED)
            assert "geheim" not in f"{broke.value} {mirror.health.last_failure}"

    async def test_a_closed_port_is_unreachable(self) -> None:
        async with serving(always(b"")) as server:
            port = server.port
        async with mirror_at(f"http://127.0.0.1:{port}/simple/") as mirror:
            with pytest.raises(UpstreamUnreachable, match="no connection"):
                await mirror.fetch_page("demo", SHARED)

    async def test_a_name_that_does_not_resolve_is_unreachable(self) -> None:
        async with mirror_at("http://mirror.invalid/simple/") as mirror:
            with pytest.raises(UpstreamUnreachable, match="does not resolve"):
                await mirror.fetch_page("demo", SHARED)


class TestTime:
    @staticmethod
    async def silent(wire: Wire) -> None:
        await wire.request()
        await wire.closed_by_client()

    async def test_a_mirror_that_says_nothing_is_given_up_after_the_read_timeout(self) -> None:
        async with serving(self.silent) as server, mirror_at(server.url("/simple/"), read_timeout=0.2) as mirror:
            began = time.monotonic()
            with pytest.raises(UpstreamTimeout, match=r"within 0\.2 s"):
                await mirror.fetch_page("demo", SHARED)
            assert time.monotonic() - began < 1.5

    async def test_a_page_that_comes_byte_by_byte_has_its_end_too(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.say(answer(200, b"", length=100_000))
            while True:
                await wire.say(b" ")
                await asyncio.sleep(0.05)

        async with serving(script) as server, mirror_at(server.url("/simple/"), read_timeout=0.4) as mirror:
            with pytest.raises(UpstreamTimeout, match="to its end"):
                await mirror.fetch_page("demo", SHARED)

    async def test_who_waits_for_a_free_connection_does_not_wait_for_ever(self) -> None:
        async with (
            serving(self.silent) as server,
            mirror_at(server.url("/simple/"), read_timeout=0.5, connect_timeout=0.1, connections=1) as mirror,
        ):
            began = time.monotonic()
            results = await asyncio.gather(*(mirror.fetch_page(f"p{each}", SHARED) for each in range(12)), return_exceptions=True)
            assert {type(each) for each in results} == {UpstreamTimeout, OwnLimit}, "that none came free is not the mirror's doing"
            assert time.monotonic() - began < 2


class TestRepetition:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
    async def test_what_failed_in_passing_is_asked_again(self, status: int) -> None:
        say = InTurn(answer(status), answer(status), page())
        async with serving(saying(say)) as server, mirror_at(server.url("/simple/"), retries=2) as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
            assert len(say.heard) == 3

    async def test_what_something_on_the_way_has_changed_is_a_page_too(self) -> None:
        """203 (RFC 9110, section 15.3.4)."""
        said = page().replace(b" 200 OK", b" 203 Non-Authoritative Information")
        async with serving(always(said)) as server, mirror_at(server.url("/simple/")) as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)

    @pytest.mark.parametrize("status", [401, 403, 404, 410, 451, 501])
    async def test_what_is_no_matter_of_time_is_asked_once(self, status: int) -> None:
        async with serving(always(answer(status))) as server, mirror_at(server.url("/simple/"), retries=2) as mirror:
            with pytest.raises(UpstreamStatus):
                await mirror.fetch_page("demo", SHARED)
            # A folder that is refused may have its page inside, which is looked for once.
            assert len(server.requests) == 1 + (status == 403)
            assert len([each for each in server.requests if each.startswith(b"GET /simple/demo/ ")]) == 1

    async def test_a_reset_and_a_silence_are_asked_again(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            if wire.number == 1:
                wire.abort()
            elif wire.number == 2:
                await wire.closed_by_client()
            else:
                await wire.say(page())

        async with serving(script) as server, mirror_at(server.url("/simple/"), retries=2, read_timeout=0.2) as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)

    async def test_no_more_often_than_the_settings_say(self) -> None:
        async with serving(always(answer(503))) as server, mirror_at(server.url("/simple/"), retries=1) as mirror:
            with pytest.raises(UpstreamStatus):
                await mirror.fetch_page("demo", SHARED)
            assert len(server.requests) == 2

    @pytest.mark.parametrize("form", ["seconds", "date"])
    async def test_the_pause_that_the_mirror_wants_is_kept(self, form: str) -> None:
        # A date has whole seconds, so a pause of a little more than one may look shorter by nearly one.
        wanted = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        say = InTurn(answer(429, retry_after=wanted), page())
        async with serving(saying(say)) as server, mirror_at(server.url("/simple/"), retries=1) as mirror:
            began = time.monotonic()
            await mirror.fetch_page("demo", SHARED)
            assert 0.95 <= time.monotonic() - began < 3

    async def test_a_long_pause_is_not_waited_out_but_handed_on(self) -> None:
        async with (
            serving(always(answer(503, retry_after="120"))) as server,
            mirror_at(server.url("/simple/"), retries=2) as mirror,
        ):
            with pytest.raises(UpstreamStatus) as caught:
                await mirror.fetch_page("demo", SHARED)
            assert caught.value.retry_after == 120
            assert len(server.requests) == 1

    async def test_none_begins_after_the_time_for_it_is_over(self) -> None:
        async with (
            serving(always(answer(503, retry_after="1"))) as server,
            mirror_at(server.url("/simple/"), retries=5) as mirror,
        ):
            with pytest.raises(UpstreamStatus):
                await mirror.fetch_page("demo", SHARED, within=0.5)
            assert len(server.requests) == 1


async def test_a_connection_serves_many_pages_and_survives_short_failures() -> None:
    say = InTurn(answer(404, b'{"message":"no"}'), page(), page(), answer(404, b"y" * 9000), page())
    async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
        for _ in range(4):
            try:
                await mirror.fetch_page("demo", SHARED)
            except UpstreamError:
                continue
        assert connections(server) == 1


def connections(server: Server) -> int:
    return len(server.wires)


async def test_the_path_asked_for_is_that_of_the_settings() -> None:
    async with serving(always(page())) as server, mirror_at(server.url("/a%2Fb/simple")) as mirror:
        await mirror.fetch_page("demo", SHARED)
        assert path_of(server.requests[0]) == "/a%2Fb/simple/demo/"
        assert headers_of(server.requests[0])["accept"].startswith("application/vnd.pypi.simple.v1+json, ")
