"""Our readers of archives find what the standard library finds, in any archive that real tools write."""

import io
import struct
import tarfile
import zipfile
import zlib
from email.parser import HeaderParser

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.core.archives import (
    Entry,
    MissingPart,
    PartialFile,
    UnsoundArchive,
    find_metadata,
    find_pkg_info,
    read_directory,
    read_entry,
)
from proxy.core.metadata_headers import HEADERS_LIMIT, MetadataHeaders
from tests.hostile import HEAD, zipped

METADATA = "demo-1.0.dist-info/METADATA"
END_SIGN = b"PK\x05\x06"


def read(content: bytes, project: str = "demo") -> bytes | None:
    archive = PartialFile(len(content))
    archive.add(0, content)
    entry = find_metadata(read_directory(archive), project)
    return None if entry is None else read_entry(archive, entry)


names = st.text(st.sampled_from("abc/é.-"), min_size=1, max_size=40)
members = st.lists(st.tuples(names, st.binary(max_size=50)), max_size=8, unique_by=lambda member: member[0])


@given(members, members, st.binary(max_size=200), st.sampled_from([0, 8]), st.binary(max_size=30), st.binary(max_size=40), st.booleans())
def test_metadata_is_what_zipfile_reads(
    before: list[tuple[str, bytes]],
    after: list[tuple[str, bytes]],
    content: bytes,
    method: int,
    comment: bytes,
    prefix: bytes,
    large: bool,
) -> None:
    # With the sign of an end in its comment, an archive is ambiguous: zipfile cannot read it either.
    assume(END_SIGN not in comment)
    out = io.BytesIO(prefix)
    with zipfile.ZipFile(out, "a" if prefix else "w", method) as archive:
        for name, data in before:
            archive.writestr(f"before/{name}", data)
        with archive.open(METADATA, "w", force_zip64=large) as member:
            member.write(content)
        for name, data in after:
            archive.writestr(f"after/{name}", data)
        archive.comment = comment
    whole = out.getvalue()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert read(whole) == archive.read(METADATA) == content


def test_a_comment_with_the_sign_of_an_end_makes_an_archive_unsound_as_for_zipfile() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(METADATA, HEAD)
        archive.comment = END_SIGN
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(out.getvalue()))
    with pytest.raises(UnsoundArchive):
        read(out.getvalue())


def test_sizes_and_offsets_of_64_bits_are_read() -> None:
    name, packed = METADATA.encode(), b"x" * 10
    content = b"\0" * 100 + struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(name), 20) + name
    content += struct.pack("<2H2Q", 1, 16, 10, 10) + packed
    extra = struct.pack("<2H2H3Q", 0x9999, 0, 1, 24, 10, 10, 100)
    crc = zlib.crc32(packed)
    start = len(content)
    content += struct.pack(
        "<4s4B4H3L5H2L", b"PK\x01\x02", 45, 3, 45, 0, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), len(extra), 0, 0, 0, 0, 2**32 - 1
    )
    content += name + extra
    size = len(content) - start
    content += struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start)
    content += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    content += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read(METADATA) == packed
    assert read(content) == packed


def test_only_the_parts_that_are_needed_are_asked_for() -> None:
    whole = zipped(before=[b"%06d" % number for number in range(3000)])
    archive = PartialFile(len(whole))
    asked = []
    entry: Entry | None = None
    for _ in range(5):
        try:
            entry = entry or find_metadata(read_directory(archive), "demo")
            assert entry is not None
            assert read_entry(archive, entry) == HEAD
            break
        except MissingPart as missing:
            asked.append((missing.first, missing.last))
            archive.add(missing.first, whole[missing.first : missing.last + 1])
    assert len(asked) <= 4
    assert asked[-1][0] == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a zip file"),
        (b"PK\x05\x06" + b"\xff" * 18, "directory is too large"),
        (zipped()[:-22] + zipped()[-22:].replace(b"PK\x05\x06", b"PK\x05\x07"), "not a zip file"),
        (zipped().replace(b"PK\x01\x02", b"PK\x01\x03"), "central directory"),
        (zipped().replace(b"PK\x03\x04", b"PK\x03\x05"), "file header"),
        (zipped(claimed=5), "CRC"),
        (zipped(claimed=2**31), "too large"),
    ],
)
def test_an_archive_that_is_unsound_says_why(content: bytes, why: str) -> None:
    with pytest.raises(UnsoundArchive, match=why):
        read(content)


paths = st.text(st.sampled_from("abcé-_./"), min_size=1, max_size=150).filter(lambda name: not name.endswith("PKG-INFO"))


@given(
    st.lists(st.tuples(paths, st.integers(0, 3000), st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])), max_size=12),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.binary(max_size=1500),
    st.sampled_from([0, 1.5, 10**12]),
)
def test_pkg_info_is_what_tarfile_reads(before: list[tuple[str, int, bytes]], form: int, content: bytes, moment: float) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as archive:
        for name, size, kind in before:
            info = tarfile.TarInfo(f"demo-1.0/{name}")
            info.type, info.size, info.linkname = kind, size if kind == tarfile.REGTYPE else 0, "a" * (size % 200)
            info.mtime = moment if form == tarfile.PAX_FORMAT else 0
            try:
                archive.addfile(info, io.BytesIO(bytes(size)))
            except ValueError:
                # The oldest form has no room for such a name.
                continue
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size = len(content)
        info.mtime = moment if form == tarfile.PAX_FORMAT else 0
        archive.addfile(info, io.BytesIO(content))
    assert find_pkg_info(out.getvalue()) == content


@pytest.mark.parametrize("change", [{"path": "demo-1.0/other"}, {"size": "0"}])
def test_pkg_info_that_an_extended_header_makes_something_else_is_not_read(change: dict[str, str]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size, info.pax_headers = len(HEAD), change
        archive.addfile(info, io.BytesIO(HEAD))
    assert find_pkg_info(out.getvalue()) is None


values = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30)
fields = st.lists(
    st.tuples(st.sampled_from(["Name", "version", "REQUIRES-DIST", "X-y"]), st.lists(values, min_size=1, max_size=3)), max_size=8
)


@given(fields, st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "about: this\nName: no\n"]))
def test_headers_are_what_the_standard_librarys_parser_reads(said: list[tuple[str, list[str]]], end: str, body: str) -> None:
    folded = [(name, "\n  ".join(parts)) for name, parts in said]
    text = "".join(f"{name}: {value}\n" for name, value in folded) + "\n" + body
    theirs = HeaderParser().parsestr(text)
    ours = MetadataHeaders(text.replace("\n", end).encode())
    for name in ("Name", "Version", "Requires-Dist", "X-Y", "Nothing"):
        assert ours.get_all(name) == [value.strip() for value in theirs.get_all(name, [])]
        assert ours.get(name) == next(iter(ours.get_all(name)), None)


def test_a_line_that_the_limit_cuts_is_not_read() -> None:
    content = HEAD + b"X: " + b"x" * (HEADERS_LIMIT - len(HEAD) - 40) + b"\nRequires-Dist: a" + b"a" * 100 + b"\n"
    headers = MetadataHeaders(content)
    assert (headers.complete, headers.get("Version"), headers.get("Requires-Dist")) == (False, "1.0", None)
