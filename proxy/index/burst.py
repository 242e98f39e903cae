"""Telling a resolver at work, which asks for many pages at once, from somebody who asks for one.

During a burst a page is served as soon as what a resolver reads first is verified, since the gate bridges the rest;
what else the budget allows is asked when the burst is over.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

_PAGES = 3
_WITHIN = 2.0
_QUIET = 1.0
_LOOK = 0.1
_LONGEST = 30.0


class Burst:
    """Counts pages as they are asked for; times are in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def arrived(self, project: str, now: float) -> None:
        """Notes that the page of `project` was asked for."""
        self._arrivals[project] = now
        self._arrivals.move_to_end(project)
        if len(self._arrivals) > _PAGES:
            self._arrivals.popitem(last=False)

    def lasts(self, now: float) -> bool:
        """Whether several pages were asked for within a few moments, the last of them just now."""
        if len(self._arrivals) < _PAGES:
            return False
        first, *_, last = self._arrivals.values()
        return last - first < _WITHIN and now - last < _QUIET

    async def calm(self) -> None:
        """Waits until the burst is over, or has lasted too long to wait for."""
        for _ in range(int(_LONGEST / _LOOK)):
            if not self.lasts(self._clock()):
                return
            await asyncio.sleep(_LOOK)
