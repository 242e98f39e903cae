"""Verification of what is locked: no dead file stays in a lock, and no release without a living one stops it.

A page waits for the newest release and for little else, so that a lock may name dead files of an older one. Nobody waits for this
lock's pages any more, and later on no proxy stands between it and the mirror: now there is time to ask.

The last files of a release leave a page only if two proofs of their absence lie some time apart. A proxy that serves takes minutes for it,
as clients ask again. uv asks once, meets a release whose metadata nobody has, and fails: then the second proof is asked for, soon after the
first, and late enough to outlast a mirror that fails for some seconds, and uv runs again. No page waits for it: uv's patience may be
shorter, and many projects need another release.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.core.errors import MirrormendError
from proxy.core.lockfile import Lock
from proxy.core.page import normalised_name, parsed_version
from proxy.core.verdict.judge import Cause
from proxy.core.verdict.settle import Held, Mended
from proxy.index import Index
from proxy.locking.addresses import Door, Proxied, proxied_files
from proxy.server.context import index_of
from proxy.server.files import distribution_file
from proxy.server.pages import project_page

CONFIRMED_AFTER = 10.0
"""Seconds between the two proofs that drop the last file of a release, while a lock is made."""

_AT_ONCE = 8
_LONGEST = 60.0
"""Seconds after which what is not known by then counts as delivered."""

_NAMED = 3
"""Releases of one project that are named."""

_REASONS = {Cause.NO_FILE.value: "something else comes instead", "release": "only an sdist is left"}


class Verification:
    """Ask the mirrors behind the own proxy, each of `indexes`, for what is locked; `say` tells the user what takes time.

    `confirm` are the seconds between the two proofs that the indexes want.
    """

    def __init__(self, indexes: Mapping[Door, Index], say: Callable[[str], None], confirm: float) -> None:
        self._indexes = indexes
        self._say = say
        self._confirm_after = confirm
        self._told: set[str] = set()
        self._missing: dict[tuple[Index, str], frozenset[str]] = {}
        self._refused: set[tuple[Index, str]] = set()
        self._undelivered: set[str] = set()

    async def undelivered(self, lock: Lock) -> list[Proxied]:
        """Return the files that the lock names by the proxy's address and that the mirror is proven not to deliver, if any is news.

        It costs the mirror what its kind bears (`[probe] budget`): where a probe is a download, next to nothing.
        """
        versions = {package.name: package.version or "" for package in lock.packages}
        files: dict[tuple[Door, str], list[Proxied]] = {}
        for file in proxied_files(lock, tuple(self._indexes)):
            files.setdefault((file.door, file.project), []).append(file)
        found: list[Proxied] = []
        slots = asyncio.Semaphore(_AT_ONCE)

        async def look(door: Door, project: str, locked: list[Proxied]) -> None:
            version = parsed_version(versions[project])
            # What the mirror does not answer now, it may answer to whoever installs.
            with suppress(MirrormendError):
                async with slots:
                    mended = await self._indexes[door].warm(project, {versions[project] if version is None else str(version)})
                awaiting = {each.key for each in mended.awaiting}
                if any(file.filename in awaiting for file in locked):
                    mended = await self._confirm(self._indexes[door], project, mended)
                dropped = {each.file.key for each in mended.dropped}
                found.extend(file for file in locked if file.filename in dropped)

        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST), asyncio.TaskGroup() as group:
                for (door, project), locked in files.items():
                    group.create_task(look(door, project, locked))
        news = {file.filename for file in found} - self._undelivered
        self._undelivered |= news
        return found if news else []

    async def confirm_absences(self) -> bool:
        """Ask once more for the releases that uv may have failed for, since it was refused a file of their project.

        Return whether one left its page or is delivered again, so that uv should run again.
        """
        refused, self._refused = self._refused, set()

        async def changed(index: Index, name: str) -> bool:
            with suppress(MirrormendError):
                mended = await index.warm(name)
                asked_for = {file.key for file in mended.awaiting}
                if asked_for and _something_is_left(mended):
                    mended = await self._confirm(index, name, mended)
                came_back = asked_for - {file.key for file in mended.awaiting} - {each.file.key for each in mended.dropped}
                left = frozenset(mended.lost) - self._missing.get((index, name), frozenset())
                self._missing[index, name] = frozenset(mended.lost)
                return bool(came_back or left)
            return False

        await asyncio.gather(*(index.settled() for index in self._indexes.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                return any(await asyncio.gather(*(changed(index, name) for index, name in refused)))
        return False

    async def _confirm(self, index: Index, name: str, mended: Mended) -> Mended:
        releases = _releases(name, [mended.page.release_of(file).spelling for file in mended.awaiting])
        if releases not in self._told:
            self._told.add(releases)
            self._say(f"the mirror denies every file of {releases}; it is asked once more {self._confirm_after:g} s later")
        return await index.confirm(name)

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note which releases were missing from a page that uv read, and of which projects it was refused a file."""
        if request.match_info.handler not in {project_page, distribution_file}:
            return await handler(request)
        index, name = index_of(request), normalised_name(request.match_info["project"])
        if request.match_info.handler is distribution_file:
            delivered = False
            try:
                response = await handler(request)
                delivered = response.status < HTTPStatus.BAD_REQUEST
            finally:
                if not delivered:
                    self._refused.add((index, name))
            return response
        response = await handler(request)
        mended = index.known(name)
        if mended is not None:
            self._missing[index, name] = frozenset(mended.lost)
        return response

    def left_out(self, lock: Lock | None) -> Iterator[str]:
        """Tell which releases are missing since the mirror delivers none of their files.

        These are the ones newer than those in `lock`, or all if there is none.
        """
        locked = {} if lock is None else {package.name: package.version or "" for package in lock.packages}
        for index in self._indexes.values():
            for name in index.known_names if lock is None else locked:
                mended = index.known(name)
                if mended is None:
                    continue
                if mended.held is Held.EMPTY or (lock is None and not _something_is_left(mended)):
                    yield f"the mirror delivers no file of {name} that it lists"
                lost = [version for version in mended.lost if _is_newer(version, locked.get(name))]
                if lost:
                    yield f"{_releases(name, lost)} not offered to uv: the mirror does not deliver the files ({_reasons(mended)})"


def _something_is_left(mended: Mended) -> bool:
    """Return whether anything stays on the page if all that awaits another proof leaves it."""
    return len(mended.page.files) > len(mended.awaiting)


def _releases(project: str, versions: Iterable[str]) -> str:
    each = list(dict.fromkeys(versions))
    more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
    return f"{project} {', '.join(each[:_NAMED])}{more}"


def _reasons(mended: Mended) -> str:
    found = {_REASONS.get(dropped.cause) or str(dropped.verdict and dropped.verdict.evidence.status) for dropped in mended.dropped}
    return ", ".join(sorted(found))


def _is_newer(version: str, locked: str | None) -> bool:
    this, other = parsed_version(version), parsed_version(locked or "")
    if this is None or other is None:
        return True
    return this > other and (other.is_prerelease or not this.is_prerelease)
