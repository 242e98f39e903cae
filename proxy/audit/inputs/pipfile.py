"""A Pipfile.lock: JSON with packages by name in `default`, `develop` and further groups, each with hashes, but without names of files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.inputs.entries import Entry, needed_by, order_of_entries, project_of
from proxy.audit.inputs.origins import KnownMirror, Origin
from proxy.audit.inputs.shapes import in_shape
from proxy.audit.wanted import Order

_EXPECTED = "as Pipenv writes it"
_KEY = re.compile(r'^\s*"([^"\\]+)"\s*:\s*\{', re.MULTILINE)


class _Source(msgspec.Struct, rename="kebab"):
    url: str
    name: str = ""


class _Requires(msgspec.Struct):
    python_version: str = ""


class _Meta(msgspec.Struct, rename="kebab"):
    sources: list[_Source] = []
    requires: _Requires = msgspec.field(default_factory=_Requires)

    @property
    def requires_python(self) -> str:
        """The Python that the lock is for, as version specifiers."""
        python = self.requires.python_version
        return f"=={python}.*" if python else ""


class _Package(msgspec.Struct, rename="kebab"):
    version: str = ""
    hashes: list[str] = []
    index: str | None = None
    markers: str | None = None
    git: str | None = None
    path: str | None = None
    file: str | None = None


def read_pipfile_lock(path: Path, content: Mapping[str, Any], text: str, mirror: KnownMirror) -> Order:
    """Return what a Pipfile.lock names; raises Unreadable."""
    meta = in_shape(path, content.get("_meta", {}), _Meta, _EXPECTED)
    groups = in_shape(path, {name: group for name, group in content.items() if name != "_meta"}, dict[str, dict[str, _Package]], _EXPECTED)
    lines = _lines(text)
    entries = [_entry(path, name, package, meta, lines.get(name, 1)) for name, package in _packages(groups)]
    return order_of_entries(path, "Pipfile.lock", entries, mirror, meta.requires_python)


def _packages(groups: Mapping[str, Mapping[str, _Package]]) -> Iterator[tuple[str, _Package]]:
    for group in groups.values():
        yield from group.items()


def _entry(path: Path, name: str, package: _Package, meta: _Meta, line: int) -> Entry:
    origin = None
    if {package.git, package.path, package.file} == {None}:
        origin = Origin(project_of(path, name), _index(package, meta))
    version = package.version.removeprefix("==").strip() if package.version.startswith("==") else None
    needed = needed_by([package.markers], meta.requires_python)
    return Entry(name, version, line, origin, hashes=frozenset(each.lower() for each in package.hashes), needed=needed)


def _index(package: _Package, meta: _Meta) -> str | None:
    by_name = {source.name: source.url for source in reversed(meta.sources)}
    if package.index is None:
        return meta.sources[0].url if meta.sources else None
    return by_name.get(package.index, package.index)


def _lines(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    for found in _KEY.finditer(text):
        lines.setdefault(found[1], text.count("\n", 0, found.start(1)) + 1)
    return lines
