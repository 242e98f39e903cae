"""Whether the mirror delivers what was just locked.

A page waits for the newest release and for little else, so that a lock may name dead files of an older one. Nobody waits for this
lock's pages any more, and later on no proxy stands between it and the mirror: now there is time to ask.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from proxy.core.errors import MirrormendError
from proxy.core.lockfile import Lock
from proxy.core.page import parsed_version
from proxy.index import Index
from proxy.locking.addresses import Door, Proxied, proxied_files

_AT_ONCE = 8
_PATIENCE = 60.0
"""Seconds after which what is not known by then counts as delivered."""


async def undelivered(lock: Lock, indexes: Mapping[Door, Index]) -> list[Proxied]:
    """Gives the files that the lock names by the proxy's address and that the mirror is proven not to deliver.

    It costs the mirror what its kind bears (`[probe] budget`): where a probe is a download, next to nothing.
    """
    versions = {package.name: package.version or "" for package in lock.packages}
    files: dict[tuple[Door, str], list[Proxied]] = {}
    for file in proxied_files(lock, tuple(indexes)):
        files.setdefault((file.door, file.project), []).append(file)
    found: list[Proxied] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def look(door: Door, project: str, locked: list[Proxied]) -> None:
        version = parsed_version(versions[project])
        # What the mirror does not answer now, it may answer to whoever installs.
        with suppress(MirrormendError):
            async with slots:
                mended = await indexes[door].warm(project, {versions[project] if version is None else str(version)})
            dropped = {each.file.key for each in mended.dropped}
            found.extend(file for file in locked if file.filename in dropped)

    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
            for (door, project), locked in files.items():
                group.create_task(look(door, project, locked))
    return found
