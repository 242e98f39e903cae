"""The decision whether the backend is asked at all.

After a failure it is left alone for a pause that grows with each attempt to reach it that fails, so that a backend that is away, or so slow
that it might as well be, costs one timeout and not one for each request. Calls that were under way when it went away belong to the same
outage, and neither lengthen the pause nor end the service that has begun again. Only this decision may live here; who waits and who asks
again is `reach`.
"""


class Circuit:
    """Closed while the backend works; open, and so not to be used, after a failure.

    The pause shrinks back only after real work: a backend that answers a ping and then hangs again does not count as healthy.
    `outages` counts how often it opened, so that a call can be told to belong to an earlier time. Times are in seconds.
    """

    def __init__(self, *, first_pause: float = 0.5, longest_pause: float = 30.0) -> None:
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._proven = True
        self.open = False
        self.pause = first_pause
        self.outages = 0

    def failed(self, outages: int | None = None) -> bool:
        """Open the circuit after a call that began when there had been so many `outages` (None: just now).

        Return whether this is news, that is, whether the backend had worked before.
        """
        if self.open or (outages is not None and outages != self.outages):
            return False
        news = self._proven
        if not self._proven:
            self._lengthen()
        self.open = True
        self.outages += 1
        self._proven = False
        return news

    def tried_in_vain(self) -> None:
        """Note that the backend could not be reached again: leave it alone for longer."""
        self._lengthen()

    def reached(self) -> None:
        """Note that the backend can be reached again: it may be tried."""
        self.open = False

    def worked(self) -> bool:
        """Note that a read or a write went well; return whether this is news."""
        if self.open or self._proven:
            return False
        self._proven = True
        self.pause = self._first_pause
        return True

    def _lengthen(self) -> None:
        self.pause = min(self.pause * 2, self._longest_pause)
