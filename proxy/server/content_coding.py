"""Files that a mirror sends gzip-coded though it was asked for them as they are (RFC 9110, sections 8.4 and 12.5.3).

The header alone says nothing: some mirrors label every `.tar.gz` so, which is not coded at all. The first bytes decide, and the size.
"""

import zlib
from collections.abc import AsyncIterator

from proxy.core.deflate import GZIP, InflateError
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
        inside = zlib.decompressobj(_GZIP_WRAPPER).decompress(start, len(beginning or b"<"))
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
    """Yield what gzip-coded `chunks` from `url` hold, in pieces of bounded size; raise UpstreamBroke where the coding is broken."""
    inflater = zlib.decompressobj(_GZIP_WRAPPER)
    ended = False
    async for chunk in chunks:
        data = chunk
        while data:
            if inflater.eof:
                if not data.startswith(GZIP[: len(data)]):
                    # What follows the last member is padding (RFC 1952, section 2.2).
                    break
                inflater = zlib.decompressobj(_GZIP_WRAPPER)
            try:
                piece = inflater.decompress(data, _AT_ONCE)
            except InflateError as error:
                raise UpstreamBroke(url, f"its gzip coding is broken ({error})") from None
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            ended = inflater.eof
            if piece:
                yield piece
    if not ended:
        raise UpstreamBroke(url, "its gzip coding ends too early")
