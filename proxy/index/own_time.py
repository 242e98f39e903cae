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
        self._beats = False

    @contextmanager
    def watched(self) -> Iterator[Callable[[], float]]:
        """Give what tells for how many seconds the loop was held up since, `_MOST` at most."""
        before = self._held_up
        self._watchers += 1
        if not self._beats:
            self._begin_beat()
        try:
            yield lambda: min(self._held_up - before, _MOST)
        finally:
            self._watchers -= 1

    def _begin_beat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _BEAT
        loop.call_at(due, self._look, due)
        self._beats = True

    def _look(self, due: float) -> None:
        late = asyncio.get_running_loop().time() - due
        if late > _BEAT:
            self._held_up += late
        self._beats = False
        if self._watchers:
            self._begin_beat()
