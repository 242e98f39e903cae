"""A server on a real socket that says exactly the bytes a test tells it to, when it tells it to."""

import asyncio
import functools
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from proxy.upstream.fastlane import FastLane

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n"


class Wire:
    """One connection, as the server sees it. `number` counts connections from 1 on, `requests` holds the heads it read."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.requests: list[bytes] = []
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """Reads the next request's head; raises IncompleteReadError once the client has closed."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        return head

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def spell(self, data: bytes) -> None:
        """Says it a byte at a time, each in a packet of its own."""
        for at in range(len(data)):
            await self.say(data[at : at + 1])
            await asyncio.sleep(0)

    async def closed_by_client(self) -> None:
        while await self._reader.read(65536):
            pass

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


class Server:
    """A scripted server: its `port`, and the connections it had."""

    def __init__(self) -> None:
        self.port = 0
        self.wires: list[Wire] = []

    @property
    def requests(self) -> list[bytes]:
        return [head for wire in self.wires for head in wire.requests]

    def url(self, path: str = "/files/a.whl", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


Script = Callable[[Wire], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None, *, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    """Serves each connection by `script`, until the block ends; then every connection is aborted. Port 0 is any that is free."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(len(server.wires) + 1, reader, writer)
        server.wires.append(wire)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await script(wire)
        except asyncio.CancelledError:
            wire.abort()
        else:
            wire.close()
        finally:
            tasks.discard(task)

    listening = await asyncio.start_server(connected, address, port, ssl=tls, backlog=1024)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*list(tasks), return_exceptions=True)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def lane_to(port: int, **changes: Any) -> AsyncIterator[FastLane]:
    """A fast lane to that port of loopback; `changes` override its arguments."""

    async def resolver() -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.1")]

    arguments: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "tls": None,
        "server_hostname": None,
        "connections": 4,
        "connect_timeout": 2.0,
        "read_timeout": 2.0,
        "headers": {"User-Agent": "mirrormend", "Accept-Encoding": "identity"},
        "resolver": resolver,
    }
    lane = FastLane(**(arguments | changes))
    try:
        yield lane
    finally:
        await lane.close()


def always(answer: bytes) -> Script:
    """Answers every request with these bytes."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.say(answer)

    return script


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test on asyncio's own loop and on uvloop, since transports differ."""

    @pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test(**arguments)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(bounded())

    parameters = [
        inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY),
        *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(test).parameters.values()),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pytest reads it to find the fixtures
    return run
