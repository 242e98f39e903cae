"""Requirements: words of the command line, and the files that pip reads.

A line's requirement is read by `packaging`. Constraints choose versions of what is required, and require nothing themselves.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from proxy.audit.inputs.indexes import Index, mirror_among
from proxy.audit.inputs.manifest import Manifest
from proxy.audit.inputs.pins import Found, refuse_contradictions, want_of
from proxy.audit.inputs.pyproject import Dependencies, DependencyReader
from proxy.audit.inputs.quotations import quotation
from proxy.audit.inputs.requirements_file import Line, read_lines
from proxy.audit.wanted import ELSEWHERE, LeftOut, Omission, Order, Source, Unreadable
from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

_DEEPEST = 20
_ARCHIVES = (".whl", ".zip", ".tar", ".tgz", ".tbz", ".txz", ".tlz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.lz", ".tar.lzma")
_SCHEME = re.compile(r"(git|hg|svn|bzr)(\+\w+)?:|(https?|ftp|file):", re.IGNORECASE)
_REMOTE = re.compile(r"https?:", re.IGNORECASE)
_NAMED_BY_URL = re.compile(r"([\w.-]+)\s*(\[[^\]]*\])?\s*@(?=\s*\S)")
_ADDRESS_WITHIN = re.compile(r"(?![\w+.-]+:)[^@;#]*[^@;#\w+.-]\s*[\w+.-]+://")
"""An address behind what is neither its name nor an option: pip and uv refuse it."""
_EXTRAS = re.compile(r"\[([\w.,\s-]*)\]$")
_EGG = re.compile(r"#(?:.*&)?egg=([\w.-]+)")
_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
"""The hashes that pip takes."""


@dataclass(slots=True)
class _Reader:
    """A reader of a requirements file with all files that it names."""

    found: list[Found] = field(default_factory=list)
    constraints: list[Found] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    withheld: set[str] = field(default_factory=set)
    indexes: list[Index] = field(default_factory=list)
    find_links: bool = False
    no_index: bool = False
    local: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)

    def read(self, path: Path, *, as_constraints: bool = False, above: tuple[Path, ...] = ()) -> None:
        """Read a file, and those that it includes; raises Unreadable."""
        if len(above) >= _DEEPEST or _resolved(path) in above:
            raise Unreadable(path, "requirements files include each other")
        within = (*above, _resolved(path))
        for line in read_lines(path):
            if line.requirement:
                self._requirement(path, line, as_constraints=as_constraints)
            elif line.values("--editable"):
                self._elsewhere(path, line.values("--editable")[0], line, Omission.EDITABLE)
            else:
                self._include(path, line, within)
                self._option(line)

    def _requirement(self, path: Path, line: Line, *, as_constraints: bool) -> None:
        text = line.requirement
        if _ADDRESS_WITHIN.match(text):
            raise Unreadable(path, f"line {line.place.line} is no requirement: {_told(line)[:120]!r}; write it as 'NAME @ URL'")
        if (named := _NAMED_BY_URL.match(text)) is not None or _is_no_name(text):
            if named is None or not as_constraints:
                self._elsewhere(path, text, line, Omission.PATH)
            else:
                # It binds the project, whether or not somebody requires it.
                self.withheld.add(normalised_name(named[1]))
            return
        try:
            requirement = Requirement(text)
            project = normalised_name(requirement.name)
        except (InvalidRequirement, InvalidProjectName, RecursionError) as error:
            raise Unreadable(path, f"line {line.place.line} is no requirement: {_told(line)[:120]!r}") from error
        hashes = frozenset(each.lower() for each in line.values("--hash"))
        wrong = next((each for each in line.values("--hash") if not _is_digest(each)), None)
        if wrong is not None:
            raise Unreadable(path, f"line {line.place.line} has a --hash that is no digest: {wrong[:80]!r}; write it as sha256:…")
        (self.constraints if as_constraints else self.found).append(Found(requirement, project, hashes, line.place))

    def _include(self, path: Path, line: Line, within: tuple[Path, ...]) -> None:
        """Follow the first `-r` of a line, else its first `-c`: pip takes no notice of another."""
        for option in ("--requirement", "--constraint"):
            target = next(iter(line.values(option)), "")
            if not target:
                continue
            if _REMOTE.match(target):
                self.left_out.append(LeftOut(Omission.REMOTE_FILE, _told(line), line.place))
            elif option == "--constraint" and not _is_there(_beside(path, target)):
                self.left_out.append(LeftOut(Omission.MISSING_FILE, _told(line), line.place))
            elif "@" in target and not _is_there(_beside(path, target)):
                # Its name may be a misspelled address with a password.
                raise Unreadable(path, f"line {line.place.line} names a file that is not there: {_told(line)[:120]!r}; check it")
            else:
                self.read(_beside(path, target), as_constraints=option == "--constraint", above=within)
            return

    def _option(self, line: Line) -> None:
        includes = {"--requirement", "--constraint"}
        names = [name for name, _ in line.options if name not in includes]
        # pip drops a second file on one line, and words behind options.
        if not names and len(line.options) == 1:
            return
        self.no_index |= "--no-index" in names
        self.find_links |= bool(line.values("--find-links"))
        self.indexes += [Index(url, default=True) for option in ("--index-url", "--pypi-url") for url in line.values(option) if url]
        self.indexes += [Index(url) for url in line.values("--extra-index-url") if url]
        self.left_out.append(LeftOut(Omission.OPTION, _told(line), line.place))

    def _elsewhere(self, path: Path, text: str, line: Line, omission: Omission) -> None:
        """Note a package that comes from a URL or a path, and the project that it is, as far as its name tells."""
        named = _NAMED_BY_URL.match(text)
        target = text[named.end() :].strip() if named is not None else text
        address = re.split(r"\s;|;\s", target)[0].strip()
        extras = _EXTRAS.search(address)
        if omission is not Omission.EDITABLE:
            omission = _omission_of(address)
        name = named[1] if named is not None else _name_in(address)
        if name is not None:
            self.withheld.add(normalised_name(name))
        folder = _folder(path, address[: extras.start()] if extras is not None else address)
        if folder is not None:
            asked = extras[1] if extras is not None else (named[2] or "")[1:-1] if named is not None else ""
            self.local.append((folder, tuple(each.strip() for each in asked.split(",") if each.strip())))
        self.left_out.append(LeftOut(omission, _told(line) if name is None else normalised_name(name), line.place))


def wants_of_words(words: Sequence[str]) -> Order:
    """Return what requirements on the command line name, such as `tornado` or `jupyter==1.1.1`; raises InvalidProjectName."""
    found = [_parsed_word(word) for word in words]
    elsewhere = {each.project: _omission_of(each.requirement.url) for each in found if each.requirement.url is not None}
    left_out = tuple(LeftOut(omission, project) for project, omission in elsewhere.items())
    named = [(word, each) for word, each in zip(words, found, strict=True) if each.project not in elsewhere]
    wants = [want_of([each], []) for _, each in named]
    return Order(
        tuple(wants),
        (Source("names", elsewhere=len(left_out), left_out=left_out),),
        closure=tuple(word for word, _ in named),
        matrix=bool(wants) and all(want.pins for want in wants),
        withheld=frozenset(elsewhere),
    )


def _parsed_word(word: str) -> Found:
    try:
        requirement = Requirement(word)
    except (InvalidRequirement, RecursionError) as error:
        raise InvalidProjectName(quotation(word)) from error
    return Found(requirement, normalised_name(requirement.name))


def read_requirements(path: Path, upstream: str) -> Order:
    """Return what a requirements file and those that it includes need of the mirror at `upstream`; raises Unreadable."""
    reader = _Reader()
    reader.read(path)
    local = _local_needs(reader.local, upstream)
    withheld = reader.withheld | local.withheld
    by_project: dict[str, list[Found]] = {}
    left_out = list(reader.left_out)
    for each in reader.found:
        if reader.no_index:
            left_out.append(LeftOut(Omission.NO_INDEX, each.project, each.place))
        elif each.project not in withheld:
            by_project.setdefault(each.project, []).append(each)
        elif each.project not in {other.text for other in left_out}:
            left_out.append(LeftOut(Omission.URL, each.project, each.place))
    for found in by_project.values():
        refuse_contradictions(path, found)
    wants = [want_of(each, [limit for limit in reader.constraints if limit.project == name]) for name, each in by_project.items()]
    wants += [] if reader.no_index else [each for each in local.wants if each.project not in by_project and each.project not in withheld]
    pinned = bool(wants) and all(want.pins for want in wants)
    # Where everything is pinned, the pins are all that is installed, whatever a local project requires.
    left_out += [each for each in local.left_out if not (pinned and each.omission is Omission.DYNAMIC)]
    if not wants:
        raise Unreadable(path, _why_empty(left_out))
    mirror = mirror_among(reader.indexes, upstream)
    return Order(
        tuple(wants),
        (Source("requirements", str(path), sum(each.omission in ELSEWHERE for each in left_out), tuple(left_out)),),
        matrix=pinned,
        closure=(*(str(each.requirement) for found in by_project.values() for each in found), *local.closure),
        constraints=tuple(str(each.requirement) for each in reader.constraints),
        withheld=frozenset(withheld),
        other_indexes=reader.find_links or any(each != mirror for each in reader.indexes),
    )


def _local_needs(local: Iterable[tuple[Path, tuple[str, ...]]], upstream: str) -> Dependencies:
    """Return what the local projects need."""
    needs = Dependencies()
    for folder, extras in local:
        path = folder / "pyproject.toml"
        if not path.is_file():
            needs.left_out.append(LeftOut(Omission.DYNAMIC, f"dependencies of {folder}"))
            continue
        reader = DependencyReader(Manifest(path), upstream)
        reader.add_local(folder, extras)
        found = reader.found()
        needs.wants += found.wants
        needs.closure += found.closure
        needs.left_out += found.left_out
        needs.withheld |= found.withheld
    return needs


def _why_empty(left_out: Sequence[LeftOut]) -> str:
    if any(each.omission is Omission.REMOTE_FILE for each in left_out):
        return "all that it names is in requirements files at a URL, which are not fetched; download them and give them with -r"
    if any(each.omission in ELSEWHERE for each in left_out):
        return "nothing of it comes from the mirror: all that it names comes from elsewhere"
    return "it names no requirements" + (f", but has {len(left_out)} lines of options" if left_out else "")


def _is_digest(text: str) -> bool:
    algorithm, _, digest = text.lower().partition(":")
    return algorithm in _ALGORITHMS and re.fullmatch(r"[0-9a-f]+", digest) is not None


def _told(line: Line) -> str:
    return quotation(line.written)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def _beside(path: Path, target: str) -> Path:
    return path.parent / (_path_of_url(target) if target.lower().startswith("file:") else target)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _path_of_url(url: str) -> str:
    try:
        return url2pathname(urlsplit(url).path)
    except ValueError:
        return url


def _is_no_name(text: str) -> bool:
    """True if a line names a path or an address and no project."""
    name = re.split(r"\s;|;\s|\[", text)[0].strip()
    return _SCHEME.match(name) is not None or name.startswith(".") or "/" in name or os.sep in name or name.lower().endswith(_ARCHIVES)


def _omission_of(address: str) -> Omission:
    lowered = address.lower()
    if lowered.startswith("git"):
        return Omission.GIT
    return Omission.URL if _SCHEME.match(address) and not lowered.startswith("file:") else Omission.PATH


def _name_in(address: str) -> str | None:
    """Return the name of the project as the address of a file or a repository tells it."""
    egg = _EGG.search(address)
    if egg is not None:
        return egg[1]
    filename = unquote(re.split(r"[?#\[]", address)[0].replace("\\", "/").rpartition("/")[2])
    try:
        return (parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _folder(path: Path, address: str) -> Path | None:
    """Return the folder of a local project: pip runs above its requirements files mostly, and looks for it from there."""
    if _SCHEME.match(address):
        if not address.lower().startswith("file:"):
            return None
        address = _path_of_url(address)
    try:
        bases = [base for base in (Path.cwd(), path.parent) if _resolved(path).is_relative_to(_resolved(base))]
        return next((base / address for base in bases if (base / address).is_dir()), None)
    except (OSError, ValueError):
        return None
