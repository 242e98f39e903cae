"""How late the event loop is: what is due now begins so much later, and every request with it."""

import asyncio
from collections import deque

from proxy.telemetry.counts import Durations

_EVERY = 0.25
_LOOKS_BACK = 60.0


class LoopLag:
    """Looks a few times a second how late the loop is; `durations` are in seconds."""

    def __init__(self) -> None:
        self.durations = Durations()
        self._late: deque[tuple[float, float]] = deque()

    def worst(self, now: float) -> float:
        """Gives the longest delay of the last minute, in seconds; `now` is the loop's time."""
        self._let_go(now)
        return max((late for _, late in self._late), default=0.0)

    async def watch(self) -> None:
        """Looks until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            now = loop.time()
            self.note(now, max(0.0, now - due))

    def note(self, now: float, late: float) -> None:
        """Notes one delay."""
        self.durations.add(late)
        self._let_go(now)
        self._late.append((now, late))

    def _let_go(self, now: float) -> None:
        while self._late and now - self._late[0][0] > _LOOKS_BACK:
            self._late.popleft()
