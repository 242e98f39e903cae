"""From a lock to a lock: through the proxy while uv runs, and named after the mirror when it is done."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy.core.lockfile import Lock, LockUnreadable, read_lock, readdressed
from proxy.locking.addresses import Door, Proxied, as_locked, back, base_of, made_through_a_proxy, proxied_files, same_index, through
from proxy.locking.errors import LockFailed
from proxy.locking.indexes import Detour, Role, UvIndex, detour, spelled
from proxy.locking.project import Project
from proxy.locking.uv import environment_of, run_uv
from proxy.locking.whereabouts import at_mirror
from proxy.locking.writing import LockOnDisk
from proxy.upstream.addresses import is_loopback

Say = Callable[[str], None]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Way:
    """How a lock is led: `doors` are the mirrors and proxies; `own` says that the proxy runs for this lock only, on loopback.

    `without` are variables that uv is not to see, since the proxy has what they say. `verify` gives the files of a lock that the
    mirrors do not deliver.
    """

    doors: tuple[Door, ...]
    own: bool
    without: frozenset[str] = frozenset()
    verify: Callable[[Lock], Awaitable[list[Proxied]]] | None = None


async def lock(project: Project, indexes: Sequence[UvIndex], way: Way, arguments: Sequence[str], say: Say) -> int:
    """Runs `uv lock` through the proxies, and has the lock name their mirrors; gives uv's exit status.

    The lock there was leads through the proxy while uv runs, so that uv keeps the versions; it is put back where anything fails.
    Raises LockFailed, LockUnreadable, or OtherIndex.
    """
    route = detour(indexes, way.doors)
    disk = LockOnDisk(project.lock)
    locked = _readable(disk.before)
    doors = spelled(indexes, way.doors, () if locked is None else locked.registries)
    environment = environment_of(os.environ, route.environment, route.without | way.without, loopback=way.own)
    with disk.put_back_unless_done():
        if locked is not None:
            disk.write(readdressed(locked, *through(locked, doors, _former(locked, indexes), whole=False)).encode())
        status = await run_uv(arguments, project.folder, environment)
        made = disk.content()
        if status == 0 and made is not None and way.verify is not None:
            dead = await way.verify(read_lock(_text(made)))
            if dead:
                say(f"the mirror does not deliver {_these(dead)}; locking again without")
                again = [f"--refresh-package={name}" for name in sorted({file.project for file in dead})]
                status = await run_uv([*arguments, *again], project.folder, environment)
                made = disk.content()
        if status != 0 or made is None:
            disk.restore()
            return status
        disk.write(await _named_after_mirrors(made, doors, by_environment=not way.own))
    _tell(project, route, read_lock(_text(disk.content() or b"")), doors, say)
    return status


async def rename(project: Project, indexes: Sequence[UvIndex], way: Way, *, to_mirror: bool, say: Say) -> int:
    """Changes the addresses in a lock without uv: to those of the mirrors, or to those of the proxies; gives 0.

    Raises LockFailed or LockUnreadable.
    """
    disk = LockOnDisk(project.lock)
    if disk.before is None:
        raise _no_lock(project.lock)
    locked = read_lock(_text(disk.before))
    doors = spelled(indexes, way.doors, locked.registries)
    content = readdressed(locked, *through(locked, doors, _former(locked, indexes), whole=not to_mirror)).encode()
    if to_mirror:
        content = await _named_after_mirrors(content, doors, by_environment=not way.own)
    disk.write(content)
    if content == disk.before:
        say(f"{project.lock.name} stays as it is")
    for registry in read_lock(_text(content)).registries:
        say(f"{project.lock.name} names {registry}")
    return 0


def check(project: Project, mirrors: Sequence[str], proxies: Sequence[str], indexes: Sequence[UvIndex], say: Say) -> int:
    """Says which indexes of the lock are proxies; gives 1 where one is, else 0. Raises LockFailed or LockUnreadable.

    A proxy is what is none of the `mirrors` and is one of `proxies`, or looks like one, or is on this machine and in no file of uv's.
    """
    content = LockOnDisk(project.lock).before
    if content is None:
        raise _no_lock(project.lock)
    locked = read_lock(_text(content))
    proxied = {*made_through_a_proxy(locked), *_former(locked, indexes)}
    found = [
        registry
        for registry in locked.registries
        if (registry in proxied or any(same_index(registry, each) for each in proxies))
        and not any(same_index(registry, each) for each in mirrors)
    ]
    for registry in found:
        count = sum(package.registry == registry for package in locked.packages)
        say(f"{project.lock.name} names a proxy: {registry} ({count} packages); make it name the mirror: mirrormend lock")
    return 1 if found else 0


def _readable(content: bytes | None) -> Lock | None:
    try:
        return None if content is None else read_lock(_text(content))
    except LockUnreadable:
        # uv has words of its own for a lock that it cannot read.
        return None


async def _named_after_mirrors(content: bytes, doors: Sequence[Door], *, by_environment: bool) -> bytes:
    locked = read_lock(_text(content))
    files = await at_mirror(proxied_files(locked, doors), by_environment=by_environment)
    text = readdressed(locked, back(locked, doors), files)
    left = next((door for door in doors if f'"{base_of(door.proxy)}' in text), None)
    if left is not None:
        remedy = "require packages by their names, and see that no index of [tool.uv.sources] is the proxy"
        raise LockFailed(f"the lock names {left.proxy} for something else than an index", remedy)
    return text.encode()


def _former(locked: Lock, indexes: Sequence[UvIndex]) -> tuple[str, ...]:
    """Gives the indexes of the lock that must have been proxies, although its files do not show it: on this machine and not configured.

    A default index that only the environment names may be a proxy, as it gives way to the one that is used.
    """
    known = [index.url for index in indexes if index.in_file or index.role is not Role.DEFAULT]
    return tuple(each for each in locked.registries if _on_this_machine(each) and not any(same_index(each, other) for other in known))


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise LockUnreadable("it is not UTF-8") from error


def _tell(project: Project, route: Detour, made: Lock, doors: Sequence[Door], say: Say) -> None:
    mirrors = [door.mirror for door in doors if door.mirror in made.registries]
    for mirror in mirrors:
        say(f"{project.lock.name} names {mirror}")
    for index in route.left:
        say(f"note: {index.name or as_locked(index.url)} in {index.where} is an explicit index: uv asked it itself, not the proxy")
    if mirrors and not route.named:
        say(f'note: uv needs this index wherever the lock is used: url = "{mirrors[0]}" in [[tool.uv.index]], or UV_DEFAULT_INDEX')


def _these(files: Sequence[Proxied]) -> str:
    names = sorted(file.filename for file in files)
    return ", ".join([*names[:_SHOWN], *([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])])


def _no_lock(path: Path) -> LockFailed:
    return LockFailed(f"{path.parent} has no {path.name}", "make one: mirrormend lock")


def _on_this_machine(registry: str) -> bool:
    try:
        return is_loopback(urlsplit(registry).hostname or "")
    except ValueError:
        return False
