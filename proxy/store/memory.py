"""The first level: documents in the process, bounded in bytes, the longest unused leaving first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

ENTRY_COST = 256
"""Bytes counted for each document beside its content: tiny documents cost memory and disk too."""


@dataclass(frozen=True, slots=True)
class _Entry:
    content: bytes
    since: float
    until: float | None


class BoundedMemory(BaseCache):  # type: ignore[misc]  # aiocache has no types
    """An aiocache cache that holds at most `limit` bytes.

    aiocache's own memory cache has no bound, and its timers outlive what they were set for. Here a document's time is looked at when it is
    asked for. What is larger than the bound is not kept. Values are bytes, handed out as they are: they cannot be changed.
    There is no compare-and-set, and `clear` is not offered, since aiocache cannot tell the namespaces "a" and "ab" apart.
    """

    NAME = "bounded-memory"

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.time) -> None:
        # Without a timeout a call costs a fraction: nothing here can wait.
        super().__init__(serializer=NullSerializer(encoding=None), timeout=None)
        self._limit = limit
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes held, the cost of each entry counted in."""
        return self._size

    def age(self, key: str) -> float:
        """Gives how many seconds ago `key` was set; infinite where it is not held."""
        entry = self._entries.get(key)
        return float("inf") if entry is None else self._clock() - entry.since

    def pieces(self, most: int, size: int) -> Iterator[list[str]]:
        """Give the keys that are held now, those used last first, in lists of at most `most` keys and about `size` bytes of content."""
        piece: list[str] = []
        total = 0
        for key in reversed(list(self._entries)):
            entry = self._entries.get(key)
            if entry is None:
                continue
            piece.append(key)
            total += len(entry.content)
            if len(piece) >= most or total >= size:
                yield piece
                piece, total = [], 0
        if piece:
            yield piece

    async def _get(self, key: str, **_options: object) -> bytes | None:
        return self._look_up(key)

    async def _multi_get(self, keys: Sequence[str], **_options: object) -> list[bytes | None]:
        return [self._look_up(key) for key in keys]

    async def _set(self, key: str, value: bytes, ttl: float | None = None, **_options: object) -> bool:
        self._drop(key)
        cost = self._cost(key, value)
        if cost > self._limit:
            return False
        now = self._clock()
        self._entries[key] = _Entry(value, now, None if ttl is None else now + ttl)
        self._size += cost
        while self._size > self._limit:
            self._drop(next(iter(self._entries)))
        return True

    async def _multi_set(self, pairs: Iterable[tuple[str, bytes]], ttl: float | None = None, **_options: object) -> bool:
        for key, value in pairs:
            await self._set(key, value, ttl)
        return True

    async def _add(self, key: str, value: bytes, ttl: float | None = None, **_options: object) -> bool:
        if self._look_up(key) is not None:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return await self._set(key, value, ttl)

    async def _exists(self, key: str, **_options: object) -> bool:
        return self._look_up(key) is not None

    async def _delete(self, key: str, **_options: object) -> int:
        return self._drop(key)

    def _look_up(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until is not None and entry.until <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.content

    def _drop(self, key: str) -> int:
        entry = self._entries.pop(key, None)
        if entry is None:
            return 0
        self._size -= self._cost(key, entry.content)
        return 1

    @staticmethod
    def _cost(key: str, value: bytes) -> int:
        return len(key) + len(value) + ENTRY_COST
