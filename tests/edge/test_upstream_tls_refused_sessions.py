"""A mirror behind a box that dislikes to be offered a session of TLS is as reachable as without sessions."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trustme

from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage, Mirror
from proxy.upstream.tls_sessions import SHUNNED_FOR, resume_sessions, resuming
from tests.clock import Clock
from tests.edge.dialling import mirror_at, page
from tests.edge.scripted import always, on_both_loops, serving
from tests.edge.test_upstream_tls_sessions import VERSIONS, authority, serving_context

__all__ = ["authority"]

_PRE_SHARED_KEY, _TICKET = 41, 35
_ALERT = bytes([21, 3, 3, 0, 2, 2, 40])

REFUSALS = pytest.mark.parametrize("refusal", ["fin", "reset", "hang", "alert"])


def offers_session(record: bytes) -> bool:
    """Tell whether a ClientHello (RFC 8446, section 4.1.2), in one record, offers a session."""
    place = 5 + 4 + 2 + 32
    place += 1 + record[place]
    place += 2 + int.from_bytes(record[place : place + 2])
    place += 1 + record[place]
    end = place + 2 + int.from_bytes(record[place : place + 2])
    place += 2
    while place < end:
        kind, length = struct.unpack("!HH", record[place : place + 4])
        if kind == _PRE_SHARED_KEY or (kind == _TICKET and length):
            return True
        place += 4 + length
    return False


@asynccontextmanager
async def listening(
    connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve each connection by `connected` at the port that is given, until the block ends."""
    open_ones: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones[task] = writer
        with suppress(OSError, EOFError):
            await connected(reader, writer)
        writer.transport.abort()
        del open_ones[task]

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # What reads from a connection that is aborted comes to its end by itself.
        while open_ones:
            tasks = list(open_ones)
            for writer in open_ones.values():
                writer.transport.abort()
            await asyncio.gather(*tasks)


class Box:
    """What stands before the server at `behind`, and refuses connections that offer a session; it counts both kinds."""

    def __init__(self, behind: int, refusal: str) -> None:
        self._behind = behind
        self._refusal = refusal
        self.refused = 0
        self.passed = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Box"]:
        """Listen at `port`."""
        async with listening(self._connected) as self.port:
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(5)
        hello = head + await reader.readexactly(int.from_bytes(head[3:]))
        if offers_session(hello):
            self.refused += 1
            await self._refuse(reader, writer)
        else:
            self.passed += 1
            there, back = await asyncio.open_connection("127.0.0.1", self._behind)
            back.write(hello)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusal == "hang":
            await reader.read()
        elif self._refusal == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            if self._refusal == "alert":
                writer.write(_ALERT)
            writer.close()
            await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def echo_behind(refusal: str, tls: ssl.SSLContext) -> AsyncIterator[Box]:
    """A box before a server that says back the first byte it hears."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        await reader.read()

    async with listening(echo, tls) as port, Box(port, refusal).running() as box:
        yield box


def trusting(authority: trustme.CA, clock: Callable[[], float]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    resume_sessions(context, clock)
    return context


@asynccontextmanager
async def clients(port: int, context: ssl.SSLContext, within: float) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Give a function that makes a connection, which stays open to the end of the block, and returns what comes back on it."""
    writers: list[asyncio.StreamWriter] = []

    async def heard() -> bytes:
        dial = partial(asyncio.open_connection, "127.0.0.1", port, ssl=context, server_hostname="one.example")
        reader, writer = await resuming(dial, within)
        writers.append(writer)
        writer.write(b"x")
        return await reader.read(1)

    try:
        yield heard
    finally:
        for writer in writers:
            writer.transport.abort()


@VERSIONS
@REFUSALS
@on_both_loops
async def test_a_refused_handshake_is_made_again_without_a_session_and_none_is_offered_for_a_while(
    authority: trustme.CA, version: ssl.TLSVersion, refusal: str
) -> None:
    clock = Clock()
    context = trusting(authority, clock)
    async with echo_behind(refusal, serving_context(authority, version)) as box, clients(box.port, context, 4.0) as heard:
        assert [await heard() for _ in range(4)] == [b"x"] * 4
        assert (box.refused, box.passed) == (1, 4)
        clock.passes(SHUNNED_FOR)
        # Sessions from before count no more: the first handshake is whole in any case.
        assert [await heard() for _ in range(4)] == [b"x"] * 4
        assert (box.refused, box.passed) == (2, 8)


@on_both_loops
async def test_connections_that_are_refused_at_the_same_time_are_all_made(authority: trustme.CA) -> None:
    context = trusting(authority, Clock())
    async with echo_behind("reset", serving_context(authority)) as box, clients(box.port, context, 40.0) as heard:
        assert await heard() == b"x"
        assert await asyncio.gather(*(heard() for _ in range(8))) == [b"x"] * 8
        assert box.refused > 0
        assert box.passed == 9


@asynccontextmanager
async def mirror_behind(refusal: str, tls: ssl.SSLContext, bundle: Path) -> AsyncIterator[tuple[Box, Mirror]]:
    async with (
        serving(always(page()), tls=tls) as server,
        Box(server.port, refusal).running() as box,
        mirror_at(f"https://127.0.0.1:{box.port}/simple/", ca_bundle=bundle, connect_timeout=4.0) as mirror,
    ):
        yield box, mirror


@VERSIONS
@REFUSALS
@on_both_loops
async def test_files_of_such_a_mirror_are_had(authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion, refusal: str) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    async with mirror_behind(refusal, serving_context(authority, version), bundle) as (box, mirror):
        file = f"https://127.0.0.1:{box.port}/a.whl"
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        async with mirror.download("GET", file, SHARED) as download:
            assert download.status == 200
        assert (box.refused, box.passed) == (1, 2)


@VERSIONS
@REFUSALS
@on_both_loops
async def test_pages_of_such_a_mirror_are_had(authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion, refusal: str) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    async with mirror_behind(refusal, serving_context(authority, version), bundle) as (box, mirror):
        async with mirror.download("GET", f"https://127.0.0.1:{box.port}/a.whl", SHARED) as download:
            assert download.status == 200
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert (box.refused, box.passed) == (1, 2)
