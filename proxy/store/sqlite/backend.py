"""The SQLite cache as a backend of the store: what its errors mean, and what follows from them."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.store.backend import BackendAway, BackendBusy, BackendRefused
from proxy.store.pending import Change
from proxy.store.sqlite.cache import SqliteCache
from proxy.store.sqlite.file import ReadOnly, Replaced
from proxy.store.sqlite.schema import is_busy, is_damage, is_refusal

_log = structlog.get_logger("mirrormend.store")

_TROUBLES = (sqlite3.Error, Replaced, ReadOnly)

Result = TypeVar("Result")


class SqliteBackend:
    """The store's documents in a SQLite file that several processes may share; `shared` says that they are replicas of one another."""

    trust = 60.0
    patience = 0.5
    clock_offset = 0.0
    connect_within = 10.0
    read_within = 2.0
    write_within = 30.0

    def __init__(self, path: Path, limit: int, *, shared: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.shared = shared
        self.name = f"sqlite:{path}"
        self._cache = SqliteCache(path, limit, clock=clock)
        self._damage: str | None = None

    @property
    def identity(self) -> str:
        """The name of the content of the file that is open."""
        return self._cache.identity

    async def connect(self) -> None:
        """Open the file, and set aside one that cannot be used."""
        try:
            if self._damage is not None:
                await self._cache.set_aside(self._damage)
                self._damage = None
            else:
                await self._cache.connect()
        except (OSError, sqlite3.Error) as error:
            raise BackendAway(str(error)) from error

    async def close(self) -> None:
        """Close the file."""
        try:
            await self._cache.close()
        except (OSError, *_TROUBLES) as error:
            _log.debug("store-close", why=str(error))

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Return the sealed documents in `slots`."""
        try:
            contents: list[bytes | None] = await self._cache.multi_get(slots)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return contents

    async def write(self, changes: Sequence[Change]) -> None:
        """Write `changes` in one transaction."""
        try:
            await self._cache.write(changes)
        except _TROUBLES as error:
            trouble = self._trouble(error)
            if isinstance(trouble, BackendRefused):
                # Its own documents in these slots are outdated now.
                with suppress(*_TROUBLES):
                    await self._cache.write([replace(change, sealed=None) for change in changes])
                trouble = BackendRefused(trouble.why, [change.slot for change in changes])
            raise trouble from error

    async def lock(self, name: str, token: str, seconds: float, slots: Sequence[str] = ()) -> list[bytes | None] | None:
        """Take the lock `name` for at most `seconds`, in the file, and read `slots`."""
        if not await self._locking(self._cache.lock(name, token, seconds)):
            return None
        return await self.read(slots) if slots else []

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold the lock `name` for `seconds` from now on, if the token still holds it."""
        await self._locking(self._cache.renew(name, token, seconds))

    async def unlock(self, name: str, token: str) -> None:
        """Let go of the lock, if the token still holds it."""
        await self._locking(self._cache.unlock(name, token))

    async def _locking(self, work: Awaitable[Result]) -> Result:
        try:
            return await work
        except _TROUBLES as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error | Replaced | ReadOnly) -> BackendAway | BackendRefused:
        if isinstance(error, Replaced):
            return BackendAway(str(error))
        if isinstance(error, ReadOnly) or is_refusal(error):
            return BackendRefused(str(error))
        if is_busy(error):
            return BackendBusy(str(error))
        if is_damage(error):
            self._damage = str(error)
        return BackendAway(str(error))
