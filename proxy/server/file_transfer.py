"""A file on its way from the mirror to a client: compared with the digest of the page, resumed where the mirror breaks off.

Of a file whose SHA-256 the page tells, the last bytes leave once all of them are seen to be right, so that other bytes never become a
complete file; a small one is held whole until then, and can be asked for again.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from aiohttp import HttpVersion11, web

from proxy.core.errors import UpstreamBroke, UpstreamError, UpstreamTimeout
from proxy.core.filling import sha256_of
from proxy.core.flows.evidence import content_range
from proxy.core.flows.exchange import Answer
from proxy.core.page import File
from proxy.index import Index
from proxy.index.project import Project
from proxy.server.context import abort, facts_of
from proxy.upstream import Download, lowered

_log = structlog.get_logger("mirrormend.server")

_RESUMES = 2

HELD_WHOLE = 2 * 1024 * 1024
"""Bytes of the largest file of which nothing is sent before all of it is seen to be right."""

_HELD_BY_ALL = 64 * 1024 * 1024
"""Bytes of such files that are held at once, of all clients together; beyond that they begin before they are whole."""

_HELD_FOR = 2.0
"""Seconds for which such a file is held: a client is not to wait longer for the first byte of one that comes slowly."""

_HASHED_AT_ONCE = 1024 * 1024
_WAITING_TO_BE_HASHED = 8 * 1024 * 1024


@dataclass(slots=True)
class Wanted:
    """A request for a file: where it is listed, and the part that is asked for (first and last byte; last None: to the end)."""

    index: Index
    project: Project
    file: File
    span: tuple[int, int | None] | None


@dataclass(slots=True)
class Part:
    """The client's part of the mirror's answer: `length` bytes (None: all, however many) after the first `skip`; `sent` were."""

    skip: int
    length: int | None
    sent: int = 0

    def cut(self, chunk: bytes) -> bytes:
        """Return what of the next chunk belongs to the part."""
        if self.skip:
            skipped = min(self.skip, len(chunk))
            self.skip -= skipped
            chunk = chunk[skipped:]
        if self.length is not None:
            chunk = chunk[: self.length - self.sent]
        self.sent += len(chunk)
        return chunk

    @property
    def complete(self) -> bool:
        """Tell whether nothing is left to send."""
        return self.length is not None and self.sent >= self.length


@dataclass(slots=True)
class Begun:
    """How an answer begins: its head, the bytes of the file, and the part of them that it gives.

    `resumable` says that the mirror sends the bytes as they are, so that it can be asked for the rest of them; `doubtful` that they
    show only at their end whether they are the file, since there are more or fewer than its page says.
    """

    response: web.StreamResponse
    part: Part
    body: AsyncIterator[bytes]
    resumable: bool = True
    doubtful: bool = False


class OtherBytes(Exception):
    """The whole body came, nothing of it was sent, and its SHA-256 is `sha256`, which is not that of the page."""

    def __init__(self, sha256: str) -> None:
        super().__init__(sha256)
        self.sha256 = sha256


class LengthNotAsPromised(Exception):
    """The file has another length than its page says, by which the client was told how long it is."""


class Checksum:
    """The SHA-256 of bytes as they come, computed in a thread where they are many: the event loop has its time for sending."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._size = 0
        self._running: asyncio.Future[None] | None = None

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes; this waits only where the thread is far behind."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        if self._size < _HASHED_AT_ONCE:
            return
        if self._running is None or self._running.done() or self._size >= _WAITING_TO_BE_HASHED:
            await self._caught_up()
            waiting, self._waiting, self._size = self._waiting, [], 0
            self._running = asyncio.get_running_loop().run_in_executor(None, self._take, waiting)

    async def hexdigest(self) -> str:
        """Return the digest of all that came."""
        await self._caught_up()
        self._take(self._waiting)
        self._waiting = []
        return self._hash.hexdigest()

    async def _caught_up(self) -> None:
        if self._running is not None:
            await self._running
            self._running = None

    def _take(self, chunks: list[bytes]) -> None:
        # At one go, so that the thread waits once for its turn, and not for every chunk.
        self._hash.update(b"".join(chunks))


class _Room:
    """The room for what is held of small files: how many bytes of it are taken."""

    def __init__(self) -> None:
        self.taken = 0


_ROOM = _Room()


class Delivery:
    """Sends a `part` to the client as `response`; where `sha256` is given, the part is the whole file and has to have that digest.

    `promised` is the length of a file with a digest which the client is told though the mirror did not say it: the client would take
    so many bytes for the whole, so that the last of them leaves only once no more follow.
    """

    def __init__(
        self, request: web.Request, response: web.StreamResponse, part: Part, sha256: str | None, *, promised: int | None = None
    ) -> None:
        self._request = request
        self._response = response
        self.part = part
        self._sha256 = sha256
        self._promised = promised
        self._written = 0
        self._checksum = None if sha256 is None else Checksum()
        self._held: list[bytes] = []
        self._held_until = time.monotonic() + _HELD_FOR
        self._small = part.length is None or part.length <= HELD_WHOLE
        self._taken = 0

    @property
    def begun(self) -> bool:
        """Tell whether the head of the answer has left."""
        return self._response.prepared

    async def begin(self) -> None:
        """Send the head, and all that is held but for the last chunk.

        Raises LengthNotAsPromised where the file is longer than the client was told.
        """
        await self._send_head()
        while len(self._held) > 1:
            chunk = self._held.pop(0)
            self._written += len(chunk)
            if self._promised is not None and self._written >= self._promised:
                raise LengthNotAsPromised
            await self._response.write(chunk)

    async def _send_head(self) -> None:
        if not self._response.prepared:
            if self._promised is not None:
                self._response.content_length = self._promised
            await self._response.prepare(self._request)

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Send what comes, until the part is complete or `chunks` end."""
        async for chunk in chunks:
            wanted = self.part.cut(chunk)
            if wanted:
                await self._send(wanted)
            if self.part.complete:
                return

    async def _send(self, chunk: bytes) -> None:
        if self._checksum is None:
            if not self._response.prepared:
                await self._response.prepare(self._request)
            await self._response.write(chunk)
            return
        await self._checksum.feed(chunk)
        self._held.append(chunk)
        if not self._response.prepared and self._may_hold(len(chunk)):
            return
        await self.begin()

    def _may_hold(self, size: int) -> bool:
        """Take room for `size` more bytes, if all that came may still be held."""
        if not self._small or self.part.sent > HELD_WHOLE or time.monotonic() >= self._held_until or _ROOM.taken + size > _HELD_BY_ALL:
            return False
        self._taken += size
        _ROOM.taken += size
        return True

    def close(self) -> None:
        """Give the room back; what is held is not sent any more."""
        _ROOM.taken -= self._taken
        self._taken = 0
        self._held.clear()

    async def finish(self) -> bool:
        """Send the rest, and return True; return False where the bytes are other ones, and the transfer must not come to its end.

        Raises OtherBytes where nothing was sent yet, LengthNotAsPromised where the client was told another length than the file has.
        """
        if self._checksum is not None:
            found = await self._checksum.hexdigest()
            if found != self._sha256:
                if not self.begun:
                    raise OtherBytes(found)
                return False
            if not self.begun and self._response.content_length is None:
                self._promised = self.part.sent
            elif self._promised not in {None, self.part.sent}:
                raise LengthNotAsPromised
        await self.begin()
        for chunk in self._held:
            await self._response.write(chunk)
        await self._response.write_eof()
        return True


async def transfer(request: web.Request, wanted: Wanted, download: Download, begun: Begun) -> bool:
    """Send on what was begun with, and return whether it came to its end.

    Where the mirror breaks off it is asked for the rest, if that is of use; where that fails the client's connection is broken too.
    Raises OtherBytes where a small file has another digest than the page says: nothing was sent then.
    """
    response = begun.response
    sha256 = sha256_of(wanted.file) if response.status == 200 else None
    promised = _promised(request, wanted, response) if sha256 is not None else None
    delivery = Delivery(request, response, begun.part, sha256, promised=promised)
    try:
        why = await _transferred(delivery, wanted, download, begun)
    except LengthNotAsPromised:
        # The next answer promises nothing: who asks once more gets the file, as from the mirror.
        wanted.project.missized.add(wanted.file.key)
        why = "the file has another length than its page says, which an HTTP/1.0 client was told"
    finally:
        delivery.close()
    facts_of(request)["sent"] = begun.part.sent
    if why:
        _log.warning("broken-transfer", file=wanted.file.filename, sent=begun.part.sent, promised=begun.part.length, why=why)
        facts_of(request)["outcome"] = "broken-transfer"
        abort(request)
    return not why


def _promised(request: web.Request, wanted: Wanted, response: web.StreamResponse) -> int | None:
    """Return the length that the page gives where the mirror gives none and the client could not tell the end of the body without.

    To a client of HTTP/1.1 the body goes in chunks, whose end is marked (RFC 9112, section 7.1).
    """
    if response.content_length is not None or request.version >= HttpVersion11 or wanted.file.key in wanted.project.missized:
        return None
    return wanted.file.size


async def _transferred(delivery: Delivery, wanted: Wanted, download: Download, begun: Begun) -> str:
    """Send all there is to send; return why the transfer must not come to its end, nothing where it did."""
    part = begun.part
    try:
        await delivery.take(begun.body)
    except (UpstreamBroke, UpstreamTimeout) as error:
        await delivery.begin()
        begun_at = 0 if wanted.span is None else wanted.span[0]
        if not (begun.resumable and part.length is not None and await _resume(delivery, wanted, download, begun_at)):
            return str(error)
    if part.length is not None and part.sent < part.length:
        return "the mirror sent fewer bytes than the page says"
    return "" if await delivery.finish() else "the mirror sent other bytes than those that have the sha256 on its page"


async def _resume(delivery: Delivery, wanted: Wanted, broken: Download, begun_at: int) -> bool:
    part = delivery.part
    validator = broken.headers.get("ETag") or broken.headers.get("Last-Modified") or "W/"
    if validator.startswith("W/") and not wanted.file.hashes:
        # Nobody would notice that the rest is of another file.
        return False
    for _ in range(_RESUMES):
        first = begun_at + part.sent
        last = begun_at + (part.length or 0) - 1
        headers = {"Range": range_header(first, last)}
        if not validator.startswith("W/"):
            headers["If-Range"] = validator
        try:
            async with wanted.index.mirror.download("GET", wanted.file.url, wanted.project.who, headers) as rest:
                answer = Answer(rest.status, lowered(rest.headers))
                given = content_range(answer)
                if rest.status != 206 or given is None or given[:2] != (first, last):
                    return False
                await delivery.take(rest.chunks())
        except UpstreamError:
            continue
        if part.complete:
            return True
    return False


def range_header(first: int, last: int | None) -> str:
    """Return the Range header for the bytes from `first` to `last` (None: to the end)."""
    return f"bytes={first}-" if last is None else f"bytes={first}-{last}"
