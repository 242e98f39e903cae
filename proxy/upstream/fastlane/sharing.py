"""Shared by the lanes to one mirror: connections that are free at one and wanted at another, and how far away the mirror is."""

from collections import deque
from typing import Protocol

from proxy.upstream.fastlane.connection import Connection

_NEARBY = 0.005
"""Seconds within which a connection to a mirror nearby is made; over TLS, which takes two round trips, twice as long."""


class Lender(Protocol):
    """A lane that may lend."""

    @property
    def connections(self) -> int:
        """How many connections there are."""

    def spared(self) -> Connection | None:
        """Return a connection that is free and stays so, and forget it; None if there is none, or if it is the last one.

        Where a mirror takes few connections, no lane is to be left with none.
        """


class Sharing:
    """All that lanes to one origin by one TLS context share. Each sends its own headers, so that a connection is as good at any of them."""

    def __init__(self) -> None:
        self._lanes: list[Lender] = []
        self._dialled: deque[bool] = deque(maxlen=8)

    def join(self, lane: Lender) -> None:
        """Count this lane among those that lend and borrow."""
        self._lanes.append(lane)

    def leave(self, lane: Lender) -> None:
        """Count it no more."""
        if lane in self._lanes:
            self._lanes.remove(lane)

    def borrowed(self, by: Lender) -> Connection | None:
        """Return a free connection of another lane than this one, None if there is none."""
        for lane in self._lanes:
            connection = None if lane is by else lane.spared()
            if connection is not None:
                return connection
        return None

    @property
    def connections(self) -> int:
        """How many connections there are at all lanes."""
        return sum(lane.connections for lane in self._lanes)

    def dialled(self, seconds: float, *, tls: bool) -> None:
        """Note that a connection was made within so many seconds."""
        self._dialled.append(seconds < (2 * _NEARBY if tls else _NEARBY))

    @property
    def nearby(self) -> bool:
        """True if a connection is there before many answers are: some of the last ones were; others may have waited for the processor."""
        return any(self._dialled)
