"""The means of behaviours that concern a store which replicas share, and the replicas themselves."""

from collections.abc import Callable
from typing import Any, ClassVar

from tests.simulation.behaviour import Behaviour, Spell, Stage
from tests.simulation.shared_backend import Call, Effect, SharedBackend

RECOVERS_WITHIN = 300.0
"""Seconds after the last trouble of the store by which a new replica serves from it all that the running ones serve."""

NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731 - it is set later


class ReplicaStage(Stage):
    """As Stage, and the `place` that the replicas share, with what may be done to one of `replicas` of them by its number."""

    def __init__(self, *arguments: Any, place: SharedBackend, replicas: int) -> None:
        super().__init__(*arguments)
        self.place = place
        self.replicas = replicas
        self.kill: Callable[[int, float], None] = NOTHING
        self.close: Callable[[int], None] = NOTHING
        self.reload: Callable[[int], None] = NOTHING
        self.set_clock: Callable[[int, float], None] = NOTHING
        self.leave: Callable[[], None] = NOTHING
        self.limits = 1 << 24, 1 << 26
        self.expect: Callable[[str, str], None] = NOTHING


class StoreFault(Spell):
    """A fault of the store from `since` until `until`; the mirror is well meanwhile."""

    stage: ReplicaStage
    recovers_within = RECOVERS_WITHIN
    lasts: ClassVar[tuple[float, ...]] = (0.5, 2.0, 12.0, 60.0, 300.0, 1500.0)
    reachable: ClassVar[bool] = True
    """Set if the store can still be read meanwhile."""

    def __init__(self, stage: ReplicaStage) -> None:
        super().__init__(stage)
        self.since = stage.moment()
        self.until = self.since + stage.rng.choice(self.lasts)
        stage.place.faults.append(self)
        stage.at(self.since, f"the store: {type(self).__name__}", lambda: None)

    def trouble(self, since: float, until: float) -> bool:
        del since, until
        return False

    def strikes(self) -> bool:
        """Return whether the fault is on."""
        return self.since <= self.stage.loop.now < self.until

    def strike(self, call: Call) -> Effect | None:
        """Return the effect on this call, None where there is none."""
        return self.effect(call) if self.strikes() else None

    def effect(self, call: Call) -> Effect | None:
        """Return the effect on a call that comes while the fault is on."""
        raise NotImplementedError


class ReplicaBehaviour(Behaviour):
    """A trouble of the replicas, or of their pages."""

    stage: ReplicaStage
    recovers_within = RECOVERS_WITHIN
