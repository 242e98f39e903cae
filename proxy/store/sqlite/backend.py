"""The SQLite cache as a backend of the store: what its errors mean, and what follows from them."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from proxy.store.backend import BackendAway, BackendBusy, BackendRefused
from proxy.store.pending import Change
from proxy.store.sqlite.cache import SqliteCache
from proxy.store.sqlite.file import Replaced
from proxy.store.sqlite.schema import is_busy, is_damage, is_full

_log = structlog.get_logger("mirrormend.store")


class SqliteBackend:
    """The store's documents in a SQLite file that several processes may share; `shared` says that they are replicas of one another."""

    trust = 60.0
    connect_within = 10.0
    read_within = 2.0
    write_within = 30.0

    def __init__(self, path: Path, limit: int, *, shared: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.shared = shared
        self.name = f"sqlite:{path}"
        self._cache = SqliteCache(path, limit, clock=clock)
        self._damage: str | None = None

    async def connect(self) -> None:
        """Opens the file, setting aside what cannot be used."""
        try:
            if self._damage is not None:
                await self._cache.set_aside(self._damage)
                self._damage = None
            else:
                await self._cache.connect()
        except (OSError, sqlite3.Error) as error:
            raise BackendAway(str(error)) from error

    async def close(self) -> None:
        """Closes the file."""
        try:
            await self._cache.close()
        except (OSError, sqlite3.Error, Replaced) as error:
            _log.debug("store-close", why=str(error))

    async def read(self, slot: str) -> bytes | None:
        """Gives the sealed document in `slot`."""
        try:
            content: bytes | None = await self._cache.get(slot)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return content

    async def write(self, changes: Sequence[Change]) -> None:
        """Writes `changes` in one transaction."""
        try:
            await self._cache.write(changes)
        except Replaced as error:
            raise BackendAway(str(error)) from error
        except sqlite3.Error as error:
            if is_full(error):
                # What it has of them is outdated now.
                with suppress(sqlite3.Error, Replaced):
                    await self._cache.write([replace(change, sealed=None) for change in changes])
                raise BackendRefused(str(error), len(changes)) from error
            raise self._trouble(error) from error

    async def lock(self, name: str, seconds: float) -> str | None:
        """Takes the lock `name` for at most `seconds`, in the file."""
        token = secrets.token_hex(16)
        try:
            return token if await self._cache.lock(name, token, seconds) else None
        except (sqlite3.Error, Replaced) as error:
            raise self._trouble(error) from error

    async def unlock(self, name: str, token: str) -> None:
        """Lets go of the lock, if the token still holds it."""
        try:
            await self._cache.unlock(name, token)
        except (sqlite3.Error, Replaced) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error | Replaced) -> BackendAway:
        if isinstance(error, Replaced):
            return BackendAway(str(error))
        if is_busy(error):
            return BackendBusy(str(error))
        if is_damage(error):
            self._damage = str(error)
        return BackendAway(str(error))
