"""The result of a history, and the silence in which it runs."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from tests.simulation.oracle import Tally


@dataclass
class Report:
    """The result of a history. It is `sound` where no promise was broken."""

    seed: int
    behaviours: list[str]
    world: list[str]
    events: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    exact: bool = True
    listed: int = 0
    asked: int = 0
    most_asked: int = 0

    @property
    def violations(self) -> list[str]:
        return self.tally.violations

    @property
    def sound(self) -> bool:
        return not self.tally.violations

    def __str__(self) -> str:
        lines = [f"seed {self.seed}", *self.world, *(f"  {each}" for each in self.behaviours), *self.events]
        if self.tally.drops:
            lines.append(f"dropped by chance: {', '.join(self.tally.drops)}")
        return "\n".join([*lines, *(f"!! {each.strip()}" for each in self.violations)])


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing meanwhile."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), processors=[], cache_logger_on_first_use=False
    )
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
        structlog.configure(**before)
