"""Which password is checked next, where more wait than can be checked at once.

Rules for this file: pure. Nothing here waits, and the time (seconds, of any clock that does not go back) is an argument.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

WAITING_AT_MOST = 2048
"""Requests that may wait, those of known sign-ins not counted in."""
OF_ONE_USER = 32
"""Checks for one user name that may wait or be under way, whichever clients they come from."""
OF_ONE_USER_AND_CLIENT = 16
"""Checks of one client for one user that may wait or be under way; all names that no account has are one user."""

_FORGIVEN_BY_HALF = 60.0
"""Seconds after which a wrong password weighs half."""
_RECORDS = 10_000
_LOOKED_AT = 16
"""Lanes that are looked at to find one that makes room: to refuse somebody must cost next to nothing."""


@dataclass(slots=True, eq=False)
class Entry:
    """A password to be checked, which the address `client` sent for `user` (None for a name that no account has).

    `proven` says that this password was right for this user before.
    """

    client: str
    user: str | None
    proven: bool = False
    number: int = field(default=0, init=False)
    waits: bool = field(default=True, init=False)


class QueueFull(Exception):
    """There is no room for another entry of this client or this user."""


@dataclass(slots=True)
class _Record:
    """The record of a client or a user: wrong passwords, of which older ones weigh less, and when the last check began."""

    wrong: float = 0.0
    at: float = 0.0
    begun: int = 0

    def weight(self, now: float) -> float:
        return self.wrong * 0.5 ** ((now - self.at) / _FORGIVEN_BY_HALF) if self.wrong else 0.0

    def level(self, now: float) -> int:
        return int(math.log2(1.0 + self.weight(now)))


@dataclass(slots=True, eq=False)
class _Lane:
    """The entries of one client for one user that wait, in the order in which they came."""

    client: str
    user: str | None
    entries: deque[Entry] = field(default_factory=deque)

    @property
    def key(self) -> "_Key":
        return self.client, self.user


_Key: TypeAlias = tuple[str, str | None]
_Rank: TypeAlias = tuple[int, int, int, int]


class SignInQueue:
    """Orders entries so that those who guess wait longest.

    1. Proven ones go first. There is one for each account at most, so that nobody can fill the queue with them.
    2. Then those whose client and user have the fewest wrong passwords lately, in powers of two. A guesser who takes one address moves
       behind all others by the first few guesses; many addresses that guess one user move behind by that user. Names that no account
       has weigh as one user, so that a new name for each guess gains nothing.
    3. Among equals clients have turns, of one client its users have, and of one user the first to come is the first.

    If there is no room, an entry that would be served later makes room for one that would be served sooner.
    """

    def __init__(self, waiting_at_most: int = WAITING_AT_MOST) -> None:
        self._most = waiting_at_most
        self._proven: deque[Entry] = deque()
        self._lanes: dict[_Key, _Lane] = {}
        self._lanes_of: dict[str, dict[_Key, _Lane]] = {}
        # The rank of a lane only rises while it is in the heap, but for what is forgiven meanwhile: it is looked at again on its turn.
        self._heap: list[tuple[_Rank, _Lane]] = []
        self._waiting = 0
        self._waiting_of: Counter[str] = Counter()
        self._pending: Counter[Hashable] = Counter()
        self._records: dict[Hashable, _Record] = {}
        self._joined = 0
        self._begun = 0

    def __len__(self) -> int:
        """Return how many entries wait."""
        return self._waiting + len(self._proven)

    def join(self, entry: Entry, now: float) -> Entry | None:
        """Let `entry` wait; return the entry that has to leave for it, if any. Raise QueueFull if it may not wait itself."""
        self._joined += 1
        entry.number = self._joined
        if entry.proven:
            self._proven.append(entry)
            self._count(entry, 1)
            return None
        leaves = self._make_room(entry, now)
        lane = self._lanes.get(_both(entry))
        if lane is None:
            lane = self._lanes[_both(entry)] = _Lane(entry.client, entry.user)
            if entry.user is not None:
                self._lanes_of.setdefault(entry.user, {})[lane.key] = lane
        lane.entries.append(entry)
        if len(lane.entries) == 1:
            self._forget_empty_lanes()
            heapq.heappush(self._heap, (self._rank(lane, now), lane))
        self._waiting += 1
        self._waiting_of[entry.client] += 1
        self._count(entry, 1)
        return leaves

    def leave(self, entry: Entry) -> None:
        """Forget an entry that waits."""
        self._remove(entry)
        self._count(entry, -1)

    def begin(self, now: float) -> Entry | None:
        """Return the entry whose password is to be checked now, which waits no longer; None if none waits."""
        entry = self._proven[0] if self._proven else self._first(now)
        if entry is None:
            return None
        self._remove(entry)
        self._begun += 1
        for key in (_client(entry), _both(entry)):
            self._record(key).begun = self._begun
        return entry

    def end(self, entry: Entry, now: float, *, wrong: bool) -> None:
        """Note that the check of an entry is over, and whether its password was wrong."""
        self._count(entry, -1)
        if wrong:
            for key in (_client(entry), _user(entry)):
                record = self._record(key)
                record.wrong, record.at = record.weight(now) + 1.0, now

    def _first(self, now: float) -> Entry | None:
        while self._heap:
            rank, lane = self._heap[0]
            if not lane.entries:
                heapq.heappop(self._heap)
                continue
            current = self._rank(lane, now)
            if current <= rank:
                return lane.entries[0]
            heapq.heapreplace(self._heap, (current, lane))
        return None

    def _forget_empty_lanes(self) -> None:
        if len(self._heap) > 2 * len(self._lanes) + _LOOKED_AT:
            self._heap = [each for each in self._heap if each[1].entries]
            heapq.heapify(self._heap)

    def _make_room(self, entry: Entry, now: float) -> Entry | None:
        if self._pending[_both(entry)] >= OF_ONE_USER_AND_CLIENT:
            raise QueueFull
        if entry.user is not None and self._pending[_user(entry)] >= OF_ONE_USER:
            rivals = list(self._lanes_of.get(entry.user, {}).values())
        elif self._waiting >= self._most or self._waiting_of[entry.client] >= 2 * (self._most - self._waiting):
            # As with downloads, a client has at most twice as many places as are free, so that some are left for the next one.
            rivals = list(islice(self._lanes.values(), _LOOKED_AT))
            for lane in rivals:
                # The next time others are looked at.
                self._lanes[lane.key] = self._lanes.pop(lane.key)
        else:
            return None
        last = max(rivals, key=lambda lane: self._level(lane.key, now), default=None)
        if last is None or self._level(last.key, now) <= self._level(_both(entry), now):
            raise QueueFull
        leaves = last.entries[-1]
        self.leave(leaves)
        return leaves

    def _rank(self, lane: _Lane, now: float) -> _Rank:
        return self._level(lane.key, now), self._turn(lane.client), self._turn(lane.key), lane.entries[0].number

    def _level(self, key: _Key, now: float) -> int:
        client, user = self._records.get(key[0]), self._records.get((key[1],))
        return (0 if client is None else client.level(now)) + (0 if user is None else user.level(now))

    def _turn(self, key: Hashable) -> int:
        record = self._records.get(key)
        return 0 if record is None else record.begun

    def _record(self, key: Hashable) -> _Record:
        record = self._records.pop(key, None)
        if record is None:
            record = _Record()
            if len(self._records) >= _RECORDS:
                # The one that was used longest ago: those who guess are used again and again.
                del self._records[next(iter(self._records))]
        self._records[key] = record
        return record

    def _remove(self, entry: Entry) -> None:
        entry.waits = False
        if entry.proven:
            self._proven.remove(entry)
            return
        lane = self._lanes[_both(entry)]
        lane.entries.remove(entry)
        if not lane.entries:
            # It stays in the heap until its turn, and is passed over then.
            del self._lanes[lane.key]
            if lane.user is not None:
                del self._lanes_of[lane.user][lane.key]
                if not self._lanes_of[lane.user]:
                    del self._lanes_of[lane.user]
        self._waiting -= 1
        self._waiting_of[entry.client] -= 1
        if not self._waiting_of[entry.client]:
            del self._waiting_of[entry.client]

    def _count(self, entry: Entry, change: int) -> None:
        for key in (_user(entry), _both(entry)):
            self._pending[key] += change
            if not self._pending[key]:
                del self._pending[key]


def _client(entry: Entry) -> str:
    return entry.client


def _user(entry: Entry) -> tuple[str | None]:
    return (entry.user,)


def _both(entry: Entry) -> _Key:
    return entry.client, entry.user
