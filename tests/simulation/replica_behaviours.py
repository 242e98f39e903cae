"""Troubles of replicas that share a store: kills, restarts, reloads, clocks that disagree; and the names of all of it."""

from tests.simulation.behaviour import Behaviour
from tests.simulation.behaviours import BEHAVIOURS
from tests.simulation.outages import ClockJumps
from tests.simulation.replica_stage import ReplicaBehaviour, ReplicaStage
from tests.simulation.store_faults import (
    StoreAway,
    StoreBlips,
    StoreBreaksInFlight,
    StoreEmptied,
    StoreHangs,
    StoreLosesSome,
    StoreRefuses,
    StoreRefusesSome,
    StoreSlow,
    StoreStuckLeases,
)


class ReplicasKilled(ReplicaBehaviour):
    """Replicas are killed in the middle of whatever they do, and started again."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.kills = sorted(
            (stage.moment(), rng.randrange(stage.replicas), rng.choice((0.2, 3.0, 20.0))) for _ in range(rng.choice((1, 2)))
        )
        for moment, number, pause in self.kills:
            stage.at(moment, f"replica {number} is killed", lambda number=number, pause=pause: stage.kill(number, pause))


class ReplicasRestarted(ReplicaBehaviour):
    """Replicas are closed as they should be, and started again."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.restarts = sorted((stage.moment(), rng.randrange(stage.replicas)) for _ in range(rng.choice((1, 2))))
        for moment, number in self.restarts:
            stage.at(moment, f"replica {number} restarts", lambda number=number: stage.close(number))


class Reloads(ReplicaBehaviour):
    """Replicas are reloaded several times within seconds, while clients ask."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        rng = stage.rng
        began = rng.choice(stage.moments)
        self.reloads = sorted(
            (began + rng.random() * rng.choice((0.1, 2.0, 9.0)), rng.randrange(stage.replicas)) for _ in range(rng.randint(1, 6))
        )
        for moment, number in self.reloads:
            stage.at(moment, f"replica {number} reloads", lambda number=number: stage.reload(number))


class ClientsLeave(ReplicaBehaviour):
    """Some clients hang up a moment after they asked."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.moments = sorted(moment + rng.random() * rng.choice((0.01, 0.1, 1.0)) for moment in stage.moments if rng.random() < 0.7)
        for moment in self.moments:
            stage.at(moment, "clients hang up", lambda: stage.leave())  # noqa: PLW0108 - it is set later


class ClocksApart(ReplicaBehaviour):
    """The clocks of the replicas, and the store's own, disagree by minutes, hours or days; those who share a file have one clock."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        rng = stage.rng
        if stage.place.kind == "sqlite":
            return
        most = rng.choice((90.0, 600.0, 3600.0, 3600.0, 86_400.0))
        self.by = [rng.choice((-1, 0, 1, rng.uniform(-1, 1))) * most for _ in range(stage.replicas)]
        stage.place.offset = rng.choice((-1, 0, 0, 1)) * most
        for number, seconds in enumerate(self.by):
            stage.set_clock(number, seconds)


class ReplicaClocksJump(ClockJumps):
    """The clock of one replica is set forward or back, or that of all who share a file."""

    def __init__(self, stage: ReplicaStage) -> None:
        self._number = stage.rng.randrange(stage.replicas)
        super().__init__(stage)

    def _jump(self, seconds: float) -> None:
        if self.stage.place.kind == "sqlite":
            self.stage.place.offset += seconds
        for number in range(self.stage.replicas) if self.stage.place.kind == "sqlite" else [self._number]:
            self.stage.set_clock(number, seconds)


class Withdrawn(ReplicaBehaviour):
    """The mirror withdraws one of its projects for good."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        names = list(stage.world.projects)
        self.project, self.since = stage.rng.choice(names), stage.moment()
        if len(names) > 1:
            stage.world.projects[self.project].withdrawn_from = self.since


class LittleMemory(ReplicaBehaviour):
    """The replicas hold few documents in memory, and few that wait to be written."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.memory, self.pending = stage.rng.choice((3000, 15_000)), stage.rng.choice((60_000, 1 << 26))
        stage.limits = self.memory, self.pending


REPLICA_BEHAVIOURS: dict[str, type[Behaviour]] = {
    "store-away": StoreAway,
    "store-blips": StoreBlips,
    "store-hangs": StoreHangs,
    "store-slow": StoreSlow,
    "store-refuses": StoreRefuses,
    "store-refuses-some": StoreRefusesSome,
    "store-breaks-in-flight": StoreBreaksInFlight,
    "store-emptied": StoreEmptied,
    "store-loses-some": StoreLosesSome,
    "store-stuck-leases": StoreStuckLeases,
    "replicas-killed": ReplicasKilled,
    "replicas-restarted": ReplicasRestarted,
    "reloads": Reloads,
    "clients-leave": ClientsLeave,
    "clocks-apart": ClocksApart,
    "clocks-jump": ReplicaClocksJump,
    "withdrawn": Withdrawn,
    "little-memory": LittleMemory,
}
"""By the names that `--behaviour` takes; a history that has one of them has replicas."""

BESIDES = ("dead", "dead", "new-release", "absences", "quarantine", "outage", "denying-outage", "lag")
"""The mirror's behaviours that a history with replicas may draw as well."""


def name_of(behaviour: Behaviour) -> str:
    """Return the name by which a behaviour is asked for."""
    names = {kind: name for name, kind in (BEHAVIOURS | REPLICA_BEHAVIOURS).items()}
    return names.get(type(behaviour), type(behaviour).__name__)
