"""Backoff from what failed: each is left alone for a while, the longer the more often it failed in a row."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.errors import UpstreamBroke, UpstreamStatus
from proxy.index.checked import OtherContent

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds after a failure, and after many in a row. uv and pip retry for some 6 s in all, and are to win against a single failure."""

_LONGEST_PASSING = 10.0
"""Seconds of the longest pause after a single failure of which nobody but the next request takes notice."""

_LONGEST_WISH = 3600.0
"""Seconds for which a server may ask to be left alone (Retry-After), at most."""

_SHORT_WISH = 2.0
"""Seconds of the longest Retry-After that a request waits for itself."""

_REMEMBERED = 20_000
"""Failures that are remembered in all; the oldest are forgotten first."""


@dataclass(slots=True)
class _Row:
    failures: int
    began: float
    seconds: float
    passing: bool = False
    eased: bool = False

    @property
    def lasts(self) -> bool:
        return not self.eased and not (self.passing and self.failures == 1 and self.seconds <= _LONGEST_PASSING)


class FailureBackoff:
    """Remembers failures by group and key, so many at most in all. `clock` tells the seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._rows: dict[str, dict[str, _Row]] = {}
        self._order: OrderedDict[tuple[str, str], None] = OrderedDict()

    def failed(
        self, group: str, key: str, *, at_least: float = 0.0, cost: float = 0.0, since: float | None = None, passing: bool = False
    ) -> float:
        """Note a failure, and return for how many seconds it is left alone: `at_least` so many, within reason.

        One that is `passing`, and the first in a row, is taken notice of by nobody but the next request. `cost` is how many seconds were
        waited for it: the pauses grow from half of that. Failures of requests that were under way together count as one: `since` is when
        the one that failed began, in seconds since the epoch.
        """
        rows = self._rows.setdefault(group, {})
        row = rows.get(key)
        together = self.rests(group, key) or (row is not None and since is not None and since < row.began)
        failures = 1 if row is None else row.failures + (not together)
        grown = min(self._longest, max(self._first, cost / 2) * 2.0 ** min(failures - 1, 20))
        rows[key] = _Row(failures, self._clock(), max(grown, min(at_least, _LONGEST_WISH)), passing)
        self._order[group, key] = None
        self._order.move_to_end((group, key))
        seconds = rows[key].seconds
        while len(self._order) > _REMEMBERED:
            self._forget(*next(iter(self._order)))
        return seconds

    def succeeded(self, group: str, key: str) -> None:
        """Note that it works."""
        self._forget(group, key)

    def eased(self, group: str, key: str) -> None:
        """Note that it seems to work: it counts as if it did, but if it fails again, that is one more failure in a row."""
        row = self._rows.get(group, {}).get(key)
        if row is not None:
            row.eased, row.seconds = True, 0.0

    def _forget(self, group: str, key: str) -> None:
        self._order.pop((group, key), None)
        rows = self._rows.get(group)
        if rows is not None and rows.pop(key, None) is not None and not rows:
            del self._rows[group]

    def failing(self, group: str, key: str) -> bool:
        """Return whether it failed the last time, however long ago."""
        row = self._rows.get(group, {}).get(key)
        return row is not None and not row.eased

    def lasts(self, group: str, key: str) -> bool:
        """Return whether it failed the last time, and not in passing."""
        row = self._rows.get(group, {}).get(key)
        return row is not None and row.lasts

    def rests(self, group: str, key: str) -> bool:
        """Return whether it is to be left alone still; one that failed before the clock went back is not."""
        row = self._rows.get(group, {}).get(key)
        return row is not None and 0 <= self._clock() - row.began < row.seconds

    def due(self, group: str) -> list[str]:
        """Return the keys of the group that failed, and may be tried again."""
        return [key for key, row in self._rows.get(group, {}).items() if not row.eased and not self.rests(group, key)]

    def count(self, group: str) -> int:
        """Return how many keys of the group failed the last time."""
        return sum(not row.eased for row in self._rows.get(group, {}).values())

    def lasting(self, group: str) -> int:
        """Return how many keys of the group have a failure that lasts."""
        return sum(row.lasts for row in self._rows.get(group, {}).values())


def asked_to_wait(error: Exception) -> float:
    """Return for how many seconds the server that failed with `error` asked to be left alone (Retry-After), 0 where it did not."""
    return (error.retry_after or 0.0) if isinstance(error, UpstreamStatus) else 0.0


def retry_delay(error: Exception) -> float | None:
    """Return after how many seconds a request that failed with `error` is worth another try at once, None where it is not.

    It is where a server failed in passing, and told so soon: what took its time would take it again.
    """
    if isinstance(error, UpstreamStatus):
        passing = error.status == 429 or error.status >= 500
        return asked_to_wait(error) if passing and asked_to_wait(error) <= _SHORT_WISH else None
    return 0.0 if isinstance(error, UpstreamBroke | OtherContent) else None
