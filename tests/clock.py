"""Time that a test can let pass."""

import time


class Clock:
    """Tells seconds since the epoch: the machine's, and what a test added."""

    def __init__(self) -> None:
        self._added = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return (time.time() if self._stopped_at is None else self._stopped_at) + self._added

    def stop(self) -> None:
        """Let only the test make time pass from now on, so that no pause ends because the machine is slow."""
        self._stopped_at = time.time()

    def passes(self, seconds: float) -> None:
        """Lets so many seconds pass at once."""
        self._added += seconds
