"""The packages of a lock of any kind, and what is to be looked at for them.

Rules for this file: pure, but for the errors that name the file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from packaging.markers import InvalidMarker, Marker

from proxy.audit.inputs.origins import KnownMirror, Origin, from_mirror
from proxy.audit.platforms import environments, holds, pythons_of
from proxy.audit.wanted import LockedFile, Order, Pin, Place, Source, Unreadable, Want
from proxy.core.errors import InvalidProjectName
from proxy.core.page import File, normalised_name

Pairs: TypeAlias = frozenset[tuple[str, str]] | None
"""Pairs of platform and Python that need a release, None for all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A package as a lock has it. `origin` is None where it comes from no index; the other fields are those of `Pin`."""

    name: str
    version: str | None
    line: int
    origin: Origin | None
    files: tuple[LockedFile, ...] = ()
    hashes: frozenset[str] = frozenset()
    needed: Pairs = None


def order_of_entries(path: Path, kind: str, entries: Sequence[Entry], mirror: KnownMirror, requires_python: str = "") -> Order:
    """Return what is to be looked at for a lock; raises Unreadable."""
    wants: dict[str, Want] = {}
    chosen = from_mirror(path, [each.origin for each in entries], mirror)
    for entry, comes_from_mirror in zip(entries, chosen, strict=True):
        if comes_from_mirror:
            want = _want(path, entry)
            known = wants.get(want.project)
            wants[want.project] = want if known is None else replace(known, pins=_joined(known.pins, want.pins))
    return Order(tuple(wants.values()), (Source(kind, str(path), chosen.count(False)),), requires_python, matrix=True)


def project_of(path: Path, name: str) -> str:
    """Return the normalised name of a package; raises Unreadable where it can be none."""
    try:
        return normalised_name(name)
    except InvalidProjectName as error:
        raise Unreadable(path, f"it has a package called {name[:100]!r}, which cannot be the name of one") from error


def filename_of(address: str) -> str:
    """Return the name of a file from its URL or path."""
    return unquote(re.split(r"[?#]", address, maxsplit=1)[0].replace("\\", "/").rstrip("/").rpartition("/")[2])


def digests_of(text: str | None) -> Mapping[str, str]:
    """Return the digest that is written as `sha256:…`, by the name of the hash; nothing where it is written otherwise."""
    algorithm, _, digest = (text or "").partition(":")
    return {algorithm: digest} if digest else {}


def needed_by(markers: Iterable[str | None], requires_python: str) -> Pairs:
    """Return the pairs of platform and Python where one of the markers holds; what cannot be told is needed."""
    parsed = [parsed_marker(each) for each in markers]
    if not parsed or None in parsed:
        return None
    return frozenset(
        pair for pair, environment in environments(pythons_of(requires_python)) if any(holds(marker, environment) for marker in parsed)
    )


def parsed_marker(text: str | None) -> Marker | None:
    """Return a marker, None where there is none that can be read."""
    try:
        return Marker(text) if text else None
    except (InvalidMarker, RecursionError, ValueError):
        return None


def lines_of(text: str, name: str, tables: int) -> Iterator[int]:
    """Return the line of each `[[name]]`, from 1 on; of all of them 1 where they are written otherwise."""
    heading = re.compile(rf"\s*\[\[\s*{re.escape(name)}\s*\]\]\s*(#.*)?")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if heading.fullmatch(line)]
    return iter(lines if len(lines) == tables else [1] * tables)


def _want(path: Path, entry: Entry) -> Want:
    project = project_of(path, entry.name)
    place = Place(str(path), entry.line)
    version = entry.version or _version_in_names(project, entry.files)
    if version is None:
        return Want(project, entry.name, (), place)
    return Want(project, entry.name, (Pin(version, place, entry.files, entry.hashes, entry.needed),), place)


def _version_in_names(project: str, files: Iterable[LockedFile]) -> str | None:
    versions = (File(each.filename, "").version_text(project) for each in files)
    return next((each for each in versions if each), None)


def _joined(known: tuple[Pin, ...], pins: tuple[Pin, ...]) -> tuple[Pin, ...]:
    """Join pins of one release: a lock may have it several times, with and without extras, or by several spellings of its index."""
    joined = {pin.version: pin for pin in known}
    for pin in pins:
        other = joined.get(pin.version)
        if other is None:
            joined[pin.version] = pin
            continue
        files = {(file.filename, *sorted(file.hashes.items())): file for file in (*other.files, *pin.files)}
        needed = None if other.needed is None or pin.needed is None else other.needed | pin.needed
        # Without hashes every file is allowed.
        hashes = other.hashes | pin.hashes if other.hashes and pin.hashes else frozenset[str]()
        joined[pin.version] = replace(other, files=tuple(files.values()), hashes=hashes, needed=needed)
    return tuple(joined.values())
