"""How much of the proxy one client may have at a time: what is too much waits its turn, and what would wait too long is refused.

`Turns` are limits that somebody set; `Shares` hold always, and leave places for others however much one client wants.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.core.errors import TooManyRequests

_PATIENCE = 5.0
"""Seconds for which a request waits for its turn: pip gives up after 15, and the mirror wants its time, too."""

_IN_A_ROW = 10.0
"""So many seconds' worth of requests may come at once, as a resolver's do."""

_WAITING = 256
_CLIENTS = 10_000


@dataclass(slots=True, eq=False)
class _Client:
    """One client: its `places`, how many requests are under way or wait, and the time at which they would end if they came evenly."""

    places: asyncio.Semaphore | None
    requests: int = 0
    waiting: int = 0
    even: float = float("-inf")


class Turns:
    """Lets each client have `at_once` requests under way, and begin `per_second` of them; None is no bound. `clock` tells seconds."""

    def __init__(self, at_once: int | None, per_second: float | None, clock: Callable[[], float]) -> None:
        self._at_once = at_once
        self._interval = None if per_second is None else 1.0 / per_second
        self._clock = clock
        self._clients: dict[str, _Client] = {}

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits until `client` may have another request, which lasts as long as the block; raises TooManyRequests where it may not."""
        known = self._known(client)
        if known.waiting >= _WAITING:
            raise TooManyRequests(client, 1.0)
        delay = self._delay(client, known)
        known.requests += 1
        try:
            known.waiting += 1
            try:
                await self._wait(client, known, delay)
            finally:
                known.waiting -= 1
            try:
                yield
            finally:
                if known.places is not None:
                    known.places.release()
        finally:
            known.requests -= 1

    def begin_at_once(self, client: str) -> bool:
        """Return whether a request of `client` that takes no time may begin now, and count it then; if not, nothing is counted."""
        known = self._known(client)
        if known.waiting or (known.places is not None and known.places.locked()):
            return False
        if self._interval is not None:
            now = self._clock()
            even = self._even(known, now, self._interval)
            if even > now:
                return False
            known.even = even
        return True

    async def _wait(self, client: str, known: _Client, delay: float) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        if known.places is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await known.places.acquire()
            except TimeoutError:
                raise TooManyRequests(client, 1.0) from None

    def _delay(self, client: str, known: _Client) -> float:
        """Return how many seconds the next request has to wait for its rate, and count it: generic cell rate algorithm (ITU-T I.371)."""
        if self._interval is None:
            return 0.0
        now = self._clock()
        even = self._even(known, now, self._interval)
        if even - now > _PATIENCE:
            raise TooManyRequests(client, even - now - _PATIENCE)
        known.even = even
        return even - now

    def _even(self, known: _Client, now: float, interval: float) -> float:
        return max(known.even, now - max(_IN_A_ROW, interval)) + interval

    def _known(self, client: str) -> _Client:
        known = self._clients.get(client)
        if known is None:
            if len(self._clients) >= _CLIENTS:
                self._forget_who_is_done()
            known = self._clients[client] = _Client(None if self._at_once is None else asyncio.Semaphore(self._at_once))
        return known

    def _forget_who_is_done(self) -> None:
        long_ago = self._clock() - max(_IN_A_ROW, self._interval or 0.0)
        self._clients = {name: each for name, each in self._clients.items() if each.requests or each.even > long_ago}


class Shares:
    """Divides so many `places` among clients.

    Each client may have `_GREED` times as many as are free, so that some always stay free for the next one, however few clients there are:
    a queue with a dynamic threshold (Choudhury and Hahne, 1998). A client that wants more waits for at most `patience` seconds.
    """

    _GREED = 2

    def __init__(self, places: int, patience: float = _PATIENCE) -> None:
        self._free = places
        self._patience = patience
        self._held: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Wait until `client` may have another place, which lasts as long as the block; raise TooManyRequests where it may not."""
        if self._may(client):
            self._take(client)
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._give_back(client)

    def _may(self, client: str) -> bool:
        return self._held[client] < self._GREED * self._free

    def _take(self, client: str) -> None:
        self._free -= 1
        self._held[client] += 1

    def _give_back(self, client: str) -> None:
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        left: deque[tuple[str, asyncio.Future[None]]] = deque()
        for other, turn in self._waiting:
            if turn.done():
                continue
            if self._may(other):
                self._take(other)
                turn.set_result(None)
            else:
                left.append((other, turn))
        self._waiting = left

    async def _wait(self, client: str) -> None:
        if len(self._waiting) >= _CLIENTS:
            raise TooManyRequests(client, 1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((client, turn))
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():
                return
            raise TooManyRequests(client, self._patience) from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(client)
            raise
