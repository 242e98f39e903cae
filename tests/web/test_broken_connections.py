"""Transfers that break off, seen by clients that know the end of a body by the end of the connection: HTTP/1.0, as nginx speaks it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.config import Settings
from proxy.server import stalled
from proxy.server.app import create_app
from proxy.server.resetting import reset
from proxy.server.warm import WarmRunner
from tests.conftest import Client, MakeClient
from tests.edge.test_listener_tls import Certificate
from tests.faults import artifactory_404, cut, without_length
from tests.mirror import BrokenMirror
from tests.waiting import until
from tests.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
SMALL = make_wheel(NAME, payload=bytes(range(256)) * 400)
LARGE = make_wheel(NAME, payload=bytes(range(256)) * 16_000)
PATH = f"/files/demo/{NAME}"


@asynccontextmanager
async def asked(client: Client, path: str = PATH, version: str = "1.0", headers: str = "") -> AsyncIterator[asyncio.StreamReader]:
    """Yield the answer, over a connection of its own, to a request of this version of HTTP."""
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=2**16)
    writer.write(f"GET {path} HTTP/{version}\r\nHost: {client.host}\r\n{headers}\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer(client: Client, path: str = PATH, headers: str = "") -> tuple[dict[str, str], bytes]:
    """The headers and the body, as a client of HTTP/1.0 has them; raises ConnectionResetError if it is told of a broken transfer."""
    async with asked(client, path, headers=headers) as reader:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        told = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        return told, await reader.read()


async def drained(reader: asyncio.StreamReader, at_once: int = 2**16) -> None:
    """Read to the end of the connection."""
    while await reader.read(at_once):
        pass


async def test_a_file_without_a_length_that_breaks_off_is_reset(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, LARGE, size=None, hashes={"md5": "0123456789abcdef" * 2})
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, without_length(send=3_000_000))
    with pytest.raises(ConnectionResetError):
        await answer(client)


@pytest.mark.parametrize("fault", [without_length(send=3_000_000), cut(promise=len(LARGE), send=3_000_000)], ids=["chunked", "length"])
async def test_so_is_one_of_known_hash_while_the_client_reads_slowly(mirror: BrokenMirror, app_client: MakeClient, fault: Any) -> None:
    mirror.add(NAME, LARGE)
    client = await app_client(upstream={"retries": 0})
    await client.get("/simple/demo/")
    mirror.fault(NAME, fault, methods=("GET",))
    async with asked(client) as reader:
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await drained(reader, 10_000)


async def test_a_rescued_file_that_breaks_off_is_reset(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, LARGE, size=None)
    mirror.fault(NAME, artifactory_404())
    async with BrokenMirror() as whole:
        whole.add(NAME, LARGE, size=None)
        whole.fault(NAME, without_length(send=3_000_000), methods=("GET",))
        client = await app_client(rescue={"enabled": True, "url": whole.url})
        with pytest.raises(ConnectionResetError):
            await answer(client)


async def test_a_rescued_file_has_the_page_s_length_where_the_second_index_gives_none(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, LARGE)
    mirror.fault(NAME, artifactory_404())
    async with BrokenMirror() as whole:
        whole.add(NAME, LARGE)
        whole.fault(NAME, without_length(), methods=("GET",))
        told, body = await answer(await app_client(rescue={"enabled": True, "url": whole.url}))
    assert "mirrormend-rescued-from" in told
    assert int(told["content-length"]) == len(LARGE)
    assert body == LARGE


async def test_the_project_list_that_breaks_off_is_reset(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME)

    async def broken(target: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(target.request)
        await response.write(b"<html>" * 1000)
        await asyncio.sleep(0.02)
        target.request.transport.abort()
        return response

    mirror.fault("list", broken)
    with pytest.raises(ConnectionResetError):
        await answer(await app_client(), "/simple/")


async def test_the_project_list_has_the_length_that_the_mirror_gives(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME)
    told, body = await answer(await app_client(), "/simple/")
    assert int(told["content-length"]) == len(body) > 0


@pytest.mark.parametrize("wheel", [SMALL, LARGE], ids=["small", "large"])
async def test_a_length_that_the_mirror_does_not_give_is_the_page_s(mirror: BrokenMirror, app_client: MakeClient, wheel: bytes) -> None:
    mirror.add(NAME, wheel)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, without_length())
    told, body = await answer(client)
    assert int(told["content-length"]) == len(wheel)
    assert body == wheel


@pytest.mark.parametrize("wrong", [-1000, -1, 1, 1000])
@pytest.mark.parametrize("wheel", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("probed", [True, False], ids=["probed", "unprobed"])
async def test_a_wrong_size_breaks_no_transfer_if_a_probe_told_the_right_one_and_else_one_at_most(
    mirror: BrokenMirror, app_client: MakeClient, wheel: bytes, wrong: int, *, probed: bool
) -> None:
    mirror.add(NAME, wheel, size=len(wheel) + wrong)
    client = await app_client()
    if probed:
        await client.get("/simple/demo/")
    mirror.fault(NAME, without_length())
    if wheel is LARGE and not probed:
        with pytest.raises(ConnectionResetError):
            await answer(client)
    told, body = await answer(client)
    assert body == wheel
    assert int(told.get("content-length", len(wheel))) == len(wheel)
    # To a client of HTTP/1.1 nothing was ever promised.
    async with client.get(PATH) as response:
        assert await response.read() == wheel


async def test_the_mirror_s_own_length_goes_before_the_page_s(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, SMALL, size=len(SMALL) + 7)
    told, body = await answer(await app_client())
    assert int(told["content-length"]) == len(SMALL)
    assert body == SMALL


async def test_a_client_that_takes_nothing_is_reset(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalled, "STALLED_FOR", 0.1)
    payload = bytes(64 * 1024 * 1024)
    mirror.add(NAME, payload, size=None, hashes={"md5": "0123456789abcdef" * 2})
    broken: list[asyncio.BaseTransport] = []

    def reset_and_tell(transport: asyncio.BaseTransport) -> None:
        reset(transport)
        broken.append(transport)

    monkeypatch.setattr(stalled, "reset", reset_and_tell)
    async with serving(mirror) as (host, port):
        reader, writer = await asyncio.open_connection(host, port, limit=2**10)
        writer.write(f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        # It takes more only once the proxy has given it up.
        await until(lambda: bool(broken))
        with pytest.raises(ConnectionResetError):
            await drained(reader)
        writer.close()


async def test_an_answer_that_the_end_of_the_process_cuts_is_reset(mirror: BrokenMirror) -> None:
    mirror.add(NAME, LARGE, size=None, hashes={"md5": "0123456789abcdef" * 2})
    begun = asyncio.Event()

    async def never_ends(target: Any) -> web.StreamResponse | None:
        if target.request.method == "HEAD":
            return None
        response = web.StreamResponse()
        await response.prepare(target.request)
        await response.write(LARGE[:100_000])
        begun.set()
        await asyncio.sleep(30)
        return response

    mirror.fault(NAME, never_ends)
    async with serving(mirror) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await begun.wait()
    with pytest.raises(ConnectionResetError):
        await drained(reader)
    writer.close()


async def test_over_tls_a_broken_transfer_is_a_truncation(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(NAME, LARGE, size=None, hashes={"md5": "0123456789abcdef" * 2})
    mirror.fault(NAME, without_length(send=1_000_000), methods=("GET",))
    certificate = Certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert certificate.section.tls_cert is not None
    server.load_cert_chain(certificate.section.tls_cert, certificate.section.tls_key)
    async with serving(mirror, server) as (host, port):
        reader, writer = await asyncio.open_connection(host, port, ssl=certificate.trusting)
        writer.write(f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            await drained(reader)
        writer.close()


@asynccontextmanager
async def serving(mirror: BrokenMirror, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, int]]:
    """The application as `mirrormend serve` runs it, and where; after the block it was told to end, with no time to drain."""
    settings = Settings.model_validate({"upstream": {"url": mirror.url}, "store": {"location": "memory"}})
    runner = WarmRunner(create_app(settings), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        yield host, port
    finally:
        await runner.cleanup()
