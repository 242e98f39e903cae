"""The two pages of a project, the mirror's and the mended one: what each lists, and what comes of it when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from proxy.core.parse import parse_page


@dataclass(frozen=True, slots=True)
class Tried:
    """A page whose files were all downloaded: of each, in the order of the page, what was answered instead of it, empty where it came.

    `headers` are those in which mirrormend tells what it did.
    """

    files: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def failing(self) -> Mapping[str, str]:
        """The files that cannot be downloaded, and what is answered instead."""
        return {name: answer for name, answer in self.files.items() if answer}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The mirror's page, and the mended one."""

    mirror: Tried
    mended: Tried

    @property
    def dropped(self) -> Mapping[str, str]:
        """The files that left the page, and what the mirror answers instead of each."""
        return {name: answer for name, answer in self.mirror.files.items() if name not in self.mended.files}

    @property
    def repaired(self) -> bool:
        """Whether the files that the mirror cannot deliver left, no other one did, and all that are left can be downloaded."""
        return set(self.dropped) == set(self.mirror.failing) != set() and not self.mended.failing


async def compare(project: str, mirror: str, mended: str) -> Comparison:
    """Compares the page of `project` at two simple APIs, given by their URLs."""
    async with aiohttp.ClientSession() as session:
        return Comparison(await _tried(session, project, mirror), await _tried(session, project, mended))


async def _tried(session: aiohttp.ClientSession, project: str, simple: str) -> Tried:
    async with session.get(f"{simple}{project}/") as response:
        response.raise_for_status()
        page = parse_page(await response.read(), response.headers["Content-Type"], str(response.url), project)
        headers = {name: value for name, value in response.headers.items() if name.startswith("Mirrormend-")}
    return Tried({file.filename: await _failure(session, file.url) for file in page.files}, headers)


async def _failure(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        content = await response.read()
        return "" if response.status == 200 else f"{response.status} {content.decode(errors='replace')}".strip()
