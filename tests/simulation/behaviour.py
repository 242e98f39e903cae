"""The base of a simulated mirror's behaviours, and the means that one may use as it is drawn.

A behaviour says what it means for the oracle: `exact`, that a healthy file may never leave a page for it (else chance decides, and the
rate of wrong drops is counted); `control`, within how many views a dead file leaves the page in spite of it (None: no promise);
`pages_may_fail` and `trouble`, when pages may be refused, and when the mirror is not well.
"""

from collections.abc import Callable
from random import Random
from typing import ClassVar

from tests.simulation.simulated_mirror import Incoming, Outcome, Told
from tests.simulation.virtual_loop import VirtualLoop, WallClock
from tests.simulation.world import World


class Stage:
    """The means that a behaviour may use as it is drawn: `moments` are when clients act, `end` when they stop (the loop's seconds)."""

    def __init__(self, rng: Random, world: World, loop: VirtualLoop, clock: WallClock, moments: list[float], end: float) -> None:
        self.rng = rng
        self.world = world
        self.loop = loop
        self.clock = clock
        self.moments = moments
        self.end = end
        self.restart: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = lambda _: None

    def moment(self) -> float:
        """Draw a moment in which something may begin or end: often in the middle of what a client has just set off."""
        if self.rng.random() < 0.6:
            return self.rng.choice(self.moments) + self.rng.random() * self.rng.choice((0.05, 0.3, 2.0))
        return self.rng.random() * self.end

    def at(self, moment: float, words: str, do: Callable[[], None]) -> None:
        """Have `do` done then."""

        def happen() -> None:
            self.note(words)
            do()

        self.loop.call_at(moment, happen)


class Behaviour:
    """None of its own."""

    exact: ClassVar[bool] = True
    control: int | None = 3
    slack: int = 0
    """So many more views may pass before a file that was restored is back."""
    files_may_hang: ClassVar[bool] = False
    """Set if a file that is there may still take longer than clients wait."""
    slow_pages: frozenset[str] = frozenset()
    """Projects whose pages may be served stale while a newer one is on its way."""
    before_all: ClassVar[bool] = False
    after_all: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __str__(self) -> str:
        facts = {
            name: value for name, value in vars(self).items() if not name.startswith("_") and name not in {"stage", "control", "slack"}
        }
        return f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in facts.items())})"

    def before(self, request: Incoming) -> Outcome | None:
        del request
        return None

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        del request
        return outcome

    def left(self, request: Incoming) -> None:
        del request

    def pages_may_fail(self, since: float, until: float) -> set[Told]:
        """Return how pages may have been refused between these moments."""
        del since, until
        return set()

    def trouble(self, since: float, until: float) -> bool:
        """Return whether the mirror was in trouble between these moments, so that nothing has to be learned by then."""
        del since, until
        return False

    def end(self) -> None:
        """End, as the last phase of a history begins."""


class Spell(Behaviour):
    """A behaviour that lasts from `since` until `until`: the mirror is in trouble for that time."""

    since: float
    until: float

    def trouble(self, since: float, until: float) -> bool:
        return since < self.until and until > self.since

    def end(self) -> None:
        self.until = min(self.until, self.stage.loop.now)


def _short(value: object) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if len(text) < 300 else f"{text[:300]}…"
