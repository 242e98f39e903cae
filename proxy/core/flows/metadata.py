"""Reading core metadata out of distribution files that stay at the mirror.

A wheel is a zip file: its directory is at its end, so absolute ranges of a few kilobytes are enough
(PyPA specifications, binary distribution format: METADATA lies in the `.dist-info` directory, by custom at the physical end).
The zip format is left to `zipfile`, which reads from a file of which only some parts are here;
a missing part becomes the next range to ask for.
An sdist's PKG-INFO stands in where it is static (PyPA specifications, source distribution format and core metadata, field Dynamic).
"""

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from email.parser import HeaderParser

from packaging.version import Version

from proxy.core.errors import InvalidProjectName
from proxy.core.flows.evidence import Evidence, asked_as, content_range, evidence_of, whole_length
from proxy.core.flows.exchange import Answer, Ask, Flow, Method, Reply
from proxy.core.page import normalised_name, parsed_version

TAIL = 32 * 1024
"""Bytes read of a wheel's end at first: for most wheels they hold the directory and METADATA both."""

_METADATA_LIMIT = 8 * 1024 * 1024
_ASKS_LIMIT = 8
_PKG_INFO_READ = 256 * 1024
_LONGEST_VERSION = 300
_STATIC_FROM = Version("2.2")
_BOUNDED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""The compressions of which `zipfile` unpacks no more than is asked for; of the others a few bytes can fill the memory."""

_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError, RuntimeError)
_DYNAMIC_MATTERS = frozenset({"requires-dist", "requires-python", "provides-extra"})


@dataclass(frozen=True, slots=True)
class MetadataRead:
    """What a try to read metadata gave: the bytes of METADATA, or None and `why` in a few words.

    `evidence` is what the first answer says of the file itself; `challenge` is its WWW-Authenticate.
    """

    content: bytes | None
    evidence: Evidence
    why: str = ""
    challenge: str = ""


class _Missing(Exception):
    """A part of the file that was not read yet."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last


class _PartialFile(io.RawIOBase):
    """A file of `length` bytes of which some parts are here; reading another part raises _Missing."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._parts: list[tuple[int, bytes]] = []
        self._at = 0

    def add(self, first: int, content: bytes) -> None:
        self._parts.append((first, content))

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise OSError("before the beginning of the file")
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._length if size < 0 else min(self._at + size, self._length)
        if end <= self._at:
            return b""
        for first, content in self._parts:
            if first <= self._at and end <= first + len(content):
                found = content[self._at - first : end - first]
                self._at = end
                return found
        raise _Missing(self._at, end - 1)


def wheel_metadata(url: str, project: str, version: str, size: int | None, whole_limit: int) -> Flow[MetadataRead]:
    """Reads METADATA of the wheel at `url` by absolute ranges and returns it if it names `project` and `version`.

    `size` is the wheel's size in bytes by the page; where it is unknown it is asked for first.
    A mirror that ignores ranges, or answers others than asked for, is read whole where the wheel has at most `whole_limit` bytes.
    """
    if not size:
        ask = Ask(Method.GET, url, first=0, last=0, read=1)
        reply = yield ask
        evidence = evidence_of(asked_as(ask), reply)
        if not isinstance(reply, Answer) or reply.status not in {200, 206} or not evidence.length:
            return _failed(reply, evidence)
        size = evidence.length
    ask = Ask(Method.GET, url, first=max(0, size - TAIL), last=size - 1, read=max(TAIL, whole_limit))
    reply = yield ask
    evidence = evidence_of(asked_as(ask), reply)
    if isinstance(reply, Answer) and reply.status in {206, 416} and evidence.length and evidence.length != size:
        size = evidence.length
        ask = Ask(Method.GET, url, first=max(0, size - TAIL), last=size - 1, read=max(TAIL, whole_limit))
        reply = yield ask
    if isinstance(reply, Answer) and reply.status == 206 and not _is_part(reply, ask):
        # It sends other bytes than those that were asked for: what is asked for as a whole may be right.
        ask = Ask(Method.GET, url, read=whole_limit)
        reply = yield ask
        evidence = evidence_of(asked_as(ask), reply)
    if not isinstance(reply, Answer):
        return _failed(reply, evidence)
    if reply.status == 200:
        length = whole_length(reply)
        if length is None or len(reply.body) < length or length == 0:
            return MetadataRead(None, evidence, "the mirror ignores ranges and the wheel is too large to be read whole")
        archive, first = _PartialFile(length), 0
    elif _is_part(reply, ask):
        archive, first = _PartialFile(size), ask.first or 0
    else:
        return _failed(reply, evidence)
    archive.add(first, reply.body)
    return (yield from _read_archive(archive, url, project, version, evidence))


def _read_archive(archive: _PartialFile, url: str, project: str, version: str, evidence: Evidence) -> Generator[Ask, Reply, MetadataRead]:
    for _ in range(_ASKS_LIMIT):
        try:
            content = _metadata_in(archive, project)
        except _Missing as missing:
            ask = Ask(Method.GET, url, first=missing.first, last=missing.last, read=missing.last - missing.first + 1)
            if ask.read > _METADATA_LIMIT:
                return MetadataRead(None, evidence, "the directory of the wheel is too large")
            reply = yield ask
            if not isinstance(reply, Answer) or not _is_part(reply, ask):
                return _failed(reply, evidence)
            archive.add(missing.first, reply.body)
        except _UNREADABLE as error:
            return MetadataRead(None, evidence, f"the wheel is no sound zip file ({error})")
        else:
            if content is None:
                return MetadataRead(None, evidence, "the wheel holds no METADATA")
            why = metadata_mismatch(content, project, version)
            return MetadataRead(None if why else content, evidence, why)
    return MetadataRead(None, evidence, "the wheel's directory is scattered over too many places")


def metadata_in_wheel(wheel: bytes, project: str, version: str) -> bytes | None:
    """Gives METADATA of a wheel that is here as a whole, None where it holds none that names `project` and `version`."""
    archive = _PartialFile(len(wheel))
    archive.add(0, wheel)
    try:
        content = _metadata_in(archive, project)
    except _UNREADABLE:
        return None
    return content if content is not None and not metadata_mismatch(content, project, version) else None


def _metadata_in(archive: _PartialFile, project: str) -> bytes | None:
    archive.seek(0)
    with zipfile.ZipFile(archive) as wheel:
        candidates = [info for info in wheel.infolist() if info.filename.endswith(".dist-info/METADATA") and info.filename.count("/") == 1]
        if len(candidates) > 1:
            candidates = [info for info in candidates if _directory_is_of(info.filename, project)] or candidates
        if not candidates:
            return None
        chosen = candidates[0]
        if chosen.file_size > _METADATA_LIMIT:
            raise ValueError("its METADATA is too large")
        if chosen.compress_type not in _BOUNDED:
            raise NotImplementedError("its METADATA is compressed in a way that uv refuses")
        # zipfile reads a member in small pieces, each of which would become a range of its own: ask for its whole place at once.
        room = 30 + len(chosen.filename.encode()) + 256 + chosen.compress_size
        archive.seek(chosen.header_offset)
        archive.read(room)
        return wheel.read(chosen)


def _directory_is_of(name: str, project: str) -> bool:
    try:
        return normalised_name(name.partition("-")[0]) == project
    except InvalidProjectName:
        return False


def metadata_copy(url: str, project: str, version: str, sha256: str | None) -> Flow[MetadataRead]:
    """Reads the mirror's own copy of core metadata at `url` (PEP 658), which must have the `sha256` if one was advertised."""
    ask = Ask(Method.GET, url, read=_METADATA_LIMIT)
    reply = yield ask
    evidence = evidence_of(asked_as(ask), reply)
    if not isinstance(reply, Answer) or reply.status != 200:
        return _failed(reply, evidence)
    length = whole_length(reply)
    if length is not None and len(reply.body) != length:
        return MetadataRead(None, evidence, "the mirror's copy was cut short")
    if sha256 is not None and hashlib.sha256(reply.body).hexdigest() != sha256:
        return MetadataRead(None, evidence, "the mirror's copy does not have the hash that its page gives")
    why = metadata_mismatch(reply.body, project, version)
    return MetadataRead(None if why else reply.body, evidence, why)


def sdist_metadata(url: str, filename: str, project: str, version: str) -> Flow[MetadataRead]:
    """Reads PKG-INFO out of the beginning of the sdist at `url`, and returns it where its dependencies are static.

    Static means Metadata-Version 2.2 or later, with none of the fields that a resolver reads marked Dynamic.
    Only `.tar.gz` is read: it is the one form that the source distribution format allows since PEP 625.
    """
    ask = Ask(Method.GET, url, first=0, last=_PKG_INFO_READ - 1, read=_PKG_INFO_READ)
    reply = yield ask
    evidence = evidence_of(asked_as(ask), reply)
    if not isinstance(reply, Answer) or reply.status not in {200, 206}:
        return _failed(reply, evidence)
    if not filename.endswith(".tar.gz"):
        return MetadataRead(None, evidence, "only .tar.gz sdists are read")
    content = _pkg_info_in(reply.body)
    if content is None:
        return MetadataRead(None, evidence, "no PKG-INFO near the beginning of the sdist")
    why = metadata_mismatch(content, project, version) or _not_static(content)
    return MetadataRead(None if why else content, evidence, why)


def _pkg_info_in(beginning: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(beginning, _METADATA_LIMIT)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                if member.issparse() or not 0 <= member.size <= _METADATA_LIMIT:
                    # A few bytes can claim terabytes of holes, and a negative size leads back to where it stands.
                    return None
                if member.isfile() and member.name.count("/") == 1 and member.name.endswith("/PKG-INFO"):
                    inside = archive.extractfile(member)
                    content = b"" if inside is None else inside.read()
                    return content if len(content) == member.size else None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError):
        pass
    return None


def _not_static(content: bytes) -> str:
    headers = HeaderParser().parsestr(content.decode("utf-8", "replace"))
    said = _version_in(headers.get("Metadata-Version", "1.0"))
    if said is None or said < _STATIC_FROM:
        return "the sdist's metadata is older than 2.2, so it may change when it is built"
    dynamic = sorted(_DYNAMIC_MATTERS.intersection(name.lower() for name in headers.get_all("Dynamic", [])))
    return f"the sdist declares {', '.join(dynamic)} as dynamic" if dynamic else ""


def metadata_mismatch(content: bytes, project: str, version: str) -> str:
    """Says why `content` is no core metadata of this release; empty where it is."""
    headers = HeaderParser().parsestr(content.decode("utf-8", "replace"))
    name, spelled = headers.get("Name"), headers.get("Version")
    if not name or not spelled or not headers.get("Metadata-Version"):
        return "what came is no core metadata"
    try:
        if normalised_name(name.strip()) != project:
            return f"the metadata is of the project {name.strip()[:100]}"
    except InvalidProjectName:
        return "the metadata names no valid project"
    one, other = _version_in(spelled), _version_in(version)
    same = spelled.strip() == version if one is None or other is None else one == other
    return "" if same else f"the metadata is of version {spelled.strip()[:100]}"


def _version_in(text: str) -> Version | None:
    text = text.strip()
    # What was parsed is remembered, and a whole file may stand here.
    return parsed_version(text) if len(text) <= _LONGEST_VERSION else None


def _is_part(reply: Answer, ask: Ask) -> bool:
    span = content_range(reply)
    if reply.status != 206 or span is None or ask.first is None or ask.last is None:
        return False
    first, last, whole = span
    return first == ask.first and last == min(ask.last, whole - 1) and len(reply.body) == last - first + 1


def _failed(reply: Reply, evidence: Evidence) -> MetadataRead:
    challenge = reply.headers.get("www-authenticate", "") if isinstance(reply, Answer) else ""
    return MetadataRead(None, evidence, _why(reply), challenge)


def _why(reply: Reply) -> str:
    if not isinstance(reply, Answer):
        return f"no answer ({reply.trouble.value})"
    if reply.status == 206:
        return "the mirror's range answer contradicts what was asked"
    if reply.status == 200:
        return "the mirror does not say how long the file is"
    return f"the mirror answered {reply.status}"
