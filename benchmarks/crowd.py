"""Clients for the soak: many at once, some of which go away in the middle, read slowly, or send what is no request.

Each request ends in one of a few ways, which are counted; what must not happen is that one gets no answer at all.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

JSON = "application/vnd.pypi.simple.v1+json"
PATIENCE = 30.0
"""Seconds after which a request counts as unanswered: as long as uv waits."""

_AGENT = 'uv/0.13.9 {"installer":{"name":"uv"},"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}'
_ACCEPTS = ((JSON, "zstd"), (JSON, "gzip"), ("text/html", "gzip"), ("application/vnd.pypi.simple.v1+html", "identity"), ("image/png", "br"))
_NO_REQUESTS = (
    b"\x16\x03\x01\x02\x00",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 200,
    b"GET /simple/a/ HTTP/1.1\r\nA: " + b"b" * 40_000 + b"\r\n\r\n",
)
_TOKENS = 4


@dataclass
class Counts:
    """How requests ended: `answered` by status, `broken` transfers (begun, then broken as the mirror's was), `left` by the client."""

    answered: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    left: int = 0
    refused: int = 0
    unanswered: list[str] = field(default_factory=list)
    longest: float = 0.0
    longest_of: str = ""
    waits: list[float] = field(default_factory=list)

    def waited(self, seconds: float, what: str) -> None:
        """Notes how long the head of an answer took."""
        self.waits.append(seconds)
        if seconds > self.longest:
            self.longest, self.longest_of = seconds, what


class Crowd:
    """Clients of the proxy at `port`, which ask for these `projects` (file names by project) until `stop`."""

    def __init__(self, port: int, projects: dict[str, list[str]], chance: random.Random) -> None:
        self.counts = Counts()
        self._port = port
        self._projects = projects
        self._chance = chance
        self._stopped = False

    async def run(self, clients: int) -> None:
        """Runs so many clients until they are stopped."""
        kinds: list[Callable[[], Awaitable[None]]] = [self._ordinary] * 8 + [self._leaving] * 3 + [self._slow_reader, self._no_request]
        await asyncio.gather(*(self._again(kinds[number % len(kinds)]) for number in range(clients)))

    def stop(self) -> None:
        """Lets every client finish what it is at."""
        self._stopped = True

    async def _again(self, once: Callable[[], Awaitable[None]]) -> None:
        while not self._stopped:
            try:
                await once()
            except OSError as error:
                self.counts.unanswered.append(f"no connection to the proxy: {error}")
            await asyncio.sleep(self._chance.random() * 0.1)

    def _request(self) -> tuple[str, bytes]:
        chance = self._chance
        project = chance.choice([*self._projects, "no-such-project", "Odd..Name", "-"])
        files = self._projects.get(project) or ["none-1.0-py3-none-any.whl"]
        file = f"/files/{project}/{chance.choice(files)}"
        method, path = chance.choice(
            [("GET", f"/simple/{project}/")] * 6
            + [("GET", f"{file}.metadata")] * 3
            + [("GET", file)] * 2
            + [
                ("HEAD", file),
                ("HEAD", f"/simple/{project}/"),
                ("GET", f"/simple/{project}"),
                ("GET", "/simple/"),
                ("GET", "/x"),
                ("POST", file),
            ]
        )
        accept, encoding = chance.choice(_ACCEPTS)
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Accept: {accept}",
            f"Accept-Encoding: {encoding}",
            f"User-Agent: {_AGENT}",
        ]
        if chance.random() < 0.2:
            lines.append(f"Authorization: Bearer token-{chance.randrange(_TOKENS)}")
        if chance.random() < 0.2:
            lines.append(chance.choice(["Range: bytes=0-99", "Range: bytes=-100", "Range: bytes=5-", "If-None-Match: *"]))
        return f"{method} {path}", "\r\n".join([*lines, "", ""]).encode()

    async def _ordinary(self) -> None:
        """Several requests on one connection, each answer read to its end."""
        reader, writer = await self._connected()
        try:
            before = ""
            for _ in range(self._chance.randrange(1, 12)):
                before = await self._exchange(reader, writer, before=before)
                if self._stopped or not before:
                    return
        finally:
            await _closed(writer)

    async def _slow_reader(self) -> None:
        reader, writer = await self._connected()
        try:
            await self._exchange(reader, writer, pause=0.05)
        finally:
            await _closed(writer)

    async def _leaving(self) -> None:
        """Hangs up a moment after it asked, wherever the answer is by then."""
        reader, writer = await self._connected()
        writer.write(self._request()[1])
        with suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(reader.read(self._chance.choice([1, 1000, 100_000])), self._chance.random())
        writer.transport.abort()
        self.counts.left += 1

    async def _no_request(self) -> None:
        reader, writer = await self._connected()
        writer.write(self._chance.choice(_NO_REQUESTS))
        # Some wait for the rest of a request that never comes.
        with suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(reader.read(1000), 3.0)
        self.counts.refused += 1
        writer.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float = 0.0, before: str = "") -> str:
        """Asks, and reads the answer; gives what was asked and answered where the connection can be used again."""
        what, raw = self._request()
        began = time.monotonic()
        try:
            writer.write(raw)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except TimeoutError:
            self.counts.unanswered.append(f"{what}: nothing in {PATIENCE:g} s")
            return ""
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.counts.unanswered.append(f"{what}: {type(error).__name__}{before}")
            return ""
        self.counts.waited(time.monotonic() - began, what)
        self.counts.answered[int(head.split(b" ", 2)[1])] += 1
        try:
            again = await asyncio.wait_for(_body(reader, head, pause, bare=what.startswith("HEAD")), 2 * PATIENCE)
        except TimeoutError:
            self.counts.unanswered.append(f"{what}: no end of the body")
        except ValueError as error:
            self.counts.unanswered.append(f"{what}: a body that is none ({error})")
        except (ConnectionError, asyncio.IncompleteReadError):
            self.counts.broken += 1
        else:
            return f", after {what}: {head[9:12].decode()}" if again else ""
        return ""


async def _body(reader: asyncio.StreamReader, head: bytes, pause: float, *, bare: bool) -> bool:
    """Reads the body, slowly where there is a pause; gives whether the connection stays open."""
    lowered = head.lower()
    status = int(head.split(b" ", 2)[1])
    if bare or status in {204, 304}:
        return b"connection: close" not in lowered
    if b"transfer-encoding: chunked" in lowered:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
            await asyncio.sleep(pause)
        await reader.readuntil(b"\r\n")
        return True
    length = int(lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while length:
        piece = await reader.readexactly(min(length, 64 * 1024))
        length -= len(piece)
        if pause:
            await asyncio.sleep(pause)
    return b"connection: close" not in lowered


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
