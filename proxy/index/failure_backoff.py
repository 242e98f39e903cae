"""Backoff from what failed: each is left alone for a while, the longer the more often it failed in a row."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.errors import UpstreamStatus

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds after a failure, and after many in a row. uv and pip try again for some six seconds: one hiccup must not outlast that."""

_LONGEST_WISH = 3600.0
"""Seconds for which a server may ask to be left alone (Retry-After), at most."""

_REMEMBERED = 20_000
"""Failures that are remembered in all; the oldest are forgotten first."""


@dataclass(slots=True)
class _Row:
    failures: int
    began: float
    seconds: float


class FailureBackoff:
    """Remembers failures by group and key, so many at most in all. `clock` tells the seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._rows: dict[str, dict[str, _Row]] = {}
        self._order: OrderedDict[tuple[str, str], None] = OrderedDict()

    def failed(self, group: str, key: str, *, at_least: float = 0.0) -> float:
        """Note a failure, and return for how many seconds it is left alone: `at_least` so many, within reason.

        Failures of requests that were under way together count as one.
        """
        together = self.rests(group, key)
        rows = self._rows.setdefault(group, {})
        row = rows.get(key)
        failures = 1 if row is None else row.failures + (not together)
        grown = min(self._longest, self._first * 2.0 ** min(failures - 1, 20))
        rows[key] = _Row(failures, self._clock(), max(grown, min(at_least, _LONGEST_WISH)))
        self._order[group, key] = None
        self._order.move_to_end((group, key))
        seconds = rows[key].seconds
        while len(self._order) > _REMEMBERED:
            self._forget(*next(iter(self._order)))
        return seconds

    def succeeded(self, group: str, key: str) -> None:
        """Note that it works."""
        self._forget(group, key)

    def _forget(self, group: str, key: str) -> None:
        self._order.pop((group, key), None)
        rows = self._rows.get(group)
        if rows is not None and rows.pop(key, None) is not None and not rows:
            del self._rows[group]

    def failing(self, group: str, key: str) -> bool:
        """Return whether it failed the last time, however long ago."""
        return key in self._rows.get(group, ())

    def rests(self, group: str, key: str) -> bool:
        """Return whether it is to be left alone still; one that failed before the clock went back is not."""
        row = self._rows.get(group, {}).get(key)
        return row is not None and 0 <= self._clock() - row.began < row.seconds

    def due(self, group: str) -> list[str]:
        """Return the keys of the group that failed, and may be tried again."""
        return [key for key in self._rows.get(group, ()) if not self.rests(group, key)]

    def count(self, group: str) -> int:
        """Return how many keys of the group failed the last time."""
        return len(self._rows.get(group, ()))


def asked_to_wait(error: Exception) -> float:
    """Return for how many seconds the server that failed with `error` asked to be left alone (Retry-After), 0 where it did not."""
    return (error.retry_after or 0.0) if isinstance(error, UpstreamStatus) else 0.0
