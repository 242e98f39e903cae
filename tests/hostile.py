"""Archives and metadata made to keep their reader busy: a few kilobytes that claim millions of lines, members or holes."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable

HEAD = b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n"
MOST = 8 * 1024 * 1024 - 1024
"""Bytes of METADATA that are still read."""

_NAME = b"demo-1.0.dist-info/METADATA"


def lines(line: bytes) -> bytes:
    """Return core metadata of the release with so many of these lines that no more would be read."""
    return HEAD + line * ((MOST - len(HEAD)) // len(line))


METADATA: dict[str, Callable[[], bytes]] = {
    "millions of headers": lambda: lines(b"A:\n"),
    "millions of headers of a byte": lambda: lines(b"A\n"),
    "millions of requirements": lambda: lines(b"Requires-Dist: a\n"),
    "requirements for an older Python": lambda: lines(b"Requires-Dist: a; python_version < '3.8'\n"),
    "requirements that name nothing": lambda: lines(b"Requires-Dist: -\n"),
    "a requirement of megabytes": lambda: HEAD + b"Requires-Dist: a; " + b"(" * (MOST - 1000),
    "one header of megabytes": lambda: HEAD + b"X: " + b"x" * (MOST - 1000),
    "a header that goes on for millions of lines": lambda: HEAD + b"X: a\n" + b" b\n" * ((MOST - 1000) // 3),
    "a name that goes on for millions of lines": lambda: b"Metadata-Version: 2.2\nName: demo\n" + b" \n" * (MOST // 2 - 100),
    "nothing but carriage returns": lambda: HEAD.replace(b"\n", b"\r") + b"A:\r" * ((MOST - 1000) // 3),
    "nothing but empty lines": lambda: b"\n" * MOST,
    "a description of megabytes": lambda: HEAD + b"\n" + b"Requires-Dist: a\n" * ((MOST - 1000) // 17),
}


def zipped(content: bytes = HEAD, *, before: Iterable[bytes] = (), claimed: int | None = None) -> bytes:
    """Return a zip file with METADATA, deflated, of `content`; `before` names members that only its directory knows.

    `claimed` is the size that METADATA is said to have.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    size = len(content) if claimed is None else claimed
    facts = (0, 0, zlib.crc32(content), len(packed), size)
    local = struct.pack("<4s3H2H3L2H", b"PK\x03\x04", 20, 0, 8, *facts, len(_NAME), 0) + _NAME + packed
    # The central directory's header: versions, flags, method, time and date, checksum, sizes, lengths, attributes, offset (APPNOTE 4.3.12).
    entry = struct.Struct("<4s4B4H3L5H2L")
    fill = [entry.pack(b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name for name in before]
    own = entry.pack(b"PK\x01\x02", 20, 3, 20, 0, 0, 8, *facts, len(_NAME), 0, 0, 0, 0, 0, 0) + _NAME
    directory = b"".join(fill) + own
    count = min(len(fill), 65535)
    return local + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(local), 0)


WHEELS: dict[str, Callable[[], bytes]] = {
    **{f"METADATA with {what}": (lambda made=made: zipped(made())) for what, made in METADATA.items()},  # type: ignore[misc]
    "150,000 members": lambda: zipped(before=[b"%06d" % number for number in range(150_000)]),
    "100,000 other files called METADATA": lambda: zipped(before=[b"%06d.dist-info/METADATA" % number for number in range(100_000)]),
    "members that lie deep": lambda: zipped(before=[b"a/" * 30_000 + b"%d.dist-info/METADATA" % number for number in range(100)]),
    "METADATA that unpacks to gigabytes": lambda: zipped(b"x" * 10**8, claimed=1000),
}


CODED: dict[str, Callable[[], bytes]] = {
    "gzip members without content": lambda: gzip.compress(zipped()) + gzip.compress(b"") * 100_000,
    "gzip members of a byte": lambda: gzip.compress(zipped()) + gzip.compress(b"x") * 100_000,
    "zeros without end": lambda: gzip.compress(zipped() + bytes(10**8), 1),
    "blocks without content": lambda: _of_empty_blocks(2_000_000),
}
"""Wheels as a mirror may send them that codes them with gzip though nobody asked for it."""


def _of_empty_blocks(size: int) -> bytes:
    """Return a gzip member with METADATA's wheel and so many bytes of deflate blocks that hold nothing (RFC 1951, section 3.2.6)."""
    content = zipped()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    # Four empty blocks of ten bits each.
    blocks = b"\x02\x08\x20\x80\x00" * (size // 5)
    end = b"\x03\x00" + struct.pack("<2L", zlib.crc32(content), len(content))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + start + blocks + end


def tarred(members: Iterable[tarfile.TarInfo], form: int = tarfile.GNU_FORMAT) -> bytes:
    """Return a `.tar.gz` with these members, which are empty, and PKG-INFO behind them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member in members:
            archive.addfile(member)
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size = len(HEAD)
        archive.addfile(info, io.BytesIO(HEAD))
    return gzip.compress(out.getvalue(), 1)


def _extended(number: int, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{name}{number}")
    info.pax_headers = {"comment": "1 " * 400}
    return info


SDISTS: dict[str, Callable[[], bytes]] = {
    "16,000 members": lambda: tarred(tarfile.TarInfo(f"demo-1.0/{number}") for number in range(16_000)),
    "long names": lambda: tarred(tarfile.TarInfo("demo-1.0/" + f"{'x' * 300}/{number}") for number in range(5_000)),
    "extended headers": lambda: tarred((_extended(number, "demo-1.0/") for number in range(4_000)), tarfile.PAX_FORMAT),
    "nothing but zeros": lambda: gzip.compress(bytes(10**8), 1),
    **{f"PKG-INFO with {what}": (lambda made=made: _sdist_of(made())) for what, made in METADATA.items()},  # type: ignore[misc]
}


def _sdist_of(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
