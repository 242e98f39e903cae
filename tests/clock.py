"""Time that a test can let pass."""

import time


class Clock:
    """Tells seconds since the epoch: the machine's, or those at which a test stopped it, and what the test added."""

    def __init__(self) -> None:
        self._added = 0.0
        self._stopped: float | None = None

    def __call__(self) -> float:
        return (time.time() if self._stopped is None else self._stopped) + self._added

    def passes(self, seconds: float) -> None:
        """Lets so many seconds pass at once."""
        self._added += seconds

    def stops(self) -> None:
        """Let no time pass but what the test adds: then it does not matter how slow the machine is."""
        self._stopped = time.time()
