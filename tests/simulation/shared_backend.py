"""A simulated Redis or SQLite file in virtual time, which several replicas share and which breaks when it is told to."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from proxy.store.backend import BackendAway, BackendRefused
from proxy.store.pending import Change
from proxy.store.redis import RedisBackend
from proxy.store.sqlite.backend import SqliteBackend
from tests.simulation.virtual_loop import EPOCH, VirtualLoop, WallClock
from tests.simulation.world import NEVER

ALL = frozenset({"*"})
"""Stands for all slots."""

_AGREES = 0.5
"""Seconds by which clocks may differ and still count as one."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached the backend: `kind` is connect, read, write, lock, renew or unlock; `slots` are its documents."""

    kind: str
    slots: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a fault on one call: seconds added, no answer at all, an error before or after the work is done, slots refused.

    `deletes` says that a backend that refuses to write still forgets, as a full Redis does and one that is read-only does not.
    """

    seconds: float = 0.0
    hangs: bool = False
    fails: bool = False
    answer_lost: bool = False
    refused: frozenset[str] = frozenset()
    deletes: bool = True


class Fault(Protocol):
    """One way in which a backend misbehaves."""

    def strike(self, call: Call) -> Effect | None:
        """Return the effect on this call, None where there is none."""


@dataclass
class Lease:
    token: str
    until: float
    owner: "BackendClient | None"


@dataclass(eq=False)
class SharedBackend:
    """The documents and leases that all replicas see; `near` is how many seconds a call takes. Times are the loop's.

    `kind` is redis or sqlite; `shared` says whether replicas are to be expected; `clock` is the one that all who share it go by.
    """

    loop: VirtualLoop
    rng: Random
    near: float = 0.001
    kind: str = "redis"
    shared: bool = True
    offset: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    documents: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    log: list[str] | None = None
    sound: bool = True
    """Set as long as nothing was lost, refused or out of reach here."""
    _edition: int = 1

    def now(self) -> float:
        """Return seconds since the epoch by its own clock."""
        return EPOCH + self.loop.now + self.offset

    @property
    def identity(self) -> str:
        """The name of the contents: another one once they were lost as a whole."""
        return f"edition {self._edition}"

    def copy(self) -> "SharedBackend":
        """Return what is here now, with no fault, and nobody's leases."""
        copied = SharedBackend(self.loop, self.rng, self.near, self.kind, self.shared, self.offset, documents=dict(self.documents))
        copied._edition = self._edition
        return copied

    def empty(self) -> None:
        """Lose everything at once, as by FLUSHALL, an empty restart, or a file that was removed."""
        self.sound = False
        self.documents.clear()
        self.leases.clear()
        self._edition += 1

    def lose(self, share: float, room: str = "") -> list[str]:
        """Lose some documents of a room (all rooms without) at random, as a Redis does that evicts; return which."""
        self.sound = False
        lost = [slot for slot in self.documents if slot.startswith(room) and self.rng.random() < share]
        for slot in lost:
            del self.documents[slot]
        if not room and self.rng.random() < share:
            # The key that names the contents is one of them.
            self._edition += 1
        return lost

    def cut(self, owner: "BackendClient") -> None:
        """Let nothing of this client arrive any more: its process was killed. Its leases stay."""
        owner.dead = True

    def held_by(self, owner: "BackendClient") -> list[str]:
        """Return the names of the leases that this client took and that still stand."""
        return sorted(name for name, lease in self.leases.items() if lease.owner is owner and lease.until > self.loop.now)

    def get(self, slot: str) -> bytes | None:
        """Return the document in `slot`, None where there is none or its time is over."""
        content, until = self.documents.get(slot, (None, 0.0))
        if content is not None and until <= self.loop.now:
            del self.documents[slot]
            return None
        return content

    def set(self, slot: str, content: bytes | None, seconds: float) -> None:
        """Keep the document for so long, or forget it."""
        self.written[slot] += 1
        if content is None or seconds <= 0:
            self.documents.pop(slot, None)
        else:
            self.documents[slot] = content, self.loop.now + seconds

    def take(self, name: str, token: str, seconds: float, owner: "BackendClient") -> bool:
        """Hold `name` with `token`; return False while another holds it."""
        held = self.leases.get(name)
        if held is not None and held.until > self.loop.now and held.until != NEVER:
            # A key without expiry is no lease: it is replaced.
            return False
        self.leases[name] = Lease(token, self.loop.now + seconds, owner)
        return True

    def release(self, name: str, token: str) -> None:
        """Let go of `name`."""
        held = self.leases.get(name)
        if held is not None and held.token == token:
            del self.leases[name]

    def effect(self, call: Call) -> Effect:
        """Return what the faults do to this call, all taken together."""
        self.calls[call.kind] += 1
        effects = [effect for effect in (fault.strike(call) for fault in self.faults) if effect is not None]
        if effects:
            self.sound = False
        return Effect(
            sum(each.seconds for each in effects),
            any(each.hangs for each in effects),
            any(each.fails for each in effects),
            any(each.answer_lost for each in effects),
            frozenset().union(*(each.refused for each in effects)),
            all(each.deletes for each in effects),
        )


class BackendClient:
    """The way of one process to the shared backend; `clock` is this process's own."""

    def __init__(self, place: SharedBackend, clock: WallClock) -> None:
        real: Any = RedisBackend if place.kind == "redis" else SqliteBackend
        self.name = f"{place.kind}://simulated"
        self.shared = place.shared
        self.trust: float = real.trust
        self.connect_within: float = real.connect_within
        self.read_within: float = real.read_within
        self.write_within: float = real.write_within
        self.patience: float = real.patience
        self.dead = False
        self._place = place
        self._clock = clock
        self.identity = ""
        self.clock_offset = 0.0

    async def connect(self) -> None:
        """Find out whether it answers, and what time it is there."""
        await self._call(Call("connect"))
        if self._place.kind == "redis":
            offset = self._place.now() - self._clock()
            self.clock_offset = offset if abs(offset) > _AGREES else 0.0

    async def close(self) -> None:
        """Do nothing."""

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Return what is in `slots`."""
        await self._call(Call("read", tuple(slots)))
        return [self._place.get(slot) for slot in slots]

    async def write(self, changes: Sequence[Change]) -> None:
        """Write and forget what `changes` say, the second half of them a little later, as several commands do."""
        place = self._place
        effect = await self._call(Call("write", tuple(change.slot for change in changes)), lose_answer=False)
        refused = []
        for position, change in enumerate(changes):
            if position == len(changes) // 2:
                await asyncio.sleep(place.near / 4)
                if self.dead:
                    await self._never()
            if effect.refused == ALL or change.slot in effect.refused:
                if change.sealed is None and effect.deletes:
                    place.set(change.slot, None, 0.0)
                    continue
                if effect.deletes:
                    # Its documents in these slots are outdated.
                    place.set(change.slot, None, 0.0)
                refused.append(change.slot)
            else:
                # As Redis counts it: for so many seconds from now on.
                place.set(change.slot, change.sealed, change.expires - self._stamped_now())
        if effect.answer_lost:
            raise BackendAway("the connection broke before the answer came")
        if refused:
            raise BackendRefused("it is full", refused)

    async def lock(self, name: str, token: str, seconds: float, slots: Sequence[str] = ()) -> Any:
        """Hold `name` with `token`, and return what is in `slots`; None while another holds it."""
        effect = await self._call(Call("lock", tuple(slots), name), lose_answer=False)
        if effect.refused == ALL:
            raise BackendRefused("it is full", [])
        taken = self._place.take(name, token, seconds, self)
        if effect.answer_lost:
            raise BackendAway("the connection broke before the answer came")
        return [self._place.get(slot) for slot in slots] if taken else None

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold `name` for so long from now on, if it is still held with `token`."""
        effect = await self._call(Call("renew", (), name))
        if effect.refused == ALL:
            raise BackendRefused("it is full", [])
        held = self._place.leases.get(name)
        if held is not None and held.token == token and held.until > self._place.loop.now:
            held.until = self._place.loop.now + seconds

    async def unlock(self, name: str, token: str) -> None:
        """Let go of the lease."""
        await self._call(Call("unlock", (), name))
        self._place.release(name, token)

    def _stamped_now(self) -> float:
        return self._clock() + self.clock_offset

    async def _call(self, call: Call, *, lose_answer: bool = True) -> Effect:
        place = self._place
        if self.dead:
            await self._never()
        effect = place.effect(call)
        if place.log is not None:
            words = "hangs" if effect.hangs else "fails" if effect.fails or effect.answer_lost else "refuses" if effect.refused else "ok"
            place.log.append(f"{place.loop.now:12.3f}      store {call.kind} {call.name} {' '.join(call.slots)} -> {words}")
        if effect.hangs:
            await self._never()
        await asyncio.sleep(place.near + effect.seconds)
        if self.dead:
            await self._never()
        # Whoever is under way as it goes away gets no answer either.
        effect = effect if effect.fails else _joined(effect, place, call)
        if effect.fails or (effect.answer_lost and lose_answer):
            raise BackendAway("no connection")
        self.identity = place.identity
        return effect

    @staticmethod
    async def _never() -> None:
        await asyncio.get_running_loop().create_future()


def _joined(effect: Effect, place: SharedBackend, call: Call) -> Effect:
    later = [each for each in (fault.strike(call) for fault in place.faults) if each is not None and each.fails]
    return later[0] if later else effect
