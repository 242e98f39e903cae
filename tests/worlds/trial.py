"""A cold lock through a fresh proxy, and what to hold against it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.clients import ProxyProcess
from tests.mirror import BrokenMirror
from tests.worlds.clients import Lock, Locker
from tests.worlds.model import MadeWorld

UNHURRIED = {"MIRRORMEND_PROBE_DEADLINE": "14", "MIRRORMEND_PROBE_PATIENCE": "14"}
"""A busy machine is slow, and this mirror is written in Python: that is no reason to let a page go."""


@dataclass(frozen=True)
class Trial:
    """A lock of a world. `asked` is how many requests for files the mirror got, `touched` how many distinct files they were for."""

    world: MadeWorld
    lock: Lock
    asked: int
    touched: int

    @property
    def dead(self) -> frozenset[str]:
        """The files in the lock that the mirror has not."""
        return self.lock.files & self.world.dead

    def complaint(self, right: Lock | None = None) -> str:
        """Return why the lock is not right, empty where it is; `right` is one that was made where nothing dead is listed."""
        if not self.lock.completed.ok:
            return f"the lock failed: {self.lock.completed}\n{self.world}"
        if self.dead:
            return f"{len(self.dead)} of {len(self.lock.files)} files are dead: {_listed(self.dead)}\n{self.world}"
        if right is not None and right.versions != self.lock.versions:
            return f"not the versions {_listed(_pins(right))}, but {_listed(_pins(self.lock))}\n{self.world}"
        if right is not None and right.files - self.lock.files:
            return f"good files were left out: {_listed(right.files - self.lock.files)}\n{self.world}"
        return ""


def _pins(lock: Lock) -> list[str]:
    return [f"{name}=={version}" for name, version in lock.versions.items()]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


async def lock_through_proxy(world: MadeWorld, client: Locker, folder: Path) -> Trial:
    """Lock `world` cold through a proxy that has just started; `folder` is a new one for it all."""
    async with BrokenMirror() as mirror, ProxyProcess(world.pour(mirror).url, _new(folder), environment=UNHURRIED) as proxy:
        return await _trial(world, client, folder, mirror, proxy.simple)


async def lock_direct(world: MadeWorld, client: Locker, folder: Path, *, without_dead: bool) -> Trial:
    """Lock `world` at the mirror itself; `without_dead` leaves dead files off its pages."""
    async with BrokenMirror() as mirror:
        world.pour(mirror, without_dead=without_dead)
        return await _trial(world, client, _new(folder), mirror, mirror.url)


async def _trial(world: MadeWorld, client: Locker, folder: Path, mirror: BrokenMirror, index: str) -> Trial:
    lock = await client.lock(folder, index, world.roots)
    asked = [each.name for each in mirror.asked if each.kind == "file"]
    return Trial(world, lock, len(asked), len(set(asked)))


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
