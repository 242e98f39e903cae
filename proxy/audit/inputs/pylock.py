"""A pylock.toml (PyPA specifications, pylock.toml), as uv, pip and PDM write it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.inputs.entries import Entry, filename_of, lines_of, needed_by, order_of_entries, project_of
from proxy.audit.inputs.origins import KnownMirror, Origin
from proxy.audit.inputs.shapes import in_shape
from proxy.audit.wanted import LockedFile, Order, Unreadable


class _File(msgspec.Struct, rename="kebab"):
    name: str | None = None
    url: str | None = None
    path: str | None = None
    size: int | None = None
    hashes: dict[str, str] = {}


class _Directory(msgspec.Struct, rename="kebab"):
    path: str = ""


class _Package(msgspec.Struct, rename="kebab"):
    name: str
    version: str | None = None
    marker: str | None = None
    index: str | None = None
    directory: _Directory | None = None
    sdist: _File | None = None
    wheels: list[_File] = []


class _Lock(msgspec.Struct, rename="kebab"):
    lock_version: str
    requires_python: str = ""
    packages: list[_Package] = []


def read_pylock(path: Path, content: Mapping[str, Any], text: str, mirror: KnownMirror) -> Order:
    """Return what a pylock.toml names; raises Unreadable."""
    lock = in_shape(path, content, _Lock, "as the specification of pylock.toml has it")
    if lock.lock_version.partition(".")[0] != "1":
        raise Unreadable(path, f"its lock-version is {lock.lock_version[:20]!r}, and only 1 is known; lock with that version")
    lines = lines_of(text, "packages", len(lock.packages))
    entries = [
        _entry(path, package, line, lock.requires_python)
        for package, line in zip(lock.packages, lines, strict=True)
        if package.directory is None or package.directory.path not in {".", "./"}
    ]
    return order_of_entries(path, "pylock.toml", entries, mirror, lock.requires_python)


def _entry(path: Path, package: _Package, line: int, requires_python: str) -> Entry:
    written = [*package.wheels, *((package.sdist,) if package.sdist is not None else ())]
    files = tuple(LockedFile(each.name or filename_of(each.url or each.path or ""), each.hashes, each.size) for each in written)
    # The marker may ask for extras and groups of the lock; what asks for one that is not chosen here counts as needed.
    needed = needed_by([package.marker], requires_python)
    return Entry(package.name, package.version, line, _origin(path, package, written), files, needed=needed)


def _origin(path: Path, package: _Package, files: list[_File]) -> Origin | None:
    if not files:
        return None
    return Origin(project_of(path, package.name), package.index, tuple(each.url or f"file:{each.path}" for each in files))
