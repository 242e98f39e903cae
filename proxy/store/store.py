"""The store: byte documents by room and key, kept in memory and behind it in a place that outlives the process.

One document per project and room, never one per file. Reading asks the memory first. Writing returns at once and happens behind.
A backend that is slow, full or away is left alone and makes nothing fail: what is kept here is a help, never a condition.

The store knows what the backend lacks: a document that the memory has and the backend lost is written again, when that is noticed at
reading, or at a bounded rate when the backend was emptied or replaced.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog

from proxy.store.backend import Backend
from proxy.store.circuit import Circuit
from proxy.store.lease import Lease, Leases
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change
from proxy.store.reach import BackendState, Reach
from proxy.store.read_through import Documents, ReadThrough
from proxy.store.restoring import Restorer
from proxy.store.write_behind import WriteBehind, within

_log = structlog.get_logger("mirrormend.store")

_LONGEST_KEEP = 10 * 365 * 86400.0
_SHORTEST_MEMORY = 60.0
"""Seconds for which it is remembered at least that a document was forgotten."""

_SETTLED_LOOK = 0.005
_LATER = 1e-3


class Room(StrEnum):
    """What a document is about."""

    PAGE = "page"
    VERDICTS = "verdicts"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store in numbers: `documents` and `memory_bytes` in memory, `pending` and `pending_bytes` not yet written.

    `hits` and `misses` count what was asked for since the start; `lost` counts documents that had to be given up before the backend had
    them, `failures` how often it did not answer as it should, `restored` the documents that it lost and was given again.
    """

    documents: int
    memory_bytes: int
    hits: int
    misses: int
    pending: int
    pending_bytes: int
    lost: int
    failures: int
    restored: int
    backend: BackendState


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
        self._close_within = close_within
        self._reach = None if backend is None else Reach(backend, circuit or Circuit(), on_back=self._back, on_lost=self._lost_all)
        self._leases = None if backend is None or self._reach is None else Leases(backend, self._reach)
        self._writer = WriteBehind(
            memory,
            self._reach,
            limit=pending_limit,
            linger=lambda: linger if self.shared else linger_alone,
            now=self.now,
            on_accepted=self._lost_all,
        )
        self._restorer = Restorer(memory, self._writer, ready=lambda: self.answers, now=self.now)
        self._reader = ReadThrough(
            memory,
            self._reach,
            self._leases,
            self._writer,
            clock=clock,
            now=self.now,
            restore=self._restorer.restore,
        )
        self._watchers: dict[object, Callable[[], None]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._open = True
        self._latest = 0.0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def now(self) -> float:
        """Return the seconds since the epoch by the clock of all who share the store."""
        return self._clock() if self._reach is None else self._clock() + self._reach.clock_offset

    @property
    def stats(self) -> StoreStats:
        """The store in numbers, as of now."""
        state = BackendState.ABSENT if self._reach is None else self._reach.state
        return StoreStats(
            documents=len(self._memory),
            memory_bytes=self._memory.size,
            hits=self._reader.hits,
            misses=self._reader.misses,
            pending=len(self._writer),
            pending_bytes=self._writer.size,
            lost=self._writer.lost,
            failures=0 if self._reach is None else self._reach.failures,
            restored=self._restorer.restored,
            backend=BackendState.REFUSING if state is BackendState.READY and self._writer.refusing else state,
        )

    def watch_losses(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` whenever the backend may have lost documents; return what ends that, however often it is called."""
        key = object()
        self._watchers[key] = watcher
        return lambda: self._watchers.pop(key, None) and None

    async def open(self) -> None:
        """Reach for the backend and start to write behind. It does not raise: what cannot be reached is tried again later."""
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mirrormend-store-seal")
        if self._reach is not None:
            await self._reach.open()
        self._reader.start(self._threads)
        self._writer.start(self._threads)

    async def close(self) -> None:
        """Write what is still to be written, in a bounded time, and let go of the backend. Nothing can be got or put afterwards."""
        if self._threads is None or not self._open:
            return
        self._open = False
        self._restorer.stop()
        self._reader.close()
        if not await within(self._close_within, self._write_the_last()):
            self._writer.cancel()
        if self._reach is not None and self._leases is not None:
            await self._leases.close(self._close_within)
            if len(self._writer):
                _log.warning("store-closed-early", backend=self._reach.name, unwritten=len(self._writer))
            await self._reach.close(self._close_within)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _write_the_last(self) -> None:
        if self._reach is not None and len(self._writer):
            await self._reach.last_try()
        await self._writer.close()

    async def ready(self) -> bool:
        """Return whether what was configured works, asking the backend. The proxy answers either way."""
        if self._threads is None or not self._open:
            return False
        return self._reach is None or await self._reach.answers()

    @property
    def shared(self) -> bool:
        """Whether replicas share it just now, so that work done by one need not be done by the others."""
        return self.answers and self._reach is not None and self._reach.shared

    @property
    def outlives(self) -> bool:
        """True if there is a place behind the memory that outlives the process, reached or not."""
        return self._reach is not None

    @property
    def answers(self) -> bool:
        """True if there is a backend that is asked just now, so that a document that is not found is not kept."""
        return self._open and self._reach is not None and self._reach.usable and not self._reach.slow

    async def get(self, room: Room, key: str, *, anew: bool = False) -> bytes | None:
        """Return the document, None if there is none, its time is over, or the backend cannot be asked; see `get_many`."""
        (document,) = await self.get_many([(room, key)], anew=anew)
        return document

    async def get_many(self, wanted: Sequence[tuple[Room, str]], *, anew: bool = False, patient: bool = False) -> Documents:
        """Return these documents in their order, None for one that there is not, or that the backend does not give in time.

        All are asked for at once. With `anew` the backend is asked although there is a copy in memory that it gave a moment ago, and
        with `patient` it has all its time to answer.
        """
        if not self._open:
            return Documents([None] * len(wanted), answered=False)
        slots = [_slot(room, key) for room, key in wanted]
        return await self._reader.many(slots, anew=anew, patient=patient)

    def put(self, room: Room, key: str, document: bytes, keep: float) -> None:
        """Keep the document for `keep` seconds; `get` gives it at once, the backend has it a little later."""
        if keep > 0:
            self._add(_slot(room, key), bytes(document), keep)
        else:
            self.forget(room, key)

    def forget(self, room: Room, key: str, keep: float = 0.0) -> None:
        """Forget the document; `get` gives None at once, the backend forgets a little later.

        For `keep` seconds it is remembered that this was on purpose: for so long no replica that still has a copy takes it for lost.
        """
        self._add(_slot(room, key), None, max(keep, _SHORTEST_MEMORY))

    async def settled(self, room: Room, key: str, within: float) -> None:
        """Wait until the backend has what was put under `key`, at most `within` seconds, and not for what it refused."""
        loop = asyncio.get_running_loop()
        slot, until = _slot(room, key), loop.time() + within
        while self._writer.get(slot) is not None and self.shared and not self._writer.refusing and loop.time() < until:  # noqa: ASYNC110 - it is seldom waited for
            await asyncio.sleep(_SETTLED_LOOK)

    async def acquire(self, name: str, seconds: float, wanted: Sequence[tuple[Room, str]] = ()) -> tuple[Lease | None, Documents]:
        """Return a lease on `name` among the replicas that share the store, for at most `seconds`, and these documents as of then.

        The lease is None if another replica has it, and then no document is. Without a backend, and while it is slow, away or refuses to
        write, the lease is granted at once: two replicas doing the same work is better than none doing it.
        """
        slots = [_slot(room, key) for room, key in wanted]
        return await self._reader.with_lease(name, seconds, slots)

    def _lost_all(self) -> None:
        """Write again what the memory has and the backend has not, and tell those who have more."""
        self._reader.forget_absences()
        if self._open:
            self._restorer.restore_all(self._reader.compare)
            for watcher in list(self._watchers.values()):
                watcher()

    def _add(self, slot: str, document: bytes | None, keep: float) -> None:
        if not self._open:
            return
        now = self.now()
        # A change is newer than all that was read before it, whatever the clocks of others say.
        self._latest = max(now, self._reader.latest + _LATER, self._latest + _LATER)
        change = Change(slot, self._latest, now + min(keep, _LONGEST_KEEP), document=document)
        self._reader.overtake(change)
        self._writer.add(change)

    def _back(self) -> None:
        self._writer.hurry()
        # It may have come back in an earlier state.
        self._reader.forget_absences()
        if self._open:
            self._restorer.restore_all(self._reader.compare)
        if self._leases is not None:
            self._leases.back()


def _slot(room: Room, key: str) -> str:
    # A lone surrogate has no UTF-8 form, and neither SQLite nor Redis could take it.
    return f"{room}/{key}".encode("utf-8", "backslashreplace").decode()
