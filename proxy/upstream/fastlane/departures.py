"""Requests that are about to leave: when they do, and which of them share a connection.

Of a mirror that is known to be a plain file server several HEADs may follow each other on one connection without waiting for the answers
(RFC 9112, 9.3.2). Of the answers to such only a plain 200 is believed: whatever else comes is asked for again alone, so that
an answer taken for another one costs a request and no file.
"""

from proxy.core.flows.exchange import Method
from proxy.upstream.fastlane.connection import Connection, Request

_HEAD = Method.HEAD

_ALONE_FOR = 600.0
"""Seconds for which requests go alone after a server did not answer those that followed each other, as it should."""


class Departures:
    """The requests that leave when all answers that have come are read, at most `together` on one connection."""

    __slots__ = ("_alone_until", "_together", "groups")

    def __init__(self, together: int) -> None:
        self._together = together
        self._alone_until = float("-inf")
        self.groups: list[tuple[Connection, list[Request]]] = []

    def joins(self, request: Request, now: float) -> bool:
        """Lets `request` leave right behind the one before, where both may share a connection, and says whether it does."""
        if self._together == 1 or not self.groups or now < self._alone_until or not _may_share(request):
            return False
        group = self.groups[-1][1]
        if len(group) >= self._together or not _may_share(group[0]):
            return False
        group.append(request)
        return True

    def add(self, connection: Connection, request: Request) -> bool:
        """Lets `request` leave on `connection`, and says whether it is the first one that leaves."""
        self.groups.append((connection, [request]))
        return len(self.groups) == 1

    def take(self) -> list[tuple[Connection, list[Request]]]:
        """Gives those that leave now."""
        groups, self.groups = self.groups, []
        return groups

    def failed(self, now: float) -> None:
        """Lets each request go alone for a while: what followed on one connection was not answered as it should."""
        self._alone_until = now + _ALONE_FOR


def _may_share(request: Request) -> bool:
    return request.ask.method is _HEAD and not request.alone
