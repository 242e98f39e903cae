"""Reading through the memory to the backend: the newer one of the two counts, and both have it afterwards."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from proxy.store.envelope import Header, header_of, unseal
from proxy.store.lease import Lease, Leases
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change
from proxy.store.reach import Reach
from proxy.store.write_behind import INLINE_BYTES, WriteBehind

_MOST_ABSENT = 20_000
"""Slots of which it is remembered that the backend had nothing in them a moment ago."""


class Restore(Protocol):
    """The function that writes again a document which the backend has `lost`, or has an earlier state of."""

    def __call__(self, slot: str, sealed: bytes, header: Header, *, lost: bool) -> None:
        """Do so."""


Found = dict[str, bytes | None]


class Documents(list[bytes | None]):
    """Documents in the order in which they were asked for; `answered` says whether one that is None is known not to be there."""

    def __init__(self, documents: Iterable[bytes | None], *, answered: bool) -> None:
        super().__init__(documents)
        self.answered = answered


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way, and the changes of its documents that waited to be written or came meanwhile."""

    slots: tuple[str, ...]
    overtaken: dict[str, Change]


class ReadThrough:
    """Documents by their slots: those that `writer` has still to write, else those of `memory` and of the backend behind `reach`.

    `restore` is called with what the memory has and the backend lost. `clock` gives seconds since the epoch by the clock of this process,
    `now` those by the clock of all who share the backend.
    """

    def __init__(
        self,
        memory: BoundedMemory,
        reach: Reach | None,
        leases: Leases | None,
        writer: WriteBehind,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        restore: Restore,
    ) -> None:
        self._memory = memory
        self._reach = reach
        self._leases = leases
        self._writer = writer
        self._clock = clock
        self._now = now
        self._restore = restore
        self._readings: set[_Reading] = set()
        self._tasks: set[asyncio.Task[Found | None]] = set()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._threads: Executor | None = None
        self.latest = 0.0
        """When the newest document that was read was written, by whoever wrote it."""
        self.hits = self.misses = 0

    def start(self, threads: Executor) -> None:
        """Begin to read; `threads` unpack large documents."""
        self._threads = threads

    def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()

    def overtake(self, change: Change) -> None:
        """Note that a document is put or forgotten: what is being read of it is outdated."""
        for reading in self._readings:
            if change.slot in reading.slots:
                reading.overtaken[change.slot] = change
        self._absent.pop(change.slot, None)

    def forget_absences(self) -> None:
        """Ask the backend again for what it did not have a moment ago."""
        self._absent.clear()

    async def many(self, slots: Sequence[str], *, anew: bool, patient: bool) -> Documents:
        """Return the documents in `slots`; see `Store.get_many`."""
        reach = self._reach
        if reach is None or not reach.usable or (reach.slow and not patient):
            return Documents([await self._document(slot) for slot in slots], answered=reach is None)
        asked = [slot for slot in slots if self._writer.get(slot) is None and (anew or not self._known_lately(slot, reach.trust))]
        # Known documents are looked up first: the memory may let go of them for those that come.
        known = {slot: await self._document(slot) for slot in slots if slot not in asked}
        if not asked:
            return Documents([known[slot] for slot in slots], answered=True)
        reading = self._begin(asked)
        task = asyncio.create_task(self._ask(reading), name="store-read")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # An answer that comes too late is for the memory.
            found = task.result() if await reach.in_time(task, patient=patient) and not task.cancelled() else None
            documents = [known[slot] if slot in known else await self._outcome(slot, reading, found or {}) for slot in slots]
            return Documents(documents, answered=found is not None)
        finally:
            task.add_done_callback(lambda _: self._readings.discard(reading))

    async def with_lease(self, name: str, seconds: float, slots: Sequence[str]) -> tuple[Lease | None, Documents]:
        """Return a lease and the documents in `slots`; see `Store.acquire`."""
        if self._leases is None:
            return Lease(), Documents([await self._document(slot) for slot in slots], answered=True)
        reading = self._begin(slots)
        lease = None
        try:
            lease, contents = await self._leases.take(name, seconds, slots)
            if lease is None:
                return None, Documents([None for _ in slots], answered=False)
            if contents is None:
                # It may be read all the same.
                return lease, await self.many(slots, anew=True, patient=False)
            found = await self._merge(reading, contents)
            return lease, Documents([await self._outcome(slot, reading, found) for slot in slots], answered=True)
        except BaseException:
            if lease is not None:
                await lease.release()
            raise
        finally:
            self._readings.discard(reading)

    def _known_lately(self, slot: str, trust: float) -> bool:
        age = min(self._memory.age(slot), self._clock() - self._absent.get(slot, -math.inf))
        return 0 <= age <= trust

    def _note_absent(self, slot: str) -> None:
        self._absent.pop(slot, None)
        self._absent[slot] = self._clock()
        if len(self._absent) > _MOST_ABSENT:
            self._absent.popitem(last=False)

    async def compare(self, slots: list[str]) -> None:
        """Compare these documents with those of the backend, for both to have the newer ones."""
        reading = self._begin([slot for slot in slots if self._writer.get(slot) is None])
        try:
            await self._ask(reading)
        finally:
            self._readings.discard(reading)

    async def _ask(self, reading: _Reading) -> Found | None:
        """Return what the backend and the memory have, None if the backend did not answer."""
        contents = None if self._reach is None else await self._reach.read(reading.slots)
        return None if contents is None else await self._merge(reading, contents)

    def _begin(self, slots: Sequence[str]) -> _Reading:
        reading = _Reading(tuple(slots), {slot: change for slot in slots if (change := self._writer.get(slot)) is not None})
        self._readings.add(reading)
        return reading

    async def _merge(self, reading: _Reading, contents: Sequence[bytes | None]) -> Found:
        """Return the newer one of what the backend has and what the memory has of each document, and see to it that both have it."""
        newest: Found = {}
        for slot, content in zip(reading.slots, contents, strict=True):
            if slot in reading.overtaken:
                continue
            theirs = None if content is None else header_of(content)
            kept: bytes | None = await self._memory.get(slot)
            ours = None if kept is None else header_of(kept)
            if kept is not None and ours is not None and theirs is not None and theirs.written == ours.written:
                # The same; ours was whole when it came.
                await self._memory.set(slot, kept, ttl=ours.expires - self._now())
                newest[slot] = kept
            elif theirs is not None and (ours is None or theirs.written > ours.written):
                self.latest = max(self.latest, theirs.written)
                await self._memory.set(slot, content, ttl=theirs.expires - self._now())
                newest[slot] = content
            else:
                newest[slot] = kept
                if kept is None:
                    self._note_absent(slot)
                if kept is not None and ours is not None and (content is None or theirs is not None):
                    self._restore(slot, kept, ours, lost=content is None)
        return newest

    async def _outcome(self, slot: str, reading: _Reading, found: Found) -> bytes | None:
        """Return the document of a read that has ended: as it was changed since, else as it was found, else as the memory has it."""
        change = self._writer.get(slot) or reading.overtaken.get(slot)
        if change is None and slot in found:
            return self._counted(await self._unseal(found[slot]))
        return await self._document(slot, change)

    async def _document(self, slot: str, change: Change | None = None) -> bytes | None:
        change = change or self._writer.get(slot)
        if change is not None and change.sealed is None:
            return self._counted(change.document if change.expires > self._now() else None)
        return self._counted(await self._unseal(change.sealed if change is not None else await self._memory.get(slot)))

    def _counted(self, document: bytes | None) -> bytes | None:
        if document is None:
            self.misses += 1
        else:
            self.hits += 1
        return document

    async def _unseal(self, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        now = self._now()
        if len(sealed) <= INLINE_BYTES:
            return unseal(sealed, now)
        return await asyncio.get_running_loop().run_in_executor(self._threads, unseal, sealed, now)
