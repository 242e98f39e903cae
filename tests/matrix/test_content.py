"""Faults of the bytes of files: other ones than the page says, coded though nobody asked for it, and not to be cached."""

import gzip

import pytest
from aiohttp import ClientError, web

from proxy.server.file_transfer import HELD_WHOLE
from tests.faults import Fault, Target, redirects
from tests.listing import content_by_name
from tests.matrix.names import ALL, LINUX, SDIST, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

LARGE = "large-1.0-py3-none-any.whl"


def other_bytes() -> Fault:
    """Answer with as many bytes as the file has, of which one in the middle is another."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if target.request.method != "GET" or "Range" in target.request.headers:
            return None
        middle = len(target.data) // 2
        body = target.data[:middle] + bytes([target.data[middle] ^ 1]) + target.data[middle + 1 :]
        return web.Response(body=body, headers={"Content-Type": "application/octet-stream"})

    return fault


def coded(*, labelled: bool) -> Fault:
    """Send everything gzip-coded, and ranges of what is coded."""

    async def fault(target: Target) -> web.StreamResponse:
        body = gzip.compress(target.data)
        response = web.Response(body=body, headers={"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"})
        asked = target.request.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if asked[0]:
            first, last = int(asked[0]), min(int(asked[2] or len(body) - 1), len(body) - 1)
            response = web.Response(status=206, body=body[first : last + 1])
            response.headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        if labelled:
            response.headers["Content-Encoding"] = "gzip"
        return response

    return fault


@row(42, "a file has its right length and other bytes, once", "asks for it again, and sends the right ones")
async def test_42_other_bytes_once(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site()
    await proxied.names()
    stocked.fault(LINUX, other_bytes(), times=1)
    code, _, body = await proxied.get(f"/files/demo/{LINUX}")
    assert (code, body) == (200, content_by_name(LINUX))


@row(
    42, "a file has its right length and other bytes, always", "answers 502 with both digests, keeps it listed, and completes no such file"
)
async def test_42_other_bytes_always(stocked: BrokenMirror, site: MakeSite) -> None:
    wheel = make_wheel(LARGE, payload=bytes(range(251)) * (HELD_WHOLE // 100))
    stocked.add(LARGE, wheel)
    proxied = await site()
    await proxied.names()
    await proxied.get("/simple/large/")
    stocked.fault("*", other_bytes())
    told = await proxied.problem(f"/files/demo/{LINUX}")
    assert (told["status"], told["upstream_status"]) == (502, 200)
    assert "sha256" in told["detail"]
    with pytest.raises(ClientError):
        await proxied.get(f"/files/large/{LARGE}")
    assert await proxied.names() == ALL
    stocked.heal()
    assert (await proxied.get(f"/files/large/{LARGE}"))[2] == wheel


@pytest.mark.parametrize("sized", [True, False], ids=["with sizes", "without sizes"])
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "not labelled"])
@row(
    34,
    "files come gzip-coded though identity was asked for",
    "decodes them where the first bytes and the size say so; answers HEAD and ranges alike",
)
async def test_34_files_come_coded(mirror: BrokenMirror, site: MakeSite, *, labelled: bool, sized: bool) -> None:
    size = "auto" if sized else None
    names = [LINUX, "demo-2.0.zip", SDIST]
    for name in names:
        mirror.add(name, size=size, data=content_by_name(SDIST) if name == SDIST else content_by_name(LINUX))
    proxied = await site(probe={"budget": 0})
    await proxied.names()
    mirror.fault("*", coded(labelled=labelled))
    for name in names:
        content = content_by_name(SDIST) if name == SDIST else content_by_name(LINUX)
        code, headers, body = await proxied.get(f"/files/demo/{name}")
        assert (code, body) == (200, content), name
        assert "content-encoding" not in headers
        if labelled and sized:
            code, headers, body = await proxied.get(f"/files/demo/{name}", Range="bytes=10-19")
            assert (code, body) == (206, content[10:20])
            assert headers["content-range"] == f"bytes 10-19/{len(content)}"
        if sized:
            async with proxied.client.head(f"/files/demo/{name}") as response:
                assert (response.status, int(response.headers["Content-Length"])) == (200, len(content))


@row(19, "`Content-Encoding: gzip` on a `.tar.gz`", "serves HEAD and ranges of it as those of any file")
async def test_19_a_labelled_sdist_has_its_length_and_ranges(mirror: BrokenMirror, site: MakeSite) -> None:
    async def mislabelled(target: Target) -> web.StreamResponse:
        response = web.Response(body=target.data if target.request.method == "GET" else None)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(target.data))
        return response

    mirror.add(SDIST)
    mirror.fault(SDIST, mislabelled)
    proxied = await site()
    content = content_by_name(SDIST)
    async with proxied.client.head(f"/files/demo/{SDIST}") as response:
        assert int(response.headers["Content-Length"]) == len(content)
    code, headers, body = await proxied.get(f"/files/demo/{SDIST}", Range="bytes=3-6")
    assert (code, body) == (206, content[3:7])
    code, headers, body = await proxied.get(f"/files/demo/{SDIST}")
    assert (body, headers["content-length"]) == (content, str(len(content)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@row(45, "files come with status 203", "takes it for 200: a proxy before the mirror has its hand in it")
async def test_45_files_come_with_203(mirror: BrokenMirror, site: MakeSite, method: str) -> None:
    async def altered(target: Target) -> web.StreamResponse:
        return web.Response(status=203, body=target.data, headers={"Content-Type": "application/octet-stream"})

    mirror.add(LINUX)
    proxied = await site()
    await proxied.names()
    mirror.fault(LINUX, altered)
    async with proxied.client.request(method, f"/files/demo/{LINUX}") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == len(content_by_name(LINUX))
        assert await response.read() == (content_by_name(LINUX) if method == "GET" else b"")


@row(
    46,
    "files come with `Cache-Control: no-store`",
    "says of a file with a sha256 on its page that it never changes, so that clients may keep it",
)
async def test_46_files_are_not_to_be_stored(mirror: BrokenMirror, site: MakeSite) -> None:
    async def forbidding(target: Target) -> web.StreamResponse:
        return web.Response(body=target.data, headers={"Cache-Control": "no-store, no-cache", "Expires": "0"})

    mirror.add(LINUX)
    mirror.add(SDIST, hashes={})
    proxied = await site()
    await proxied.names()
    mirror.fault("*", forbidding)
    for method in ("GET", "HEAD"):
        async with proxied.client.request(method, f"/files/demo/{LINUX}") as response:
            assert response.headers["Cache-Control"] == "max-age=86400, immutable"
            assert "Expires" not in response.headers
        own = {"Authorization": "Basic cmVhZGVyOnMzY3JldA=="}
        async with proxied.client.request(method, f"/files/demo/{LINUX}", headers=own) as response:
            assert response.headers["Cache-Control"] == "private, max-age=86400, immutable"
        async with proxied.client.request(method, f"/files/demo/{SDIST}") as response:
            assert response.headers["Cache-Control"] == "no-store, no-cache"


@row(45, "pages come with status 203", "takes it for 200")
async def test_45_pages_come_with_203(stocked: BrokenMirror, site: MakeSite) -> None:
    async def altered(target: Target) -> web.StreamResponse:
        return web.Response(status=203, body=target.data, headers={"Content-Type": target.content_type})

    stocked.fault("page:*", altered)
    assert await (await site()).names() == ALL
    # Through an outbound proxy, or to another origin, the ordinary client asks.
    async with BrokenMirror() as other:
        other.fault("page:*", redirects(stocked.page_url("demo")))
        proxied = await site(upstream={"url": other.url, "allow_hosts": [stocked.origin.removeprefix("http://")]})
        assert await proxied.names() == ALL
