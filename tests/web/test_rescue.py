"""Files that the mirror lists and cannot deliver, from a second index: the right bytes, or none."""

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import artifactory_404, cut, empty, hang, ignores_range, reset, status, without_length, wrong_type
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.wheels import make_wheel, metadata_of

JSON = "application/vnd.pypi.simple.v1+json"
DEAD, ALIVE = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl", "demo-1.0-py3-none-any.whl"
WHEEL = make_wheel(DEAD, payload=bytes(range(256)) * 8000)
PATH = f"/files/demo/{DEAD}"


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index, which has the file that the mirror lost."""
    async with BrokenMirror() as running:
        running.add(DEAD, WHEEL)
        running.add(ALIVE)
        yield running


@pytest.fixture
def lossy(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists two releases, and answers 404 for the newer one's wheel."""
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL)
    mirror.add("demo-2.0.tar.gz")
    mirror.fault(DEAD, artifactory_404())
    return mirror


async def get(client: Any, path: str = PATH, **headers: str) -> tuple[int, bytes, Any]:
    """Status, body and headers."""
    async with client.get(path, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def names(client: Any, **headers: str) -> list[str]:
    """The names of the files on the page."""
    return [entry["filename"] for entry in json.loads((await get(client, "/simple/demo/", Accept=JSON, **headers))[1])["files"]]


def rescue(whole: BrokenMirror, **settings: Any) -> dict[str, Any]:
    """The settings of a rescue from the reference."""
    return {"reference": {"url": whole.url}, "rescue": {"enabled": True, **settings}}


async def test_a_dead_file_comes_from_the_second_index_and_says_so(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    code, body, headers = await get(await app_client(**rescue(whole)))
    assert (code, body) == (200, WHEEL)
    assert int(headers["Content-Length"]) == len(WHEEL)
    assert headers["Mirrormend-Rescued-From"] == whole.url
    assert headers["ETag"] == f'"{sha256(WHEEL).hexdigest()[:32]}"'


async def test_it_is_off_unless_it_is_enabled(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(reference={"url": whole.url})
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert not whole.asked_for(DEAD)


async def test_it_may_have_an_index_of_its_own(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(rescue={"enabled": True, "url": whole.url})
    assert (await get(client))[:2] == (200, WHEEL)
    assert "upload-time" not in (await get(client, "/simple/demo/", Accept=JSON))[1].decode()


async def test_the_page_keeps_what_can_be_rescued_and_counts_it(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole))
    assert await names(client) == [ALIVE, DEAD, "demo-2.0.tar.gz"]
    headers = (await get(client, "/simple/demo/"))[2]
    assert headers["Mirrormend-Rescued"] == "1"
    assert headers["Mirrormend-Dropped"] == "0"


async def test_the_page_for_people_and_the_explanation_tell_of_it(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole))
    assert DEAD in await names(client)
    shown = (await get(client, "/?mirror=default&project=demo"))[1].decode()
    assert "1 comes from the second index" in shown
    assert f'<tr><td class="name">{DEAD}</td><td class="rescued">rescued</td>' in shown
    told = json.loads((await get(client, f"/explain/demo/{DEAD}"))[1])
    assert (told["listed"], told["verdict"]["cause"]) == (True, "absent")
    assert "second index" in told["says"]


async def test_a_file_that_is_known_to_be_dead_is_not_asked_for_at_the_mirror_again(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(**rescue(whole))
    await names(client)
    asked = len(lossy.asked_for(DEAD))
    assert (await get(client))[:2] == (200, WHEEL)
    assert len(lossy.asked_for(DEAD)) == asked


async def test_after_a_while_the_mirror_is_asked_first_again(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole), verdict={"no": 0})
    assert DEAD in await names(client)
    lossy.heal()
    _, body, headers = await get(client)
    assert body == WHEEL
    assert "Mirrormend-Rescued-From" not in headers


@pytest.mark.parametrize("content", [WHEEL[:-1] + b"!", WHEEL[:-1], WHEEL + b"!"], ids=["changed", "short", "long"])
async def test_a_file_of_other_bytes_never_comes_to_its_end(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, content: bytes
) -> None:
    async def other(target: Any) -> Any:
        body = content if target.request.method == "GET" else None
        return web.Response(body=body, headers={"Content-Type": "application/zip"})

    lossy.forms = {"html"}
    whole.fault(DEAD, other)
    # Neither page tells the size, so that only the hash can.
    client = await app_client(**rescue(whole) | {"reference": {"url": whole.url, "fields": ["upload-time"]}})
    assert DEAD in await names(client)
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(client)


async def test_a_small_file_of_other_bytes_is_not_even_begun(mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(ALIVE, None, hashes={"sha256": sha256(make_wheel(ALIVE)).hexdigest()})
    mirror.add("demo-1.0.tar.gz")
    whole.fault(ALIVE, status(200, {"Content-Type": "application/zip"}, bytes(len(make_wheel(ALIVE)))))
    code, body, headers = await get(await app_client(**rescue(whole)), f"/files/demo/{ALIVE}")
    assert (code, headers["Content-Type"]) == (502, "application/problem+json")
    assert b"does not deliver" in body


async def test_a_file_of_another_length_than_the_page_says_is_not_even_begun(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    whole.fault(DEAD, status(200, {"Content-Type": "application/zip"}, WHEEL + b"!"))
    code, _, headers = await get(await app_client(**rescue(whole)))
    assert (code, headers["Content-Type"]) == (502, "application/problem+json")


async def test_a_source_that_fails_is_dropped_from_the_page_again(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole))
    assert DEAD in await names(client)
    whole.fault(DEAD, artifactory_404())
    assert (await get(client))[0] == 502
    assert DEAD not in await names(client)


async def test_a_source_that_fails_in_passing_is_tried_again(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, **rescue(whole))
    whole.fault(DEAD, status(503, {"Retry-After": "20"}), times=1)
    assert (await get(client))[0] == 502
    assert DEAD not in await names(client)
    clock.passes(30)
    assert DEAD in await names(client)
    assert (await get(client))[:2] == (200, WHEEL)


async def test_a_break_at_the_second_index_is_a_broken_transfer(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole))
    whole.fault(DEAD, cut(promise=len(WHEEL), send=len(WHEEL) - 1), methods=("GET",))
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(client)


@pytest.mark.parametrize("code", [403, 451, 401])
async def test_what_the_mirror_refuses_is_never_fetched_elsewhere(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, code: int
) -> None:
    lossy.heal()
    lossy.fault(DEAD, status(code))
    every = ["absent", "no-file", "no-answer", "mirror-error"]
    client = await app_client(**rescue(whole, causes=every))
    assert (DEAD in await names(client)) == (code == 401)
    assert (await get(client))[0] == (401 if code == 401 else 403)
    assert (await get(client, PATH + ".metadata"))[1] != metadata_of(WHEEL)
    assert not whole.asked_for(DEAD)


async def test_nor_is_the_metadata_of_what_it_refuses(mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL)
    mirror.fault(DEAD, status(403))
    client = await app_client(**rescue(whole))
    await names(client)
    assert (await get(client, PATH + ".metadata"))[0] == 502
    assert not whole.asked_for(DEAD)


@pytest.mark.parametrize(
    ("fault", "causes", "rescued"),
    [
        (status(410), ["absent"], True),
        (artifactory_404(), ["no-file"], False),
        (empty(), ["no-file"], True),
        (wrong_type(), ["no-file"], True),
        (wrong_type(), ["absent"], False),
        (reset(), ["absent", "no-file"], False),
        (reset(), ["no-answer"], True),
        (hang(20), ["no-answer"], True),
        (status(500), ["absent", "no-file", "no-answer"], False),
        (status(503), ["mirror-error"], True),
        (status(429), ["absent", "no-file", "no-answer", "mirror-error"], False),
        (status(400), ["absent", "no-file", "no-answer", "mirror-error"], False),
    ],
    ids=[
        "410",
        "404 not chosen",
        "empty",
        "html",
        "html not chosen",
        "reset not chosen",
        "reset",
        "hangs",
        "500 not chosen",
        "503",
        "429",
        "400",
    ],
)
async def test_the_causes_that_are_chosen_are_rescued_from_and_no_others(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Any, causes: list[str], rescued: bool
) -> None:
    lossy.heal()
    client = await app_client(**rescue(whole, causes=causes), upstream={"retries": 0, "read_timeout": 0.5})
    await names(client)
    lossy.fault(DEAD, fault)
    code, body, _ = await get(client)
    assert (code == 200 and body == WHEEL) == rescued
    assert bool(whole.asked_for(DEAD)) == rescued


async def test_a_file_without_a_sha256_is_dropped_as_before(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    lossy.add(DEAD, WHEEL, hashes={"md5": "0123456789abcdef" * 2})
    client = await app_client(**rescue(whole))
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert not whole.asked_for(DEAD)


async def test_a_file_of_another_hash_or_of_another_name_is_no_source(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    whole.add(DEAD, make_wheel(DEAD))
    whole.add("demo-2.0-1-cp312-cp312-macosx_11_0_arm64.whl", WHEEL)
    client = await app_client(**rescue(whole))
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502
    assert whole.count(kind="file") == 0


async def test_what_only_the_second_index_lists_is_no_file_and_no_project(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    whole.add(new := "demo-3.0-py3-none-any.whl")
    whole.add("other-1.0-py3-none-any.whl")
    client = await app_client(**rescue(whole))
    assert new not in await names(client)
    assert (await get(client, f"/files/demo/{new}"))[0] == 404
    assert (await get(client, f"/files/demo/{new}.metadata"))[0] == 404
    assert (await get(client, "/simple/other/"))[0] == 404
    assert (await get(client, "/files/other/other-1.0-py3-none-any.whl"))[0] == 404


async def test_excluded_projects_are_not_rescued(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole, exclude=["d*"]))
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502


async def test_no_credentials_of_the_client_or_of_the_mirror_reach_the_second_index(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(**rescue(whole), upstream={"username": "reader", "password": "s3cret"})
    for headers in ({}, {"Authorization": "Basic bWU6bXktb3du", "Cookie": "a=b"}):
        assert DEAD in await names(client, **headers)
        assert (await get(client, **headers))[:2] == (200, WHEEL)
    assert whole.asked_for(DEAD)
    assert not any({"Authorization", "Cookie"} & set(each.headers) for each in whole.asked)


async def test_ranges_are_answered_with_the_whole_and_not_offered(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    code, body, headers = await get(await app_client(**rescue(whole)), Range="bytes=0-9")
    assert (code, body, headers["Accept-Ranges"]) == (200, WHEEL, "none")


async def test_head_tells_the_length_and_that_there_are_no_ranges(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    async with (await app_client(**rescue(whole))).head(PATH) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == len(WHEEL)
        assert response.headers["Accept-Ranges"] == "none"


async def test_who_has_the_file_is_told_so(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole))
    etag = (await get(client))[2]["ETag"]
    assert (await get(client, **{"If-None-Match": etag}))[0] == 304


async def test_in_redirect_mode_a_rescued_file_is_streamed(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(**rescue(whole), links={"mode": "redirect"})
    assert DEAD in await names(client)
    async with client.get(PATH, allow_redirects=False) as response:
        assert (response.status, await response.read()) == (200, WHEEL)


@pytest.mark.parametrize("advertised", [False, "hash"], ids=["from the wheel", "the copy, by the mirror's hash"])
async def test_metadata_of_the_only_wheel_of_a_release_is_that_of_the_rescued_one(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, advertised: Any
) -> None:
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL, core_metadata=advertised)
    whole.add(DEAD, WHEEL, core_metadata=advertised)
    mirror.fault(DEAD, artifactory_404())
    mirror.fault(f"metadata:{DEAD}", artifactory_404())
    client = await app_client(**rescue(whole))
    await names(client)
    code, body, headers = await get(client, PATH + ".metadata")
    assert (code, body) == (200, metadata_of(WHEEL))
    assert "Mirrormend-Metadata-From" not in headers
    assert bool(whole.asked_for(DEAD)) == (advertised is False)


@pytest.mark.parametrize("told", [True, False], ids=["by its length", "while it comes"])
async def test_a_wheel_that_is_too_large_to_be_read_for_its_metadata_is_rescued_all_the_same(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr("proxy.index.checked._WHEEL_LIMIT", 300_000)
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL)
    mirror.fault(DEAD, artifactory_404())
    if not told:
        whole.fault(DEAD, without_length())
    client = await app_client(**rescue(whole))
    await names(client)
    assert (await get(client, PATH + ".metadata"))[0] == 502
    page = json.loads((await get(client, "/simple/demo/", Accept=JSON))[1])
    # Clients that are promised no metadata take it out of the wheel.
    assert [entry.get("core-metadata", False) for entry in page["files"] if entry["filename"] == DEAD] == [False]
    assert (await get(client))[:2] == (200, WHEEL)


async def test_metadata_is_not_read_out_of_a_wheel_of_other_bytes(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(ALIVE)
    mirror.add(DEAD, WHEEL)
    mirror.fault(DEAD, artifactory_404())
    forged = make_wheel(DEAD, requires_dist=["evil"])
    whole.fault(DEAD, status(200, {"Content-Type": "application/zip"}, forged))
    client = await app_client(**rescue(whole))
    await names(client)
    code, body, _ = await get(client, PATH + ".metadata")
    assert code == 502
    assert b"evil" not in body


async def test_a_second_index_out_of_reach_changes_nothing(lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    await whole.stop()
    client = await app_client(**rescue(whole))
    assert DEAD not in await names(client)
    assert (await get(client))[0] == 502


async def test_what_is_found_late_is_on_the_page_when_it_is_asked_for_again(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    release = asyncio.Event()

    async def held_back(_: Any) -> None:
        await release.wait()

    whole.fault("page:demo", held_back)
    client = await app_client(reference={"url": whole.url, "patience": 0.1}, rescue={"enabled": True})
    assert DEAD not in await names(client)
    release.set()

    async def is_listed() -> bool:
        return DEAD in await names(client)

    await eventually(is_listed)


async def test_a_mirror_that_ignores_ranges_is_still_the_first_choice(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    lossy.heal()
    lossy.fault("*", ignores_range())
    assert (await get(await app_client(**rescue(whole))))[1] == WHEEL
    assert not whole.asked_for(DEAD)


@pytest.mark.parametrize("wrong", [-1000, -1, 1, 100_000])
@pytest.mark.parametrize("fault", [None, without_length()], ids=["length", "chunked"])
async def test_a_wrong_size_on_the_mirror_s_page_breaks_no_rescue(
    lossy: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, wrong: int, fault: Any
) -> None:
    lossy.add(DEAD, WHEEL, size=len(WHEEL) + wrong)
    if fault is not None:
        whole.fault(DEAD, fault, methods=("GET",))
    client = await app_client(**rescue(whole))
    for _ in range(2):
        assert (await get(client))[:2] == (200, WHEEL)
    assert DEAD in await names(client)


INTACT = make_wheel(ALIVE, payload=bytes(200_000))
OTHER_BYTES = {
    "changed": INTACT[:-1] + b"!",
    "short": INTACT[:-1],
    "long": INTACT + b"!",
    "zeros": bytes(len(INTACT)),
    "none": b"",
}


@pytest.mark.parametrize("content", OTHER_BYTES.values(), ids=OTHER_BYTES.keys())
async def test_a_file_whose_bytes_at_the_mirror_are_other_ones_is_rescued(
    mirror: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, content: bytes
) -> None:
    mirror.add(ALIVE, INTACT)
    mirror.add("demo-1.0.tar.gz")
    whole.add(ALIVE, INTACT)
    mirror.fault(ALIVE, status(200, {"Content-Type": "application/zip"}, content), methods=("GET",))
    client = await app_client(**rescue(whole))
    for _ in range(2):
        assert (await get(client, f"/files/demo/{ALIVE}"))[:2] == (200, INTACT)
