"""Writing behind those who put: changes are sealed into the memory, and reach the backend in batches.

A change leaves the queue once the backend has it. What the backend refuses stays, is tried again after a pause that grows to half a minute,
and is written as soon as anything else is; what it cannot take now because it is away is written when it is back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import structlog

from proxy.store.envelope import seal
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change, Pending
from proxy.store.reach import Reach, Written

_log = structlog.get_logger("mirrormend.store")

_BATCH_DOCUMENTS = 64
_BATCH_BYTES = 8 * 1024 * 1024
_HURRY_BYTES = 16 * 1024 * 1024
"""Bytes that wait to be written without waiting for more: they are held as they came, which may be several times what they will take."""

INLINE_BYTES = 64 * 1024
"""Up to this many bytes, (de)compressing takes less than handing the work to a thread and back."""
_BUSY_PAUSE = 0.25
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 30.0


class WriteBehind:
    """The queue of changes to be written to `memory`, and by `reach` if there is a backend.

    `linger` says how many seconds a change waits for others to be written with, `now` is the time in seconds since the epoch, `threads`
    seal large documents, and `on_accepted` is called when the backend takes documents again after some had to be given up.
    """

    def __init__(
        self,
        memory: BoundedMemory,
        reach: Reach | None,
        *,
        limit: int,
        linger: Callable[[], float],
        now: Callable[[], float],
        on_accepted: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._reach = reach
        self._linger = linger
        self._now = now
        self._on_accepted = on_accepted
        self._pending = Pending(limit)
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closing = asyncio.Event()
        self._retry = _FIRST_RETRY
        self._gave_up = False
        self._threads: Executor | None = None
        self._task: asyncio.Task[None] | None = None
        self.refusing = False
        self.lost = 0

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def size(self) -> int:
        """Bytes that wait to be written."""
        return self._pending.size

    @property
    def idle(self) -> bool:
        """True if nothing waits but the changes that the backend refused."""
        return len(self._pending) <= self._pending.held

    def get(self, slot: str) -> Change | None:
        """Return the change that waits for `slot`, if any."""
        return self._pending.get(slot)

    def start(self, threads: Executor) -> None:
        """Begin to write."""
        self._threads = threads
        self._task = asyncio.create_task(self._run(), name="store-write-behind")

    def add(self, change: Change) -> None:
        """Take a change, fresh or sealed, to be written a little later."""
        dropped = self._pending.add(change)
        if dropped:
            if not self.lost:
                _log.warning("store-behind", pending_bytes=self._pending.size, dropped=dropped)
            self.lost += dropped
            self._gave_up = True
        if self._pending.fresh_size >= _HURRY_BYTES:
            self._hurry.set()
        self._wake.set()

    def hurry(self) -> None:
        """Write now what waits."""
        self._hurry.set()
        self._wake.set()

    async def close(self) -> None:
        """Write what waits, what was refused once more as well, and end."""
        self._pending.release()
        self._closing.set()
        self.hurry()
        if self._task is not None:
            await self._task

    def cancel(self) -> None:
        """End, whether or not all is written."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            if not await _wait(self._wake, self._retry if self._pending.held else None):
                self._pending.release(_BATCH_DOCUMENTS)
            await _wait(self._hurry, self._linger())
            self._wake.clear()
            self._hurry.clear()
            await self._write_all()
            if self._closing.is_set():
                return

    async def _write_all(self) -> None:
        while batch := self._pending.batch(_BATCH_DOCUMENTS, _BATCH_BYTES, fresh_only=self._reach is None or not self._reach.usable):
            try:
                await self._settle(batch)
            except Exception:  # noqa: BLE001 - what cannot be handled must not be tried for ever
                _log.exception("store-batch-failed", documents=len(batch))
                self._let_go(batch)

    async def _settle(self, batch: Sequence[Change]) -> None:
        """Seal the fresh changes of `batch` into the memory, and write all of it to the backend."""
        settled = [change for change in batch if not self._pending.is_fresh(change)]
        settled += await self._sealed([change for change in batch if self._pending.is_fresh(change)])
        written = Written(done=self._reach is None)
        if self._reach is not None and self._reach.usable:
            written = await self._reach.write(settled)
        if written.done:
            self._written(settled, written)
        elif written.soon:
            await _wait(self._closing, _BUSY_PAUSE)

    async def _sealed(self, fresh: Sequence[Change]) -> list[Change]:
        """Return these fresh changes sealed, but for those that a later one has succeeded meanwhile."""
        if sum(change.cost for change in fresh) <= INLINE_BYTES:
            results = _seal_all(fresh)
        else:
            results = await asyncio.get_running_loop().run_in_executor(self._threads, _seal_all, fresh)
        settled = []
        for before, after in zip(fresh, results, strict=True):
            if self._pending.settle(before, after):
                settled.append(after)
                await self._memory.set(after.slot, after.sealed, ttl=after.expires - self._now())
        return settled

    def _written(self, changes: Sequence[Change], written: Written) -> None:
        for change in changes:
            if change.slot in written.refused:
                self._pending.hold(change)
            else:
                self._pending.done(change)
        if written.refused:
            if not self.refusing and self._reach is not None:
                _log.warning("store-refuses", backend=self._reach.name, why=written.why)
            self.refusing = True
            if len(written.refused) == len(changes):
                self._retry = min(self._retry * 2, _LONGEST_RETRY)
            return
        if not changes:
            return
        # It takes something, so perhaps all of it.
        self._retry = _FIRST_RETRY
        if self._pending.held:
            self._pending.release()
            return
        if self.refusing and self._reach is not None:
            _log.info("store-accepts-again", backend=self._reach.name)
        self.refusing = False
        if self._gave_up and self.idle:
            self._gave_up = False
            self._on_accepted()

    def _let_go(self, batch: Sequence[Change]) -> None:
        for change in batch:
            current = self._pending.get(change.slot)
            if current is not None and (current is change or not self._pending.is_fresh(current)):
                self._pending.done(current)
                self.lost += 1


async def _wait(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for the event, at most `seconds`, and return whether it came."""
    return await within(seconds, event.wait())


async def within(seconds: float | None, work: Awaitable[object]) -> bool:
    """Wait for `work`, at most `seconds`, and return whether it ended by then."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


def _seal_all(changes: Sequence[Change]) -> list[Change]:
    return [
        replace(change, document=None, sealed=seal(change.document, written=change.written, expires=change.expires)) for change in changes
    ]
