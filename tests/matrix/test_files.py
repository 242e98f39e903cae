"""Faults of distribution files and their metadata."""

import gzip
from hashlib import sha256

import pytest
from aiohttp import ClientPayloadError, web

from tests import hostile
from tests.faults import (
    Fault,
    Target,
    artifactory_404,
    cut,
    empty,
    ignores_range,
    lies_on_head,
    redirects,
    reset,
    status,
    wrong_content_range,
    wrong_type,
)
from tests.listing import content_by_name
from tests.matrix.names import ALL, LINUX, MAC, OLD, SDIST, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror
from tests.stalls import LoopWatch
from tests.waiting import eventually
from tests.wheels import make_wheel, metadata_of


@row(3, "no core metadata and no usable ranges", "serves `.metadata` read out of the wheel, and right ranges of any file")
async def test_03_metadata_and_ranges_of_a_mirror_that_has_neither(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault("*", ignores_range())
    proxied = await site()
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == metadata_of(content_by_name(LINUX))
    code, headers, body = await proxied.get(f"/files/demo/{LINUX}", Range="bytes=10-19")
    assert (code, body) == (206, content_by_name(LINUX)[10:20])
    assert headers["content-range"] == f"bytes 10-19/{len(content_by_name(LINUX))}"


@row(5, "a listed file answers 404", "drops the link, once a GET confirmed it and the mirror delivered another file")
async def test_05_a_listed_file_answers_404(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, artifactory_404())
    proxied = await site()
    direct = await proxied.lock(index=stocked.url)
    assert not direct.ok
    assert MAC in direct.stderr
    assert set((await proxied.lock()).files) == {LINUX, SDIST}


@row(5, "a listed file answers 404", "fetches it from a second index where `[rescue]` is enabled: with the page's sha256, or not at all")
async def test_05_a_dead_file_is_rescued(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, artifactory_404())
    async with BrokenMirror() as whole:
        whole.add(MAC)
        proxied = await site(rescue={"enabled": True, "url": whole.url})
        assert set((await proxied.lock()).files) == {MAC, LINUX, SDIST}
        assert (await proxied.get(f"/files/demo/{MAC}"))[2] == content_by_name(MAC)
        whole.add(MAC, content_by_name(LINUX), hashes={"sha256": sha256(content_by_name(MAC)).hexdigest()})
        assert (await proxied.problem(f"/files/demo/{MAC}"))["status"] == 502


@row(7, "a policy blocks a file with 403", "never fetches it elsewhere")
async def test_07_a_blocked_file_is_not_rescued(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, status(403))
    async with BrokenMirror() as whole:
        whole.add(MAC)
        proxied = await site(rescue={"enabled": True, "url": whole.url})
        assert set((await proxied.lock()).files) == {LINUX, SDIST}
        assert (await proxied.problem(f"/files/demo/{MAC}"))["status"] == 403
        assert not whole.asked


@pytest.mark.parametrize("code", [404, 403, 502, 507])
@row(6, "`.metadata` is advertised and answers 404, 403, 502 or 507", "reads the metadata out of the wheel, and serves it itself")
async def test_06_metadata_is_advertised_and_missing(mirror: BrokenMirror, site: MakeSite, code: int) -> None:
    mirror.add(LINUX, core_metadata="hash")
    mirror.fault("metadata:*", status(code))
    proxied = await site()
    if code == 404:
        assert not (await proxied.lock(index=mirror.url)).ok
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == metadata_of(content_by_name(LINUX))


@row(6, "`.metadata` and the file fail in passing", "serves another wheel's metadata once, marked and kept by nobody; then the file's own")
async def test_06_metadata_fails_in_passing(stocked: BrokenMirror, site: MakeSite) -> None:
    own, another = make_wheel(LINUX, requires_dist=["needed"]), make_wheel(MAC)
    stocked.add(LINUX, own, core_metadata="hash")
    stocked.add(MAC, another)
    for name in (LINUX, f"metadata:{LINUX}"):
        stocked.fault(name, status(503))
    proxied = await site(upstream={"retries": 0})
    code, headers, body = await proxied.get(f"/files/demo/{LINUX}.metadata")
    assert (code, headers["cache-control"], headers["mirrormend-metadata-from"]) == (200, "no-store", MAC)
    assert body == metadata_of(another)
    stocked.heal()
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == metadata_of(own)


@row(6, "METADATA has a local version that the file's name lacks, or the other way round", "serves it: uv takes it as the same release")
async def test_06_a_local_version_in_one_place_only(mirror: BrokenMirror, site: MakeSite) -> None:
    said = "Metadata-Version: 2.1\nName: demo\nVersion: 2.0+cu118\n"
    mirror.add("demo-2.0-py3-none-any.whl", make_wheel("demo-2.0-py3-none-any.whl", metadata=said), core_metadata="hash")
    proxied = await site()
    assert (await proxied.lock(index=mirror.url)).packages == {"demo": "2.0"}
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert (await proxied.get("/files/demo/demo-2.0-py3-none-any.whl.metadata"))[2] == said.encode()


@row(6, "a wheel or an sdist unpacks to millions of headers or members", "reads what it needs within bounds, off the event loop, and once")
async def test_06_metadata_without_end(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(OLD, hostile.zipped(hostile.lines(b"A:\n")))
    proxied = await site()
    async with LoopWatch() as watch:
        code, _, body = await proxied.get(f"/files/demo/{OLD}.metadata")
    assert (code, len(body) > 8_000_000) == (200, True)
    # The mirror's own work on this event loop is in it; reading all headers takes half a minute.
    assert watch.processor < 0.5


@row(7, "a policy blocks a file with 403", "drops it where other files come and the answer repeats; a request for it says why it fails")
async def test_07_a_policy_blocks_a_file(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, status(403, {"Content-Type": "application/json"}, b'{"message":"blocked by policy"}'))
    proxied = await site()
    assert not (await proxied.lock(index=stocked.url)).ok
    assert set((await proxied.lock()).files) == {LINUX, SDIST}
    told = await proxied.problem(f"/files/demo/{MAC}")
    assert (told["status"], told["upstream_status"]) == (403, 403)


@pytest.mark.parametrize("code", [400, 403, 404, 405, 500, 501])
@row(8, "HEAD fails for a file that GET delivers", "asks again with GET and one byte; answers HEAD itself")
async def test_08_head_fails_where_get_delivers(stocked: BrokenMirror, site: MakeSite, code: int) -> None:
    stocked.fault("*", lies_on_head(code))
    proxied = await site()
    assert await proxied.names() == ALL
    async with proxied.client.head(f"/files/demo/{LINUX}") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == len(content_by_name(LINUX))


@row(
    8,
    "HEAD promises all files, GET denies some",
    "asks by GET for an hour once a promise is proven broken, by what a client wants or by metadata that is read",
)
async def test_08_head_promises_all_files(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, artifactory_404(), methods=("GET",))
    proxied = await site(verdict={"confirm": 0})

    async def gone() -> bool:
        return await proxied.names() == [name for name in ALL if name != MAC]

    await eventually(gone)
    others = (f"other{number}" for number in range(1000))

    async def asked_by_get() -> bool:
        stocked.forget()
        project = next(others)
        stocked.add(f"{project}-1.0.tar.gz")
        await proxied.names(project)
        return not stocked.count(kind="file", method="HEAD")

    await eventually(asked_by_get)


@row(8, "HEAD promises a file that GET denies", "finds out when its metadata is asked for, serves another wheel's, and drops the file")
async def test_08_head_promises_what_get_denies(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(MAC, artifactory_404(), methods=("GET",))
    proxied = await site()
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert await proxied.names() == [OLD, LINUX, SDIST]


@pytest.mark.parametrize("fault", [ignores_range(), wrong_content_range()], ids=["ignored", "wrong"])
@row(9, "ranges are ignored, or answered with other bytes", "checks every 206; serves right ranges, those from the end as well")
async def test_09_ranges_lie(stocked: BrokenMirror, site: MakeSite, fault: Fault) -> None:
    stocked.fault("*", fault)
    proxied = await site()
    wheel = content_by_name(LINUX)
    for asked, part in ((f"bytes=-{len(wheel) + 10}", wheel), ("bytes=-20", wheel[-20:]), ("bytes=5-", wheel[5:])):
        code, _, body = await proxied.get(f"/files/demo/{LINUX}", Range=asked)
        assert (code, body) == (206, part)
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == metadata_of(wheel)
    assert (await proxied.lock()).packages == {"demo": "2.0"}


@row(10, "a file breaks off in the middle", "goes on where it broke, or breaks the client's transfer as well: never a short file")
async def test_10_a_file_breaks_off(stocked: BrokenMirror, site: MakeSite) -> None:
    wheel = content_by_name(LINUX)
    proxied = await site()
    await proxied.names()
    stocked.fault(LINUX, cut(promise=len(wheel), send=40), methods=("GET",))
    with pytest.raises(ClientPayloadError):
        await proxied.get(f"/files/demo/{LINUX}")
    stocked.heal()
    stocked.fault(LINUX, cut(promise=len(wheel), send=40), methods=("GET",), times=1)
    assert (await proxied.get(f"/files/demo/{LINUX}"))[2] == wheel


@row(10, "a file is empty, with status 200", "is told from the file, and answered by an error")
async def test_10_a_file_is_empty(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site()
    await proxied.names()
    stocked.fault(LINUX, empty())
    assert (await proxied.problem(f"/files/demo/{LINUX}"))["status"] == 502


@row(15, "a redirect leads to where the client cannot go", "follows it, and streams what is there")
async def test_15_a_redirect_is_followed_for_the_client(stocked: BrokenMirror, site: MakeSite) -> None:
    async with BrokenMirror() as storage:
        storage.add(LINUX)
        stocked.fault(LINUX, redirects(storage.file_url(LINUX)))
        proxied = await site(upstream={"allow_hosts": [storage.origin.removeprefix("http://")]})
        assert await proxied.names() == ALL
        async with proxied.client.get(f"/files/demo/{LINUX}", allow_redirects=False) as response:
            assert (response.status, await response.read()) == (200, content_by_name(LINUX))
    assert not any("Authorization" in each.headers for each in storage.asked)


@row(19, "`Content-Encoding: gzip` on a `.tar.gz`", "asks for no coding, and passes the bytes as they are without that header")
async def test_19_a_coding_is_claimed_that_is_the_files_own(stocked: BrokenMirror, site: MakeSite) -> None:
    async def mislabelled(target: Target) -> web.StreamResponse:
        assert target.request.headers["Accept-Encoding"] == "identity"
        response = web.Response(body=target.data if target.request.method == "GET" else None)
        response.headers["Content-Encoding"] = "gzip"
        return response

    stocked.fault(SDIST, mislabelled)
    proxied = await site()
    code, headers, body = await proxied.get(f"/files/demo/{SDIST}", **{"Accept-Encoding": "gzip"})
    assert (code, body) == (200, content_by_name(SDIST))
    assert "content-encoding" not in headers


@row(19, "`.metadata` is coded with gzip although no coding was asked for", "decodes it where its first bytes and its content say so")
async def test_19_metadata_comes_coded(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(LINUX, core_metadata="hash")
    own = metadata_of(content_by_name(LINUX))
    mirror.fault(f"metadata:{LINUX}", status(200, body=gzip.compress(own)))
    proxied = await site()
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == own
    assert (await proxied.lock()).packages == {"demo": "2.0"}


@row(23, "eggs, installers and odd names are listed", "passes them through, and asks nothing about them")
async def test_23_legacy_files_are_not_touched(stocked: BrokenMirror, site: MakeSite) -> None:
    legacy = ["demo-0.9.win32.exe", "demo-0.9-py2.7.egg"]
    for name in legacy:
        stocked.add(name, name.encode(), project="demo")
    stocked.fault("*.exe", artifactory_404())
    proxied = await site()
    assert await proxied.names() == [*ALL, *legacy]
    assert not any(stocked.asked_for(name) for name in legacy)
    assert (await proxied.get(f"/files/demo/{legacy[1]}"))[2] == legacy[1].encode()


@pytest.mark.parametrize("fault", [reset(), status(503), status(500), wrong_type()], ids=["reset", "503", "500", "a login page"])
@row(4, "a file fails by resets, 5xx, or a page for people", "keeps it listed; a request for it says what happened")
async def test_04_a_file_fails_in_passing(stocked: BrokenMirror, site: MakeSite, fault: Fault) -> None:
    stocked.fault("*", fault)
    proxied = await site()
    assert await proxied.names() == ALL
    assert (await proxied.problem(f"/files/demo/{LINUX}"))["status"] in {502, 503}
