"""Pages that the mirror failed to give, time and again: it is not asked for them each time that somebody wants one.

The first failures are nobody's fault; from then on the pauses double, up to the time for which a page counts as fresh.
A pause ends with the trouble: now and then one of the pages that somebody waits for is asked for all the same, and once the mirror
gives any page, no other one that failed before is held back for longer than a moment.
"""

from collections import OrderedDict
from copy import copy
from dataclasses import dataclass

from proxy.core.errors import PageUnreadable, UpstreamError

_AT_ONCE = 2
"""Failures in a row after which the mirror is asked again at once."""

_FIRST_PAUSE = 10.0
_REMEMBERED = 5000

_TRIED_EVERY = 2.0
"""Seconds after which one page is asked for although it failed a moment ago: as often as that the end of an outage is looked for."""

_SOON = 2.0
"""Seconds after a failure for which a page is not asked for again, though the mirror gave others since."""

Refusal = UpstreamError | PageUnreadable


def pause_after(failures: int, longest: float) -> float:
    """Gives the seconds to wait after so many failures in a row: ten, then twice as long each time, up to `longest` if that is more."""
    return min(max(_FIRST_PAUSE, longest), _FIRST_PAUSE * 2.0 ** max(0, min(failures, 20) - 1))


@dataclass(slots=True)
class _Row:
    failures: int
    at: float
    error: Refusal


class Refusals:
    """Remembers failures by identity and project; `longest` is the longest pause, in seconds. Times are in seconds since the epoch."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._rows: OrderedDict[tuple[str, str], _Row] = OrderedDict()
        self._tried = self._recovered = float("-inf")

    def standing(self, key: tuple[str, str], now: float) -> Refusal | None:
        """Gives the failure that still stands at `now`, None where the mirror is to be asked."""
        row = self._rows.get(key)
        if row is None or row.failures <= _AT_ONCE or not self.rests(row.at, row.failures - _AT_ONCE, now):
            return None
        # One error raised for many would hold the frames, and so the requests, of all of them.
        return copy(row.error)

    def rests(self, failed: float, failures: int, now: float) -> bool:
        """Return whether a page that failed so often, the last time at `failed`, is to be left alone at `now`.

        Where it is not, it is asked for: then it is the one that finds out whether the mirror is back.
        """
        age = now - failed
        if not 0 <= age < pause_after(failures, self._longest):
            return False
        if failed <= self._recovered <= now:
            return age < _SOON
        if 0 <= now - self._tried < _TRIED_EVERY:
            return True
        self._tried = now
        return False

    def lasts(self, key: tuple[str, str]) -> bool:
        """Whether it failed the last time."""
        return key in self._rows

    def failed(self, key: tuple[str, str], now: float, error: Refusal) -> None:
        """Notes a failure."""
        row = self._rows.pop(key, None)
        self._rows[key] = _Row(1 if row is None else row.failures + 1, now, copy(error))
        if len(self._rows) > _REMEMBERED:
            self._rows.popitem(last=False)

    def succeeded(self, key: tuple[str, str], now: float) -> None:
        """Notes that the mirror gave the page."""
        self._rows.pop(key, None)
        self.recovered(now)

    def recovered(self, now: float) -> None:
        """Note that the mirror does its work: it gave a page or a file."""
        self._recovered = now
