"""The stand-in for a broken mirror keeps its own promises: it answers rightly, and each fault does what its name says."""

import base64
import io
import ssl
import tarfile
import time
import zipfile
from collections.abc import AsyncIterator
from hashlib import sha256

import aiohttp
import pytest
import trustme

from tests.listing import HTML_TYPE, JSON_TYPE
from tests.mirror import (
    ANYTHING,
    BrokenMirror,
    artifactory_404,
    cut,
    empty,
    hang,
    ignores_range,
    lies_on_head,
    quota,
    redirects,
    reset,
    slow,
    status,
    wrong_content_range,
    wrong_type,
)
from tests.wheels import make_sdist, make_wheel

LINUX = "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"
MACOS = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def _file(
    client: aiohttp.ClientSession, mirror: BrokenMirror, name: str = LINUX, method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    async with client.request(method, mirror.file_url(name), headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read()


async def test_a_page_links_to_the_files_in_artifactorys_layout(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX, requires_python=">=3.12", upload_time="2024-01-02T03:04:05.678901Z", yanked="a <reason>")
    async with client.get(mirror.page_url("demo"), headers={"Accept": JSON_TYPE}) as answer:
        assert answer.headers["Content-Type"] == JSON_TYPE
        page = await answer.json(content_type=None)
        (entry,) = page["files"]
    assert mirror.page_url("demo").endswith("/artifactory/api/pypi/pypi/simple/demo/")
    assert page["versions"] == ["1.0"]
    assert entry["url"].startswith("../../packages/packages/")
    assert (entry["requires-python"], entry["yanked"]) == (">=3.12", "a <reason>")
    assert entry["hashes"] == {"sha256": sha256(make_wheel(LINUX)).hexdigest()}
    assert entry["size"] == len(make_wheel(LINUX))
    async with client.get(mirror.page_url("demo"), headers={"Accept": HTML_TYPE}) as answer:
        assert answer.headers["Content-Type"] == HTML_TYPE
        text = await answer.text()
    assert f'href="{entry["url"]}#sha256={entry["hashes"]["sha256"]}"' in text
    assert 'data-requires-python="&gt;=3.12"' in text
    assert 'data-yanked="a &lt;reason&gt;"' in text
    assert await _file(client, mirror) == (200, make_wheel(LINUX))


@pytest.mark.parametrize(
    ("forms", "accept", "content_type"),
    [
        ({"json"}, "text/html", JSON_TYPE),
        ({"html"}, JSON_TYPE, "text/html"),
        ({"json", "html"}, f"{JSON_TYPE}, {HTML_TYPE};q=0.2, text/html;q=0.01", JSON_TYPE),
        ({"json", "html"}, f"{JSON_TYPE};q=0.1, {HTML_TYPE}", HTML_TYPE),
        ({"json", "html"}, "*/*", "text/html"),
    ],
)
async def test_the_form_is_what_the_mirror_speaks_and_the_client_wants(
    mirror: BrokenMirror, client: aiohttp.ClientSession, forms: set[str], accept: str, content_type: str
) -> None:
    mirror.add(LINUX)
    mirror.forms = forms
    for url in (mirror.page_url("demo"), mirror.url):
        async with client.get(url, headers={"Accept": accept}) as answer:
            assert answer.headers["Content-Type"] == content_type


async def test_a_page_that_has_not_changed_is_not_sent_again(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    async with client.get(mirror.page_url("demo")) as answer:
        etag = answer.headers["ETag"]
    async with client.get(mirror.page_url("demo"), headers={"If-None-Match": f'"other", {etag}'}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, etag)
    mirror.add(MACOS)
    async with client.get(mirror.page_url("demo"), headers={"If-None-Match": etag}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("asked", "code", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-22", 206, slice(-22, None)),
        ("bytes=5-999999", 206, slice(5, None)),
        ("bytes=999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("lines=1-2", 200, slice(None)),
    ],
)
async def test_ranges_are_served_as_asked(mirror: BrokenMirror, client: aiohttp.ClientSession, asked: str, code: int, part: slice) -> None:
    mirror.add(LINUX)
    assert await _file(client, mirror, Range=asked) == (code, make_wheel(LINUX)[part])
    assert mirror.asked[-1].range == asked
    if code == 206:
        size = len(make_wheel(LINUX))
        first, stop, _ = part.indices(size)
        async with client.get(mirror.file_url(LINUX), headers={"Range": asked}) as answer:
            assert answer.headers["Content-Range"] == f"bytes {first}-{stop - 1}/{size}"


async def test_core_metadata_is_answered_where_the_page_tells_of_it(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX, core_metadata="hash")
    mirror.add(MACOS)
    async with client.get(mirror.page_url("demo"), headers={"Accept": JSON_TYPE}) as answer:
        told = [entry.get("core-metadata") for entry in (await answer.json(content_type=None))["files"]]
    async with client.get(mirror.file_url(LINUX) + ".metadata") as answer:
        assert told == [{"sha256": sha256(await answer.read()).hexdigest()}, None]
    async with client.get(mirror.file_url(MACOS) + ".metadata") as answer:
        assert answer.status == 404
    assert [each.name for each in mirror.asked if each.kind == "metadata"] == [f"metadata:{LINUX}", f"metadata:{MACOS}"]


async def test_without_the_right_credentials_nothing_is_told(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX, core_metadata=True)
    mirror.credentials = ("reader", "s3cret")
    for url in (mirror.url, mirror.page_url("demo"), mirror.file_url(LINUX), mirror.file_url(LINUX) + ".metadata"):
        async with client.get(url) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="Artifactory Realm"')
        right = f"Basic {base64.b64encode(b'reader:s3cret').decode()}"
        async with client.get(url, headers={"Authorization": right}) as answer:
            assert answer.status == 200
        assert mirror.asked[-1].authorization == right


async def test_a_file_without_content_is_listed_and_missing(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX, None)
    async with client.get(mirror.page_url("demo")) as answer:
        assert LINUX in await answer.text()
    code, body = await _file(client, mirror)
    assert code == 404
    assert b'"message": "Could not find resource"' in body


async def test_a_page_can_be_anything(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.set_page("demo", b"who knows", "")
    async with client.get(mirror.page_url("demo")) as answer:
        assert (await answer.read(), answer.headers.get("Content-Type")) == (b"who knows", None)


async def test_faults_that_answer(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    wheel = make_wheel(LINUX)
    for fault, code, body in [
        (status(503, {"Retry-After": "7"}, b"busy"), 503, b"busy"),
        (artifactory_404(), 404, b'{"errors": [{"status": 404, "message": "Could not find resource"}]}'),
        (ignores_range(), 200, wheel),
        (wrong_type(), 200, b"<html>log in</html>"),
        (empty(), 200, b""),
        (wrong_content_range(), 206, wheel[7:]),
        (redirects("/elsewhere"), 302, b""),
    ]:
        rule = mirror.fault(LINUX, fault)
        assert await _file(client, mirror, Range="bytes=0-3") == (code, body)
        mirror.heal(rule)
    assert await _file(client, mirror, Range="bytes=0-3") == (206, b"PK\x03\x04")


async def test_faults_that_break_off(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    for fault in (reset(), hang(0.05)):
        rule = mirror.fault(LINUX, fault)
        started = time.monotonic()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await _file(client, mirror)
        mirror.heal(rule)
    assert time.monotonic() - started >= 0.05, "a mirror that hangs is silent before it hangs up"
    mirror.fault(LINUX, cut(promise=1000, send=10))
    async with client.get(mirror.file_url(LINUX)) as answer:
        assert answer.headers["Content-Length"] == "1000"
        assert await answer.content.readany() == make_wheel(LINUX)[:10]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()


async def test_a_head_that_lies_leaves_get_alone(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    mirror.add(MACOS, None)
    mirror.fault(LINUX, lies_on_head(405))
    mirror.fault(MACOS, lies_on_head(200))
    assert [(await _file(client, mirror, LINUX, method))[0] for method in ("HEAD", "GET")] == [405, 200]
    assert [(await _file(client, mirror, MACOS, method))[0] for method in ("HEAD", "GET")] == [200, 404]


async def test_lateness_adds_to_what_comes_then(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    mirror.latency = 0.05
    mirror.fault(LINUX, slow(0.05))
    mirror.fault(LINUX, status(410))
    started = time.monotonic()
    assert (await _file(client, mirror))[0] == 410
    assert time.monotonic() - started >= 0.1


async def test_a_quota_lets_some_through(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    mirror.fault("*.whl", quota(2, status=429))
    assert [(await _file(client, mirror))[0] for _ in range(4)] == [200, 200, 429, 429]


async def test_a_fault_stays_with_its_name_method_and_number(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX, core_metadata=True)
    mirror.add(MACOS)
    mirror.fault("*macosx*", status(404), methods=("GET",), times=1)
    assert [(await _file(client, mirror, MACOS, method))[0] for method in ("HEAD", "GET", "GET")] == [200, 404, 200]
    assert (await _file(client, mirror, LINUX))[0] == 200
    mirror.fault("*", status(500))
    assert (await _file(client, mirror, LINUX))[0] == 500
    for url in (mirror.page_url("demo"), mirror.file_url(LINUX) + ".metadata"):
        async with client.get(url) as answer:
            assert answer.status == 200
    mirror.heal()
    mirror.fault("page:demo", status(500))
    mirror.fault(f"metadata:{LINUX}", status(502))
    for url, code in ((mirror.page_url("demo"), 500), (mirror.file_url(LINUX) + ".metadata", 502), (mirror.url, 200)):
        async with client.get(url) as answer:
            assert answer.status == code
    mirror.heal()
    mirror.fault(ANYTHING, status(503))
    async with client.get(mirror.url) as answer:
        assert answer.status == 503


async def test_it_remembers_what_it_was_asked_until_told_to_forget(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    await _file(client, mirror, method="HEAD")
    await _file(client, mirror, Range="bytes=0-0")
    async with client.get(mirror.page_url("demo")):
        pass
    assert [(each.method, each.kind, each.range) for each in mirror.asked_for(LINUX)] == [
        ("HEAD", "file", None),
        ("GET", "file", "bytes=0-0"),
    ]
    assert mirror.asked_for("page:demo")[0].host == mirror.origin.removeprefix("http://")
    assert (mirror.count(), mirror.count(kind="file"), mirror.count(kind="file", method="HEAD")) == (3, 2, 1)
    mirror.forget()
    assert mirror.count() == 0


async def test_after_an_outage_it_is_back_at_the_same_address(mirror: BrokenMirror, client: aiohttp.ClientSession) -> None:
    mirror.add(LINUX)
    before = mirror.url
    await mirror.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await _file(client, mirror)
    await mirror.start()
    assert mirror.url == before
    assert (await _file(client, mirror))[0] == 200


async def test_it_speaks_tls(client: aiohttp.ClientSession) -> None:
    authority, server, trusting = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    async with (
        BrokenMirror(ssl_context=server, server_header="Artifactory/7.90.1") as mirror,
        client.get(mirror.url, ssl=trusting) as answer,
    ):
        assert answer.url.scheme == "https"
        assert answer.headers["Server"] == "Artifactory/7.90.1"


def test_wheels_are_the_same_bytes_each_time_and_hold_what_their_name_says() -> None:
    name = "Some.Demo-1.0+local.1-2-cp38.cp39-abi3-macosx_10_9_x86_64.macosx_11_0_arm64.whl"
    wheel = make_wheel(name, requires_dist=["other>=1"], payload=b"x" * 5000)
    assert wheel == make_wheel(name, requires_dist=["other>=1"], payload=b"x" * 5000)
    assert len(wheel) > 5000
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        assert archive.testzip() is None
        info = "Some.Demo-1.0+local.1.dist-info"
        text = archive.read(f"{info}/WHEEL").decode()
        assert archive.read(f"{info}/METADATA").decode().endswith("Requires-Dist: other>=1\n")
    assert text.count("Tag: ") == 4
    assert "Build: 2\n" in text


def test_sdists_are_the_same_bytes_each_time_and_hold_static_metadata() -> None:
    sdist = make_sdist("demo-1.0.tar.gz", requires_dist=["other>=1"])
    assert sdist == make_sdist("demo-1.0.tar.gz", requires_dist=["other>=1"])
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        texts = {entry.name: _text(archive, entry) for entry in archive}
    assert list(texts) == [f"demo-1.0/{name}" for name in ("PKG-INFO", "pyproject.toml", "backend.py", "demo.py")]
    assert texts["demo-1.0/PKG-INFO"].startswith("Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n")
    assert "Dynamic" not in texts["demo-1.0/PKG-INFO"]
    compile(texts["demo-1.0/backend.py"], "backend.py", "exec")


def _text(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    extracted = archive.extractfile(entry)
    assert extracted is not None
    return extracted.read().decode()
