"""What was asked and dropped, minute by minute, for a look back over the last hours."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.telemetry.counts import MirrorCounts

MINUTES = 120
_EVERY = 5.0


@dataclass(slots=True)
class Minute:
    """One minute: when it began (seconds since the epoch, a multiple of 60), probes answered, and files that left a page."""

    began: int
    probes: int = 0
    dropped: int = 0


class History:
    """The last `MINUTES` minutes of all mirrors together. Times are in seconds since the epoch."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._seen = (0, 0)

    def look(self, now: float, counts: Mapping[str, MirrorCounts]) -> None:
        """Adds what was counted since the last look to the minute of `now`."""
        probes = sum(sum(each.probes.values()) for each in counts.values())
        dropped = sum(sum(each.dropped.values()) for each in counts.values())
        began = int(now // 60 * 60)
        if not self._minutes or self._minutes[-1].began < began:
            self._minutes.append(Minute(began))
        minute = self._minutes[-1]
        minute.probes += probes - self._seen[0]
        minute.dropped += dropped - self._seen[1]
        self._seen = probes, dropped

    def minutes(self, now: float) -> list[Minute]:
        """Gives all minutes up to that of `now`, oldest first; those without anything are among them."""
        last = int(now // 60 * 60)
        known = {minute.began: minute for minute in self._minutes}
        return [known.get(began, Minute(began)) for began in range(last - 60 * (MINUTES - 1), last + 1, 60)]

    async def watch(self, clock: Callable[[], float], counts: Mapping[str, MirrorCounts]) -> None:
        """Looks every few seconds until it is cancelled."""
        while True:
            self.look(clock(), counts)
            await asyncio.sleep(_EVERY)
