"""Whether the backend is asked at all.

After a failure it is left alone for a pause that grows with each further one, so that a backend that is away, or so slow that it might
as well be, costs one timeout and not one for each request. Only this decision may live here; who waits and who asks again is `reach`.
"""


class Circuit:
    """Closed while the backend works; open, and so not to be used, after a failure.

    The pause shrinks back only after real work: a backend that answers a ping and then hangs again does not count as healthy.
    Times are in seconds.
    """

    def __init__(self, *, first_pause: float = 0.5, longest_pause: float = 30.0) -> None:
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._proven = True
        self.open = False
        self.pause = first_pause

    def failed(self) -> bool:
        """Opens the circuit; tells whether this is news, that is, whether the backend had worked before."""
        news = self._proven
        if self.open or not self._proven:
            self.pause = min(self.pause * 2, self._longest_pause)
        self.open = True
        self._proven = False
        return news

    def reached(self) -> None:
        """The backend can be reached again: it may be tried."""
        self.open = False

    def worked(self) -> bool:
        """A read or a write went well; tells whether this is news."""
        if self.open or self._proven:
            return False
        self._proven = True
        self.pause = self._first_pause
        return True
