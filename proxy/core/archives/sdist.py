"""PKG-INFO near the beginning of an sdist: the headers of the tar file are passed over, and one member is read.

Sources: PyPA specifications, source distribution format (PKG-INFO lies in the only top-level directory); POSIX.1-2001, pax and ustar.
"""

import tarfile
import zlib

UNPACKED_LIMIT = 8 * 1024 * 1024
"""Bytes of the tar file that are looked at."""

_BLOCK = 512
_NAME_LENGTH = 100
_SUFFIX = b"/PKG-INFO"
_WITHOUT_CONTENT = b"123456"
"""Links, devices, directories and FIFOs: their size says nothing of what follows."""

_OF_THE_NEXT = b"xXLK"
"""Headers that change the member after them: pax, its old form, and GNU's long names."""

_CHANGES = (b"path=", b"size=", b"GNU.sparse")
_EXTENDED_LIMIT = 64 * 1024
_EXTENDED_IN_A_ROW = 4
"""Headers before one member: a long name, a long link and a pax header."""


def find_pkg_info(beginning: bytes) -> bytes | None:
    """Return PKG-INFO out of the `beginning` of a `.tar.gz`, None if it is not there whole.

    A member that changes its own name, size or kind by an extended header is not read.
    """
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(beginning, UNPACKED_LIMIT)
    except zlib.error:
        return None
    return _walk(unpacked) if _SUFFIX in unpacked else None


def _walk(unpacked: bytes) -> bytes | None:
    at, changed, extended = 0, False, 0
    # At most 16,384 times: each header takes a block.
    while at + _BLOCK <= len(unpacked):
        kind = unpacked[at + 156 : at + 157]
        name = unpacked[at : at + _NAME_LENGTH].partition(b"\0")[0]
        size = _size(unpacked[at + 124 : at + 136])
        if size is None or kind == b"S":
            # The end, or no header; a sparse file claims terabytes of holes by a few bytes.
            return None
        if kind in {b"0", b"\0", b"7"} and not changed and name.count(b"/") == 1 and name.endswith(_SUFFIX):
            return _content(unpacked, at, size)
        # What ends with a slash is a directory, by the oldest form of tar.
        without = kind in _WITHOUT_CONTENT or (kind == b"\0" and name.endswith(b"/"))
        start, at = at + _BLOCK, at + _BLOCK + (0 if without else -(-size // _BLOCK) * _BLOCK)
        if kind in _OF_THE_NEXT:
            extended += 1
            if size > _EXTENDED_LIMIT or extended > _EXTENDED_IN_A_ROW:
                return None
            changed = changed or kind in b"LK" or any(word in unpacked[start : start + size] for word in _CHANGES)
        elif kind != b"g":
            changed, extended = False, 0
    return None


def _size(field: bytes) -> int | None:
    """Return the bytes that a header claims, None if they are more than are looked at, or no octal number."""
    digits = field.strip(b" \0")
    if not digits.isdigit() or len(digits) > 11:
        return None
    try:
        size = int(digits, 8)
    except ValueError:
        return None
    return size if size <= UNPACKED_LIMIT else None


def _content(unpacked: bytes, at: int, size: int) -> bytes | None:
    try:
        tarfile.TarInfo.frombuf(unpacked[at : at + _BLOCK], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return None
    content = unpacked[at + _BLOCK : at + _BLOCK + size]
    return content if len(content) == size else None
