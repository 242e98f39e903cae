"""When a changed file is to be read: once nobody writes to it any more.

Rules for this file: pure. A file that is half written names half of the users, or half a token.
"""

from enum import Enum, auto
from typing import TypeAlias

AT_REST = 2.0
"""Seconds for which a file has to stay as it is before its end counts: nobody writes to it any more."""
LOOKS = 5
"""Looks in a row that may each find another state; after that only whole lines are read."""

Mark: TypeAlias = tuple[int, int, int] | None
"""A state of a file: when it was written (ns since the epoch), its size in bytes and its inode; None if there is no file."""
Marks: TypeAlias = tuple[Mark, ...]


class Change(Enum):
    """The next step after a look at the files."""

    NONE = auto()
    LOOK_SOON = auto()
    """They have changed since the last look: look again soon."""
    READ = auto()
    """They have changed, and then stayed the same over two looks."""
    READ_COMPLETE_LINES = auto()
    """They change at every look: read them all the same, but not what is being written."""


class FileWatch:
    """Compares states of files, of which `read` is the one that was read last (None: they have to be read)."""

    def __init__(self, read: Marks | None) -> None:
        self._read = read
        self._before: Marks | None = None
        self._looks = 0

    def look(self, state: Marks) -> Change:
        """Return what is to be done about `state`, which is that of now."""
        if state == self._read:
            self._before, self._looks = None, 0
            return Change.NONE
        if state == self._before:
            self._read, self._before, self._looks = state, None, 0
            return Change.READ
        self._before = state
        self._looks += 1
        if self._looks < LOOKS:
            return Change.LOOK_SOON
        self._looks = 0
        return Change.READ_COMPLETE_LINES
