"""What requirements lead to: the projects that a resolver would look at, followed through the metadata that the gate gives.

It chooses no versions as a resolver does: of each project the newest release that the requirement admits is read, for every platform and
Python at once. So it may name a project too many, never one that nobody requires, and unlike a real resolution it does not fail
on a broken mirror, which is what is to be looked at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import is_normalized_name

from proxy.audit.platforms import holds, supported_environments
from proxy.audit.wanted import Order
from proxy.core.errors import InvalidProjectName
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import File, Packaging, Page, normalised_name
from proxy.core.verdict.plan import by_resolver_order


@dataclass(frozen=True, slots=True)
class Step:
    """A project that is required, and how: `specifier` as text."""

    project: str
    spelling: str
    specifier: str
    extras: frozenset[str]


def steps_of(requirements: Iterable[str], extras: frozenset[str], requires_python: str, markers: tuple[str, ...] = ()) -> list[Step]:
    """Return what `requirements` ask for, with these extras, in any environment that `requires_python` and `markers` admit.

    What cannot be read is left out.
    """
    steps = []
    for text in requirements:
        try:
            requirement = Requirement(text)
            project = normalised_name(requirement.name)
        except (InvalidRequirement, InvalidProjectName):
            continue
        if requirement.url is None and _wanted(requirement.marker, extras, requires_python, markers):
            steps.append(Step(project, requirement.name, str(requirement.specifier), frozenset(requirement.extras)))
    return steps


def _wanted(marker: Marker | None, extras: frozenset[str], requires_python: str, markers: tuple[str, ...]) -> bool:
    return marker is None or any(_holds_anywhere(str(marker), extra, requires_python, markers) for extra in ("", *extras))


@cache
def _holds_anywhere(marker: str, extra: str, requires_python: str, markers: tuple[str, ...]) -> bool:
    parsed = Marker(marker)
    return any(holds(parsed, {**environment, "extra": extra}) for environment in _environments(requires_python, markers))


@cache
def _environments(requires_python: str, markers: tuple[str, ...]) -> Sequence[Mapping[str, str]]:
    return tuple(supported_environments(requires_python, markers))


def admitted(page: Page, specifier: str) -> Sequence[File]:
    """Gives the files of the newest release that `specifier` admits, a final one where there is any; empty where there is none."""
    wanted = SpecifierSet(specifier)
    versions = [release.version for release in page.releases if release.version is not None]
    chosen = next(iter(wanted.filter(versions)), None)
    return next((release.files for release in page.releases if release.version == chosen), ()) if chosen is not None else ()


def first_readable(page: Page, specifier: str) -> File | None:
    """Gives the file of which a resolver would read the metadata, of the newest release that `specifier` admits."""
    files = admitted(page, specifier)
    readable = by_resolver_order(files) or [file for file in files if file.packaging is Packaging.SDIST]
    return readable[0] if readable else None


def _by_project(steps: Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.project, []).append(step)
    return found


class Closure:
    """Follows requirements from project to project.

    `read` gives the core metadata of the release that a step leads to, None where there is none to be had;
    `found` is told of the steps, level by level, before they are taken. `order` says where to begin, and what is never stepped on.
    """

    def __init__(self, read: Callable[[Step], Awaitable[bytes | None]], found: Callable[[Sequence[Step]], None], order: Order) -> None:
        self._read = read
        self._found = found
        self._requires_python = order.requires_python
        self._closure = order.closure
        self._withheld = order.withheld
        self._patterns = [each for each in order.withheld if not is_normalized_name(each)]
        self._environments = order.environments
        self._constraints = _by_project(self._steps(order.constraints))
        self._overrides = _by_project(self._steps(order.overrides))
        self._seen: set[Step] = set()

    async def follow(self) -> None:
        """Take every step that the requirements lead to."""
        steps = self._new(self._steps(self._closure))
        while steps:
            self._found(steps)
            led_to = await asyncio.gather(*(self._required_by(step) for step in steps))
            steps = self._new([each for led in led_to for each in led])

    def _steps(self, requirements: Iterable[str], extras: frozenset[str] = frozenset()) -> list[Step]:
        return steps_of(requirements, extras, self._requires_python, self._environments)

    def _is_withheld(self, project: str) -> bool:
        return project in self._withheld or any(fnmatchcase(project, each) for each in self._patterns)

    def _new(self, steps: Iterable[Step]) -> list[Step]:
        allowed = [each for step in steps if not self._is_withheld(step.project) for each in self._changed(step)]
        new = [step for step in dict.fromkeys(allowed) if step not in self._seen]
        self._seen.update(new)
        return new

    def _changed(self, step: Step) -> list[Step]:
        """Return the step as the overrides and constraints of its project want it."""
        overrides = self._overrides.get(step.project)
        taken = [step] if overrides is None else [replace(step, specifier=each.specifier) for each in overrides]
        bounds = [each.specifier for each in self._constraints.get(step.project, ())]
        return [replace(each, specifier=",".join(filter(None, (each.specifier, *bounds)))) for each in taken]

    async def _required_by(self, step: Step) -> list[Step]:
        content = await self._read(step)
        if content is None:
            return []
        return self._steps(MetadataHeaders(content).get_all("Requires-Dist"), step.extras)
