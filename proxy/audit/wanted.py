"""What is to be looked at: projects, releases and locked files, and where somebody wrote that they are wanted.

Rules for this file: nouns only; `inputs` reads them out of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Want:
    """A project to look at: its pinned releases, or where there are none what a resolver could choose.

    `project` is the normalised name and `spelling` how it was written. `named` is false for what is only required by another project.
    """

    project: str
    spelling: str
    pins: tuple[Pin, ...] = ()
    place: Place | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """Where wishes came from: `kind` is `names`, `uv.lock`, `pylock.toml`, `requirements` or `pyproject`; `path` is empty for names.

    `elsewhere` counts the packages left out, since they do not come from this mirror.
    """

    kind: str
    path: str = ""
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """All that is to be looked at.

    `requires_python` is that of the lock, which bounds the Pythons of the platform matrix; `matrix` says whether there is one to be made.
    `closure` are requirements whose dependencies are to be followed.
    """

    wants: tuple[Want, ...]
    sources: tuple[Source, ...] = ()
    requires_python: str = ""
    matrix: bool = False
    closure: tuple[str, ...] = ()
