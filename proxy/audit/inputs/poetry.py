"""A poetry.lock: `[[package]]` tables with `name`, `version`, `files`, `markers`, and a `source` unless that is the default one.

Poetry 1 wrote the files of all packages into `[metadata.files]`, and no markers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.inputs.entries import Entry, digests_of, filename_of, lines_of, needed_by, order_of_entries, project_of
from proxy.audit.inputs.origins import KnownMirror, Origin
from proxy.audit.inputs.shapes import in_shape
from proxy.audit.wanted import LockedFile, Order


class _File(msgspec.Struct, rename="kebab"):
    file: str
    hash: str | None = None


class _Source(msgspec.Struct, rename="kebab"):
    type: str
    url: str = ""


class _Package(msgspec.Struct, rename="kebab"):
    name: str
    version: str
    files: list[_File] | None = None
    markers: str | dict[str, str] | None = None
    source: _Source | None = None


class _Metadata(msgspec.Struct, rename="kebab"):
    lock_version: str = ""
    python_versions: str = ""
    files: dict[str, list[_File]] = {}


class _Lock(msgspec.Struct, rename="kebab"):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    package: list[_Package] = []


def read_poetry_lock(path: Path, content: Mapping[str, Any], text: str, mirror: KnownMirror) -> Order:
    """Return what a poetry.lock names; raises Unreadable."""
    lock = in_shape(path, content, _Lock, "as Poetry writes it")
    requires_python = _specifiers(lock.metadata.python_versions)
    lines = lines_of(text, "package", len(lock.package))
    entries = [_entry(path, package, line, lock.metadata) for package, line in zip(lock.package, lines, strict=True)]
    return order_of_entries(path, "poetry.lock", entries, mirror, requires_python)


def _entry(path: Path, package: _Package, line: int, metadata: _Metadata) -> Entry:
    written = package.files if package.files is not None else metadata.files.get(package.name, [])
    files = tuple(LockedFile(filename_of(each.file), digests_of(each.hash)) for each in written)
    markers = list(package.markers.values()) if isinstance(package.markers, dict) else [package.markers]
    needed = needed_by(markers, _specifiers(metadata.python_versions))
    return Entry(package.name, package.version, line, _origin(path, package), files, needed=needed)


def _origin(path: Path, package: _Package) -> Origin | None:
    project = project_of(path, package.name)
    if package.source is None:
        return Origin(project, None)
    return Origin(project, package.source.url) if package.source.type == "legacy" else None


def _specifiers(python_versions: str) -> str:
    """Return Poetry's constraint as version specifiers, as far as the oldest Python goes: `^3.11` begins with 3.11."""
    if python_versions.startswith("^") or (python_versions.startswith("~") and not python_versions.startswith("~=")):
        return f">={python_versions[1:].strip()}"
    return python_versions
