"""Telling a resolver at work, which asks for many pages at once, from somebody who asks for one.

During a burst a page is served as soon as what a resolver reads first is verified, since the gate bridges the rest;
what else the budget allows is asked when the burst is over.
"""

import asyncio
from collections import deque
from collections.abc import Callable

_PAGES = 3
_WITHIN = 0.5
_LOOK = 0.05


class Burst:
    """Counts pages as they are asked for; times are in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrivals: deque[float] = deque(maxlen=_PAGES)

    def arrived(self, now: float) -> None:
        """Notes that a page was asked for."""
        self._arrivals.append(now)

    def lasts(self, now: float) -> bool:
        """Whether several pages were asked for within the last moments."""
        return len(self._arrivals) == _PAGES and now - self._arrivals[0] < _WITHIN

    async def calm(self, longest: float) -> None:
        """Waits until the burst is over, at most `longest` seconds."""
        for _ in range(int(longest / _LOOK)):
            if not self.lasts(self._clock()):
                return
            await asyncio.sleep(_LOOK)
