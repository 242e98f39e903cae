"""Bytes behind the links of a page: distinct for each address, so that a link which leads to another file is noticed."""

import io
import re
import struct
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from tests.wheels import make_sdist, make_wheel

_COPY = re.compile(r"/copy[0-9]+/")
_CENTRAL = b"PK\x01\x02"
_ZIP, _GZIP, _BZIP2, _XZ = b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"
_FIRST_BYTES = {
    **dict.fromkeys(("whl", "zip", "egg"), _ZIP),
    **dict.fromkeys(("gz", "tgz"), _GZIP),
    **dict.fromkeys(("bz2", "tbz", "tbz2"), _BZIP2),
    **dict.fromkeys(("xz", "txz"), _XZ),
    **dict.fromkeys(("lz", "tlz"), b"LZIP\x01"),
    "lzma": b"\x5d\x00\x00\x80\x00",
    "zst": b"\x28\xb5\x2f\xfd",
    "z": b"\x1f\x9d\x90",
    "exe": b"MZ\x90\x00",
    "msi": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "rpm": b"\xed\xab\xee\xdb",
    "deb": b"!<arch>\ndebian",
    "json": b'{"made-for-a-test": ',
    "asc": b"-----BEGIN PGP SIGNATURE-----\n",
}
"""The first bytes of files of these endings; all others begin like a tar archive, by the name of a file in it."""


@dataclass(frozen=True)
class Content:
    """A file of `size` bytes: `start`, zeros, `end`. The zeros are made when they are asked for, so that a large file costs nothing."""

    start: bytes
    zeros: int = 0
    end: bytes = b""
    metadata: bytes | None = None

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self.start) + self.zeros + len(self.end)

    def part(self, first: int, last: int) -> bytes:
        """Return the bytes from `first` to `last`, both included, as a Range header counts them."""
        parts = []
        for begin, length, data in (
            (0, len(self.start), self.start),
            (len(self.start), self.zeros, None),
            (len(self.start) + self.zeros, len(self.end), self.end),
        ):
            low, high = max(first, begin) - begin, min(last + 1, begin + length) - begin
            if low < high:
                parts.append(bytes(high - low) if data is None else data[low:high])
        return b"".join(parts)

    @property
    def whole(self) -> bytes:
        """All bytes."""
        return self.part(0, self.size - 1)


def address_key(url: str) -> str:
    """Return what tells one file of a mirror from another: the decoded path and the query of its address.

    Clients differ in which letters they escape; a server decodes the path and does not care.
    """
    parts = urlsplit(url)
    return unquote(parts.path, errors="surrogateescape") + (f"?{parts.query}" if parts.query else "")


def content_key(url: str) -> str:
    """Return the address key without a `/copyN/` part: addresses that differ in nothing else hold the same bytes."""
    return _COPY.sub("/", address_key(url))


def filename_in(url: str) -> str:
    """Return the decoded last part of the path of `url`, without a slash at its end, as pip reads it."""
    return unquote(urlsplit(url).path, errors="replace").rstrip("/").rpartition("/")[2]


@lru_cache(maxsize=65536)
def content_of(filename: str, key: str, size: int | None = None) -> Content:
    """Return the content that goes with `filename` and `key`, `size` bytes long where that leaves room for it.

    A wheel or sdist whose name can be parsed is one that uv reads the metadata of.
    """
    content = _distribution(filename, key) or _opaque(filename, key)
    if size is None or size == content.size:
        return content
    gap = size - content.size
    if gap >= 0 and filename.lower().endswith(".whl") and content.metadata is not None:
        return _widened(content, gap)
    if gap >= 0:
        return Content(content.start, gap, metadata=content.metadata)
    return Content(content.start[:size])


def _distribution(filename: str, key: str) -> Content | None:
    try:
        if filename.endswith(".whl"):
            parse_wheel_filename(filename)
            name, version = filename.split("-")[:2]
            text = _metadata(name, version, key)
            return Content(make_wheel(filename, metadata=text, payload=_mark(filename, key)), metadata=text.encode())
        if filename.endswith(".tar.gz"):
            parse_sdist_filename(filename)
            name, _, version = filename.removesuffix(".tar.gz").rpartition("-")
            text = _metadata(name, version, key)
            return Content(make_sdist(filename, metadata=text), metadata=text.encode())
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError):
        return None
    return None


def _metadata(name: str, version: str, key: str) -> str:
    digest = blake2b(key.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\nSummary: Made for a test, {digest}\n"


def _opaque(filename: str, key: str) -> Content:
    ending = filename.lower().rpartition(".")[2]
    end = b"}" if ending == "json" else b""
    return Content(_FIRST_BYTES.get(ending, b"demo/\x00") + _mark(filename, key) + end)


def _mark(filename: str, key: str) -> bytes:
    return f'"{filename} {blake2b(key.encode(errors="surrogateescape"), digest_size=12).hexdigest()}"'.encode(errors="replace")


def _widened(content: Content, gap: int) -> Content:
    """Return a wheel with `gap` zeros after its first member, and the places in its directory corrected."""
    data = bytearray(content.start)
    with zipfile.ZipFile(io.BytesIO(content.start)) as archive:
        members, directory = archive.infolist(), archive.start_dir
    cut = members[1].header_offset
    place = directory
    for member in members:
        assert data[place : place + 4] == _CENTRAL
        if member.header_offset >= cut:
            struct.pack_into("<L", data, place + 42, member.header_offset + gap)
        name, extra, comment = struct.unpack_from("<HHH", data, place + 28)
        place += 46 + name + extra + comment
    struct.pack_into("<L", data, len(data) - 6, directory + gap)
    return Content(bytes(data[:cut]), gap, bytes(data[cut:]), content.metadata)
