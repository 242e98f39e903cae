"""A uv.lock: its packages with their files, and where each of them is needed.

The format is uv's own: `[[package]]` tables with `name`, `version`, `source`, `dependencies` with markers, `sdist` and `wheels`.
What comes from no registry (Git, paths, URLs, members of a workspace) is no matter of a mirror, and counted apart from the project itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from packaging.markers import Marker

from proxy.audit.inputs.entries import Entry, digests_of, filename_of, lines_of, order_of_entries, parsed_marker, project_of
from proxy.audit.inputs.origins import KnownMirror, Origin
from proxy.audit.inputs.shapes import in_shape
from proxy.audit.platforms import environments, holds, pythons_of
from proxy.audit.wanted import LockedFile, Order, Unreadable

Key: TypeAlias = tuple[str, str]

_FORMAT = 1
"""The version of the format that uv writes; it refuses all others."""

_OF_A_CHOICE = re.compile(r"""extra\s*[!=]=\s*(?:'[^']*'|"[^"]*")""")
"""The part of a marker that asks which of the extras or groups that exclude each other was chosen."""
_ALWAYS = "python_version >= '3'"


class _Source(msgspec.Struct, rename="kebab"):
    registry: str | None = None
    editable: str | None = None
    virtual: str | None = None

    @property
    def is_project(self) -> bool:
        """True if it is the project that the lock is of."""
        return "." in {self.editable, self.virtual}


class _File(msgspec.Struct, rename="kebab"):
    url: str | None = None
    path: str | None = None
    filename: str | None = None
    hash: str | None = None
    size: int | None = None


class _Dependency(msgspec.Struct, rename="kebab"):
    name: str
    version: str | None = None
    marker: str | None = None
    extra: list[str] = []


class _Package(msgspec.Struct, rename="kebab"):
    name: str
    source: _Source
    version: str | None = None
    sdist: _File | None = None
    wheels: list[_File] = []
    dependencies: list[_Dependency] = []
    optional_dependencies: dict[str, list[_Dependency]] = {}
    dev_dependencies: dict[str, list[_Dependency]] = {}

    @property
    def key(self) -> Key:
        """The name and version, as others depend on them."""
        return self.name, self.version or ""

    @property
    def files(self) -> Sequence[_File]:
        """The wheels, and the sdist."""
        return [*self.wheels, *((self.sdist,) if self.sdist is not None else ())]


class _Lock(msgspec.Struct, rename="kebab"):
    version: int
    requires_python: str = ""
    package: list[_Package] = []


def read_uv_lock(path: Path, content: Mapping[str, Any], text: str, mirror: KnownMirror) -> Order:
    """Return what a uv.lock names; raises Unreadable."""
    version = content.get("version")
    if isinstance(version, int) and version != _FORMAT:
        raise Unreadable(path, f"its format has another version than {_FORMAT}; lock with a uv that writes that one")
    lock = in_shape(path, content, _Lock, "as uv writes it")
    needed = _needed(lock.package, lock.requires_python)
    lines = lines_of(text, "package", len(lock.package))
    entries = [
        _entry(path, package, line, needed) for package, line in zip(lock.package, lines, strict=True) if not package.source.is_project
    ]
    return order_of_entries(path, "uv.lock", entries, mirror, lock.requires_python)


def _entry(path: Path, package: _Package, line: int, needed: Mapping[Key, frozenset[tuple[str, str]]]) -> Entry:
    registry = package.source.registry
    if registry is None:
        return Entry(package.name, package.version, line, None)
    if not package.version:
        raise Unreadable(path, f"{package.name[:100]!r} has no version there; lock anew with a current uv")
    origin = Origin(project_of(path, package.name), registry, tuple(file.url for file in package.files if file.url is not None))
    files = tuple(LockedFile(_filename(file), digests_of(file.hash), file.size) for file in package.files)
    return Entry(package.name, package.version, line, origin, files, needed=needed.get(package.key, frozenset()))


def _filename(file: _File) -> str:
    return filename_of(file.url or file.path or file.filename or "")


def _needed(packages: Sequence[_Package], requires_python: str) -> dict[Key, frozenset[tuple[str, str]]]:
    """Return for each package the pairs of platform and Python that need it: what can be reached from the project by markers that hold.

    Every extra and every group of the project counts.
    """
    by_name: dict[str, list[_Package]] = {}
    for package in packages:
        by_name.setdefault(package.name, []).append(package)
    roots = [package for package in packages if package.source.registry is None]
    markers: dict[str, Marker | None] = {}
    found: dict[Key, set[tuple[str, str]]] = {}
    for pair, environment in environments(pythons_of(requires_python)):
        for key in _reached(roots or packages, by_name, environment, markers):
            found.setdefault(key, set()).add(pair)
    return {key: frozenset(pairs) for key, pairs in found.items()}


def _reached(
    roots: Sequence[_Package], by_name: Mapping[str, list[_Package]], environment: Mapping[str, str], markers: dict[str, Marker | None]
) -> set[Key]:
    reached: set[Key] = set()
    seen: set[tuple[Key, str]] = set()
    waiting: list[tuple[_Package, str]] = [(root, part) for root in roots for part in ("", *_parts(root))]
    while waiting:
        package, part = waiting.pop()
        if (package.key, part) in seen:
            continue
        seen.add((package.key, part))
        reached.add(package.key)
        for dependency in _dependencies(package, part):
            if not holds(_marker(dependency.marker, markers), environment):
                continue
            for target in by_name.get(dependency.name, ()):
                if dependency.version in {None, target.version}:
                    waiting += [(target, each) for each in ("", *dependency.extra)]
    return reached


def _parts(package: _Package) -> Iterator[str]:
    yield from package.optional_dependencies
    yield from (f"group {name}" for name in package.dev_dependencies)


def _dependencies(package: _Package, part: str) -> Sequence[_Dependency]:
    if not part:
        return package.dependencies
    if part.startswith("group "):
        return package.dev_dependencies.get(part.removeprefix("group "), [])
    return package.optional_dependencies.get(part, [])


def _marker(text: str | None, known: dict[str, Marker | None]) -> Marker | None:
    if text is None:
        return None
    if text not in known:
        # Each choice counts as needed. Markers know no negation, so that less is left out this way, and never more.
        known[text] = parsed_marker(_OF_A_CHOICE.sub(_ALWAYS, text))
    return known[text]
