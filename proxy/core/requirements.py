"""Requirements in core metadata: the projects that a resolver will ask for next, and which releases of it the resolver may choose.

It decides what is fetched ahead and what a page waits for, and nothing else: a requirement too many costs the mirror some requests,
one too few costs somebody a moment, or the proof of a file that a lock names.

Rules for this file: it never raises, a line that cannot be understood is passed over, and every step is bounded.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from proxy.core.errors import InvalidProjectName
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import normalised_name, parsed_version

_REQUIRES = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)([^;\r\n]*)(?:;([^\r\n]*))?")
_SPECIFIER = re.compile(r"[ \t]*(?:\[[^\]]*\])?[ \t]*(@?)([^@]*)")
_BELOW = re.compile(r"""python_(?:full_)?version[ \t]*(<=?)[ \t]*["'](\d{1,4})\.(\d{1,4})""")
_EXTRA = re.compile(r"""\bextra[ \t]*==[ \t]*(["'])([^"']{1,100})\1|(["'])([^"']{1,100})\3[ \t]*==[ \t]*extra\b""")
_MOST = 60
_LOOKED_AT = 2000
"""Requirements that are looked at: 60 of them are mostly found much earlier."""

_LONGEST = 400
"""Characters of the longest specifier or marker that is understood."""

_EXTRAS_TRIED = 20
_ENVIRONMENTS_TRIED = 200
"""Environments that one marker is evaluated in: a marker that can tell more of them apart is taken as true."""

_MARKERS_READ = 400_000
"""Characters of markers that are evaluated for one project, each marker once for each environment: about twenty milliseconds."""

OLDEST_PYTHON, _NEWEST_PYTHON = 10, 15
"""Minor versions of Python 3 that a project may be locked for beside that of the client."""

_PLATFORMS: tuple[dict[str, str], ...] = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)
_MACHINES = ("x86_64", "arm64", "aarch64", "AMD64")
_IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"))


class Requirement(NamedTuple):
    """A requirement on `project` (its normalised name), with `specifier` and `marker` as core metadata spells them."""

    project: str
    specifier: str
    marker: str


def requirements(metadata: bytes) -> tuple[Requirement, ...]:
    """Return what `metadata` requires, each requirement once; of an unreadable specifier only the project's name is kept."""
    found: dict[Requirement, None] = {}
    for name, rest, marker in _lines(metadata):
        split = _SPECIFIER.fullmatch(rest)
        text = "" if split is None or split[1] else split[2].strip().removeprefix("(").removesuffix(")").strip()
        specifier = text if len(text) <= _LONGEST else ""
        found[Requirement(name, specifier, marker if len(marker) <= _LONGEST else "")] = None
    return tuple(found)


def required_projects(metadata: bytes, python: tuple[int, int]) -> tuple[str, ...]:
    """Return the normalised names of the projects that `metadata` requires, as far as a resolver with that `python` or newer asks for them.

    What is required for an extra only is left out (core metadata specification, Requires-Dist; PEP 508).
    """
    names: dict[str, None] = {}
    for name, _, marker in _lines(metadata):
        if "extra" in marker or _is_for_older(marker, python):
            continue
        names[name] = None
        if len(names) == _MOST:
            break
    return tuple(names)


def _lines(metadata: bytes) -> Iterator[tuple[str, str, str]]:
    # The description comes after the first empty line and may hold anything.
    for value in MetadataHeaders(metadata).get_all("Requires-Dist", _LOOKED_AT):
        found = _REQUIRES.match(value)
        if found is None:
            continue
        try:
            name = normalised_name(found[1])
        except InvalidProjectName:
            continue
        yield name, found[2], (found[3] or "").strip()


def _is_certain(marker: str, python: tuple[int, int] | None) -> bool:
    return "extra" not in marker and (python is None or not _is_for_older(marker, python))


def _is_for_older(marker: str, python: tuple[int, int]) -> bool:
    if " or " in marker:
        return False
    bounds = [(sign, (int(major), int(minor))) for sign, major, minor in _BELOW.findall(marker)]
    return any(python > bound or (python == bound and sign == "<") for sign, bound in bounds)


def may_hold(marker: str, python: tuple[int, int] | None) -> bool:
    """Return whether `marker` holds for some client whose project may be locked with that `python` (None: unknown).

    Locks are made for all platforms, and for other Pythons than that of the client: only what no client can want is ruled out.
    Extras hold, and so does what cannot be evaluated, or only with much work.
    """
    return _may_hold(marker, python)[0]


@lru_cache(maxsize=2048)
def _may_hold(marker: str, python: tuple[int, int] | None) -> tuple[bool, int]:
    """Return whether `marker` may hold, and how many characters were read to tell that."""
    if not marker or python is None:
        return True, 0
    told_apart = _told_apart(marker, python)
    count = prod(map(len, told_apart))
    if count > _ENVIRONMENTS_TRIED or "platform_release" in marker or "platform_version" in marker:
        # Nothing is known of these two, so that the marker is taken as true.
        return True, 0
    try:
        parsed = Marker(marker)
        return any(parsed.evaluate(environment) for environment in _environments(told_apart)), count * len(marker)
    except (InvalidMarker, InvalidSpecifier, InvalidVersion, UndefinedComparison, UndefinedEnvironmentName, ValueError, RecursionError):
        return True, count * len(marker)


class _ToldApart(NamedTuple):
    """The parts of the environments that a marker can tell apart."""

    pythons: Sequence[tuple[int, int]]
    patches: Sequence[int]
    platforms: Sequence[dict[str, str]]
    machines: Sequence[str]
    implementations: Sequence[tuple[str, str]]
    extras: Sequence[str]


def _told_apart(marker: str, python: tuple[int, int]) -> _ToldApart:
    pythons = {(3, minor) for minor in range(OLDEST_PYTHON, _NEWEST_PYTHON + 1)} | {python} if "python_" in marker else {python}
    return _ToldApart(
        pythons=sorted(pythons, reverse=True),
        patches=(0, 99) if "full_version" in marker or "implementation_version" in marker else (0,),
        platforms=_PLATFORMS if "platform" in marker or "os_name" in marker else _PLATFORMS[:1],
        machines=_MACHINES if "platform_machine" in marker else _MACHINES[:1],
        implementations=_IMPLEMENTATIONS if "implementation" in marker else _IMPLEMENTATIONS[:1],
        extras=[found[2] or found[4] for found in _EXTRA.finditer(marker)][:_EXTRAS_TRIED] or [""],
    )


def _environments(told_apart: _ToldApart) -> Iterator[dict[str, str]]:
    for version, patch, platform, machine, implementation, extra in product(*told_apart):
        full = f"{version[0]}.{version[1]}.{patch}"
        yield {
            **platform,
            "python_version": f"{version[0]}.{version[1]}",
            "python_full_version": full,
            "implementation_version": full,
            "implementation_name": implementation[0],
            "platform_python_implementation": implementation[1],
            "platform_machine": machine,
            "extra": extra,
        }


def specifiers_on(known: Sequence[Requirement], python: tuple[int, int] | None, *, certain: bool = False) -> tuple[str, ...]:
    """Return the distinct specifiers of requirements that may hold for a client with that `python`; those that allow all are left out.

    Of `known` the last was read last; of what is returned, the first. With `certain`, those are left out as well that are for an extra,
    or for an older Python than that one. Where markers are much work, those that were read long ago are taken as true.
    """
    texts: dict[str, None] = {}
    markers: dict[str, bool] = {}
    left = _MARKERS_READ
    for each in reversed(known):
        if not each.specifier or specifier_set(each.specifier) is None or (certain and not _is_certain(each.marker, python)):
            continue
        if each.marker not in markers:
            markers[each.marker], read = _may_hold(each.marker, python) if left > 0 else (True, 0)
            left -= read
        if markers[each.marker]:
            texts[each.specifier] = None
    return tuple(texts)


@lru_cache(maxsize=4096)
def specifier_set(text: str) -> SpecifierSet | None:
    """Return what `text` specifies (PEP 440), or None where that cannot be told."""
    try:
        return SpecifierSet(text)
    except (InvalidSpecifier, ValueError):
        return None


@lru_cache(maxsize=16384)
def satisfies(specifier: str, version: str) -> bool:
    """Return whether `version` satisfies `specifier`, pre-releases taken as any others; what cannot be told satisfies nothing."""
    known, parsed = specifier_set(specifier), parsed_version(version)
    return known is not None and parsed is not None and known.contains(parsed, prereleases=True)


@lru_cache(maxsize=4096)
def bounds(specifier: str) -> tuple[Version | None, Version | None]:
    """Return the lowest and the highest version, without the local part of any, that can satisfy `specifier`; None where there is none."""
    lowest: list[Version | None] = []
    highest: list[Version | None] = []
    for each in specifier_set(specifier) or ():
        text = each.version.removesuffix(".*")
        version = None if each.operator in {"!=", "==="} else parsed_version(text)
        if version is None:
            continue
        if each.operator in {"<", "<="}:
            highest.append(without_local(version))
        elif each.operator in {">", ">="}:
            lowest.append(without_local(version))
        elif each.operator == "~=":
            lowest.append(version)
            highest.append(_after(version, version.release[:-1]))
        elif text != each.version:
            lowest.append(parsed_version(f"{text}.dev0"))
            highest.append(_after(version, version.release))
        else:
            lowest.append(without_local(version))
            highest.append(without_local(version))
    return max(filter(None, lowest), default=None), min(filter(None, highest), default=None)


def _after(version: Version, release: Sequence[int]) -> Version | None:
    """Return the first version that does not begin with `release`, in the epoch of `version`."""
    return parsed_version(f"{version.epoch}!{'.'.join(map(str, (*release[:-1], release[-1] + 1)))}.dev0") if release else None


def without_local(version: Version) -> Version:
    """Return the version without its local part, as specifiers compare it."""
    return version if version.local is None else Version(version.public)


@lru_cache(maxsize=4096)
def asks_for_pre_releases(specifier: str) -> bool:
    """Return whether `specifier` names a pre-release, and so allows them (PEP 440)."""
    known = specifier_set(specifier)
    return known is not None and bool(known.prereleases)
