"""The store: byte documents by room and key, kept in memory and behind it in a place that outlives the process.

One document per project and room, never one per file. Reading asks the memory first. Writing returns at once and happens behind.
A backend that is slow, full or away is left alone and makes nothing fail: what is kept here is a help, never a condition.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog

from proxy.store.backend import Backend
from proxy.store.circuit import Circuit
from proxy.store.envelope import header_of, seal, unseal
from proxy.store.lease import Lease
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change, Pending
from proxy.store.reach import BackendState, Outcome, Reach

_log = structlog.get_logger("mirrormend.store")

_LONGEST_KEEP = 10 * 365 * 86400.0
_BATCH_DOCUMENTS = 64
_BATCH_BYTES = 8 * 1024 * 1024
_HURRY_BYTES = 16 * 1024 * 1024
"""Bytes that wait to be written without waiting for more: they are held as they came, which may be several times what they will take."""

_INLINE_BYTES = 64 * 1024
"""Up to this many bytes, (de)compressing takes less than handing the work to a thread and back."""
_BUSY_PAUSE = 0.25
_SETTLED_LOOK = 0.005


class Room(StrEnum):
    """What a document is about."""

    PAGE = "page"
    VERDICTS = "verdicts"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store in numbers: `documents` and `memory_bytes` in memory, `pending` and `pending_bytes` not yet written.

    `hits` and `misses` count what was asked for since the start; `lost` counts documents that the backend never got,
    `failures` how often it did not answer as it should.
    """

    documents: int
    memory_bytes: int
    hits: int
    misses: int
    pending: int
    pending_bytes: int
    lost: int
    failures: int
    backend: BackendState


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way, and whether the document was put or forgotten meanwhile."""

    overtaken: bool = False


class Store:
    """Documents in `memory`, and behind it in `backend`, where there is one. `async with` opens and closes it.

    `linger` is how long a change waits for others to be written with, `linger_alone` how long it does where none is known to share it:
    then what a resolver makes the proxy learn is written once the resolver has its answers.
    `close_within` is how long the last writing may take; `pending_limit` bounds the bytes that wait to be written.
    Times are in seconds; `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        memory: BoundedMemory,
        backend: Backend | None = None,
        *,
        clock: Callable[[], float] = time.time,
        linger: float = 0.02,
        linger_alone: float = 1.0,
        close_within: float = 5.0,
        pending_limit: int = 64 * 1024 * 1024,
        circuit: Circuit | None = None,
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._linger = linger
        self._linger_alone = linger_alone
        self._close_within = close_within
        self._pending = Pending(pending_limit)
        self._readings: dict[str, set[_Reading]] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reach = None if backend is None else Reach(backend, circuit or Circuit(), self._write_now)
        self._writer: asyncio.Task[None] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._open = True
        self._hits = self._misses = self._lost = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def stats(self) -> StoreStats:
        """The store in numbers, as of now."""
        return StoreStats(
            documents=len(self._memory),
            memory_bytes=self._memory.size,
            hits=self._hits,
            misses=self._misses,
            pending=len(self._pending),
            pending_bytes=self._pending.size,
            lost=self._lost + (0 if self._reach is None else self._reach.lost),
            failures=0 if self._reach is None else self._reach.failures,
            backend=BackendState.ABSENT if self._reach is None else self._reach.state,
        )

    async def open(self) -> None:
        """Reaches for the backend and starts to write behind. It does not raise: what cannot be reached is tried again later."""
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mirrormend-store-seal")
        if self._reach is not None:
            await self._reach.open()
        self._writer = asyncio.create_task(self._write_behind(), name="store-write-behind")

    async def close(self) -> None:
        """Writes what is still to be written, in a bounded time, and lets go of the backend. Nothing can be got or put afterwards."""
        if self._writer is None or self._threads is None or not self._open:
            return
        self._open = False
        try:
            async with asyncio.timeout(self._close_within):
                if self._reach is not None and self._pending:
                    await self._reach.last_try()
                self._closing.set()
                self._write_now()
                await self._writer
        except TimeoutError:
            self._writer.cancel()
        if self._reach is not None:
            if self._pending:
                _log.warning("store-closed-early", backend=self._reach.name, unwritten=len(self._pending))
            await self._reach.close(self._close_within)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ready(self) -> bool:
        """Whether what was configured works, asking the backend. The proxy answers either way."""
        if self._writer is None or not self._open:
            return False
        return self._reach is None or await self._reach.answers()

    @property
    def shared(self) -> bool:
        """Whether replicas share it just now, so that work done by one need not be done by the others."""
        return self._open and self._reach is not None and self._reach.shared and self._reach.usable

    async def get(self, room: Room, key: str, *, anew: bool = False) -> bytes | None:
        """Gives the document, None where there is none, its time is over, or the backend cannot be asked.

        With `anew` the backend is asked although there is a copy in memory that it gave a moment ago.
        """
        document = await self._find(_slot(room, key), anew=anew) if self._open else None
        if document is None:
            self._misses += 1
        else:
            self._hits += 1
        return document

    def put(self, room: Room, key: str, document: bytes, keep: float) -> None:
        """Keeps the document for `keep` seconds; `get` gives it at once, the backend has it a little later."""
        if not keep > 0:
            self.forget(room, key)
            return
        now = self._clock()
        self._add(Change(_slot(room, key), now, now + min(keep, _LONGEST_KEEP), document=bytes(document)))

    def forget(self, room: Room, key: str) -> None:
        """Forgets the document; `get` gives None at once, the backend forgets a little later."""
        now = self._clock()
        self._add(Change(_slot(room, key), now, now))

    async def settled(self, room: Room, key: str, within: float) -> None:
        """Waits until the backend has what was put under `key`, at most `within` seconds."""
        slot, until = _slot(room, key), time.monotonic() + within
        while self._pending.get(slot) is not None and self.shared and time.monotonic() < until:  # noqa: ASYNC110 - it is seldom waited for
            await asyncio.sleep(_SETTLED_LOOK)

    async def acquire(self, name: str, seconds: float) -> Lease | None:
        """Gives a lease on `name` among the replicas that share a Redis, for at most `seconds`; None where another has it.

        Without a Redis, and while it is away, it is granted at once: two replicas doing the same work is better than none doing it.
        """
        return Lease() if self._reach is None else await self._reach.lease(name, seconds)

    async def _find(self, slot: str, *, anew: bool = False) -> bytes | None:
        while True:
            change = self._pending.get(slot)
            if change is not None:
                if change.document is not None:
                    return change.document if change.expires > self._clock() else None
                return await self._unseal(change.sealed)
            reach, age = self._reach, self._memory.age(slot)
            if reach is None or not reach.usable or (age <= reach.trust and not anew):
                # aiocache takes longer to find nothing than to look whether there is anything.
                return None if age == math.inf else await self._unseal(await self._memory.get(slot))
            reading = _Reading()
            self._readings.setdefault(slot, set()).add(reading)
            try:
                sealed = await self._ask(reach, slot, reading)
            finally:
                self._readings[slot].discard(reading)
                if not self._readings[slot]:
                    del self._readings[slot]
            if not reading.overtaken:
                return await self._unseal(sealed)

    async def _ask(self, reach: Reach, slot: str, reading: _Reading) -> bytes | None:
        """Gives the newer one of what the backend has and what the memory has, and keeps it in memory."""
        found = await reach.read(slot)
        kept: bytes | None = await self._memory.get(slot)
        if found is None or reading.overtaken:
            return kept
        theirs = None if found.content is None else header_of(found.content)
        ours = None if kept is None else header_of(kept)
        if found.content is not None and theirs is not None and (ours is None or theirs.written >= ours.written):
            await self._memory.set(slot, found.content, ttl=theirs.expires - self._clock())
            return found.content
        if theirs is None and not reach.refusing:
            # Others have forgotten it, and perhaps it may not be served any more.
            await self._memory.delete(slot)
            return None
        return kept

    async def _unseal(self, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        now = self._clock()
        if len(sealed) <= _INLINE_BYTES:
            return unseal(sealed, now)
        return await asyncio.get_running_loop().run_in_executor(self._threads, unseal, sealed, now)

    def _add(self, change: Change) -> None:
        if not self._open:
            return
        for reading in self._readings.get(change.slot, ()):
            reading.overtaken = True
        dropped = self._pending.add(change)
        if dropped:
            if not self._lost:
                _log.warning("store-behind", pending_bytes=self._pending.size, dropped=dropped)
            self._lost += dropped
        if self._pending.fresh_size >= _HURRY_BYTES:
            self._hurry.set()
        self._wake.set()

    def _write_now(self) -> None:
        self._hurry.set()
        self._wake.set()

    async def _write_behind(self) -> None:
        while True:
            await self._wake.wait()
            await _wait(self._hurry, self._linger if self.shared else self._linger_alone)
            self._wake.clear()
            self._hurry.clear()
            while batch := self._pending.batch(_BATCH_DOCUMENTS, _BATCH_BYTES, fresh_only=self._reach is None or not self._reach.usable):
                try:
                    await self._settle(batch)
                except Exception:  # noqa: BLE001 - what cannot be handled must not be tried for ever
                    _log.exception("store-batch-failed", documents=len(batch))
                    self._let_go(batch)
            if self._closing.is_set():
                return

    async def _settle(self, batch: Sequence[Change]) -> None:
        """Seals the fresh ones of `batch` into the memory, and writes all of it to the backend."""
        fresh = [change for change in batch if self._pending.is_fresh(change)]
        settled = [change for change in batch if not self._pending.is_fresh(change)]
        if sum(change.cost for change in fresh) <= _INLINE_BYTES:
            results = _seal_all(fresh)
        else:
            results = await asyncio.get_running_loop().run_in_executor(self._threads, _seal_all, fresh)
        for before, after in zip(fresh, results, strict=True):
            if not self._pending.settle(before, after):
                continue
            settled.append(after)
            if after.sealed is None:
                await self._memory.delete(after.slot)
            else:
                await self._memory.set(after.slot, after.sealed, ttl=after.expires - self._clock())
        outcome = Outcome.WRITTEN
        if self._reach is not None:
            outcome = await self._reach.write(settled) if self._reach.usable else Outcome.AWAY
        if outcome is Outcome.WRITTEN:
            for change in settled:
                self._pending.done(change)
        elif outcome is Outcome.LATER:
            await _wait(self._closing, _BUSY_PAUSE)

    def _let_go(self, batch: Sequence[Change]) -> None:
        for change in batch:
            current = self._pending.get(change.slot)
            if current is not None and (current is change or not self._pending.is_fresh(current)):
                self._pending.done(current)
                self._lost += 1


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _slot(room: Room, key: str) -> str:
    # A lone surrogate has no UTF-8 form, and neither SQLite nor Redis could take it.
    return f"{room}/{key}".encode("utf-8", "backslashreplace").decode()


def _seal_all(changes: Sequence[Change]) -> list[Change]:
    return [replace(change, document=None, sealed=_sealed(change)) for change in changes]


def _sealed(change: Change) -> bytes | None:
    return None if change.document is None else seal(change.document, written=change.written, expires=change.expires)
