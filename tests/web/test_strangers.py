"""What strangers send reaches no log line, header or page unescaped: names, paths and headers of clients, pages and headers of mirrors."""

import asyncio
import io
import json
from typing import Any
from urllib.parse import quote

import pytest

from proxy.config import LogSection
from proxy.telemetry import configure_logging
from tests.conftest import MakeClient
from tests.faults import redirects
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL = "demo-1.0-py3-none-any.whl"
NASTY = [
    "\r\nX-Injected: yes",
    '"><script>alert(1)</script>',
    "\x1b[31mred",
    "\x00",
    "\u2028line",
    "..\\..\\etc",
    "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
]


@pytest.fixture
def log() -> io.StringIO:
    """What is logged, in JSON."""
    stream = io.StringIO()
    configure_logging(LogSection.model_validate({"format": "json", "level": "debug"}), stream)
    return stream


def lines_are_sound(log: io.StringIO) -> None:
    for line in log.getvalue().splitlines():
        assert line.isprintable()
        assert isinstance(json.loads(line), dict)


async def raw(client: Any, target: str, *headers: str) -> tuple[bytes, bytes]:
    """Head and body of what the proxy answers to a request whose bytes are given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write("\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize(
    "where", ["/simple/{}/", "/simple/demo{}", "/files/demo/{}", "/files/{}/x.whl", "/{}/simple/demo/", "/simple/De.Mo/?a={}"]
)
async def test_what_a_client_asks_for(mirror: BrokenMirror, app_client: MakeClient, log: io.StringIO, nasty: str, where: str) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    head, body = await raw(
        client,
        where.format(quote(nasty, safe="")),
        f"User-Agent: {nasty.encode('ascii', 'replace').decode()}".replace("\r\n", " ").replace("\x00", " "),
    )
    assert head.split(b" ")[1] in {b"301", b"400", b"404"}
    assert b"\nX-Injected" not in head
    assert b"<script>" not in head
    if b"<script>" in body:
        assert b"Content-Type: application/problem+json\r\n" in head
        assert b"X-Content-Type-Options: nosniff" in head
    assert b"\x1b" not in head + body
    lines_are_sound(log)


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("form", [JSON, "text/html"])
async def test_what_a_page_of_the_mirror_says(
    mirror: BrokenMirror, app_client: MakeClient, log: io.StringIO, nasty: str, form: str
) -> None:
    entry = {"filename": WHEEL, "url": f"x/{WHEEL}", "hashes": {}, "yanked": nasty, "requires-python": nasty, "x-own": nasty}
    strange = {"filename": f"demo-{nasty}-py3-none-any.whl", "url": f"x/{nasty}", "hashes": {nasty: nasty}}
    script = {"filename": "demo-3.0.tar.gz", "url": "javascript:alert(1)", "hashes": {}}
    mirror.set_page("demo", json.dumps({"meta": {"api-version": "1.0"}, "name": nasty, "files": [entry, strange, script]}).encode(), JSON)
    client = await app_client()
    async with client.get("/simple/demo/", headers={"Accept": form}) as response:
        assert response.status == 200
        assert "X-Injected" not in response.headers
        text = await response.text()
    assert "javascript:" not in text
    if form == JSON:
        assert json.loads(text)["files"][0]["yanked"] == nasty
    else:
        assert "<script>" not in text
    for name in (strange["filename"], f"{strange['filename']}.metadata"):
        head, _ = await raw(client, f"/files/demo/{quote(str(name), safe='')}")
        assert head.split(b" ")[1] in {b"404", b"502", b"503"}
        assert b"\r\nX-Injected" not in head
    lines_are_sound(log)


@pytest.mark.parametrize("mode", ["proxy", "redirect"])
async def test_headers_of_the_mirror_that_no_header_can_hold_cost_no_file(
    app_client: MakeClient, mirror: BrokenMirror, log: io.StringIO, mode: str
) -> None:
    data = make_wheel(WHEEL)
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "\xff\xfe"\r\nLast-Modified: caf\xc3\xa9 \x1b[31m\r\n' % len(data)
    head += b"Content-Type: application/x-\xe9\r\n"

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"Connection: close\r\n\r\n" + (b"" if asked.startswith(b"HEAD") else data))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mirror.add(WHEEL, data, url=f"http://127.0.0.1:{port}/{WHEEL}")
    client = await app_client(upstream={"allow_hosts": [f"127.0.0.1:{port}"]}, links={"mode": mode})
    answer, body = await raw(client, f"/files/demo/{WHEEL}")
    server.close()
    if mode == "redirect":
        assert answer.startswith(b"HTTP/1.1 307")
        return
    assert answer.startswith(b"HTTP/1.1 200")
    assert body == data
    assert b"\x1b" not in answer
    lines_are_sound(log)


@pytest.mark.parametrize("challenge", [b'Basic realm="caf\xc3\xa9"', b'Basic realm="\x1b[31m"', b'Basic realm="\xff"'])
async def test_a_challenge_that_no_header_can_hold_is_still_a_401(app_client: MakeClient, log: io.StringIO, challenge: bytes) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: " + challenge + b"\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    client = await app_client(upstream={"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple/"})
    answer, _ = await raw(client, "/simple/demo/")
    server.close()
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"\r\nWWW-Authenticate: Basic" in answer
    assert b"\x1b" not in answer
    lines_are_sound(log)


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/x", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://[::1]:1/"]
)
async def test_no_link_and_no_redirect_of_the_mirror_opens_a_closed_door(
    mirror: BrokenMirror, app_client: MakeClient, location: str
) -> None:
    mirror.add(WHEEL, url=location + "#sha256=" + "0" * 64)
    other = "demo-2.0-py3-none-any.whl"
    mirror.add(other)
    mirror.fault(other, redirects(location))
    client = await app_client(upstream={"retries": 0})
    for name in (WHEEL, other):
        for end in ("", ".metadata"):
            head, _ = await raw(client, f"/files/demo/{name}{end}")
            assert head.split(b" ")[1] in {b"404", b"502"}


async def test_only_files_that_a_page_lists_are_fetched(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    await raw(client, "/simple/demo/")
    mirror.forget()
    for name in ("other-1.0.tar.gz", quote("http://127.0.0.1:1/demo-1.0.tar.gz", safe=""), "..%2f..%2fsecret.whl", WHEEL.upper()):
        head, _ = await raw(client, f"/files/demo/{name}")
        assert head.startswith(b"HTTP/1.1 404")
    assert mirror.count(kind="file") + mirror.count(kind="other") == 0
