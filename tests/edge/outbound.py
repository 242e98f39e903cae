"""An outbound proxy on loopback, as a company's network has one."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.edge.dialling import answer, headers_of

_HOP_BY_HOP = ("proxy-authorization:", "connection:")


class Outbound:
    """An HTTP proxy on loopback: forwards requests in absolute form, tunnels CONNECT, and remembers the heads of both.

    `wants` is the Proxy-Authorization without which it answers 407. With `refuses` it answers everything by that status;
    with `silent` it answers nothing.
    """

    def __init__(self, wants: str | None = None, refuses: int | None = None, *, silent: bool = False) -> None:
        self.wants = wants
        self.refuses = refuses
        self.silent = silent
        self.heads: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_with(self, credentials: str) -> str:
        return f"http://{credentials}@127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        return [head.split(b" HTTP/")[0].decode() for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.silent:
            await reader.read()
        elif self.refuses is not None:
            writer.write(answer(self.refuses, connection="close"))
        elif self.wants is not None and headers_of(head).get("proxy-authorization") != self.wants:
            writer.write(answer(407, b"<h1>Ask the helpdesk</h1>", proxy_authenticate='Basic realm="corp"', connection="close"))
        elif head.startswith(b"CONNECT "):
            await self._tunnel(head, reader, writer)
        else:
            await self._forward(head, writer)

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = head.split(b" ", 2)[1].decode().rpartition(":")
        upstream, there = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pumped(reader, there), pumped(upstream, writer))
        finally:
            there.close()

    async def _forward(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        """Passes on one request, without what is for the proxy alone, and closes after the answer."""
        line, *headers = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = line.split(" ")
        authority, _, path = target.removeprefix("http://").partition("/")
        host, _, port = authority.rpartition(":")
        kept = [each for each in headers if not each.lower().startswith(_HOP_BY_HOP)]
        upstream, there = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            there.write("\r\n".join([f"{method} /{path} {version}", *kept, "Connection: close", "", ""]).encode("latin-1"))
            answered = await upstream.readuntil(b"\r\n\r\n")
            status, _, others = answered.partition(b"\r\n")
            writer.write(status + b"\r\nConnection: close\r\n" + others)
            length = headers_of(answered).get("content-length")
            bodiless = method == "HEAD" or status.split()[1] in {b"204", b"304"}
            if bodiless or length is not None:
                writer.write(b"" if bodiless else await upstream.readexactly(int(length or 0)))
                await writer.drain()
            else:
                await pumped(upstream, writer)
        finally:
            there.close()


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def outbound(wants: str | None = None, refuses: int | None = None, *, silent: bool = False) -> AsyncIterator[Outbound]:
    proxy = Outbound(wants, refuses, silent=silent)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            await proxy.serve(reader, writer)
        writer.close()
        tasks.discard(task)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()
