"""The way to the backend: nothing that a backend does, or fails to do, gets past here.

Each call is bounded in time, failures open the circuit, and somebody keeps trying until the backend is back. That it went and came back
is said once each, as a warning and a piece of information.
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
from proxy.store.lease import Lease
from proxy.store.pending import Change

_log = structlog.get_logger("mirrormend.store")


Result = TypeVar("Result")


class BackendState(StrEnum):
    """How the place behind the memory does."""

    ABSENT = "absent"
    """There is none: the memory is all."""
    READY = "ready"
    AWAY = "away"
    """It cannot be used now, and is tried again."""
    REFUSING = "refusing"
    """It can be read, but takes nothing more."""


class Outcome(StrEnum):
    """What became of an attempt to write."""

    WRITTEN = "written"
    LATER = "later"
    """It may be tried again at once."""
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Found:
    """What the backend has: `content` is None where it has nothing."""

    content: bytes | None


class Reach:
    """A backend behind a circuit; `on_back` is called when it can be used again. No method raises."""

    def __init__(self, backend: Backend, circuit: Circuit, on_back: Callable[[], None]) -> None:
        self._backend = backend
        self._circuit = circuit
        self._on_back = on_back
        self._opened = False
        self._reviver: asyncio.Task[None] | None = None
        self.refusing = False
        self.lost = 0
        self.failures = 0

    @property
    def name(self) -> str:
        """What logs call the backend."""
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
    def usable(self) -> bool:
        """Whether it is asked at all."""
        return self._opened and not self._circuit.open

    @property
    def state(self) -> BackendState:
        """How the backend does."""
        if not self.usable:
            return BackendState.AWAY
        return BackendState.REFUSING if self.refusing else BackendState.READY

    async def open(self) -> None:
        """Reaches for the backend; what cannot be reached is tried again later."""
        self._opened = True
        try:
            await self._connect()
        except Exception as error:  # noqa: BLE001 - whatever a backend fails with, the proxy goes on without it
            self._failed(error)

    async def last_try(self) -> None:
        """Stops waiting for a backend that is away, and tries it once more."""
        self._opened = False
        if self._reviver is not None:
            self._reviver.cancel()
        if self._circuit.open:
            await self._try_again()
        self._opened = not self._circuit.open

    async def close(self, within: float) -> None:
        """Lets go of the backend, in at most `within` seconds."""
        self._opened = False
        if self._reviver is not None:
            self._reviver.cancel()
        try:
            await _within(within, self._backend.close())
        except Exception as error:  # noqa: BLE001 - it is being left, whatever it says
            _log.debug("store-close", backend=self.name, why=_why(error))

    async def answers(self) -> bool:
        """Asks the backend whether it works."""
        if not self.usable:
            return False
        try:
            await self._connect()
        except Exception:  # noqa: BLE001 - that it failed is the answer
            return False
        return True

    async def read(self, slot: str) -> Found | None:
        """Gives what is in `slot`, None where that could not be learned."""
        try:
            content = await _within(self._backend.read_within, self._backend.read(slot))
        except BackendBusy:
            return None
        except Exception as error:  # noqa: BLE001 - whatever a backend fails with, the proxy goes on without it
            self._failed(error)
            return None
        self._worked()
        return Found(content)

    async def write(self, changes: Sequence[Change]) -> Outcome:
        """Writes sealed `changes`; what the backend refuses counts as written, and as lost.

        Only what no backend should do is raised: then trying again is of no use.
        """
        try:
            await _within(self._backend.write_within, self._backend.write(changes))
        except BackendBusy:
            return Outcome.LATER
        except (BackendAway, TimeoutError) as error:
            self._failed(error)
            return Outcome.AWAY
        except BackendRefused as refusal:
            self.lost += refusal.count
            if not self.refusing:
                _log.warning("store-refuses", backend=self.name, why=refusal.why)
            self.refusing = True
        else:
            if self.refusing:
                _log.info("store-accepts-again", backend=self.name)
            self.refusing = False
        self._worked()
        return Outcome.WRITTEN

    async def lease(self, name: str, seconds: float) -> Lease | None:
        """Gives a lease, None where another has it; a backend that cannot be asked grants it."""
        if not self.usable:
            return Lease()
        try:
            token = await _within(self._backend.read_within, self._backend.lock(name, seconds))
        except Exception as error:  # noqa: BLE001 - whatever a backend fails with, the proxy goes on without it
            self._failed(error)
            return Lease()
        return None if token is None else Lease(lambda: self._release(name, token))

    async def _release(self, name: str, token: str) -> None:
        if not self.usable:
            return
        try:
            await _within(self._backend.read_within, self._backend.unlock(name, token))
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            self._failed(error)

    async def _connect(self) -> None:
        await _within(self._backend.connect_within, self._backend.connect())

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if self._circuit.failed():
            _log.warning("store-away", backend=self.name, why=_why(error), going_on_with="memory")
        if self._reviver is None and self._opened:
            self._reviver = asyncio.create_task(self._revive(), name="store-revive", context=Context())

    def _worked(self) -> None:
        if self._circuit.worked():
            _log.info("store-back", backend=self.name)

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
            self._circuit.failed()
            _log.debug("store-still-away", backend=self.name, why=_why(error))
        else:
            self._circuit.reached()


async def _within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Gives what `work` gives, or raises TimeoutError after `seconds`, whether it lets itself be cancelled or not."""
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
