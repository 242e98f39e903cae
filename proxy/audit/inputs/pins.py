"""The releases that requirements and constraints of a requirements file choose, and what they demand of the releases otherwise.

Rules for this file: pure, but for the errors that name the file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from proxy.audit.platforms import PYTHONS, environments, holds
from proxy.audit.wanted import Bound, Pin, Place, Unreadable, Want

_ENVIRONMENTS = tuple(environments(PYTHONS))


@dataclass(frozen=True, slots=True)
class Found:
    """A requirement of a file or a constraint, and the hashes that it allows."""

    requirement: Requirement
    project: str
    hashes: frozenset[str] = frozenset()
    place: Place | None = None


def want_of(found: Sequence[Found], constraints: Sequence[Found]) -> Want:
    """Return what requirements on one project want: the releases that they or the constraints pin, if any."""
    pins: dict[object, Pin] = {}
    for pin in (pin for each in found for pin in _pins(each, constraints)):
        pins.setdefault((pin.version, pin.hashes, pin.needed), pin)
    bounds = tuple(_bounds(found, constraints))
    return Want(found[0].project, found[0].requirement.name, tuple(pins.values()), found[0].place, bounds=bounds)


def _bounds(found: Sequence[Found], constraints: Sequence[Found]) -> Iterator[Bound]:
    limits = [str(each.requirement.specifier) for each in constraints if each.requirement.marker is None and not _exact(each.requirement)]
    for each in found:
        if _exact(each.requirement) is None and _needed(each.requirement.marker) != frozenset():
            specifier = ",".join(filter(None, (str(each.requirement.specifier), *limits)))
            yield Bound(f"{each.project}{specifier}", specifier, each.place)


def _pins(found: Found, constraints: Sequence[Found]) -> Iterator[Pin]:
    own = _exact(found.requirement)
    if own is not None:
        yield Pin(own, found.place, hashes=found.hashes, needed=_needed(found.requirement.marker))
        return
    pairs: dict[str, set[tuple[str, str]]] = {}
    hashes: dict[str, frozenset[str]] = {}
    for pair, environment in _ENVIRONMENTS:
        if not holds(found.requirement.marker, environment):
            continue
        limit = next((each for each in constraints if _exact(each.requirement) and holds(each.requirement.marker, environment)), None)
        if limit is None:
            # Somewhere the newest release may be taken: what is looked at is what a resolver could choose.
            return
        version = _exact(limit.requirement) or ""
        pairs.setdefault(version, set()).add(pair)
        hashes[version] = hashes.get(version, found.hashes) | limit.hashes
    for version, needed in pairs.items():
        everywhere = len(needed) == len(_ENVIRONMENTS)
        yield Pin(version, found.place, hashes=hashes[version], needed=None if everywhere else frozenset(needed))


def _exact(requirement: Requirement) -> str | None:
    exact = (each for each in requirement.specifier if each.operator in {"==", "==="} and not each.version.endswith(".*"))
    return next((each.version for each in exact), None)


def _needed(marker: Marker | None) -> frozenset[tuple[str, str]] | None:
    return None if marker is None else frozenset(pair for pair, environment in _ENVIRONMENTS if holds(marker, environment))


def refuse_contradictions(path: Path, found: Sequence[Found]) -> None:
    """Raise Unreadable if two requirements pin different releases of one project in the same environments."""
    for one, other in combinations([each for each in found if _exact(each.requirement) is not None], 2):
        pinned = [_exact(each.requirement) or "" for each in (one, other)]
        agree = pinned[0] == pinned[1] or _admits(one, pinned[1]) or _admits(other, pinned[0])
        needed = _needed(one.requirement.marker)
        if not agree and needed == _needed(other.requirement.marker) != frozenset():
            line = "" if other.place is None else f"line {other.place.line}: "
            raise Unreadable(
                path, f"{line}{other.project} is pinned to {pinned[0]} and to {pinned[1]}, which pip refuses; leave one of them"
            )


def _admits(found: Found, version: str) -> bool:
    try:
        return found.requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
