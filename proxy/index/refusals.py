"""Pages that the mirror failed to give, time and again: it is not asked for them each time that somebody wants one.

The first failures are nobody's fault; from then on the pauses double, up to the time for which a page counts as fresh.
"""

from collections import OrderedDict
from copy import copy
from dataclasses import dataclass

from proxy.core.errors import PageUnreadable, UpstreamError

_AT_ONCE = 2
"""Failures in a row after which the mirror is asked again at once."""

_FIRST_PAUSE = 10.0
_REMEMBERED = 5000

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

    def standing(self, key: tuple[str, str], now: float) -> Refusal | None:
        """Gives the failure that still stands at `now`, None where the mirror is to be asked."""
        row = self._rows.get(key)
        if row is None or row.failures <= _AT_ONCE:
            return None
        # One error raised for many would hold the frames, and so the requests, of all of them.
        return copy(row.error) if now - row.at < pause_after(row.failures - _AT_ONCE, self._longest) else None

    def lasts(self, key: tuple[str, str]) -> bool:
        """Whether it failed the last time."""
        return key in self._rows

    def failed(self, key: tuple[str, str], now: float, error: Refusal) -> None:
        """Notes a failure."""
        row = self._rows.pop(key, None)
        self._rows[key] = _Row(1 if row is None else row.failures + 1, now, copy(error))
        if len(self._rows) > _REMEMBERED:
            self._rows.popitem(last=False)

    def succeeded(self, key: tuple[str, str]) -> None:
        """Notes that the mirror gave the page."""
        self._rows.pop(key, None)
