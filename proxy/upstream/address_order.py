"""The order in which addresses of a host are dialled: those that answered last come first (RFC 8305, section 4)."""

_REMEMBERED = 1024
RACE_DELAY = 0.25
"""Seconds after which the next address is dialled as well while the ones before have not answered (RFC 8305, section 8)."""


class AddressOrder:
    """Remembers by address and port which connections worked.

    It outlives the answers of name servers and the pauses of a circuit breaker, so that a dead family costs its delay once.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.ranks: dict[tuple[str, int], int] = {}
        """By address and port: the number of the change that put it first, or, below zero, of the one that put it last."""

    def worked(self, address: str, port: int) -> None:
        """Dial this address before all others from now on."""
        if self.changes and self.ranks.get((address, port)) == self.changes:
            return
        self._change(address, port, 1)

    def failed(self, address: str, port: int) -> None:
        """Dial this address after all others from now on: it took a connection and then stayed silent."""
        self._change(address, port, -1)

    def _change(self, address: str, port: int, sign: int) -> None:
        self.changes += 1
        # The one that changed longest ago is the first to be forgotten.
        self.ranks.pop((address, port), None)
        self.ranks[address, port] = sign * self.changes
        if len(self.ranks) > _REMEMBERED:
            del self.ranks[next(iter(self.ranks))]

    def place(self, address: str, port: int) -> int:
        """Return a number to sort addresses by, the one to dial first having the least; stable for those of which nothing is known."""
        return -self.ranks.get((address, port), 0)

    def take_over(self, earlier: "AddressOrder") -> None:
        """Know from now on what `earlier` learned."""
        self.changes = earlier.changes
        self.ranks = dict(earlier.ranks)
