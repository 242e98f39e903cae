"""SQLite as an aiocache cache: one thread that reads, one that writes."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog
from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from proxy.store.pending import Change
from proxy.store.sqlite.file import DocumentFile
from proxy.store.sqlite.schema import NotUsable, is_damage

_log = structlog.get_logger("mirrormend.store")
_FOREVER = 10 * 365 * 86400.0
_SET_ASIDE_AT_MOST = 5

Result = TypeVar("Result")


class SqliteCache(BaseCache):  # type: ignore[misc]  # aiocache has no types
    """An aiocache cache in a SQLite file, bounded to `limit` bytes; values are bytes.

    A file that is damaged, another program's or of another schema is set aside by `connect`. It raises OSError and sqlite3.Error.
    There is no compare-and-set, and `clear` is not offered, since aiocache cannot tell the namespaces "a" and "ab" apart.
    """

    NAME = "sqlite"

    def __init__(self, path: Path, limit: int, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(serializer=NullSerializer(encoding=None), timeout=None)
        self._file = DocumentFile(path, limit)
        self._clock = clock
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirrormend-store-read")
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirrormend-store-write")
        self._used: dict[str, float] = {}
        self._set_aside = 0

    @property
    def identity(self) -> str:
        """The name of the content of the file that is open."""
        return self._file.token

    async def connect(self) -> None:
        """Opens the file where it is not open, or no longer the one at its path."""
        try:
            if await _in(self._writing, self._file.is_sound):
                return
        except sqlite3.Error as error:
            await self._reopen(str(error) if is_damage(error) else None)
        else:
            await self._reopen(None)

    async def set_aside(self, why: str) -> None:
        """Sets the file aside, because of `why`, and begins a new one."""
        await self._reopen(why)

    async def write(self, changes: Sequence[Change]) -> None:
        """Writes sealed `changes` in one transaction, along with which documents were used since the last."""
        used, self._used = self._used, {}
        try:
            await _in(self._writing, lambda: self._file.write(changes, used, self._clock()))
        except BaseException:
            self._used = used | self._used
            raise

    async def lock(self, name: str, token: str, seconds: float) -> bool:
        """Takes the lock `name` for `seconds`, unless it is held; says whether it was taken."""
        return await _in(self._writing, lambda: self._file.lock(name, token, self._clock(), seconds))

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold the lock `name` for `seconds` from now on, where `token` holds it."""
        await _in(self._writing, lambda: self._file.renew(name, token, self._clock(), seconds))

    async def unlock(self, name: str, token: str) -> None:
        """Lets go of the lock `name`, where `token` holds it."""
        await _in(self._writing, lambda: self._file.unlock(name, token))

    async def _get(self, key: str, **_options: object) -> bytes | None:
        (content,) = await self._multi_get([key])
        return content

    async def _multi_get(self, keys: Sequence[str], **_options: object) -> list[bytes | None]:
        contents = await _in(self._reading, lambda: self._file.read(keys))
        now = self._clock()
        self._used.update((key, now) for key, content in zip(keys, contents, strict=True) if content is not None)
        return contents

    async def _set(self, key: str, value: bytes, ttl: float | None = None, **_options: object) -> bool:
        return await self._multi_set([(key, value)], ttl)

    async def _multi_set(self, pairs: Iterable[tuple[str, bytes]], ttl: float | None = None, **_options: object) -> bool:
        now = self._clock()
        expires = now + (_FOREVER if ttl is None else ttl)
        await self.write([Change(key, now, expires, sealed=value) for key, value in pairs])
        return True

    async def _exists(self, key: str, **_options: object) -> bool:
        return await self._get(key) is not None

    async def _delete(self, key: str, **_options: object) -> int:
        existed = await self._exists(key)
        await self.write([Change(key, 0.0, 0.0)])
        return int(existed)

    async def _close(self, **_options: object) -> None:
        try:
            if self._used:
                await self.write([])
        finally:
            await _in(self._reading, self._file.close_reader)
            await _in(self._writing, self._file.close_writer)
            self._reading.shutdown(wait=False)
            self._writing.shutdown(wait=False)

    async def _reopen(self, damage: str | None) -> None:
        await _in(self._reading, self._file.close_reader)
        await _in(self._writing, lambda: self._open(damage))
        await _in(self._reading, self._file.open_reader)

    def _open(self, damage: str | None) -> None:
        if damage is None:
            try:
                self._file.open()
            except NotUsable as error:
                damage = error.why
            else:
                return
        if self._set_aside >= _SET_ASIDE_AT_MOST:
            raise OSError(f"{damage}; {self._set_aside} files were set aside already, something here damages them")
        aside = self._file.set_aside()
        if aside is not None:
            self._set_aside += 1
            _log.warning("store-set-aside", file=str(self._file.path), renamed_to=str(aside), why=damage)
        try:
            self._file.open()
        except NotUsable as error:
            raise OSError(error.why) from error


async def _in(thread: Executor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
