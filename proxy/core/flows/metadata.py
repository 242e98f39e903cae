"""Reading core metadata out of distribution files that stay at the mirror.

A wheel is a zip file: its directory is at its end, so ranges of a few kilobytes are enough
(PyPA specifications, binary distribution format: METADATA lies in the `.dist-info` directory, by custom at the physical end).
`core.archives` reads a file of which only some parts are here; a missing part becomes the next range to ask for.
An sdist's PKG-INFO stands in where it is static (PyPA specifications, source distribution format and core metadata, field Dynamic).

A flow asks by yielding `Ask`, and yields `Work` where a step may take more than a few milliseconds: whoever drives it runs the work
off the event loop, and sends what it returns.
"""

import hashlib
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from packaging.version import Version

from proxy.core.archives import (
    BEFORE_LIMIT,
    Entry,
    MissingPart,
    PartialFile,
    UnsoundArchive,
    find_metadata,
    find_pkg_info,
    read_directory,
    read_entry,
)
from proxy.core.deflate import GZIP
from proxy.core.errors import InvalidProjectName
from proxy.core.flows.evidence import DELIVERED, WHOLE, Evidence, asked_as, content_range, evidence_of, whole_length
from proxy.core.flows.exchange import Answer, Ask, Flow, Method, Reply
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import normalised_name, parsed_version

TAIL = 32 * 1024
"""Bytes read at least of a wheel's end at first: for small wheels they hold the directory and METADATA both."""

TAIL_OF_UNKNOWN = 64 * 1024
"""Bytes read at first of the end of a wheel of unknown size."""

_LARGEST_TAIL = 192 * 1024
_SIZE_FOR_A_BYTE = 32
"""Bytes of a wheel for each byte by which directory and RECORD grow: some 140 for a file, which has four kilobytes when it is packed."""

_METADATA_LIMIT = 8 * 1024 * 1024
_ASKS_LIMIT = 8
_PKG_INFO_READ = 256 * 1024
_LONGEST_VERSION = 300
_STATIC_FROM = Version("2.2")
_DYNAMIC_FIELDS = 100
_DYNAMIC_MATTERS = frozenset({"requires-dist", "requires-python", "provides-extra"})

_SMALL_DIRECTORY = 256 * 1024
"""Bytes of a zip directory that is walked in about a millisecond."""

_SMALL_METADATA = 64 * 1024
"""Bytes of metadata that are unpacked, hashed and read in about a millisecond, in a few if its blocks are made to be slow."""

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Work:
    """A step that may take long: `run` returns what is to be sent to the flow, and raises nothing."""

    run: Callable[[], Any]


_MAY_REFUSE_RANGES = frozenset({400, 403, 404, 405, 416, 500, 501})
"""Statuses that some mirrors give to a request with Range for a file that they deliver without."""


@dataclass(frozen=True, slots=True)
class MetadataRead:
    """What a try to read metadata gave: the bytes of METADATA, or None and `why` in a few words.

    `evidence` is what the first answer says of the file itself; `challenge` is its WWW-Authenticate.
    `costly` says that there was much to unpack, and that what was unpacked is no metadata of this release.
    `suffix` tells whether the mirror gave the end of the file when it was asked for that (`bytes=-N`), None where it was not asked so,
    or delivered nothing.
    """

    content: bytes | None
    evidence: Evidence
    why: str = ""
    challenge: str = ""
    costly: bool = False
    suffix: bool | None = None


MetadataFlow: TypeAlias = Generator[Ask | Work, Any, MetadataRead]
"""It is sent a Reply for an Ask, and for a Work what its `run` returned."""


def inline(flow: MetadataFlow) -> Flow[MetadataRead]:
    """Return `flow` with its work done on the spot, for drivers that hold up nobody."""
    sent: Any = None
    try:
        while True:
            step = flow.send(sent)
            sent = step.run() if isinstance(step, Work) else (yield step)
    except StopIteration as end:
        learned: MetadataRead = end.value
        return learned


def tail_of(size: int) -> int:
    """Return how many bytes of the end of a wheel of `size` bytes mostly hold its directory and METADATA both."""
    return min(max(TAIL, TAIL // 2 + size // _SIZE_FOR_A_BYTE), _LARGEST_TAIL)


def wheel_metadata(url: str, project: str, version: str, size: int | None, whole_limit: int, *, suffix: bool = False) -> MetadataFlow:
    """Read METADATA of the wheel at `url` by ranges and return it if it names `project` and `version`.

    `size` is the wheel's size in bytes as far as it is known. Where it is not, the end of the wheel is asked for if `suffix` says that the
    mirror may know how to give that, else the size at first.
    Where a mirror ignores or refuses ranges, or answers others than asked for, a wheel of at most `whole_limit` bytes is read whole.
    """
    wheel = _Wheel(url, project, version, whole_limit)
    if size:
        return (yield from wheel.by_size(size))
    return (yield from (wheel.by_suffix() if suffix else wheel.by_first_byte()))


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A wheel that METADATA is to be read of, and the ways to do so."""

    url: str
    project: str
    version: str
    whole_limit: int

    def by_first_byte(self) -> MetadataFlow:
        """Ask for a byte to learn the size."""
        ask = Ask(Method.GET, self.url, first=0, last=0, read=1)
        reply = yield ask
        evidence = evidence_of(asked_as(ask), reply)
        told = isinstance(reply, Answer) and reply.status in DELIVERED
        if _refuses_ranges(reply) or (told and not evidence.length):
            return (yield from self.whole())
        if not told or evidence.length is None:
            return _failed(reply, evidence)
        return (yield from self.by_size(evidence.length))

    def by_suffix(self) -> MetadataFlow:
        """Ask for the end, of whatever size the wheel is; whether the mirror gave it is told.

        Another answer says nothing of ranges with both ends, so no more is read of it, and the wheel is read as if it had not been asked.
        """
        ask = Ask(Method.GET, self.url, read=TAIL_OF_UNKNOWN, suffix=TAIL_OF_UNKNOWN)
        reply = yield ask
        evidence = evidence_of(asked_as(ask), reply)
        if not isinstance(reply, Answer):
            return _failed(reply, evidence)
        span = content_range(reply) if reply.status == 206 else None
        if span is not None and _is_suffix(span, reply, ask):
            archive = PartialFile(span[2])
            archive.add(span[0], reply.body)
            return replace((yield from self._from(archive, evidence)), suffix=True)
        if reply.status not in DELIVERED and not _refuses_ranges(reply):
            return _failed(reply, evidence)
        if reply.status in WHOLE and len(reply.body) == whole_length(reply):
            read = yield from self._from_all(reply, evidence)
        elif evidence.length:
            # It gave another part, the whole, or none, but told the size.
            read = yield from self.by_size(evidence.length)
        else:
            read = yield from self.by_first_byte()
        # What is not delivered by other ways either may be missing, and what was cut short may come whole: neither was a trial.
        cut = span is not None and span[:2] == (max(0, span[2] - ask.suffix), span[2] - 1)
        return replace(read, suffix=False if read.evidence.status in DELIVERED and not cut else None)

    def by_size(self, size: int) -> MetadataFlow:
        """Ask for the end of a wheel of `size` bytes."""
        ask = self._tail(size)
        reply = yield ask
        evidence = evidence_of(asked_as(ask), reply)
        if isinstance(reply, Answer) and reply.status in {206, 416} and evidence.length and evidence.length != size:
            size = evidence.length
            ask = self._tail(size)
            reply = yield ask
        if _refuses_ranges(reply) or (isinstance(reply, Answer) and reply.status == 206 and not _is_part(reply, ask)):
            return (yield from self.whole())
        if isinstance(reply, Answer) and _is_part(reply, ask):
            archive = PartialFile(size)
            archive.add(ask.first or 0, reply.body)
            return (yield from self._from(archive, evidence))
        return (yield from self._from_all(reply, evidence))

    def _tail(self, size: int) -> Ask:
        tail = tail_of(size)
        return Ask(Method.GET, self.url, first=max(0, size - tail), last=size - 1, read=max(tail, self.whole_limit))

    def whole(self) -> MetadataFlow:
        """Ask for the wheel without Range: what a mirror refuses in parts, or answers wrongly, it may deliver as a whole."""
        ask = Ask(Method.GET, self.url, read=self.whole_limit)
        reply = yield ask
        return (yield from self._from_all(reply, evidence_of(asked_as(ask), reply)))

    def _from(self, archive: PartialFile, evidence: Evidence) -> MetadataFlow:
        return _read_archive(archive, self.url, self.project, self.version, evidence)

    def _from_all(self, reply: Reply, evidence: Evidence) -> MetadataFlow:
        return _read_whole(reply, evidence, self.url, project=self.project, version=self.version, whole_limit=self.whole_limit)


def _read_whole(reply: Reply, evidence: Evidence, url: str, *, project: str, version: str, whole_limit: int) -> MetadataFlow:
    if not isinstance(reply, Answer) or reply.status not in WHOLE:
        return _failed(reply, evidence)
    body, length = reply.body, whole_length(reply)
    if body.startswith(GZIP):
        # No wheel begins like this: the mirror coded it, although no coding was asked for.
        body = (yield Work(partial(_without_gzip, body, whole_limit))) or b""
        length = len(body)
    if length is None and len(body) < whole_limit:
        # It ended by itself: where it was cut short, the directory of the wheel is missing.
        length = len(body)
    if length is None or len(body) < length or length == 0:
        return MetadataRead(None, evidence, "the mirror ignores ranges and the wheel is too large to be read whole")
    archive = PartialFile(length)
    archive.add(0, body)
    return (yield from _read_archive(archive, url, project, version, evidence))


def _refuses_ranges(reply: Reply) -> bool:
    return isinstance(reply, Answer) and reply.status in _MAY_REFUSE_RANGES


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """METADATA, or why there is none; or the part of the file that is still missing."""

    content: bytes | None = None
    why: str = ""
    missing: tuple[int, int] | None = None


def _read_archive(archive: PartialFile, url: str, project: str, version: str, evidence: Evidence) -> MetadataFlow:
    reader = _WheelReader(archive, project, version)
    costly = False
    for _ in range(_ASKS_LIMIT):
        found = reader.unpacked(small=True)
        if found is None:
            costly = True
            found = yield Work(partial(reader.unpacked, small=False))
        if found.missing is None:
            return MetadataRead(found.content, evidence, found.why, costly=costly and found.content is None)
        first, last = found.missing
        ask = Ask(Method.GET, url, first=first, last=last, read=last - first + 1)
        if ask.read > _METADATA_LIMIT + BEFORE_LIMIT + TAIL:
            return MetadataRead(None, evidence, "the directory of the wheel is too large")
        reply = yield ask
        if not isinstance(reply, Answer) or not _is_part(reply, ask):
            return _failed(reply, evidence)
        archive.add(first, reply.body)
    return MetadataRead(None, evidence, "the wheel's directory is scattered over too many places")


class _WheelReader:
    """A search for METADATA in an archive, which goes on where the last try ended."""

    def __init__(self, archive: PartialFile, project: str, version: str) -> None:
        self._archive = archive
        self._project = project
        self._version = version
        self._entry: Entry | None = None

    def unpacked(self, *, small: bool) -> _Unpacked | None:
        """Return METADATA of this release, or what keeps it from being read; None if that is not `small` work, and only such is wanted."""
        try:
            if self._entry is None:
                directory = read_directory(self._archive)
                if small and len(directory.content) > _SMALL_DIRECTORY:
                    return None
                self._entry = find_metadata(directory, self._project)
                if self._entry is None:
                    return _Unpacked(why="the wheel holds no METADATA")
            if small and max(self._entry.size, self._entry.packed) > _SMALL_METADATA:
                return None
            content = read_entry(self._archive, self._entry)
        except MissingPart as missing:
            return _Unpacked(missing=(missing.first, missing.last))
        except UnsoundArchive as error:
            return _Unpacked(why=f"the wheel is no sound zip file ({error})")
        why = metadata_mismatch(content, self._project, self._version)
        return _Unpacked(None if why else content, why)


def metadata_in_wheel(wheel: bytes, project: str, version: str) -> bytes | None:
    """Return METADATA of a wheel that is here as a whole, None where it holds none that names `project` and `version`.

    It may take long: call it off the event loop.
    """
    archive = PartialFile(len(wheel))
    archive.add(0, wheel)
    found = _WheelReader(archive, project, version).unpacked(small=False)
    return None if found is None else found.content


def metadata_copy(url: str, project: str, version: str, sha256: str | None) -> MetadataFlow:
    """Read the mirror's own copy of core metadata at `url` (PEP 658), which must have the `sha256` if one was advertised.

    A copy that came coded with gzip, although no coding was asked for, is decoded.
    """
    ask = Ask(Method.GET, url, read=_METADATA_LIMIT)
    reply = yield ask
    evidence = evidence_of(asked_as(ask), reply)
    if not isinstance(reply, Answer) or reply.status not in WHOLE:
        return _failed(reply, evidence)
    length = whole_length(reply)
    if length is not None and len(reply.body) != length:
        return MetadataRead(None, evidence, "the mirror's copy was cut short")
    check = partial(_checked_copy, reply.body, project, version, sha256)
    # It is not known what a coded copy unpacks to.
    costly = len(reply.body) > _SMALL_METADATA or reply.body.startswith(GZIP)
    found: _Unpacked = (yield Work(check)) if costly else check()
    return MetadataRead(found.content, evidence, found.why)


def _checked_copy(body: bytes, project: str, version: str, sha256: str | None) -> _Unpacked:
    # No core metadata begins like this: a coding that its header does not tell, or tells although none was asked for.
    content = _without_gzip(body, _METADATA_LIMIT) if body.startswith(GZIP) else body
    if content is None:
        return _Unpacked(why="the mirror's copy is coded with gzip and cannot be unpacked")
    if sha256 is not None and sha256 not in {hashlib.sha256(each).hexdigest() for each in {content, body}}:
        return _Unpacked(why="the mirror's copy does not have the hash that its page gives")
    why = metadata_mismatch(content, project, version)
    return _Unpacked(None if why else content, why)


def _without_gzip(body: bytes, limit: int) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error:
        return None
    return content if unpacker.eof and not unpacker.unused_data and len(content) <= limit else None


def sdist_metadata(url: str, filename: str, project: str, version: str) -> MetadataFlow:
    """Read PKG-INFO out of the beginning of the sdist at `url`, and return it where its dependencies are static.

    Static means Metadata-Version 2.2 or later, with none of the fields that a resolver reads marked Dynamic.
    Only `.tar.gz` is read: it is the one form that the source distribution format allows since PEP 625.
    """
    ask = Ask(Method.GET, url, first=0, last=_PKG_INFO_READ - 1, read=_PKG_INFO_READ)
    reply = yield ask
    evidence = evidence_of(asked_as(ask), reply)
    if not isinstance(reply, Answer) or reply.status not in DELIVERED:
        return _failed(reply, evidence)
    if not filename.endswith(".tar.gz"):
        return MetadataRead(None, evidence, "only .tar.gz sdists are read")
    # A few kilobytes may unpack to megabytes.
    found: _Unpacked = yield Work(partial(_static_pkg_info, reply.body, project, version))
    return MetadataRead(found.content, evidence, found.why, costly=found.content is None)


def static_metadata(beginning: bytes, project: str, version: str) -> bytes | None:
    """Return PKG-INFO out of the `beginning` of the sdist of this release, None where it is not there or not static."""
    return _static_pkg_info(beginning, project, version).content


def _static_pkg_info(beginning: bytes, project: str, version: str) -> _Unpacked:
    content = find_pkg_info(beginning)
    if content is None:
        return _Unpacked(why="no PKG-INFO near the beginning of the sdist")
    why = metadata_mismatch(content, project, version) or _not_static(content)
    return _Unpacked(None if why else content, why)


def _not_static(content: bytes) -> str:
    headers = MetadataHeaders(content)
    said = _version_in(headers.get("Metadata-Version") or "1.0")
    if said is None or said < _STATIC_FROM:
        return "the sdist's metadata is older than 2.2, so it may change when it is built"
    fields = headers.get_all("Dynamic", _DYNAMIC_FIELDS + 1)
    if not headers.complete or len(fields) > _DYNAMIC_FIELDS:
        return "the sdist's metadata has too many headers to see what is dynamic"
    dynamic = sorted(_DYNAMIC_MATTERS.intersection(name.lower() for name in fields))
    return f"the sdist declares {', '.join(dynamic)} as dynamic" if dynamic else ""


def metadata_mismatch(content: bytes, project: str, version: str) -> str:
    """Return why `content` is no core metadata of this release; empty where it is.

    A local version counts only where both have one: PyTorch's `torch-2.0-….whl` says 2.0+cu118 inside, and clients take that.
    """
    headers = MetadataHeaders(content)
    name, spelled = headers.get("Name"), headers.get("Version")
    if not name or not spelled:
        return "what came is no core metadata"
    try:
        if normalised_name(name) != project:
            return f"the metadata is of the project {name[:100]}"
    except InvalidProjectName:
        return "the metadata names no valid project"
    one, other = _version_in(spelled), _version_in(version)
    same = spelled == version if one is None or other is None else _same_release(one, other)
    return "" if same else f"the metadata is of version {spelled[:100]}"


def _same_release(one: Version, other: Version) -> bool:
    if one == other:
        return True
    return (one.local is None or other.local is None) and Version(one.public) == Version(other.public)


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


def _is_suffix(span: tuple[int, int, int], reply: Answer, ask: Ask) -> bool:
    first, last, whole = span
    return first == max(0, whole - ask.suffix) and last == whole - 1 and len(reply.body) == last - first + 1


def _failed(reply: Reply, evidence: Evidence) -> MetadataRead:
    challenge = reply.headers.get("www-authenticate", "") if isinstance(reply, Answer) else ""
    return MetadataRead(None, evidence, _why(reply), challenge)


def _why(reply: Reply) -> str:
    if not isinstance(reply, Answer):
        return f"no answer ({reply.trouble.value})"
    if reply.status == 206:
        return "the mirror's range answer contradicts what was asked"
    if reply.status in WHOLE:
        return "the mirror does not say how long the file is"
    return f"the mirror answered {reply.status}"
