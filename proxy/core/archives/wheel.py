"""METADATA in a wheel: the zip directory is walked without an object for each entry, and one member is unpacked.

Sources: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16 (ends),
4.5.3 (zip64 field);
PyPA specifications, binary distribution format (METADATA lies in the `.dist-info` directory, by custom at the physical end).
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.core.archives.partial_file import MissingPart, PartialFile
from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

METADATA_LIMIT = 8 * 1024 * 1024
"""Bytes that METADATA may have."""

DIRECTORY_LIMIT = 8 * 1024 * 1024
"""Bytes that a wheel's directory may have: about 80,000 files. The largest real wheels have some 40,000."""

BEFORE_LIMIT = 512 * 1024
"""Bytes before a wheel's directory that are asked for with it, at most."""

_METADATA_USUALLY = 24 * 1024
"""Bytes of METADATA, packed, and the small files of its folder, in nearly all wheels."""

_NAME = re.compile(rb"[^/]*\.dist-info/METADATA")
_SUFFIX = b".dist-info/METADATA"
_LONGEST_NAME = 512
_CANDIDATES = 64

_END, _END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
_LOCATOR, _LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\x06\x07"
_END64, _END64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\x06\x06"
_CENTRAL, _CENTRAL_SIGNATURE = struct.Struct("<4s4B4HL2L5H2L"), b"PK\x01\x02"
_LOCAL, _LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\x03\x04"
_LENGTHS = struct.Struct("<4s24x3H")
"""Of an entry in the directory: its signature, and the lengths of name, extra field and comment."""

_LONGEST_COMMENT = 65535
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64_FIELD = 1


class UnsoundArchive(Exception):
    """It cannot be read, for the reason that the text gives."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The zip directory's `content`; `shift` is by how many bytes the archive begins later than its own offsets say."""

    content: bytes
    shift: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the directory describes it: sizes in bytes, and the offset of its local header in the file."""

    name: bytes
    method: int
    checksum: int
    packed: int
    size: int
    offset: int

    @property
    def room(self) -> tuple[int, int]:
        """Return the member's place in the file, and how many bytes it takes at most with its header."""
        return self.offset, _LOCAL.size + len(self.name) + 256 + self.packed


def read_directory(archive: PartialFile) -> Directory:
    """Return the directory of a zip file; raise MissingPart or UnsoundArchive."""
    end_at, size, offset = _end_record(archive)
    if size > DIRECTORY_LIMIT:
        raise UnsoundArchive("its directory is too large")
    start = end_at - size
    if start < 0 or offset > start:
        raise UnsoundArchive("its directory is not where it says")
    try:
        return Directory(archive.read(start, size), start - offset)
    except MissingPart as missing:
        # METADATA is mostly among the last files, with RECORD, which has 50 packed bytes a file where the directory has 90.
        before = min(_METADATA_USUALLY + size * 5 // 8, BEFORE_LIMIT)
        raise MissingPart(max(0, missing.first - before), missing.last) from None


def _end_record(archive: PartialFile) -> tuple[int, int, int]:
    """Return where the directory ends, its size, and its offset by the archive's own count."""
    at = archive.length - _END.size
    if at < 0:
        raise UnsoundArchive("File is not a zip file")
    found = archive.read(at, _END.size)
    if not (found.startswith(_END_SIGNATURE) and found.endswith(b"\0\0")):
        # There is a comment behind it.
        from_byte = max(0, at - _LONGEST_COMMENT)
        tail = archive.read(from_byte, archive.length - from_byte)
        place = tail.rfind(_END_SIGNATURE)
        found = tail[place : place + _END.size]
        if place < 0 or len(found) < _END.size:
            raise UnsoundArchive("File is not a zip file")
        at = from_byte + place
    *_, size, offset, _ = _END.unpack(found)
    at64 = at - _LOCATOR.size - _END64.size
    if at64 >= 0 and archive.read(at - _LOCATOR.size, _LOCATOR.size).startswith(_LOCATOR_SIGNATURE):
        # As `zipfile`, the record is taken to stand right before its locator.
        record = archive.read(at64, _END64.size)
        if record.startswith(_END64_SIGNATURE):
            *_, size, offset = _END64.unpack(record)
            return at64, size, offset
    return at, size, offset


def find_metadata(directory: Directory, project: str) -> Entry | None:
    """Return the entry of METADATA of `project` (its normalised name), None if there is none; raise UnsoundArchive."""
    candidates = list(_candidates(directory))
    if len(candidates) > 1:
        candidates = [entry for entry in candidates if _is_directory_of(entry.name, project)] or candidates
    return candidates[0] if candidates else None


def _candidates(directory: Directory) -> Iterator[Entry]:
    content = directory.content
    if _SUFFIX not in content:
        return
    unpack, header, most = _LENGTHS.unpack_from, _CENTRAL.size, len(content)
    at, found = 0, 0
    # This runs once for each file of a wheel.
    while at + header <= most:
        signature, name_length, extra_length, comment_length = unpack(content, at)
        if signature != _CENTRAL_SIGNATURE:
            raise UnsoundArchive("Bad magic number for central directory")
        end = at + header + name_length
        if content.endswith(_SUFFIX, at + header, end) and name_length <= _LONGEST_NAME:
            name = content[at + header : end]
            if _NAME.fullmatch(name):
                yield _entry(directory, at, name, content[end : end + extra_length])
                found += 1
                if found >= _CANDIDATES:
                    return
        at = end + extra_length + comment_length


def _entry(directory: Directory, at: int, name: bytes, extra: bytes) -> Entry:
    fields = _CENTRAL.unpack_from(directory.content, at)
    flags, method, checksum, packed, size, offset = fields[5], fields[6], fields[9], fields[10], fields[11], fields[-1]
    if flags & _ENCRYPTED:
        raise UnsoundArchive("its METADATA is encrypted")
    if _IN_ZIP64 in {size, packed, offset}:
        values = iter(_zip64_values(extra))
        size, packed, offset = [next(values, value) if value == _IN_ZIP64 else value for value in (size, packed, offset)]
    return Entry(name, method, checksum, packed, size, offset + directory.shift)


def _zip64_values(extra: bytes) -> tuple[int, ...]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64_FIELD:
            numbers = min(length, len(extra) - at - 4) // 8
            return struct.unpack_from(f"<{min(numbers, 3)}Q", extra, at + 4)
        at += 4 + length
    return ()


def _is_directory_of(name: bytes, project: str) -> bool:
    try:
        return normalised_name(name.partition(b"-")[0].decode("utf-8", "replace")) == project
    except InvalidProjectName:
        return False


def read_entry(archive: PartialFile, entry: Entry) -> bytes:
    """Return the unpacked content of a member; raise MissingPart or UnsoundArchive."""
    if entry.size > METADATA_LIMIT or entry.packed > METADATA_LIMIT:
        raise UnsoundArchive("its METADATA is too large")
    if entry.method not in {_STORED, _DEFLATED}:
        raise UnsoundArchive("its METADATA is compressed in a way that uv refuses")
    # The whole place of the member at once: each part that is missing is a request.
    start, room = entry.room
    part = archive.read(start, room)
    if len(part) < _LOCAL.size or not part.startswith(_LOCAL_SIGNATURE):
        raise UnsoundArchive("Bad magic number for file header")
    name_length, extra_length = _LOCAL.unpack_from(part)[-2:]
    begin = _LOCAL.size + name_length + extra_length
    if part[_LOCAL.size : _LOCAL.size + name_length] != entry.name:
        raise UnsoundArchive("File name in directory and header differ")
    packed = part[begin : begin + entry.packed]
    if len(packed) < entry.packed and start + begin + entry.packed <= archive.length:
        packed = archive.read(start + begin, entry.packed)
    if len(packed) != entry.packed:
        raise UnsoundArchive("it ends within its METADATA")
    content = packed if entry.method == _STORED else _inflated(packed, entry.size)
    if len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        raise UnsoundArchive(f"Bad CRC-32 for file {entry.name.decode('utf-8', 'replace')!r}")
    return content


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        # One byte more than it says is enough to see that it lies.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise UnsoundArchive(str(error)) from None
