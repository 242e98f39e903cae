"""Files that a mirror sends gzip-coded though it was asked for them as they are (RFC 9110, sections 8.4 and 12.5.3).

The header alone says nothing: some mirrors label every `.tar.gz` so, which is not coded at all. The first bytes decide, and the size.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator

from proxy.core.deflate import GZIP, IN_AT_ONCE, InflateError
from proxy.core.errors import UpstreamBroke

_GZIP_WRAPPER = 31
_AT_ONCE = 256 * 1024

_TO_TELL = 512
"""Bytes of a gzip member after which something of its content is known."""

_BEGINNINGS = {
    ".whl": b"PK",
    ".zip": b"PK",
    ".egg": b"PK",
    ".tar.gz": GZIP,
    ".tgz": GZIP,
    ".tar.bz2": b"BZh",
    ".tbz": b"BZh",
    ".tar.xz": b"\xfd7zXZ",
    ".txz": b"\xfd7zXZ",
    ".tar.zst": b"\x28\xb5\x2f\xfd",
    ".exe": b"MZ",
}
"""How files of each kind begin, by the end of their names."""


def labelled_gzip(content_encoding: str | None) -> bool:
    """Return whether a Content-Encoding header names gzip."""
    return (content_encoding or "").strip().lower() in {"gzip", "x-gzip"}


def is_gzip_coded(filename: str, start: bytes, *, labelled: bool, size: int | None, length: int | None) -> bool:
    """Return whether a body that begins with `start` is the gzip-coded form of the file, and not the file itself.

    `labelled` says that Content-Encoding names gzip, `size` how many bytes the file has by the page, `length` how many the body has.
    """
    if not start.startswith(GZIP) or (size is not None and size == length):
        return False
    beginning = next((how for suffix, how in _BEGINNINGS.items() if filename.lower().endswith(suffix)), None)
    try:
        inside = zlib.decompressobj(_GZIP_WRAPPER).decompress(start[:IN_AT_ONCE], len(beginning or b"<"))
    except InflateError:
        return False
    if beginning is None:
        # A page for people, which is no file, is left to who looks at its type.
        return labelled and inside != b"<"
    return inside == beginning


async def with_its_start(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the first bytes of a body, enough to tell whether it is gzip-coded, and the whole body."""
    start = b""
    async for chunk in chunks:
        start = start + chunk if start else chunk
        if not start.startswith(GZIP[: len(start)]) or len(start) >= _TO_TELL:
            break

    async def whole() -> AsyncIterator[bytes]:
        if start:
            yield start
        async for chunk in chunks:
            yield chunk

    return start, whole()


async def decoded(chunks: AsyncIterator[bytes], url: str) -> AsyncIterator[bytes]:
    """Yield what gzip-coded `chunks` from `url` hold, in pieces of bounded size; raise UpstreamBroke where the coding is broken.

    Others get their turn in between, whatever the chunks are made of: gzip members without content, or zeros by the gigabyte.
    """
    members = _Members()
    async for chunk in chunks:
        for at in range(0, len(chunk), IN_AT_ONCE):
            members.take(chunk[at : at + IN_AT_ONCE])
            while not members.hungry:
                try:
                    piece = members.inflated()
                except InflateError as error:
                    raise UpstreamBroke(url, f"its gzip coding is broken ({error})") from None
                if piece:
                    yield piece
                await asyncio.sleep(0)
    if not members.ended:
        raise UpstreamBroke(url, "its gzip coding ends too early")


class _Members:
    """A series of gzip members (RFC 1952, section 2.2) that comes in parts."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP_WRAPPER)
        self._padded = False
        self._left = b""
        self.ended = False
        """Tell whether what came so far ends with a member's end."""

    @property
    def hungry(self) -> bool:
        """Tell whether all that came is inflated."""
        return not self._left

    def take(self, part: bytes) -> None:
        """Take the next part, once the last one is inflated."""
        # What follows the last member is padding.
        self._left = b"" if self._padded else part

    def inflated(self) -> bytes:
        """Inflate until there is enough to send on, or all that came is inflated; raise InflateError."""
        pieces: list[bytes] = []
        size = 0
        while self._left and size < _AT_ONCE:
            if self._inflater.eof:
                if not self._left.startswith(GZIP[: len(self._left)]):
                    self._padded, self._left = True, b""
                    break
                self._inflater = zlib.decompressobj(_GZIP_WRAPPER)
            piece = self._inflater.decompress(self._left, _AT_ONCE)
            self.ended = self._inflater.eof
            self._left = self._inflater.unused_data if self.ended else self._inflater.unconsumed_tail
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)
