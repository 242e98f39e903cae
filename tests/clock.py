"""Time that a test can let pass."""

import time


class Clock:
    """Tells seconds since the epoch: the machine's, and what a test added."""

    def __init__(self) -> None:
        self._added = 0.0

    def __call__(self) -> float:
        return time.time() + self._added

    def passes(self, seconds: float) -> None:
        """Lets so many seconds pass at once."""
        self._added += seconds
