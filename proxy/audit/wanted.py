"""What is to be looked at: projects, releases and locked files, and where somebody wrote that they are wanted.

Rules for this file: nouns only; `inputs` reads them out of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from proxy.core.errors import MirrormendError


class Unreadable(MirrormendError):
    """The file at `path` cannot be used as a list of what to look at, because of `why`."""

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A distribution file that a lock names: what it must have is said by `hashes` (name to hexadecimal digest) and `size` (bytes)."""

    filename: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """One release that a lock or a requirement names.

    `files` are the files that it may be installed from, where the lock lists them by name; `hashes` (such as `sha256:…`) those that a
    requirement allows, empty for any. `needed` are the pairs of platform and Python that need it, None for all.
    """

    version: str
    place: Place | None = None
    files: tuple[LockedFile, ...] = ()
    hashes: frozenset[str] = frozenset()
    needed: frozenset[tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A requirement, as `text`, that pins nothing: some release has to meet its `specifier`."""

    text: str
    specifier: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A project to look at: its pinned releases, or where there are none what a resolver could choose.

    `project` is the normalised name and `spelling` how it was written. `named` is false for what is only required by another project.
    `bounds` are the requirements on it that pin nothing.
    """

    project: str
    spelling: str
    pins: tuple[Pin, ...] = ()
    place: Place | None = None
    named: bool = True
    bounds: tuple[Bound, ...] = ()


class Omission(StrEnum):
    """Why something that a file names is not looked at, or an option that changes where packages come from."""

    URL = "url"
    GIT = "git"
    PATH = "path"
    EDITABLE = "editable"
    WORKSPACE = "workspace"
    INDEX = "index"
    NO_INDEX = "no-index"
    MARKER = "marker"
    EXCLUDED = "excluded"
    OPTION = "option"
    REMOTE_FILE = "remote-file"
    MISSING_FILE = "missing-file"
    DYNAMIC = "dynamic"
    TOOL = "tool"
    BUILD = "build"


OMISSIONS: Mapping[Omission, str] = {
    Omission.URL: "named by URL",
    Omission.GIT: "from a Git repository",
    Omission.PATH: "at a local path",
    Omission.EDITABLE: "editable",
    Omission.WORKSPACE: "members of the workspace",
    Omission.INDEX: "from another index",
    Omission.NO_INDEX: "from no index",
    Omission.MARKER: "needed in no environment that the project supports",
    Omission.EXCLUDED: "excluded from the dependencies",
    Omission.OPTION: "options",
    Omission.REMOTE_FILE: "requirements files at a URL, which are not fetched",
    Omission.MISSING_FILE: "constraints files that are not there",
    Omission.DYNAMIC: "dynamic dependencies, which only a build tells",
    Omission.TOOL: "tables of other programs, which are not read",
    Omission.BUILD: "needed for a build",
}

_INCOMPLETE = frozenset({Omission.REMOTE_FILE, Omission.MISSING_FILE, Omission.DYNAMIC, Omission.TOOL})
ELSEWHERE = frozenset({Omission.URL, Omission.GIT, Omission.PATH, Omission.EDITABLE, Omission.WORKSPACE, Omission.INDEX, Omission.NO_INDEX})
"""The packages that do not come from this mirror."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One entry of a file that is not looked at. `text` names it, without credentials."""

    omission: Omission
    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where wishes came from: `kind` is `names`, `uv.lock`, `pylock.toml`, `requirements` or `pyproject`; `path` is empty for names.

    `elsewhere` counts the packages left out, since they do not come from this mirror. `left_out` names them where the reader of the file
    does so, and all else of the file that is not looked at.
    """

    kind: str
    path: str = ""
    elsewhere: int = 0
    left_out: tuple[LeftOut, ...] = ()

    @property
    def incomplete(self) -> tuple[LeftOut, ...]:
        """The entries that may lead to packages of the mirror, but cannot be read here."""
        return tuple(each for each in self.left_out if each.omission in _INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Order:
    """All that is to be looked at.

    `requires_python` is that of the lock, which bounds the Pythons of the platform matrix; `matrix` says whether there is one to be made.
    `closure` are requirements whose dependencies are to be followed; `constraints` and `overrides` are requirements that change those
    met on the way. The mirror is never asked about `withheld` projects, whoever requires them: they come from elsewhere, or are excluded.
    These are names, and patterns of names as shells have them. `environments` are markers of which one has to hold, none for all.
    `other_indexes` is true if the files name an index or folder beside the mirror that may have what the mirror lacks.
    """

    wants: tuple[Want, ...]
    sources: tuple[Source, ...] = ()
    requires_python: str = ""
    matrix: bool = False
    closure: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    withheld: frozenset[str] = frozenset()
    other_indexes: bool = False
    environments: tuple[str, ...] = ()
