"""DEFLATE in its wrappers (RFC 1950, 1951, 1952), by ISA-L where it can be had, else by zlib.

ISA-L inflates twice as fast, and deflates eight times as fast to the same size.
Rules for this file: bytes in, bytes out.
"""

from typing import Protocol

try:
    from isal import isal_zlib as _library

    _LEVEL = 1
except ImportError:
    import zlib as _library  # type: ignore[no-redef]

    _LEVEL = 5

GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15
"""What zlib calls a gzip member, its own wrapper, and no wrapper at all."""

InflateError: type[Exception] = _library.error  # type: ignore[assignment]  # the stubs of ISA-L take the class for an instance


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


def gzipped(content: bytes) -> bytes:
    """Gives `content` as one gzip member, compressed at the level that pays for a page."""
    compressor = _library.compressobj(level=_LEVEL, wbits=GZIP_BITS)
    return compressor.compress(content) + compressor.flush()
