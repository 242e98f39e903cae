"""Reading through the memory to the backend: the newer one of the two counts, and both have it afterwards."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
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
    """Writes again a document that the backend has `lost`, or has an earlier state of."""

    def __call__(self, slot: str, sealed: bytes, header: Header, *, lost: bool) -> None:
        """Do so."""


Found = dict[str, bytes | None]


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way, and the changes of its documents that waited to be written or came meanwhile."""

    slots: tuple[str, ...]
    overtaken: dict[str, Change]


class ReadThrough:
    """Gives documents by their slots: what `writer` has still to write, else what `memory` and the backend behind `reach` have.

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
        self._tasks: set[asyncio.Task[Found]] = set()
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

    async def many(self, slots: Sequence[str], *, anew: bool, patient: bool) -> list[bytes | None]:
        """Return the documents in `slots`; see `Store.get_many`."""
        reach = self._reach
        if reach is None or not reach.usable or (reach.slow and not patient):
            return [await self._document(slot) for slot in slots]
        asked = [slot for slot in slots if self._writer.get(slot) is None and (anew or not self._known_lately(slot, reach.trust))]
        # What is known is looked up first: the memory may let go of it for what comes.
        known = {slot: await self._document(slot) for slot in slots if slot not in asked}
        if not asked:
            return [known[slot] for slot in slots]
        reading = self._begin(asked)
        task = asyncio.create_task(self._ask(reading), name="store-read")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # What comes too late is for the memory.
            found = task.result() if await reach.in_time(task, patient=patient) and not task.cancelled() else {}
            return [known[slot] if slot in known else await self._outcome(slot, reading, found) for slot in slots]
        finally:
            task.add_done_callback(lambda _: self._readings.discard(reading))

    async def with_lease(self, name: str, seconds: float, slots: Sequence[str]) -> tuple[Lease | None, list[bytes | None]]:
        """Return a lease and the documents in `slots`; see `Store.acquire`."""
        if self._leases is None:
            return Lease(), [await self._document(slot) for slot in slots]
        reading = self._begin(slots)
        lease = None
        try:
            lease, contents = await self._leases.take(name, seconds, slots)
            if lease is None:
                return None, [None for _ in slots]
            if contents is None:
                # It may be read all the same.
                return lease, await self.many(slots, anew=True, patient=False)
            found = await self._merge(reading, contents)
            return lease, [await self._outcome(slot, reading, found) for slot in slots]
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

    async def _ask(self, reading: _Reading) -> Found:
        contents = None if self._reach is None else await self._reach.read(reading.slots)
        return {} if contents is None else await self._merge(reading, contents)

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
            if theirs is not None and (ours is None or theirs.written >= ours.written):
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
