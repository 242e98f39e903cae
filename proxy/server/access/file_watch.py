"""When a changed file is to be read: once nobody writes to it any more.

Rules for this file: pure. A file that is half written names half of the users, or half a token.
"""

from enum import Enum, auto
from typing import Generic, TypeVar

State = TypeVar("State")

_LOOKS = 5


class Change(Enum):
    """What is to be done after a look at the files."""

    NONE = auto()
    LOOK_SOON = auto()
    """They have changed since the last look: look again soon."""
    READ = auto()
    """They have changed, and then stayed the same over two looks."""
    READ_COMPLETE_LINES = auto()
    """They change at every look: read them all the same, but not what is being written."""


class FileWatch(Generic[State]):
    """Compares states of files, of which `read` is the one that was read last."""

    def __init__(self, read: State | None) -> None:
        self._read = read
        self._before: State | None = None
        self._looks = 0

    def look(self, state: State) -> Change:
        """Return what is to be done about `state`, which is that of now."""
        if state == self._read:
            self._before, self._looks = None, 0
            return Change.NONE
        if state == self._before:
            self._read, self._before, self._looks = state, None, 0
            return Change.READ
        self._before = state
        self._looks += 1
        if self._looks < _LOOKS:
            return Change.LOOK_SOON
        self._looks = 0
        return Change.READ_COMPLETE_LINES
