"""Pages, as a client gets them."""

import asyncio
import gzip
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import encode_basic_auth

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Fault, artifactory_404, cut, hang, lies_on_head, redirects, slow, status, wrong_type
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
OLD = "demo-1.0-py3-none-any.whl"
SDIST = "demo-2.0.tar.gz"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver."""
    for name in (OLD, MAC, LINUX, SDIST):
        mirror.add(name)
    mirror.fault(MAC, artifactory_404())
    return mirror


async def page(client: Any, project: str = "demo", **headers: str) -> dict[str, Any]:
    """The page in JSON."""
    async with client.get(f"/simple/{project}/", headers={"Accept": JSON, **headers}) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json(content_type=JSON)
        return found


async def names(client: Any, project: str = "demo", **headers: str) -> list[str]:
    """The names of the files on the page."""
    return [file["filename"] for file in (await page(client, project, **headers))["files"]]


@pytest.mark.parametrize("forms", [{"json", "html"}, {"json"}, {"html"}], ids=["both", "json only", "html only"])
@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"])
async def test_whatever_form_the_mirror_speaks_every_form_is_served_without_the_dead_wheel(
    stocked: BrokenMirror, app_client: MakeClient, forms: set[str], accept: str
) -> None:
    stocked.forms = forms
    client = await app_client()
    async with client.get("/simple/demo/", headers={"Accept": accept}) as response:
        body = await response.text()
        assert response.headers["Content-Type"].partition(";")[0] == accept
        assert response.headers["Mirrormend-Dropped"] == "1; absent=1"
    assert MAC not in body
    assert all(name in body for name in (OLD, LINUX, SDIST))
    assert body.index(OLD) < body.index(LINUX) < body.index(SDIST)


async def test_the_format_parameter_wins_over_accept_and_what_cannot_be_served_is_406(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    async with client.get(f"/simple/demo/?format={JSON.replace('+', '%2B')}", headers={"Accept": "text/html"}) as response:
        assert response.headers["Content-Type"] == JSON
        assert "Accept" in response.headers["Vary"]
    async with client.get("/simple/demo/", headers={"Accept": "image/png"}) as response:
        assert response.status == 406
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("path", ["/simple/De.Mo_x/", "/simple/De.Mo_x", "/simple/de-mo-x"])
async def test_other_spellings_and_a_missing_slash_redirect_to_the_normalised_name(app_client: MakeClient, path: str) -> None:
    client = await app_client()
    async with client.get(path, allow_redirects=False) as response:
        assert response.status == 301
        where = response.url.join(type(response.url)(response.headers["Location"]))
    assert where.path == "/simple/de-mo-x/"


async def test_a_name_that_no_project_can_have_is_refused(app_client: MakeClient) -> None:
    client = await app_client()
    async with client.get("/simple/-demo-/") as response:
        assert response.status == 400
        assert "cannot be the name" in (await response.json(content_type=None))["detail"]


async def test_links_are_relative_and_lead_to_the_proxy(stocked: BrokenMirror, app_client: MakeClient) -> None:
    found = await page(await app_client())
    assert {file["url"] for file in found["files"]} == {f"../../files/demo/{name}" for name in (OLD, LINUX, SDIST)}


async def test_direct_links_are_the_mirrors_own(stocked: BrokenMirror, app_client: MakeClient) -> None:
    found = await page(await app_client(links={"mode": "direct"}))
    assert {file["url"] for file in found["files"]} == {stocked.file_url(name) for name in (OLD, LINUX, SDIST)}
    assert all("core-metadata" not in file for file in found["files"])


async def test_all_else_on_the_page_passes_unchanged(mirror: BrokenMirror, app_client: MakeClient) -> None:
    extra = {"provenance": "https://mirror.example.com/p?a=1&b=<2>", "x-vendor": {"deep": [1, 2.5, None, "é"]}, "gpg-sig": True}
    mirror.add(OLD, yanked='broken "quotes" & <tags>', requires_python=">=3.8,<4", upload_time="2024-01-02T03:04:05.678901Z", extra=extra)
    (file,) = (await page(await app_client()))["files"]
    assert {key: file[key] for key in extra} == extra
    assert file["yanked"] == 'broken "quotes" & <tags>'
    assert file["requires-python"] == ">=3.8,<4"
    assert file["upload-time"] == "2024-01-02T03:04:05.678901Z"
    assert file["hashes"]["sha256"]


async def test_an_unchanged_page_is_304_under_a_strong_etag_that_changes_when_the_page_does(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(upstream={"fresh": 0})
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        etag = response.headers["ETag"]
        assert etag.startswith('"')
        assert response.headers["Cache-Control"] == "no-cache"
    async with client.get("/simple/demo/", headers={"Accept": JSON, "If-None-Match": etag}) as response:
        assert response.status == 304
        assert response.headers["ETag"] == etag
    async with client.get("/simple/demo/", headers={"Accept": HTML, "If-None-Match": etag}) as response:
        assert response.status == 200
    stocked.add("demo-3.0-py3-none-any.whl")
    async with client.get("/simple/demo/", headers={"Accept": JSON, "If-None-Match": etag}) as response:
        assert response.status == 200
        assert response.headers["ETag"] != etag


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity"])
async def test_pages_are_compressed_as_the_client_accepts(stocked: BrokenMirror, app_client: MakeClient, encoding: str) -> None:
    client = await app_client()
    headers = {"Accept": JSON, "Accept-Encoding": encoding}
    async with client.get("/simple/demo/", headers=headers) as response:
        assert response.headers.get("Content-Encoding", "identity") == encoding
        assert len(json.loads(await response.read())["files"]) == 3


async def test_head_tells_what_get_would(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    async with client.get("/simple/demo/", headers={"Accept": JSON, "Accept-Encoding": "identity"}) as got:
        length = len(await got.read())
    async with client.head("/simple/demo/", headers={"Accept": JSON, "Accept-Encoding": "identity"}) as told:
        assert (told.status, told.headers["ETag"], int(told.headers["Content-Length"])) == (200, got.headers["ETag"], length)
        assert await told.read() == b""


async def test_the_project_list_is_streamed_through(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    async with client.get("/simple/", headers={"Accept": "text/html"}) as response:
        assert response.status == 200
        assert "demo" in await response.text()
        assert response.headers["Content-Security-Policy"] == "default-src 'none'"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_healthz_answers_without_the_mirror(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await mirror.stop()
    async with client.get("/healthz") as response:
        assert response.status == 200


async def test_an_absent_project_is_404_and_nothing_else_is(mirror: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, upstream={"retries": 0})
    for code, expected in ((404, 404), (401, 401), (403, 403), (500, 502), (503, 503), (504, 504), (429, 503), (418, 502)):
        mirror.heal()
        clock.passes(130)
        mirror.fault("page:demo", status(code, {"WWW-Authenticate": 'Basic realm="m"'} if code == 401 else {}))
        async with client.get("/simple/demo/") as response:
            assert response.status == expected
            assert response.content_type == "application/problem+json"
            told = await response.json(content_type=None)
            assert told["upstream_status"] == code
            assert told["title"]
            assert str(code) in told["detail"]
    assert response.headers.get("WWW-Authenticate") is None


async def test_a_challenge_of_the_mirror_reaches_the_client(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.credentials = ("user", "pw")
    client = await app_client()
    async with client.get("/simple/demo/") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")


async def test_a_mirror_that_is_down_is_503_and_a_silent_one_504(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"retries": 0}, probe={"deadline": 0.3})
    mirror.fault("page:demo", hang(5))
    async with client.get("/simple/demo/") as response:
        assert response.status == 504
    await mirror.stop()
    async with client.get("/simple/other/") as response:
        assert response.status == 503
        assert "cannot be reached" in (await response.json(content_type=None))["title"]


@pytest.mark.parametrize("body", [b"<html><form><input type=password></form></html>", b"{}", b"\x00\xff junk"])
async def test_what_is_no_page_is_502_and_never_an_empty_page(mirror: BrokenMirror, app_client: MakeClient, body: bytes) -> None:
    mirror.fault("page:demo", wrong_type(body))
    client = await app_client()
    async with client.get("/simple/demo/") as response:
        assert response.status == 502
        assert "no package index page" in (await response.json(content_type=None))["title"]


async def test_a_503_keeps_the_wheel_listed_and_is_told(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
    mirror.fault(MAC, status(503))
    client = await app_client(upstream={"retries": 0})
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        found = await response.json(content_type=None)
        assert response.headers["Mirrormend-Unknown"] == "1; mirror-error=1"
        assert response.headers["Mirrormend-Dropped"] == "0"
    assert MAC in [file["filename"] for file in found["files"]]


@pytest.mark.parametrize("code", [404, 405, 403, 400, 500, 501])
async def test_a_head_unlike_get_drops_nothing(mirror: BrokenMirror, app_client: MakeClient, code: int) -> None:
    for name in (OLD, MAC, LINUX, SDIST):
        mirror.add(name)
    mirror.fault("demo-*", lies_on_head(code))
    assert await names(await app_client()) == [OLD, MAC, LINUX, SDIST]


async def test_a_file_that_is_redirected_to_where_it_is_delivered_stays_and_to_where_it_is_not_goes(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
    mirror.fault(MAC, redirects(mirror.file_url(LINUX).replace(LINUX, "nowhere-1.0-py3-none-any.whl")))
    mirror.fault(OLD, redirects(mirror.file_url(LINUX)))
    assert MAC not in await names(await app_client())


async def test_a_mirror_that_denies_everything_is_not_believed(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
    mirror.fault("demo-*", artifactory_404())
    client = await app_client()
    assert await names(client) == [OLD, MAC, LINUX]
    async with client.get("/simple/demo/") as response:
        assert response.headers["Mirrormend-Unknown"].startswith("3")


async def test_a_policy_block_beside_good_files_is_dropped_and_forbidding_everything_is_not(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
        mirror.add(name.replace("demo", "other"))
    mirror.fault(MAC, status(403))
    mirror.fault("other-*", status(403))
    client = await app_client()
    assert await names(client) == [OLD, LINUX]
    assert len(await names(client, "other")) == 3


async def test_a_slow_mirror_never_holds_the_page_beyond_the_deadline(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
    mirror.fault(MAC, hang(5))
    client = await app_client(probe={"deadline": 0.5, "patience": 0.2})
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        found = await response.json(content_type=None)
        assert response.headers["Mirrormend-Verified"].startswith("partial")
    assert loop.time() - started < 1.5
    assert MAC in [file["filename"] for file in found["files"]]


async def test_a_page_that_waits_for_its_older_releases_is_served_as_soon_as_a_resolver_asks_for_others(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    """The first page that a resolver asks for looks like one that somebody asks for alone, until the others follow.

    Metadata named its project, and it lists much: else a page waits for all that it lists, whoever asks for others.
    """
    older = [LINUX.replace("2.0", f"0.{number}") for number in range(1, 81)]
    for name in (OLD, LINUX, *older):
        mirror.add(name)
    naming = "naming-1.0-py3-none-any.whl"
    mirror.add(naming, make_wheel(naming, requires_dist=["demo"]))
    mirror.fault(OLD, hang(4))
    others = ["one", "two", "three"]
    for other in others:
        mirror.add(LINUX.replace("demo", other))
    client = await app_client(probe={"patience": 3, "deadline": 10})
    await names(client, "naming")
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = asyncio.create_task(names(client))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.gather(*(names(client, other) for other in others))
    assert await waiting == [OLD, LINUX, *older]
    assert loop.time() - started < 1.5


async def test_a_stale_page_is_served_and_marked_while_the_mirror_is_down_and_recovery_is_noticed(
    stocked: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await app_client(upstream={"fresh": 0, "retries": 0})
    before = await names(client)
    await stocked.stop()
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        assert response.status == 200
        assert "Mirrormend-Stale" in response.headers
    await stocked.start()
    monkeypatch.setattr("proxy.index.refusals._FIRST_PAUSE", 0)
    for _ in range(50):
        async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
            found = await response.json(content_type=None)
            if "Mirrormend-Stale" not in response.headers:
                break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the page is still said to be stale")
    assert [file["filename"] for file in found["files"]] == before


async def test_no_stale_page_after_the_mirror_says_no(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"fresh": 0, "retries": 0})
    await names(client)
    for code in (401, 403):
        stocked.fault("page:demo", status(code))
        async with client.get("/simple/demo/") as response:
            assert response.status == code
        stocked.heal()
        stocked.fault(MAC, artifactory_404())
        await names(client)


async def test_a_hundred_clients_cost_the_mirror_one_page_and_one_probe_of_each_file(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault("page:demo", slow(0.05))
    client = await app_client()
    pages = await asyncio.gather(*(names(client) for _ in range(100)))
    assert all(each == pages[0] for each in pages)
    assert len(stocked.asked_for("page:demo")) == 1
    assert len([each for each in stocked.asked_for(LINUX) if each.method == "HEAD"]) <= 2
    # Besides, the good files bear witness while the denial of the third one is repeated.
    assert len(stocked.asked_for(LINUX)) + len(stocked.asked_for(SDIST)) <= 4 + 6


async def test_what_one_identity_may_see_is_not_served_to_another(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.credentials = ("alice", "pw")
    client = await app_client()
    right = encode_basic_auth("alice", "pw")
    async with client.get("/simple/demo/", headers={"Accept": JSON, "Authorization": right}) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response.headers["Vary"]
    for headers in ({}, {"Authorization": "Basic d3Jvbmc6cHc="}):
        async with client.get("/simple/demo/", headers=headers) as response:
            assert response.status == 401
        async with client.get(f"/files/demo/{LINUX}", headers=headers) as response:
            assert response.status == 401


async def test_configured_credentials_serve_clients_that_bring_none(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.credentials = ("alice", "p@w/d")
    client = await app_client(upstream={"username": "alice", "password": "p@w/d"})
    assert await names(client) == [OLD, LINUX, SDIST]
    inside = stocked.url.replace("://", "://alice:p%40w%2Fd@")
    client = await app_client(upstream={"url": inside})
    assert await names(client) == [OLD, LINUX, SDIST]


async def test_pages_gzipped_by_the_mirror_are_read(stocked: BrokenMirror, app_client: MakeClient) -> None:
    body = gzip.compress(b'<html><body><a href="demo-9.0-py3-none-any.whl">x</a></body></html>')
    stocked.set_page("demo", body, headers={"Content-Encoding": "gzip"})
    assert await names(await app_client()) == ["demo-9.0-py3-none-any.whl"]


async def test_a_hung_mirror_does_not_hold_back_a_page_that_is_at_hand(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"fresh": 0}, probe={"patience": 0.2})
    before = await names(client)
    stocked.fault("page:demo", hang(5))
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(5):
        assert await names(client) == before
    assert loop.time() - started < 2.0


@pytest.mark.parametrize(
    "line",
    [
        b"Accept-Encoding: zstd;q=nan",
        b"Accept-Encoding: gzip;q=nan, *;q=-nan",
        b"Authorization: \xff\xfe",
        b"User-Agent: uv/0.13.9 {\xff",
        b"If-None-Match: \xff",
        b"Accept: text/html;q=nan, */*",
    ],
)
async def test_a_header_that_makes_no_sense_costs_nobody_the_page(stocked: BrokenMirror, app_client: MakeClient, line: bytes) -> None:
    client = await app_client()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /simple/demo/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + line + b"\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer


@pytest.mark.parametrize("fault", [cut(100_000, 5_000), cut(100_000, 100)])
async def test_a_project_list_that_breaks_off_is_never_followed_by_another_answer(
    stocked: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    stocked.fault(lambda name: name == "list", fault)
    client = await app_client()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /simple/ HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
    answer = b""
    with suppress(ConnectionResetError):
        while piece := await asyncio.wait_for(reader.read(100_000), 20):
            answer += piece
    writer.close()
    assert answer.count(b"HTTP/1.1") == 1, answer[-400:]
    assert not answer.endswith(b"0\r\n\r\n")
