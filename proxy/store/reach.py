"""The way to the backend: nothing that a backend does, or fails to do, gets past here.

Each call is bounded in time, failures open the circuit, and somebody keeps trying until the backend is back. A page waits for a backend
that answers slowly only once for a moment: until it answers quickly again, pages do without it. That it went and came back is said once
each, as a warning and a piece of information.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import structlog

from proxy.store.backend import Backend, BackendAway, BackendBusy, BackendRefused
from proxy.store.circuit import Circuit
from proxy.store.patience import patience_left
from proxy.store.pending import Change

_log = structlog.get_logger("mirrormend.store")

_LOOK_AFTER = 30.0
"""Seconds after which a backend is looked at again: whether it was emptied, or replaced, while nobody asked it anything."""

_LOSSES_APART = 10.0
"""Seconds between two losses that are told of."""

_QUICK_AGAIN = 1.0
"""Seconds between two looks whether a slow backend is quick again, at first."""
_SOON_SLOW = 3.0
"""So many times that pause after it was quick again, a backend that is slow is so since before."""

_SLICES = 5
_WEIGHT_OF_ONE = 0.2
"""How much one answer changes what is taken for the usual time of answers."""

Result = TypeVar("Result")


class BackendState(StrEnum):
    """How the place behind the memory does."""

    ABSENT = "absent"
    """There is none: the memory is all."""
    READY = "ready"
    SLOW = "slow"
    """It answers, but pages do not wait for it."""
    AWAY = "away"
    """It cannot be used now, and is tried again."""
    REFUSING = "refusing"
    """It can be read, but takes nothing more for now; what it refused is tried again."""


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of an attempt to write: `done` if the backend took it up, and the slots that it `refused`, because of `why`.

    If it is not done it may be tried again, `soon` if somebody else was using the backend.
    """

    done: bool = True
    soon: bool = False
    refused: frozenset[str] = frozenset()
    why: str = ""


class Reach:
    """A backend behind a circuit; `on_back` is called when it can be used again, `on_lost` when it holds other documents than before.

    No method raises, but `asked`.
    """

    def __init__(self, backend: Backend, circuit: Circuit, *, on_back: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._backend = backend
        self._circuit = circuit
        self._on_back = on_back
        self._on_lost = on_lost
        self._opened = False
        self._identity = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reviver: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._told_of_loss = float("-inf")
        self._usual = 0.0
        self._slow_again = _QUICK_AGAIN
        self._quick_since = float("-inf")
        self.slow = False
        self.failures = 0

    @property
    def name(self) -> str:
        """Its name in logs."""
        return self._backend.name

    @property
    def trust(self) -> float:
        """For how many seconds a copy in memory is used without asking."""
        return self._backend.trust

    @property
    def shared(self) -> bool:
        """Whether other processes are to be expected that do the same work."""
        return self._backend.shared

    @property
    def clock_offset(self) -> float:
        """By how many seconds the clock of all who share it is ahead of the one of this process."""
        return self._backend.clock_offset

    @property
    def patience(self) -> float:
        """How long a page waits for it, in seconds."""
        return self._backend.patience

    @property
    def usable(self) -> bool:
        """Whether it is asked at all."""
        return self._opened and not self._circuit.open

    @property
    def state(self) -> BackendState:
        """How the backend does, as far as reading tells."""
        if not self.usable:
            return BackendState.AWAY
        return BackendState.SLOW if self.slow else BackendState.READY

    async def open(self) -> None:
        """Reach for the backend; what cannot be reached is tried again later."""
        self._opened = True
        await self._look()
        self._watcher = self._start(self._watch(), "store-watch")

    async def last_try(self) -> None:
        """Stop waiting for a backend that is away, and try it once more."""
        self._opened = False
        if self._reviver is not None:
            self._reviver.cancel()
        if self._circuit.open:
            await self._try_again()
        self._opened = not self._circuit.open

    async def close(self, within: float) -> None:
        """Let go of the backend, in at most `within` seconds."""
        self._opened = False
        for task in list(self._tasks):
            task.cancel()
        try:
            await _within(within, self._backend.close())
        except Exception as error:  # noqa: BLE001 - it is being left, whatever it says
            _log.debug("store-close", backend=self.name, why=_why(error))

    async def answers(self) -> bool:
        """Ask the backend whether it works."""
        if not self.usable:
            return False
        try:
            await self._connect()
        except Exception:  # noqa: BLE001 - that it failed is the answer
            return False
        return True

    async def read(self, slots: Sequence[str]) -> list[bytes | None] | None:
        """Return what is in `slots`, None if that could not be learned."""
        try:
            return await self.asked(self._backend.read(slots))
        except (BackendAway, BackendRefused):
            return None

    async def asked(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what the backend returns to `work`, in the time that reading has; raise BackendAway or BackendRefused."""
        outages = self._circuit.outages
        try:
            result = await _within(self._backend.read_within, work)
        except (BackendBusy, BackendRefused):
            raise
        except Exception as error:
            self._failed(error, outages)
            raise BackendAway(_why(error)) from error
        self._worked()
        return result

    async def write(self, changes: Sequence[Change]) -> Written:
        """Write sealed `changes`. Only an error that no backend should have is raised: then trying again is of no use."""
        outages, written = self._circuit.outages, Written()
        try:
            await _within(self._backend.write_within, self._backend.write(changes))
        except BackendBusy:
            return Written(done=False, soon=True)
        except (BackendAway, TimeoutError) as error:
            self._failed(error, outages)
            return Written(done=False)
        except BackendRefused as refusal:
            written = Written(refused=refusal.slots, why=refusal.why)
        self._worked()
        return written

    async def in_time(self, task: "asyncio.Task[Result]", *, patient: bool = False) -> bool:
        """Return whether `task`, which asks the backend, ended before a page waits no longer; else the backend counts as slow.

        It does as well if answers usually take half that time: a page waits for several.
        The time is spent in slices, of which each counts as it was meant: while this process is busy itself, an answer that has come is
        not read at once, and no backend is to be blamed for that.
        """
        if patient:
            await asyncio.wait({task})
            return True
        slice_, left = self.patience / _SLICES, patience_left()
        for number in range(_SLICES):
            if left is not None and left.seconds <= 0:
                # The page has waited for the store before, for other things.
                return task.done()
            await asyncio.wait({task}, timeout=slice_)
            if left is not None and (number or not task.done()):
                left.seconds -= slice_
            if task.done():
                self._usual += (number * slice_ - self._usual) * _WEIGHT_OF_ONE
                if self._usual > self.patience / 2:
                    self._note_slow()
                return True
        self._note_slow()
        return False

    def _note_slow(self) -> None:
        if not self.slow and self.usable:
            self.slow = True
            _log.warning("store-slow", backend=self.name, patience=self.patience, going_on_with="memory")
            self._start(self._until_quick(), "store-quick")

    async def _look(self) -> bool:
        """Look whether the backend is there, and return whether it answered."""
        outages = self._circuit.outages
        try:
            await self._connect()
        except BackendBusy:
            return False
        except Exception as error:  # noqa: BLE001 - whatever a backend fails with, the proxy goes on without it
            self._failed(error, outages)
            return False
        return True

    async def _connect(self) -> None:
        await _within(self._backend.connect_within, self._backend.connect())
        self._look_whose()

    def _failed(self, error: Exception, outages: int) -> None:
        self.failures += 1
        if self._circuit.failed(outages):
            _log.warning("store-away", backend=self.name, why=_why(error), going_on_with="memory")
        if self._circuit.open and self._reviver is None and self._opened:
            self._reviver = self._start(self._revive(), "store-revive")

    def _worked(self) -> None:
        self._look_whose()
        if self._circuit.worked():
            _log.info("store-back", backend=self.name)

    def _look_whose(self) -> None:
        """Look whether the backend holds other documents than before."""
        identity = self._backend.identity
        if identity and identity != self._identity:
            before, self._identity = self._identity, identity
            if before and self._telling is None:
                self._telling = self._start(self._tell_of_loss(), "store-lost")

    async def _tell_of_loss(self) -> None:
        """Tell of one loss at a time: two backends that take turns at one address would else be given everything without end."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._told_of_loss + _LOSSES_APART - loop.time()))
        self._telling, self._told_of_loss = None, loop.time()
        self._on_lost()

    async def _revive(self) -> None:
        while self._circuit.open:
            await asyncio.sleep(self._circuit.pause)
            await self._try_again()
        self._reviver = None
        self._on_back()

    async def _try_again(self) -> None:
        try:
            await self._connect()
        except Exception as error:  # noqa: BLE001 - whatever a backend fails with, the proxy goes on without it
            self._circuit.tried_in_vain()
            _log.debug("store-still-away", backend=self.name, why=_why(error))
        else:
            self._circuit.reached()

    async def _until_quick(self) -> None:
        """Look now and then whether the backend is quick again; one that is away meanwhile is looked after by others.

        One that answers a look quickly and is slow at once again is looked at ever more rarely: each time costs a page its patience.
        """
        loop = asyncio.get_running_loop()
        soon = loop.time() - self._quick_since < _SOON_SLOW * self._slow_again
        self._slow_again = min(self._slow_again * 2, _LOOK_AFTER) if soon else _QUICK_AGAIN
        while self.slow:
            await asyncio.sleep(self._slow_again)
            asked = loop.time()
            quick = self.usable and await self._look() and loop.time() - asked < self.patience / 2
            if not self.usable:
                self.slow = False
            elif quick:
                self.slow, self._usual, self._quick_since = False, 0.0, loop.time()
                _log.info("store-quick-again", backend=self.name)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AFTER)
            if self.usable:
                await self._look()

    def _start(self, work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
        task = asyncio.create_task(work, name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns, or raise TimeoutError after `seconds`, whether it lets itself be cancelled or not."""
    # asyncio.timeout() waits until the cancelled code has ended, and some of it swallows the cancellation: asyncio.wait_for() of
    # Python 3.11, which redis-py uses, does so when the send it watches ends at the same moment.
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_let_be)


def _let_be(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
