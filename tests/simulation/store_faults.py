"""The ways in which a shared store breaks."""

from typing import ClassVar

from tests.simulation.replica_stage import ReplicaBehaviour, ReplicaStage, StoreFault
from tests.simulation.shared_backend import ALL, Call, Effect
from tests.simulation.world import NEVER


class StoreAway(StoreFault):
    """No connection can be made, and those that there are break."""

    reachable = False

    def effect(self, call: Call) -> Effect | None:
        del call
        return Effect(fails=True)


class StoreBlips(StoreFault):
    """It is away for half a second at most, while clients ask for pages; two seconds after it began that is over."""

    reachable = False
    lasts = (0.1, 0.3, 0.5)

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.since = stage.rng.choice(stage.moments) + stage.rng.random() * 0.02
        self.until = self.since + stage.rng.choice(self.lasts)
        stage.at(self.since + 2.0, "the blip has to be over", lambda: stage.expect("blip", "ready"))

    def effect(self, call: Call) -> Effect | None:
        del call
        return Effect(fails=True)


class StoreHangs(StoreFault):
    """It takes connections and does not answer."""

    reachable = False

    def effect(self, call: Call) -> Effect | None:
        return Effect(hangs=call.kind != "connect" or self.wholly)

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.wholly = stage.rng.random() < 0.5


class StoreSlow(StoreFault):
    """Every call takes longer, by up to five seconds."""

    reachable = False

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.seconds = stage.rng.choice((0.05, 0.2, 0.2, 0.6, 2.0, 5.0))

    def effect(self, call: Call) -> Effect | None:
        del call
        return Effect(seconds=self.seconds)


class StoreRefuses(StoreFault):
    """It is read, and takes nothing more: it is full, or read-only."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.deletes = stage.rng.random() < 0.5
        stage.at(self.since + (self.until - self.since) * 0.9, "it can still be read", lambda: stage.expect("refusing", "readable"))

    def effect(self, call: Call) -> Effect | None:
        return Effect(refused=ALL, deletes=self.deletes) if call.kind in {"write", "lock", "renew"} else None


class StoreRefusesSome(StoreFault):
    """It refuses some documents: those that are large, say, or every other one."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.share = stage.rng.choice((0.2, 0.5, 0.9))
        self.room = stage.rng.choice(("", "", "page/", "verdicts/", "metadata/"))
        self.deletes = stage.rng.random() < 0.5
        self._fixed = stage.rng.random() < 0.5
        self._refused: dict[str, bool] = {}

    def effect(self, call: Call) -> Effect | None:
        if call.kind != "write":
            return None
        refused = frozenset(slot for slot in call.slots if slot.startswith(self.room) and self._refuses(slot))
        return Effect(refused=refused, deletes=self.deletes) if refused else None

    def _refuses(self, slot: str) -> bool:
        drawn = self.stage.place.rng.random() < self.share
        return self._refused.setdefault(slot, drawn) if self._fixed else drawn


class StoreBreaksInFlight(StoreFault):
    """Some calls fail: before they did anything, or after it."""

    reachable = False

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.share = stage.rng.choice((0.02, 0.2, 0.6))

    def effect(self, call: Call) -> Effect | None:
        if call.kind == "connect" or self.stage.place.rng.random() >= self.share:
            return None
        return Effect(fails=True) if self.stage.place.rng.random() < 0.5 else Effect(answer_lost=True)


class StoreEmptied(ReplicaBehaviour):
    """It loses everything at once, without a word (FLUSHALL), or with an outage before (an empty restart, another file)."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.moments = sorted(stage.moment() for _ in range(stage.rng.choice((1, 1, 2))))
        self.away_for = stage.rng.choice((0.0, 0.0, 0.3, 5.0, 90.0))
        for moment in self.moments:
            stage.at(moment, "the store is emptied", stage.place.empty)
        stage.place.faults.append(self)

    def strike(self, call: Call) -> Effect | None:
        del call
        now = self.stage.loop.now
        return Effect(fails=True) if any(moment <= now < moment + self.away_for for moment in self.moments) else None

    def end(self) -> None:
        """Be back."""
        self.away_for = 0.0


class StoreLosesSome(ReplicaBehaviour):
    """Single documents vanish, as from a Redis that evicts; of a SQLite file all do."""

    times: ClassVar[tuple[int, ...]] = (1, 1, 3, 8)

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.moments = sorted(stage.moment() for _ in range(stage.rng.choice(self.times)))
        self.share = stage.rng.choice((0.2, 0.5, 1.0))
        self.room = stage.rng.choice(("", "", "page/", "verdicts/", "metadata/"))
        if len(self.moments) > 1:
            # A document that is evicted again and again is written again once in ten minutes.
            self.recovers_within = 700.0
        for moment in self.moments:
            stage.at(moment, "the store loses some documents", self._lose)

    def _lose(self) -> None:
        if self.stage.place.kind == "sqlite":
            self.stage.place.empty()
            return
        self.stage.note(f"lost: {', '.join(self.stage.place.lose(self.share, self.room)) or 'nothing'}")


class StoreStuckLeases(StoreFault):
    """Leases are not let go of: their keys have no expiry, or somebody holds them for long."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.endless = stage.rng.random() < 0.5
        stage.at(self.since, "leases are stuck", self._stick)

    def _stick(self) -> None:
        if not self.strikes():
            return
        stage = self.stage
        stage.place.sound = False
        for lease in stage.place.leases.values():
            lease.until, lease.token = NEVER if self.endless else self.until, ""

    def effect(self, call: Call) -> Effect | None:
        if call.kind == "lock" and not self.endless:
            self.stage.loop.call_soon(self._stick)
        return None

    def end(self) -> None:
        """Let go of them."""
        super().end()
        for lease in self.stage.place.leases.values():
            if not lease.token and lease.until != NEVER:
                lease.until = self.until
