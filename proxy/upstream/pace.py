"""How much is asked of the mirror at once: as much as it bears, and less as soon as it shows strain.

Rules for this file: no clock and no waiting; the time, in seconds of any steady clock, is an argument, and what comes out is how many
requests may start. The window follows TCP's example: it doubles from answer to answer until the first sign of strain, is halved by
each round of requests that shows one, and grows by one a round after that (RFC 5681, 3.1). Rising latency counts as strain as well,
since a mirror that queues what it is asked is slower for everybody else too.
A large window is for distance: where answers come within a few milliseconds it stays small.
"""

from collections.abc import Sequence

START = 64
"""Requests under way at the beginning, where the ceiling allows."""

NEARBY = 64
"""Requests under way that keep a mirror nearby busy: more would only wait there."""

FEW = 4
"""Requests under way at a server that takes a new connection for each: the simplest, such as Python's own, let five of them wait, and
what comes on top is lost and tried again by the system after a second, three, seven."""

FEW_IN_A_CROWD = 4
"""Requests under way at a mirror that denies in a crowd what it delivers to few, at the least."""

_CROWDED_FOR = 3600.0
"""Seconds after which twice as much is tried at such a mirror."""

_NEAR = 0.008
_SLOWER = 2.0
_NOTICEABLE = 0.05
_GENTLER = 0.85
_DRIFT = 1.05
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 60.0
_LEAST_ROUND = 16
_FLOOR = 8.0


class Pace:
    """Lets at most `ceiling` requests be under way, fewer while the mirror shows strain.

    `rate` bounds the background requests per second; None, no bound.
    """

    __slots__ = (
        "_at",
        "_best",
        "_ceiling",
        "_configured",
        "_crowd",
        "_crowded_at",
        "_cut_at",
        "_doubling",
        "_few",
        "_floor",
        "_latencies",
        "_least",
        "_limit",
        "_next_pause",
        "_peak",
        "_rate",
        "_tokens",
        "asked",
        "limit",
        "paused_until",
        "under_way",
    )

    def __init__(self, ceiling: int, *, rate: float | None = None) -> None:
        self.asked = 0
        """Requests begun so far."""
        self.under_way = 0
        """Requests begun and neither ended nor forgotten."""
        self.paused_until = float("-inf")
        """Until when nothing may start, because the mirror asked for a pause."""
        self._ceiling = self._configured = ceiling
        self._few = False
        self._crowd: int | None = None
        self._crowded_at = 0.0
        self.limit = min(START, ceiling)
        """How many requests may be under way at present."""
        self._limit = float(self.limit)
        self._floor = min(_FLOOR, float(ceiling))
        self._doubling = True
        self._cut_at = float("-inf")
        self._next_pause = _FIRST_PAUSE
        self._latencies: list[float] = []
        self._best = self._least = float("inf")
        self._peak = 0
        self._rate = rate
        self._tokens = 1.0
        self._at: float | None = None

    @property
    def least(self) -> float:
        """The shortest time that a good answer took, in seconds; infinite before the first."""
        return self._least

    @property
    def rate(self) -> float | None:
        """The most background requests per second, None where there is no bound."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate

    def narrow(self, *, few: bool) -> None:
        """Keep to FEW requests under way, or open up to the ceiling again."""
        if few is not self._few:
            self._few = few
            self._set_ceiling()

    def crowded(self, now: float) -> None:
        """Halve the window, and keep it so for an hour: the mirror denied in a crowd what it delivers to few."""
        self._crowd = max(min(FEW_IN_A_CROWD, self._configured), self.limit // 2)
        self._crowded_at = now
        self._set_ceiling()

    def _set_ceiling(self) -> None:
        ceiling = min(FEW, self._configured) if self._few else self._configured
        if self._crowd is not None:
            ceiling = min(ceiling, self._crowd)
        if ceiling != self._ceiling:
            self._ceiling = ceiling
            self._floor = min(_FLOOR, float(ceiling))
            self._limit = min(self._limit, float(ceiling))
            self.limit = int(self._limit)

    def room(self, now: float) -> int:
        """Gives how many requests may start; none or less than none while the window is full, or during a pause."""
        return 0 if now < self.paused_until else self.limit - self.under_way

    def background_room(self, now: float) -> int:
        """Gives how many background requests may start: a quarter of the window stays free for who waits for an answer."""
        if now < self.paused_until:
            return 0
        room = max(1, self.limit * 3 // 4) - self.under_way
        if self._rate is None:
            return room
        self._refill(now)
        return min(room, int(self._tokens))

    def background_at(self, now: float) -> float:
        """Gives when the rate lets the next background request start; `now` or earlier where it does already."""
        if self._rate is None:
            return now
        self._refill(now)
        return now + max(0.0, 1.0 - self._tokens) / self._rate

    def began(self, *, background: bool = False) -> None:
        """Counts a request that starts."""
        self.asked += 1
        self.under_way += 1
        if self.under_way > self._peak:
            self._peak = self.under_way
        if background:
            self._tokens -= 1.0

    def forgotten(self) -> None:
        """Counts a request that ended in a way that says nothing of the mirror's strength."""
        self.under_way -= 1

    def answered(self, began: Sequence[float], now: float) -> None:
        """Counts good answers to requests that began then: the window grows where this round made use of it."""
        for each in began:
            limit, latency = self._limit, now - each
            if self._next_pause > _FIRST_PAUSE:
                # Whoever answers others is not to be left alone for longer and longer.
                self._next_pause = max(_FIRST_PAUSE, self._next_pause / 2)
            if latency < self._least:
                self._least = latency
            if limit < self._ceiling and self._peak * 2 >= limit and (limit < NEARBY or self._least > _NEAR):
                self._limit = min(limit + (1.0 if self._doubling else 1.0 / limit), float(self._ceiling))
                self.limit = int(self._limit)
            self.under_way -= 1
            self._latencies.append(latency)
            if len(self._latencies) >= limit and len(self._latencies) >= _LEAST_ROUND:
                self._review(now)

    def strained(self, began: float, now: float, *, pause: bool = False, retry_after: float | None = None) -> None:
        """Counts a request that the mirror could not bear: it timed out, broke, or was refused in passing.

        `pause` where the mirror said that it is asked too much (429, 503); `retry_after` is the pause it wants, in seconds.
        """
        self.under_way -= 1
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + min(retry_after, _LONGEST_PAUSE))
        if began < self._cut_at:
            # It belongs to a round that has been answered for already.
            return
        self._cut(now, 0.5, 1.0)
        if pause and retry_after is None:
            self.paused_until = max(self.paused_until, now + self._next_pause)
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)

    def _cut(self, now: float, factor: float, floor: float) -> None:
        self._limit = max(floor, self._limit * factor)
        self.limit = int(self._limit)
        self._doubling = False
        self._cut_at = now
        self._latencies.clear()

    def _review(self, now: float) -> None:
        """Compares the latency of a round with the best one known; what was best ages, so that a changed mirror is not punished."""
        if self._crowd is not None and now - self._crowded_at > _CROWDED_FOR:
            self._crowd = self._crowd * 2 if self._crowd * 2 < self._configured else None
            self._crowded_at = now
            self._set_ceiling()
        latencies = sorted(self._latencies)
        self._latencies.clear()
        self._peak = self.under_way
        median = latencies[len(latencies) // 2]
        self._best = min(median, self._best * _DRIFT)
        # On a loaded machine the loop's own delays are tens of milliseconds; they say nothing of the mirror.
        if median > _SLOWER * self._best + _NOTICEABLE and self._limit > self._floor:
            self._cut(now, _GENTLER, self._floor)

    def _refill(self, now: float) -> None:
        if self._rate is not None:
            if self._at is not None:
                self._tokens = min(max(1.0, self._rate), self._tokens + max(0.0, now - self._at) * self._rate)
            self._at = now
