"""A pdm.lock: `[[package]]` tables with `name`, `version`, `files` and `marker`.

It names no index. With the strategy `static_urls` its files have addresses, which tell what comes from where; without it nothing does.
PDM 2.7 and older wrote the files of all packages into `[metadata.files]`, by name and version.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.inputs.entries import Entry, digests_of, filename_of, lines_of, needed_by, order_of_entries, project_of
from proxy.audit.inputs.origins import KnownMirror, Origin
from proxy.audit.inputs.shapes import in_shape
from proxy.audit.wanted import LockedFile, Order


class _File(msgspec.Struct, rename="kebab"):
    file: str | None = None
    url: str | None = None
    hash: str | None = None


class _Package(msgspec.Struct, rename="kebab"):
    name: str
    version: str | None = None
    marker: str | None = None
    git: str | None = None
    url: str | None = None
    path: str | None = None
    files: list[_File] | None = None


class _Target(msgspec.Struct):
    requires_python: str = ""


class _Metadata(msgspec.Struct):
    lock_version: str = ""
    targets: list[_Target] = []
    files: dict[str, list[_File]] = {}


class _Lock(msgspec.Struct, rename="kebab"):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    package: list[_Package] = []


def read_pdm_lock(path: Path, content: Mapping[str, Any], text: str, mirror: KnownMirror) -> Order:
    """Return what a pdm.lock names; raises Unreadable."""
    lock = in_shape(path, content, _Lock, "as PDM writes it")
    pythons = [each.requires_python for each in lock.metadata.targets]
    requires_python = pythons[0] if len(pythons) == 1 else ""
    lines = lines_of(text, "package", len(lock.package))
    entries = [_entry(path, package, line, lock.metadata.files, requires_python) for package, line in zip(lock.package, lines, strict=True)]
    order = order_of_entries(path, "pdm.lock", entries, mirror, requires_python)
    # Without addresses any index may have them.
    return replace(order, other_indexes=any(each.origin is not None and not each.origin.urls for each in entries))


def _entry(path: Path, package: _Package, line: int, files: Mapping[str, list[_File]], requires_python: str) -> Entry:
    written = package.files if package.files is not None else files.get(f"{package.name} {package.version}", [])
    locked = tuple(LockedFile(filename_of(each.url or each.file or ""), digests_of(each.hash)) for each in written)
    origin = None
    if {package.git, package.url, package.path} == {None} and package.version is not None:
        origin = Origin(project_of(path, package.name), None, tuple(each.url for each in written if each.url is not None))
    return Entry(package.name, package.version, line, origin, locked, needed=needed_by([package.marker], requires_python))
