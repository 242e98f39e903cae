"""The form in which a document is kept: a small header, then the content, compressed where that pays.

Only bytes to bytes may live here. The header names the version of this form, so that two releases can share a Redis or a file:
what a release does not understand is as good as absent to it. It is never pickle: who can write to the store must not be able to run code.

A document that was forgotten on purpose leaves a tombstone, so that a replica which still has a copy can tell it from one that got lost.
"""

import struct
import zlib
from dataclasses import dataclass

from proxy.core.zstandard import FrameError, compressed, decompressed

COMPRESSED_FROM = 1024
"""Documents longer than this are compressed; below it the gain is smaller than the work."""

_MAGIC = b"mend"
_VERSION = 1
_PLAIN, _ZSTD, _FORGOTTEN = 0, 1, 2
_CODINGS = frozenset({_PLAIN, _ZSTD, _FORGOTTEN})
_HEADER = struct.Struct(">4sBBddI")


@dataclass(frozen=True, slots=True)
class Header:
    """When a document was written or forgotten, and until when that holds, both in seconds since the epoch."""

    written: float
    expires: float
    forgotten: bool = False


def seal(document: bytes | None, *, written: float, expires: float) -> bytes:
    """Return the bytes to keep for `document`, those of a tombstone for None."""
    coding, content = (_FORGOTTEN, b"") if document is None else (_PLAIN, document)
    if document is not None and len(document) > COMPRESSED_FROM:
        smaller = compressed(document)
        if len(smaller) < len(document):
            coding, content = _ZSTD, smaller
    return _HEADER.pack(_MAGIC, _VERSION, coding, written, expires, zlib.crc32(content)) + content


def header_of(sealed: bytes) -> Header | None:
    """Return the header, None if the bytes are no document in this form, or one in another version of it."""
    if len(sealed) < _HEADER.size:
        return None
    magic, version, coding, written, expires, _checksum = _HEADER.unpack_from(sealed)
    if magic != _MAGIC or version != _VERSION or coding not in _CODINGS:
        return None
    return Header(written, expires, coding == _FORGOTTEN)


def is_tombstone(sealed: bytes) -> bool:
    """Return whether the document was forgotten on purpose."""
    header = header_of(sealed)
    return header is not None and header.forgotten


def unseal(sealed: bytes, now: float) -> bytes | None:
    """Return the document, None if it was forgotten, has expired by `now`, is damaged, or has a form that is not known here."""
    header = header_of(sealed)
    if header is None or header.forgotten or header.expires <= now:
        return None
    content = sealed[_HEADER.size :]
    _magic, _version, coding, _written, _expires, checksum = _HEADER.unpack_from(sealed)
    # SQLite keeps no checksums: a flipped bit on the disk would come back as if it had been written so.
    if zlib.crc32(content) != checksum:
        return None
    if coding == _PLAIN:
        return content
    try:
        return decompressed(content)
    except FrameError:
        return None
