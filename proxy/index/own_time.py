"""The time for which a page is patient with the mirror: without that for which this process itself was held up.

A paused container, a machine that is short of processors or a long collection of garbage lets seconds pass in which the answers
of the mirror are there and nobody reads them. That is no delay of the mirror's.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BEAT = 0.05
"""Seconds after which it is looked at whether the loop of this process still turns. What it is late by less than that, is no matter."""

_MOST = 2.0
"""Seconds that one page is given back at most: where there is no end to it, the page is served all the same."""


class OwnTime:
    """Measure for how long the loop of this process is held up, as long as somebody watches."""

    def __init__(self) -> None:
        self._held_up = 0.0
        self._watchers = 0
        self._due: float | None = None

    @contextmanager
    def watched(self) -> Iterator[Callable[[], float]]:
        """Give what tells for how many seconds the loop was held up since, `_MOST` at most."""
        # Where it is held up already, and that was not looked at yet, what has passed is not the watcher's.
        before = self._held_up + self._late()
        self._watchers += 1
        if self._due is None:
            self._begin_beat()
        try:
            yield lambda: max(0.0, min(self._held_up - before, _MOST))
        finally:
            self._watchers -= 1

    def _begin_beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _BEAT
        loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._held_up += self._late()
        self._due = None
        if self._watchers:
            self._begin_beat()

    def _late(self) -> float:
        """Return for how many seconds the loop has been held up by now since it was looked at."""
        late = 0.0 if self._due is None else asyncio.get_running_loop().time() - self._due
        return late if late > _BEAT else 0.0
