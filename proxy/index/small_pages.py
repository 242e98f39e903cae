"""Pages that list few files, of which all are awaited: as many of them as a mirror bears at once."""

from collections import deque
from collections.abc import Callable

_SMALL = 64
"""Files of a page that waits for all of them, where a probe is cheap: no requirement that is read later can surprise it then."""

_BUDGETS = 5
"""Budgets of one page that may be spent on such pages in all, within `_LATELY`: a page beyond that is one like any other."""

_LATELY = 60.0


def is_small(files: int, budget: int | None) -> bool:
    """Return whether a page of so many files can be awaited as a whole, where `budget` files of one page may be asked about."""
    return files <= (_SMALL if budget is None else min(_SMALL, budget))


class SmallPages:
    """Count the files of small pages, so that what a crowd of these costs the mirror is bounded.

    `clock` tells seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way = 0
        self._ended: deque[tuple[float, int]] = deque()
        self._lately = 0

    def begin(self, files: int, budget: int | None) -> bool:
        """Count so many files that are about to be asked about, until they `end`; return False, and count none, where they are too many.

        `budget` files of one page may be asked about.
        """
        now = self._clock()
        # What ended in the future ended before the clock went back.
        while self._ended and not 0 <= now - self._ended[0][0] < _LATELY:
            self._lately -= self._ended.popleft()[1]
        if files and budget is not None and self._under_way + self._lately + files > _BUDGETS * budget:
            return False
        self._under_way += files
        return True

    def end(self, files: int) -> None:
        """Count these files for a while still."""
        self._under_way -= files
        if files:
            self._ended.append((self._clock(), files))
            self._lately += files
