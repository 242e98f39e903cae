"""Distribution files, as a client gets them: whole, in part, or as a clear failure."""

import asyncio
import hashlib
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.conftest import MakeClient
from tests.faults import (
    artifactory_404,
    cut,
    delivers_only_plain_get,
    empty,
    ignores_range,
    lies_on_head,
    reset,
    status,
    wrong_content_range,
    wrong_type,
)
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
WHEEL = make_wheel(NAME, payload=bytes(range(256)) * 400)
PATH = f"/files/demo/{NAME}"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror with one wheel of some size, and another file beside it."""
    mirror.add(NAME, WHEEL)
    mirror.add("demo-1.0.tar.gz")
    return mirror


async def get(client: Any, path: str = PATH, **headers: str) -> tuple[int, bytes, Any]:
    """Status, body and headers."""
    async with client.get(path, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def test_a_file_comes_whole_with_its_length_and_validators(stocked: BrokenMirror, app_client: MakeClient) -> None:
    status_, body, headers = await get(await app_client())
    assert (status_, body) == (200, WHEEL)
    assert int(headers["Content-Length"]) == len(WHEEL)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["ETag"]


@pytest.mark.parametrize("quirk", [None, ignores_range()], ids=["honest mirror", "mirror that ignores ranges"])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=1000-", 1000, len(WHEEL) - 1),
        ("bytes=-500", len(WHEEL) - 500, len(WHEEL) - 1),
        ("bytes=-99999999", 0, len(WHEEL) - 1),
        ("bytes=5-99999999", 5, len(WHEEL) - 1),
    ],
)
async def test_a_range_is_served_exactly(
    stocked: BrokenMirror, app_client: MakeClient, quirk: Any, asked: str, first: int, last: int
) -> None:
    if quirk is not None:
        stocked.fault(NAME, quirk)
    status_, body, headers = await get(await app_client(), Range=asked)
    assert (status_, body) == (206, WHEEL[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/{len(WHEEL)}"
    assert not [each for each in stocked.asked if (each.range or "").startswith("bytes=-")]


async def test_a_range_beyond_the_end_is_416_with_the_length(stocked: BrokenMirror, app_client: MakeClient) -> None:
    status_, _, headers = await get(await app_client(), Range=f"bytes={len(WHEEL)}-")
    assert status_ == 416
    assert headers["Content-Range"] == f"bytes */{len(WHEEL)}"


@pytest.mark.parametrize("code", [400, 405, 416, 501])
async def test_a_part_is_cut_out_of_the_whole_where_the_mirror_answers_every_range_with_an_error(
    stocked: BrokenMirror, app_client: MakeClient, code: int
) -> None:
    stocked.fault(NAME, delivers_only_plain_get(status(code, {"Content-Range": "bytes */0"})))
    status_, body, headers = await get(await app_client(), Range="bytes=1-5")
    assert (status_, body) == (206, WHEEL[1:6])
    assert headers["Content-Range"] == f"bytes 1-5/{len(WHEEL)}"


@pytest.mark.parametrize("asked", ["bytes=1-2,5-6", "items=0-1", "bytes=5-2", "nonsense"])
async def test_what_is_no_single_range_gets_the_whole_file(stocked: BrokenMirror, app_client: MakeClient, asked: str) -> None:
    status_, body, _ = await get(await app_client(), Range=asked)
    assert (status_, body) == (200, WHEEL)


async def test_where_a_partial_answer_contradicts_the_question_the_part_is_cut_out_of_the_whole(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    await get(client, "/simple/demo/")
    stocked.fault(NAME, wrong_content_range(), methods=("GET",))
    assert (await get(client, Range="bytes=100-199"))[:2] == (206, WHEEL[100:200])


async def test_if_range_gives_the_part_for_the_same_file_and_the_whole_for_another(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    etag = (await get(client))[2]["ETag"]
    assert (await get(client, Range="bytes=0-9", **{"If-Range": etag}))[:2] == (206, WHEEL[:10])
    assert (await get(client, Range="bytes=0-9", **{"If-Range": '"other"'}))[:2] == (200, WHEEL)


async def test_a_file_that_the_client_has_is_304(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    etag = (await get(client))[2]["ETag"]
    assert (await get(client, **{"If-None-Match": etag}))[0] == 304


@pytest.mark.parametrize("code", [None, 404, 405, 403])
async def test_head_is_answered_by_the_proxy_even_where_the_mirror_has_no_head(
    stocked: BrokenMirror, app_client: MakeClient, code: int | None
) -> None:
    if code is not None:
        stocked.fault(NAME, lies_on_head(code))
    client = await app_client()
    async with client.head(PATH) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == len(WHEEL)
        assert response.headers["Accept-Ranges"] == "bytes"


async def test_a_break_in_the_middle_is_a_broken_transfer_and_never_a_short_200(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"retries": 0})
    await get(client, "/simple/demo/")
    stocked.fault(NAME, cut(promise=len(WHEEL), send=1000))
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(client)


async def test_a_break_in_the_middle_is_resumed_where_the_mirror_can(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await get(client, "/simple/demo/")
    etag = (await get(client))[2]["ETag"]
    stocked.fault(NAME, cut_once(etag), times=1)
    status_, body, _ = await get(client)
    assert (status_, body) == (200, WHEEL)
    assert stocked.asked_for(NAME)[-1].range == f"bytes=1000-{len(WHEEL) - 1}"


def cut_once(etag: str) -> Any:
    """Sends the beginning of the wheel under its ETag, then hangs up."""

    async def fault(target: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Length": str(len(WHEEL)), "ETag": etag})
        await response.prepare(target.request)
        await response.write(WHEEL[:1000])
        if target.request.transport is not None:
            await asyncio.sleep(0.05)
            target.request.transport.close()
        return response

    return fault


@pytest.mark.parametrize(
    ("fault", "expected", "upstream_status"),
    [
        (artifactory_404(), 502, 404),
        (status(410), 502, 410),
        (status(403), 403, 403),
        (status(451), 403, 451),
        (status(500), 502, 500),
        (status(503), 503, 503),
        (status(504), 504, 504),
        (status(429), 503, 429),
        (wrong_type(), 502, 200),
        (empty(), 502, 200),
        (reset(), 502, None),
    ],
    ids=["404", "410", "403", "451", "500", "503", "504", "429", "html", "empty", "reset"],
)
async def test_a_file_that_the_mirror_fails_to_deliver_is_told_with_its_status_and_never_404(
    stocked: BrokenMirror, app_client: MakeClient, fault: Any, expected: int, upstream_status: int | None
) -> None:
    client = await app_client(upstream={"retries": 0})
    await get(client, "/simple/demo/")
    stocked.fault(NAME, fault)
    async with client.get(PATH) as response:
        assert response.status == expected
        assert response.content_type == "application/problem+json"
        told = await response.json(content_type=None)
    assert told.get("upstream_status") == upstream_status
    assert told["title"]
    assert told["upstream"] == stocked.url


async def test_404_is_for_files_that_the_page_does_not_list(stocked: BrokenMirror, app_client: MakeClient) -> None:
    status_, body, _ = await get(await app_client(), "/files/demo/demo-9.9-py3-none-any.whl")
    assert status_ == 404
    assert b"lists no" in body


async def test_a_request_that_fails_corrects_the_verdict_at_once_and_so_does_one_that_succeeds(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    assert NAME in (await get(client, "/simple/demo/"))[1].decode()
    rule = stocked.fault(NAME, artifactory_404())
    stocked.add("demo-1.0-py2-none-any.whl")
    assert (await get(client))[0] == 502
    assert NAME not in (await get(client, "/simple/demo/"))[1].decode()
    stocked.heal(rule)
    assert (await get(client))[:2] == (200, WHEEL)
    assert NAME in (await get(client, "/simple/demo/"))[1].decode()


async def test_redirect_mode_sends_whole_files_to_the_mirror_and_answers_ranges_itself(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(links={"mode": "redirect"})
    async with client.get(PATH, allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers["Location"] == stocked.file_url(NAME)
    assert (await get(client, Range="bytes=0-9"))[:2] == (206, WHEEL[:10])


@pytest.mark.parametrize("advertised", [False, True, "hash"])
async def test_core_metadata_is_served_for_every_wheel_with_the_bytes_of_the_wheel(
    mirror: BrokenMirror, app_client: MakeClient, advertised: Any
) -> None:
    mirror.add(NAME, WHEEL, core_metadata=advertised)
    client = await app_client()
    status_, body, _ = await get(client, PATH + ".metadata")
    assert status_ == 200
    assert body.startswith(b"Metadata-Version")
    assert b"\nName: demo" in body
    if advertised == "hash":
        page = await get(client, "/simple/demo/", Accept="application/vnd.pypi.simple.v1+json")
        assert hashlib.sha256(body).hexdigest() in page[1].decode()


async def test_metadata_of_a_dead_wheel_is_a_siblings_and_marked(mirror: BrokenMirror, app_client: MakeClient) -> None:
    dead = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"
    mirror.add(NAME, WHEEL)
    mirror.add(dead)
    mirror.fault(dead, artifactory_404())
    status_, body, headers = await get(await app_client(), f"/files/demo/{dead}.metadata")
    assert status_ == 200
    assert headers["Mirrormend-Metadata-From"] == NAME
    assert b"\nName: demo" in body


async def test_metadata_that_cannot_be_had_is_502_with_what_was_tried(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, b"this is no wheel at all")
    client = await app_client()
    status_, body, _ = await get(client, PATH + ".metadata")
    assert status_ == 502
    assert b"no sound zip file" in body
    assert b"core-metadata" not in (await get(client, "/simple/demo/", Accept="application/vnd.pypi.simple.v1+json"))[1]


async def test_a_name_with_odd_letters_is_asked_for_as_the_page_spells_it(mirror: BrokenMirror, app_client: MakeClient) -> None:
    name = "demo-1.0+local.1-py3-none-any.whl"
    mirror.add(name, make_wheel(name), url="../../packages/packages/odd/demo-1.0%2Blocal.1-py3-none-any.whl")
    client = await app_client()
    await get(client, f"/files/demo/{name}")
    assert mirror.asked[-1].path.endswith("/odd/demo-1.0%2Blocal.1-py3-none-any.whl")


async def test_a_file_that_is_replaced_under_its_name_does_not_keep_the_old_metadata(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, make_wheel(NAME, requires_dist=["before"]))
    client = await app_client(upstream={"fresh": 0})
    assert b"before" in (await get(client, PATH + ".metadata"))[1]
    mirror.add(NAME, make_wheel(NAME, requires_dist=["after"]))
    await get(client, "/simple/demo/")
    assert b"after" in (await get(client, PATH + ".metadata"))[1]


async def test_a_redirect_leads_to_the_address_as_the_page_spells_it(mirror: BrokenMirror, app_client: MakeClient) -> None:
    name = "demo-1.0+local.1-py3-none-any.whl"
    mirror.add(name, url="../../packages/packages/odd/demo-1.0%2Blocal.1-py3-none-any.whl?key=a%2Fb+c")
    client = await app_client(links={"mode": "redirect"})
    async with client.get(f"/files/demo/{name}", allow_redirects=False) as response:
        assert response.headers["Location"].endswith("/odd/demo-1.0%2Blocal.1-py3-none-any.whl?key=a%2Fb+c")


async def test_a_redirect_is_never_to_what_is_no_address_nor_with_user_information(mirror: BrokenMirror, app_client: MakeClient) -> None:
    nowhere, secret = NAME, "demo-2.0-py3-none-any.whl"
    mirror.add(nowhere, url=f"http://127.0.0.1:99999999/{nowhere}")
    mirror.add(secret, url=f"http://user:geheim@127.0.0.1:9/\u00e9/{secret}")
    client = await app_client(links={"mode": "redirect"})
    async with client.get(f"/files/demo/{nowhere}", allow_redirects=False) as response:
        assert (response.status, (await response.json())["title"]) == (502, "The mirror's link leads to an address that is not allowed")
    async with client.get(f"/files/demo/{secret}", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, f"http://127.0.0.1:9/%C3%A9/{secret}")


@pytest.mark.parametrize("kind", ["Text/HTML", "image/svg+xml", "application/xhtml+xml"])
async def test_no_file_is_a_page_of_the_proxys_own_address(mirror: BrokenMirror, app_client: MakeClient, kind: str) -> None:
    page = b"<script>alert(1)</script>"
    mirror.add(NAME, page)
    mirror.fault(NAME, status(200, {"Content-Type": kind}, page))
    _, body, headers = await get(await app_client(), PATH)
    assert (body, headers["Content-Type"]) == (page, "application/octet-stream")


async def test_direct_pages_advertise_only_metadata_that_the_mirror_was_seen_to_have(mirror: BrokenMirror, app_client: MakeClient) -> None:
    good, bad = NAME, "demo-2.0-py3-none-any.whl"
    mirror.add(good, core_metadata=True)
    mirror.add(bad, core_metadata=True)
    mirror.fault(f"metadata:{bad}", status(404))
    client = await app_client(links={"mode": "direct"})
    for name in (good, bad):
        assert (await get(client, f"/files/demo/{name}.metadata"))[0] == 200
    body = (await get(client, "/simple/demo/", Accept="application/vnd.pypi.simple.v1+json"))[1]
    offered = {file["filename"]: file.get("core-metadata") for file in json.loads(body)["files"]}
    assert offered == {good: True, bad: None}


async def test_a_large_wheel_of_a_mirror_without_ranges_is_not_advertised(mirror: BrokenMirror, app_client: MakeClient) -> None:
    large = "large-1.0-py3-none-any.whl"
    mirror.add(NAME)
    mirror.add(large, extra={"size": 10**9})
    mirror.fault("*.whl", ignores_range())
    client = await app_client()
    await get(client, PATH + ".metadata")
    body = (await get(client, "/simple/large/", Accept="application/vnd.pypi.simple.v1+json"))[1]
    assert "core-metadata" not in json.loads(body)["files"][0]
