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

_STEPS, _STEP = 32, 0.003
"""In so many steps, with so many seconds between them, all go on who waited for the end of a burst. All at once they would hold up whoever
asks for a page meanwhile, and be a crowd for the mirror."""


_MOST = 256
"""Waiters at most; those who waited longest go on where more come. Each holds a project in memory, and a resolver has about a hundred."""


class Burst:
    """Counts pages as they are asked for; times are in seconds.

    One timer serves all who wait: with one each, thousands of pages behind a burst would keep the event loop busy with nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()
        self._waiting: OrderedDict[asyncio.Future[None], int] = OrderedDict()
        self._looks = 0
        self._next_look: asyncio.TimerHandle | None = None

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
        """Wait until the burst is over, or has lasted too long to wait for; those who waited longest go on first."""
        if not self.lasts(self._clock()):
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        self._waiting[over] = self._looks + int(_LONGEST / _LOOK)
        if self._next_look is None:
            self._next_look = loop.call_later(_LOOK, self._look)
        if len(self._waiting) > _MOST:
            self._let_first_go_on()
        try:
            await over
        finally:
            self._waiting.pop(over, None)
            if not self._waiting and self._next_look is not None:
                self._next_look.cancel()
                self._next_look = None

    def _look(self) -> None:
        self._looks += 1
        self._let_go_on()

    def _let_go_on(self) -> None:
        """Let some of those go on who need not wait any longer, and look again soon where there may be more of them."""
        loop, lasts = asyncio.get_running_loop(), self.lasts(self._clock())
        for _ in range(1 + len(self._waiting) // _STEPS):
            until = next(iter(self._waiting.values()), None)
            if until is None or (lasts and until > self._looks):
                self._next_look = None if until is None else loop.call_later(_LOOK, self._look)
                return
            self._let_first_go_on()
        self._next_look = loop.call_later(_STEP, self._let_go_on) if self._waiting else None

    def _let_first_go_on(self) -> None:
        over, _ = self._waiting.popitem(last=False)
        if not over.done():
            over.set_result(None)
