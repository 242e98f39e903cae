"""The nouns of the simple API: `Page`, `File`, `Release`.

Frozen: a page is changed by `without()`, which gives another page.
Pages have thousands of files, so a `File` is a Struct: a dataclass costs eight times as much to make, and the garbage collector's time.
A file keeps its entry as the mirror wrote it, so that what nobody here understands passes through unchanged.

Sources: the simple repository API of the PyPA specifications (PEP 503, 592, 629, 658, 691, 700, 714, 740).
"""

import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from heapq import merge
from sys import getsizeof
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import msgspec
from msgspec import structs
from packaging.version import Version

from proxy.core.errors import InvalidProjectName

_VALID_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE)
_SEPARATORS = re.compile(r"[-_.]+")
_CANONICAL = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
"""Versions that are their own normalised spelling (PEP 440): nearly all final ones."""

_FILES_AT_ONCE, _RELEASES_AT_ONCE = 10_000, 500
"""How many are sorted in a few milliseconds."""

_USUAL_SUFFIXES = (".whl", ".tar.gz")
_SDIST_SUFFIXES = (
    *(".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tbz", ".tar.xz", ".txz", ".tar.z", ".tar"),
    *(".tar.lz", ".tlz", ".tar.lzma", ".tar.zst"),
)
"""Of archives that pip or uv installs from, or once did."""

Fields: TypeAlias = dict[str, Any]

LARGEST = 2**63 - 1
"""Bytes of the largest file that clients believe in: uv refuses a page with a size that 64 bits cannot hold."""


def normalised_name(name: str) -> str:
    """Gives the normalised spelling of a project's name (PyPA specifications, name normalisation).

    Raises InvalidProjectName where the name format does not allow it.
    """
    if len(name) > 200 or not _VALID_NAME.fullmatch(name):
        raise InvalidProjectName(name)
    return normalised_spelling(name)


class Packaging(StrEnum):
    """How a distribution file is packaged."""

    WHEEL = "wheel"
    SDIST = "sdist"
    LEGACY = "legacy"
    """Eggs, installers, packages of systems: passed through, never probed."""


class SourceForm(StrEnum):
    """The form in which the mirror gave a page."""

    JSON = "json"
    HTML = "html"


@lru_cache(maxsize=65536)
def parsed_version(text: str) -> Version | None:
    """Gives the version that `text` spells (PEP 440), or None where it spells none."""
    try:
        return Version(text)
    except ValueError:
        # InvalidVersion is one, and so is a number of thousands of digits.
        return None


class WheelTags(msgspec.Struct, frozen=True, gc=False):
    """What the name of a wheel says of where it fits: compressed tag sets (PyPA binary distribution format)."""

    build: str
    python: str
    abi: str
    platform: str


class Sha256(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The one hash that nearly all files have, in hexadecimal."""

    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class _Hashes(msgspec.Struct):
    """What is read of an entry for its hashes: a number elsewhere in it may be one that only JSON can hold."""

    hashes: dict[str, str] = {}


class Fragment(bytes):
    """JSON of an object, without its braces; or of a link, what stands behind its `#`.

    A type of its own, since a decoder takes no string of the wire for it.
    """

    __slots__ = ()


class _Status(msgspec.Struct, rename="kebab"):
    project_status: dict[str, Any] = {}


_decode_status = msgspec.json.Decoder(_Status).decode
_decode_hashes = msgspec.json.Decoder(_Hashes).decode


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab", gc=False):
    """A distribution file that a page links to, as an entry of a JSON page names its parts (PEP 691, 700, 714, 740).

    `url` is absolute, as the mirror meant it, percent-escapes untouched, without fragment.
    `rest` is what passes through unchanged besides: keys that nobody here understands, and `hashes` where there is not just a SHA-256.
    `size` is in bytes, `upload_time` as the mirror wrote it. `yanked` is true or the reason where the file is yanked (PEP 592).
    `link_fragment` is what pip reads in the fragment of a link besides hashes: `egg=` and `subdirectory=`.
    What the mirror does not say is None.
    """

    filename: str
    url: str
    rest: Fragment | None = None
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] | None = None
    requires_python: str | None = None
    core_metadata: bool | Sha256 | None = None
    only_hash: Sha256 | None = msgspec.field(default=None, name="hashes")
    upload_time: str | None = None
    yanked: bool | str | None = None
    gpg_sig: bool | None = None
    provenance: str | None = None
    link_fragment: Fragment | None = None

    @property
    def key(self) -> str:
        """The key among all files of its page: its name, unless the page lists another file of that name (`core.twins`)."""
        return self.filename

    @property
    def fields(self) -> Fields:
        """All keys of the entry but the file's name, address and core metadata, made anew at each call."""
        known = {
            "size": self.size,
            "requires-python": self.requires_python,
            "upload-time": self.upload_time,
            "yanked": self.yanked,
            "gpg-sig": self.gpg_sig,
            "provenance": self.provenance,
        }
        rest: Fields = msgspec.json.decode(b"{" + self.rest + b"}") if self.rest else {}
        hashes = {} if self.only_hash is None else {"sha256": self.only_hash.sha256}
        return {"hashes": hashes, **rest, **{key: value for key, value in known.items() if value is not None}}

    @property
    def hashes(self) -> Mapping[str, str]:
        """Hash name to hexadecimal digest; empty where the mirror gives none."""
        if self.only_hash is not None:
            return {"sha256": self.only_hash.sha256}
        return _decode_hashes(b"{" + self.rest + b"}").hashes if self.rest else {}

    @property
    def packaging(self) -> Packaging:
        """What the end of the name says that it is."""
        name = self.filename
        if name.endswith(".whl"):
            return Packaging.WHEEL
        return Packaging.SDIST if name.endswith(".tar.gz") or name.lower().endswith(_SDIST_SUFFIXES) else Packaging.LEGACY

    @property
    def probeable(self) -> bool:
        """Whether it is a wheel or an sdist, and so can be asked about."""
        return self.filename.endswith(_USUAL_SUFFIXES) or self.packaging is not Packaging.LEGACY

    @property
    def tags(self) -> WheelTags | None:
        """The tags of a wheel; None for what is no wheel or has no proper wheel name."""
        if not self.filename.endswith(".whl"):
            return None
        parts = self.filename[:-4].split("-")
        if len(parts) == 5:
            return WheelTags("", parts[2], parts[3], parts[4])
        return WheelTags(parts[2], parts[3], parts[4], parts[5]) if len(parts) == 6 else None

    def version_text(self, project: str) -> str | None:
        """The version as the name of the file spells it, `project` being the normalised name; None where it cannot be told."""
        name = self.filename
        if name.endswith(".whl"):
            parts = name.split("-", 2)
            return parts[1] if len(parts) == 3 else None
        stem = name[:-7] if name.endswith(".tar.gz") else _stem_of_sdist(name)
        if stem is None:
            return None
        head, _, text = stem.rpartition("-")
        if head == project or normalised_spelling(head) == project:
            return text
        for dash in (at for at, letter in enumerate(stem) if letter == "-"):
            if normalised_spelling(stem[:dash]) == project:
                return stem[dash + 1 :]
        return None


_WEIGHED = 12
"""Files of a page that are weighed, at most."""

_WEIGHT_IN_PAGE = 110
"""Bytes for each file in the tuples and the dictionary of its page, and in what its release takes."""


def _weight_of(file: File) -> int:
    values = [value for value in structs.astuple(file) if value is not None and type(value) is not bool]
    hashes = [value.sha256 for value in values if type(value) is Sha256]
    return _WEIGHT_IN_PAGE + getsizeof(file) + sum(map(getsizeof, values)) + sum(map(getsizeof, hashes))


# The key is read for each of thousands of files, and for nearly all it is the name: the name's own slot is five times faster to read.
type.__setattr__(File, "key", vars(File)["filename"])


def _stem_of_sdist(name: str) -> str | None:
    lowered = name.lower()
    suffix = next((each for each in _SDIST_SUFFIXES if lowered.endswith(each)), None)
    return None if suffix is None else name[: -len(suffix)]


@lru_cache(maxsize=4096)
def normalised_spelling(text: str) -> str:
    """Return how a project's name is spelled once it is normalised, whether or not it can be one."""
    return _SEPARATORS.sub("-", text).lower()


class Release(msgspec.Struct, frozen=True, gc=False):
    """The files of one version, in the order of the page; `version` is None where the spelling is no PEP 440 version."""

    spelling: str
    version: Version | None
    files: tuple[File, ...]


class FilesElsewhere(Protocol):
    """The place where the files of a page can be had while it holds none: `count` of them, in `size` bytes."""

    count: int
    size: int

    def files(self) -> tuple[File, ...]:
        """Return the files, made anew."""


_OF_FILES = ("files", "by_key", "by_filename", "namesakes", "releases", "_release_index")
"""Attributes that hold the files of a page, or are made of them again when they are wanted."""


@dataclass(frozen=True)
class Page:
    """A project's page of the simple API.

    `project` is the normalised name, `name` what the mirror calls it.
    `versions` is the list of PEP 700 as the mirror gave it, None where it gave none.
    `meta` and `extra` are JSON fragments (without braces): the keys of `meta` but `api-version`, and unknown top-level keys.
    `form` is the form the mirror spoke. `metas` are the `<meta>` elements of an HTML page, by name and content, that have no key in JSON.
    `links` are those of an HTML page that lead to no file and that pip installs from all the same, such as `git+https://…#egg=…`,
    each with its text.
    `serial` is the mirror's last serial number (X-PyPI-Last-Serial).
    """

    project: str
    name: str
    files: tuple[File, ...]
    form: SourceForm = SourceForm.JSON
    api_version: str = "1.0"
    versions: tuple[str, ...] | None = None
    meta: bytes = b""
    extra: bytes = b""
    metas: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    serial: str | None = None
    skipped: int = field(default=0, compare=False)
    """Entries of the mirror's page that could not be understood as links to files, and were left out."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return `files` where they were put away: they stay until they are put away again."""
            told = vars(self)
            if name != "files" or "_away" not in told:
                raise AttributeError(name)
            where, woken = told["_away"]
            # Two threads may wake it at once: both go on with the files of the one that was first.
            made = where.files()
            files = told.setdefault("files", made)
            if files is made:
                woken()
            return files

    def put_away(self, where: FilesElsewhere, woken: Callable[[], object]) -> None:
        """Let go of the files, which are to be had from `where` as soon as one is asked for, in any thread; then `woken` is called.

        Whoever reads `files` twice may get other objects the second time, though equal ones: what needs the same objects reads it once.
        """
        told = vars(self)
        told["_away"] = where, woken
        for name in _OF_FILES:
            told.pop(name, None)

    @property
    def away(self) -> FilesElsewhere | None:
        """The place of the files while the page does not hold them, None where it does."""
        return None if "files" in vars(self) else self.kept_elsewhere

    @property
    def kept_elsewhere(self) -> FilesElsewhere | None:
        """The place where the files were put last, and can be put again, None where they never were."""
        where: FilesElsewhere | None = vars(self).get("_away", (None,))[0]
        return where

    @property
    def count(self) -> int:
        """How many files it has, told without waking them."""
        where = self.away
        return len(self.files) if where is None else where.count

    @cached_property
    def weight(self) -> int:
        """About how many bytes of memory its files take, with what is made of them, as some of them tell."""
        files = self.files
        some = files[:: len(files) // _WEIGHED + 1]
        return sum(map(_weight_of, some)) * len(files) // max(1, len(some))

    @cached_property
    def status(self) -> str:
        """The project's status marker, `active` where the page tells none (PEP 792)."""
        try:
            told = _decode_status(b"{" + self.extra + b"}").project_status.get("status")
        except (msgspec.DecodeError, RecursionError):
            told = None
        return told if isinstance(told, str) else "active"

    @property
    def quarantined(self) -> bool:
        """Tell whether the project is marked as unsafe to install: its files are not offered, and on purpose (PEP 792)."""
        return self.status == "quarantined"

    @cached_property
    def clearer_in_html(self) -> bool:
        """Tell whether pip reads more, or something else, in the HTML of the mirror's page than in JSON made of it.

        JSON has no place for `links`; and a BLAKE2b digest, as PyPI has it, pip passes over in a link, but takes for a longer one in JSON.
        """
        if self.links or self.form is SourceForm.JSON:
            return bool(self.links)
        return any(file.only_hash is None and file.rest is not None and list(file.hashes) == ["blake2b"] for file in self.files)

    @cached_property
    def by_key(self) -> Mapping[str, File]:
        """Each file under its key; where a page lists one address twice, the first entry."""
        return {file.key: file for file in reversed(self.files)}

    @cached_property
    def by_filename(self) -> Mapping[str, File]:
        """Each file under its name; where a page lists a name twice, the first."""
        # No name holds a slash, and every key of a twin does.
        by_key = self.by_key
        return by_key if "/" not in "".join(by_key) else {file.filename: file for file in reversed(self.files)}

    @cached_property
    def namesakes(self) -> Mapping[str, Sequence[File]]:
        """The files of each name that the page lists at more than one address."""
        found: dict[str, list[File]] = {}
        for file in self.files:
            if file.key is not file.filename:
                found.setdefault(file.filename, []).append(file)
        return found

    @cached_property
    def releases(self) -> tuple[Release, ...]:
        """The releases, newest first; spellings that are no version come last."""
        steps = self._sorted_releases()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                releases: tuple[Release, ...] = end.value
                return releases

    def prepare(self) -> Generator[None, None, None]:
        """Work out in steps what is needed of the page to plan and to filter it, which for thousands of releases takes long."""
        if "releases" not in self.__dict__:
            # As the cached property does it.
            self.__dict__["releases"] = yield from self._sorted_releases()
        _ = self.by_key
        yield
        _ = self.probeable

    def _sorted_releases(self) -> Generator[None, None, tuple[Release, ...]]:
        by_text: dict[str | None, list[File]] = {}
        # Read once: between two steps, or by another thread, the page may be put away and woken with other objects.
        of_page = self.files
        project, alike = self.project, "\n"
        wheels: list[File] = []
        for start in range(0, len(of_page), _FILES_AT_ONCE):
            for file in of_page[start : start + _FILES_AT_ONCE]:
                name = file.filename
                wheel = name.endswith(".whl")
                if wheel and name.startswith(alike):
                    # Mostly the wheels of a release stand together.
                    wheels.append(file)
                    continue
                text = file.version_text(project)
                files = by_text.setdefault(text, [])
                files.append(file)
                if wheel and text is not None:
                    wheels, alike = files, name[: name.index("-") + len(text) + 2]
            yield
        grouped = list(_by_version(of_page, by_text).items())
        runs: list[list[Release]] = []
        unknown: list[Release] = []
        for start in range(0, len(grouped), _RELEASES_AT_ONCE):
            releases = [Release(key, parsed_version(key), tuple(files)) for key, files in grouped[start : start + _RELEASES_AT_ONCE]]
            runs.append(sorted([each for each in releases if each.version is not None], key=_version_of, reverse=True))
            unknown += [each for each in releases if each.version is None]
            yield
        if len(runs) < 2:
            return (*(runs[0] if runs else ()), *unknown)
        known: list[Release] = []
        for release in merge(*runs, key=_version_of, reverse=True):
            known.append(release)
            if len(known) % _RELEASES_AT_ONCE == 0:
                yield
        return (*known, *unknown)

    def release_of(self, file: File) -> Release:
        """The release that `file`, one of this page's, belongs to."""
        return self._release_index[_release_key(file, self.project)]

    def release(self, spelling: str) -> Release | None:
        """Return the release with that normalised version, or None if the page has none of it."""
        return self._release_index.get(spelling)

    @cached_property
    def probeable(self) -> int:
        """How many of the files are wheels or sdists, and so can be asked about, each counted once."""
        files = self.by_key.values()
        return len(files) - sum([not file.probeable for file in files if not file.filename.endswith(_USUAL_SUFFIXES)])

    @cached_property
    def _release_index(self) -> Mapping[str, Release]:
        return {release.spelling: release for release in self.releases}

    def without(self, keys: Collection[str]) -> "Page":
        """Return the page without the files with these keys, and without the versions that have no file left because of it.

        A version that had no file before stays listed: PEP 700 asks that every version with a file be listed, not the reverse.
        """
        if not keys:
            return self
        files = self.files
        kept = tuple([file for file in files if file.key not in keys])
        versions = self.versions
        if versions is not None:
            touched = {_release_key(file, self.project) for file in files if file.key in keys}
            index = self._release_index
            gone = {each for each in touched if all(file.key in keys for file in index[each].files)}
            versions = tuple(text for text in versions if _normalised_version(text) not in gone)
        return replace(self, files=kept, versions=versions)


@lru_cache(maxsize=65536)
def _normalised_version(text: str) -> str:
    if _CANONICAL.fullmatch(text):
        return text
    version = parsed_version(text)
    return text if version is None else str(version)


def _by_version(files: Sequence[File], by_text: Mapping[str | None, list[File]]) -> Mapping[str, list[File]]:
    grouped: dict[str, list[File]] = {}
    several = False
    for text, alike in by_text.items():
        key = "" if text is None else _normalised_version(text)
        several |= key in grouped
        grouped[key] = [*grouped[key], *alike] if key in grouped else alike
    if several:
        place = {id(file): number for number, file in enumerate(files)}
        for alike in grouped.values():
            alike.sort(key=lambda file: place[id(file)])
    return grouped


def _version_of(release: Release) -> Version:
    return release.version or Version("0")


def _release_key(file: File, project: str) -> str:
    text = file.version_text(project)
    return "" if text is None else _normalised_version(text)
