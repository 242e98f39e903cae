"""DEFLATE in its wrappers (RFC 1950, 1951, 1952), by ISA-L where it can be had, else by zlib.

ISA-L inflates twice as fast, and deflates eight times as fast to the same size.
Rules for this file: bytes in, bytes out.
"""

import zlib
from typing import Protocol

try:
    from isal import isal_zlib as _library

    QUICK = True
except ImportError:
    import zlib as _library  # type: ignore[no-redef]

    QUICK = False
"""Whether a page of usual size is compressed in a millisecond."""

ZLIB_BITS, RAW_BITS = 15, -15
"""What zlib calls its own wrapper, and no wrapper at all."""

GZIP = b"\x1f\x8b"
"""How a gzip member begins."""

GZIP_FLAGS_END = 4
"""Bytes of a gzip member up to its flags."""

IN_AT_ONCE = 16 * 1024
"""Bytes that are inflated at one go. What is left of them is copied at the end of each gzip member, and a member may have twenty bytes."""

_GZIP_BITS = 31
_LEVEL = 1 if QUICK else 5
_OPTIONAL_FIELDS = (0x04, 0x08, 0x10)
_KNOWN_FLAGS = 0x01 | sum(_OPTIONAL_FIELDS)

InflateError: tuple[type[Exception], ...] = (zlib.error, _library.error)  # type: ignore[assignment]  # stubs take a class for an instance


class Inflating(Protocol):
    """A stream that is being inflated, as in the standard library's `zlib`."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""

    @property
    def unused_data(self) -> bytes:
        """What followed the end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Gives at most so many bytes of what `data` inflates to; raises InflateError."""


def inflating(bits: int) -> Inflating:
    """Gives a stream in the wrapper that `bits` means."""
    return _library.decompressobj(bits)


def inflating_gzip(start: bytes) -> Inflating:
    """Gives a stream for the gzip member that begins with `start`, of which the flags must be there."""
    flags = start[GZIP_FLAGS_END - 1]
    # ISA-L loses its place in a header of several optional fields, or with a checksum, that comes in pieces; nobody sends pages so.
    usual = not flags & ~_KNOWN_FLAGS and sum(bool(flags & field) for field in _OPTIONAL_FIELDS) <= 1
    return _library.decompressobj(_GZIP_BITS) if usual else zlib.decompressobj(_GZIP_BITS)


def gzipped(content: bytes) -> bytes:
    """Gives `content` as one gzip member, compressed at the level that pays for a page."""
    compressor = _library.compressobj(level=_LEVEL, wbits=_GZIP_BITS)
    return compressor.compress(content) + compressor.flush()


def gunzipped(content: bytes) -> bytes:
    """Return what one whole gzip member holds, of which it is known that it is not too much; raises InflateError."""
    plain: bytes = _library.decompress(content, _GZIP_BITS)
    return plain
