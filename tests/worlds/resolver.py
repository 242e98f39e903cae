"""A resolver that asks in the order in which uv asks, in one process, for worlds that somebody else poured into a mirror.

A page is asked for as soon as anything requires the project, and once only; where it has come, the metadata of the newest release that
the requirement admits is asked for. All of this goes on at the same time, while versions are chosen from what is there.
"""

import asyncio
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from operator import and_

from aiohttp import web
from aiohttp.test_utils import TestClient
from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from yarl import URL

from tests.wheels import metadata_of

USER_AGENT = 'uv/0.13.9 {"installer":{"name":"uv"},"python":"3.11.7","system":{"name":"Linux"},"cpu":"x86_64"}'
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

_PYTHON = "3.11"
_PLACES = [
    {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": system, "platform_machine": machine, "extra": ""}
    for python, system, machine in product(("3.11", "3.13"), ("linux", "win32", "darwin"), ("x86_64", "arm64"))
]
_MOST_STEPS = 20_000


class TooHard(Exception):
    """It took too many steps to choose versions: the world is of no use to this resolver, which learns nothing from a conflict."""


@dataclass(frozen=True)
class ServedPage:
    """A page as it was served: the names of its files by version, `usable` those that the Python in use admits and that are not yanked.

    `offered` are the files of which the metadata is offered apart.
    """

    listed: Mapping[Version, tuple[str, ...]]
    usable: Mapping[Version, tuple[str, ...]]
    paths: Mapping[str, str]
    offered: frozenset[str]

    def candidates(self, bound: SpecifierSet) -> list[Version]:
        """Return the versions to choose from, the best first: pre-releases only where nothing else is left."""
        fitting = sorted(bound.filter(self.usable, prereleases=True), reverse=True)
        return [each for each in fitting if not each.is_prerelease] or fitting

    def to_read(self, version: Version) -> str:
        """Return the file of a release whose metadata is read: the first wheel by name, else the sdist."""
        return min(self.usable[version], key=lambda name: (not name.endswith(".whl"), name))


class _Missing(Exception):
    def __init__(self, project: str, version: Version | None = None) -> None:
        super().__init__(project, version)
        self.project = project
        self.version = version


@dataclass(frozen=True)
class _Decided:
    chosen: Mapping[str, Version]
    bounds: Mapping[str, SpecifierSet]
    extras: Mapping[str, frozenset[str]]


@dataclass
class Resolver:
    """Resolves the requirements once, cold, through `client`.

    `bounds_then` are the bounds on each project in the metadata that had been read when its page came.
    """

    client: "TestClient[web.Request, web.Application]"
    pages: dict[str, ServedPage] = field(default_factory=dict)
    requires: dict[tuple[str, Version], tuple[Requirement, ...]] = field(default_factory=dict)
    bounds_then: dict[str, tuple[SpecifierSet, ...]] = field(default_factory=dict)
    _tasks: dict[tuple[str, Version | None], asyncio.Task[None]] = field(default_factory=dict)
    _steps: int = 0

    async def resolve(self, roots: Iterable[str]) -> dict[str, Version]:
        """Return the versions that were chosen."""
        wanted = tuple(map(Requirement, roots))
        self._hear_of(wanted)
        try:
            while True:
                try:
                    chosen = self._choose(_Decided({}, {}, {}), wanted)
                except _Missing as missing:
                    await self._bring(missing.project, missing.version)
                else:
                    assert chosen is not None, "the world was said to be solvable"
                    return chosen
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def foreseeable(self, project: str) -> set[Version]:
        """Return the versions that those bounds can tell: the newest, the newest for each bound, and the newest for all of them."""
        page, bounds = self.pages[project], self.bounds_then[project]
        together = reduce(and_, bounds, SpecifierSet())
        return {version for bound in (SpecifierSet(), together, *bounds) for version in page.candidates(bound)[:1]}

    def _choose(self, decided: "_Decided", wanted: Iterable[Requirement]) -> dict[str, Version] | None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TooHard
        bounds, extras, chosen = dict(decided.bounds), dict(decided.extras), decided.chosen
        agenda = list(wanted)
        for each in agenda:
            name = each.name
            bounds[name] = bounds.get(name, SpecifierSet()) & each.specifier
            if name in chosen and not bounds[name].contains(chosen[name], prereleases=True):
                return None
            new = each.extras - extras.setdefault(name, frozenset())
            extras[name] |= new
            if name in chosen:
                agenda += [requirement for extra in new for requirement in self._required(name, chosen[name], extra)]
        name = next((each for each in bounds if each not in chosen), "")
        if not name:
            return dict(chosen)
        if name not in self.pages:
            raise _Missing(name)
        for version in self.pages[name].candidates(bounds[name]):
            requires = [each for extra in ("", *sorted(extras[name])) for each in self._required(name, version, extra)]
            found = self._choose(_Decided({**chosen, name: version}, bounds, extras), requires)
            if found is not None:
                return found
        return None

    def _required(self, name: str, version: Version, extra: str) -> list[Requirement]:
        if (name, version) not in self.requires:
            raise _Missing(name, version)
        requires = self.requires[name, version]
        return [each for each in requires if _applies(each, extra) and (not extra or not _applies(each, ""))]

    def _hear_of(self, requirements: Iterable[Requirement]) -> None:
        for each in requirements:
            if _applies(each, "") and (each.name, None) not in self._tasks:
                self._tasks[each.name, None] = asyncio.create_task(self._fetch_page(each.name, each.specifier))

    async def _bring(self, name: str, version: Version | None) -> None:
        if (name, version) not in self._tasks:
            coming = self._fetch_page(name, SpecifierSet()) if version is None else self._read(name, version)
            self._tasks[name, version] = asyncio.create_task(coming)
        await self._tasks[name, version]

    async def _fetch_page(self, name: str, bound: SpecifierSet) -> None:
        async with self.client.get(f"/simple/{name}/", headers={"User-Agent": USER_AGENT, "Accept": ACCEPT}) as response:
            assert response.status == 200, (name, response.status)
            entries = (await response.json(content_type=None))["files"]
        listed: dict[Version, tuple[str, ...]] = {}
        usable: dict[Version, tuple[str, ...]] = {}
        for entry in entries:
            version = _version_of(entry["filename"])
            listed[version] = (*listed.get(version, ()), entry["filename"])
            if not entry.get("yanked") and SpecifierSet(entry.get("requires-python") or "").contains(_PYTHON):
                usable[version] = (*usable.get(version, ()), entry["filename"])
        paths = {entry["filename"]: response.url.join(URL(entry["url"])).path for entry in entries}
        offered = frozenset(entry["filename"] for entry in entries if entry.get("core-metadata"))
        page = self.pages[name] = ServedPage(listed, usable, paths, offered)
        read = (each for requires in self.requires.values() for each in requires)
        self.bounds_then[name] = tuple(each.specifier for each in read if each.name == name)
        # The metadata is asked for without waiting until the version is chosen for good.
        likely = page.candidates(bound)[:1]
        if likely and (name, likely[0]) not in self._tasks:
            self._tasks[name, likely[0]] = asyncio.create_task(self._read(name, likely[0]))

    async def _read(self, name: str, version: Version) -> None:
        page = self.pages[name]
        filename = page.to_read(version)
        if filename in page.offered:
            async with self.client.get(f"{page.paths[filename]}.metadata", headers={"User-Agent": USER_AGENT}) as response:
                assert response.status == 200, (filename, response.status)
                metadata = await response.read()
            requires = tuple(map(Requirement, parse_email(metadata)[0].get("requires_dist", [])))
        else:
            async with self.client.get(page.paths[filename], headers={"User-Agent": USER_AGENT}) as response:
                assert response.status == 200, (filename, response.status)
                content = await response.read()
            requires = tuple(map(Requirement, parse_email(_metadata_in(filename, content))[0].get("requires_dist", [])))
        self.requires[name, version] = requires
        self._hear_of(requires)


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate(place | {"extra": extra}) for place in _PLACES)


def _version_of(filename: str) -> Version:
    return parse_wheel_filename(filename)[1] if filename.endswith(".whl") else parse_sdist_filename(filename)[1]


def _metadata_in(filename: str, content: bytes) -> bytes:
    if filename.endswith(".whl"):
        return metadata_of(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = archive.extractfile(f"{filename.removesuffix('.tar.gz')}/PKG-INFO")
        assert found is not None
        return found.read()
