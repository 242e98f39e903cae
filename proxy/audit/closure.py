"""What requirements lead to: the projects that a resolver would look at, followed through the metadata that the gate gives.

It chooses no versions as a resolver does: of each project the newest release that the requirement admits is read, for every platform and
Python at once. So it may name a project too many, never one that nobody requires, and unlike a real resolution it does not fail
on a broken mirror, which is what is to be looked at.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from packaging.markers import Marker
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from proxy.audit.platforms import environments, holds, pythons_of
from proxy.audit.subject import Subject
from proxy.core.errors import InvalidProjectName, MirrormendError
from proxy.core.page import File, Packaging, Page, normalised_name
from proxy.core.verdict.plan import by_resolver_order
from proxy.index.gate import Gate


@dataclass(frozen=True, slots=True)
class Step:
    """A project that is required, and how: `specifier` as text."""

    project: str
    spelling: str
    specifier: str
    extras: frozenset[str]


def steps_of(requirements: Iterable[str], extras: frozenset[str], requires_python: str) -> list[Step]:
    """Gives what `requirements` ask for, with these extras, in any environment that `requires_python` admits.

    What cannot be read is left out.
    """
    steps = []
    for text in requirements:
        try:
            requirement = Requirement(text)
            project = normalised_name(requirement.name)
        except (InvalidRequirement, InvalidProjectName):
            continue
        if requirement.url is None and _wanted(requirement.marker, extras, requires_python):
            steps.append(Step(project, requirement.name, str(requirement.specifier), frozenset(requirement.extras)))
    return steps


def _wanted(marker: Marker | None, extras: frozenset[str], requires_python: str) -> bool:
    return marker is None or any(_holds_anywhere(str(marker), extra, requires_python) for extra in ("", *extras))


@cache
def _holds_anywhere(marker: str, extra: str, requires_python: str) -> bool:
    parsed = Marker(marker)
    return any(holds(parsed, {**environment, "extra": extra}) for _, environment in environments(pythons_of(requires_python)))


def admitted(page: Page, specifier: str) -> Sequence[File]:
    """Gives the files of the newest release that `specifier` admits, a final one where there is any; empty where there is none."""
    wanted = SpecifierSet(specifier)
    versions = [release.version for release in page.releases if release.version is not None]
    chosen = next(iter(wanted.filter(versions)), None)
    return next((release.files for release in page.releases if release.version == chosen), ()) if chosen is not None else ()


class Closure:
    """Follows requirements from project to project; `seen` are all steps that were taken."""

    def __init__(self, gate: Gate, requires_python: str) -> None:
        self._gate = gate
        self._requires_python = requires_python
        self.seen: set[Step] = set()

    def begin(self, requirements: Iterable[str]) -> list[Step]:
        """Gives the first steps."""
        return self._new(steps_of(requirements, frozenset(), self._requires_python))

    async def after(self, reached: Iterable[tuple[Step, Subject]]) -> list[Step]:
        """Gives the steps that follow from those just taken, whose pages were read."""
        found = await asyncio.gather(*(self._required_by(step, subject) for step, subject in reached))
        return self._new([each for steps in found for each in steps])

    def _new(self, steps: Iterable[Step]) -> list[Step]:
        new = [step for step in dict.fromkeys(steps) if step not in self.seen]
        self.seen.update(new)
        return new

    async def _required_by(self, step: Step, subject: Subject) -> list[Step]:
        page = subject.page
        if page is None:
            return []
        files = admitted(page, step.specifier)
        readable = by_resolver_order(files) or [file for file in files if file.packaging is Packaging.SDIST]
        if not readable:
            return []
        try:
            metadata = await self._gate.metadata(subject.project, page, readable[0])
        except MirrormendError:
            # That it cannot be read is found, and told, when the release itself is looked at.
            return []
        raw, _ = parse_email(metadata.content)
        return steps_of(raw.get("requires_dist", []), step.extras, self._requires_python)
