"""Connections that wait for a worker which does not take them are served by another one."""

import asyncio
import ssl
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.cli.listening import ListeningSockets
from proxy.server.shared_site import SharedSite
from tests.edge.test_listener_tls import Certificate


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def answers(port: int, tls: ssl.SSLContext | None, count: int) -> list[str]:
    async def answer() -> str:
        address = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/"
        async with aiohttp.ClientSession() as session, session.get(address, ssl=tls or False) as response:
            return await response.text()

    return await asyncio.wait_for(asyncio.gather(*(answer() for _ in range(count))), 20)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_the_others_do_not_take_is_served_until_the_site_stops(tmp_path: Path, encrypted: bool) -> None:
    certificate = Certificate(tmp_path)
    theirs = None
    if encrypted:
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        assert certificate.section.tls_cert is not None
        theirs.load_cert_chain(certificate.section.tls_cert, certificate.section.tls_key)
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    sockets = ListeningSockets("127.0.0.1", 0, 4)
    port = sockets.port
    # The other three have nobody who accepts at them.
    ((own, others),) = sockets.of(2)
    assert len(others) == 3
    await SharedSite(runner, own, others, ssl_context=theirs).start()
    assert await answers(port, certificate.trusting if encrypted else None, 60) == ["hello"] * 60
    with ExitStack() as rude:
        for _ in range(8):
            # Clients that say nothing, and go.
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            rude.callback(writer.close)
    assert await answers(port, certificate.trusting if encrypted else None, 20) == ["hello"] * 20
    await runner.cleanup()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
