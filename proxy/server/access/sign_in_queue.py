"""Which password is checked next, where more wait than can be checked at once.

Rules for this file: pure. Nothing here waits, and the time (seconds, of any clock that does not go back) is an argument.
"""

import math
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

WAITING_AT_MOST = 2048
"""Requests that may wait, those of known sign-ins not counted in."""
OF_ONE_USER = 32
"""Checks for one user name that may wait or be under way, whichever clients they come from."""
OF_ONE_USER_AND_CLIENT = 16
"""Checks of one client for one user that may wait or be under way; all names that no account has are one user."""

_FORGIVEN_BY_HALF = 60.0
"""Seconds after which a wrong password weighs half."""
_RECORDS = 10_000


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
    """What is known of a client or a user: wrong passwords, of which older ones weigh less, and when the last check began."""

    wrong: float = 0.0
    at: float = 0.0
    begun: int = 0

    def weight(self, now: float) -> float:
        return self.wrong * 0.5 ** ((now - self.at) / _FORGIVEN_BY_HALF) if self.wrong else 0.0

    def level(self, now: float) -> int:
        return int(math.log2(1.0 + self.weight(now)))


class SignInQueue:
    """Orders entries so that whoever guesses waits longest.

    1. Proven ones go first. There is one for each account at most, so that nobody can fill the queue with them.
    2. Then those whose client and user have the fewest wrong passwords lately, in powers of two. A guesser who takes one address moves
       behind all others by the first few guesses; many addresses that guess one user move behind by that user. Names that no account
       has weigh as one user, so that a new name for each guess gains nothing.
    3. Among equals clients have turns, of one client its users have, and of one user the first to come is the first.

    If there is no room, an entry that would be served later makes room for one that would be served sooner.
    """

    def __init__(self, waiting_at_most: int = WAITING_AT_MOST) -> None:
        self._most = waiting_at_most
        self._entries: list[Entry] = []
        self._proven: deque[Entry] = deque()
        self._pending: Counter[Hashable] = Counter()
        self._waiting_of: Counter[str] = Counter()
        self._records: dict[Hashable, _Record] = {}
        self._joined = 0
        self._begun = 0

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._entries) + len(self._proven)

    def join(self, entry: Entry, now: float) -> Entry | None:
        """Let `entry` wait; return the entry that has to leave for it, if any. Raise QueueFull if it may not wait itself."""
        self._joined += 1
        entry.number = self._joined
        if entry.proven:
            self._proven.append(entry)
            self._count(entry, 1)
            return None
        leaves = self._make_room(entry, now)
        self._entries.append(entry)
        self._waiting_of[entry.client] += 1
        self._count(entry, 1)
        return leaves

    def leave(self, entry: Entry) -> None:
        """Forget an entry that waits."""
        self._remove(entry)
        self._count(entry, -1)

    def begin(self, now: float) -> Entry | None:
        """Return the entry whose password is to be checked now, which waits no longer; None if none waits."""
        if self._proven:
            entry = self._proven[0]
        elif self._entries:
            entry = min(self._entries, key=lambda each: self._rank(each, now))
        else:
            return None
        self._remove(entry)
        self._begun += 1
        for key in _keys(entry):
            self._record(key).begun = self._begun
        return entry

    def end(self, entry: Entry, now: float, *, wrong: bool) -> None:
        """Note that the check of an entry is over, and whether its password was wrong."""
        self._count(entry, -1)
        if wrong:
            for key in (_client(entry), _user(entry)):
                record = self._record(key)
                record.wrong, record.at = record.weight(now) + 1.0, now

    def _make_room(self, entry: Entry, now: float) -> Entry | None:
        of_one = [each for each, most in ((_both(entry), OF_ONE_USER_AND_CLIENT), (_user(entry), OF_ONE_USER)) if self._full(each, most)]
        if of_one:
            rivals: Iterable[Entry] = (each for each in self._entries if of_one[0] in _keys(each))
        elif len(self._entries) >= self._most or self._waiting_of[entry.client] >= 2 * (self._most - len(self._entries)):
            # As with downloads, a client has at most twice as many places as are free, so that some are left for the next one.
            rivals = self._entries
        else:
            return None
        last = max(rivals, key=lambda each: self._rank(each, now), default=None)
        if last is None or self._level(last, now) <= self._level(entry, now):
            raise QueueFull
        self.leave(last)
        return last

    def _full(self, key: Hashable, most: int) -> bool:
        # Names that no account has are limited for each client alone.
        return key != (None,) and self._pending[key] >= most

    def _rank(self, entry: Entry, now: float) -> tuple[int, int, int, int]:
        turn_of_client, turn_of_both = self._begun_of(_client(entry)), self._begun_of(_both(entry))
        return self._level(entry, now), turn_of_client, turn_of_both, entry.number

    def _level(self, entry: Entry, now: float) -> int:
        records = (self._records.get(key) for key in (_client(entry), _user(entry)))
        return sum(record.level(now) for record in records if record is not None)

    def _begun_of(self, key: Hashable) -> int:
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
        self._entries.remove(entry)
        self._waiting_of[entry.client] -= 1
        if not self._waiting_of[entry.client]:
            del self._waiting_of[entry.client]

    def _count(self, entry: Entry, change: int) -> None:
        for key in (_user(entry), _both(entry)):
            self._pending[key] += change
            if not self._pending[key]:
                del self._pending[key]


def _client(entry: Entry) -> Hashable:
    return entry.client


def _user(entry: Entry) -> Hashable:
    return (entry.user,)


def _both(entry: Entry) -> Hashable:
    return entry.client, entry.user


def _keys(entry: Entry) -> tuple[Hashable, Hashable, Hashable]:
    return _client(entry), _user(entry), _both(entry)
