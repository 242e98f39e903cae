"""The breaker: a mirror that does not answer is left alone for a while, so that nobody waits for it in vain.

Rules for this file: a state that is changed by what was seen, with the time (seconds, of any clock that does not go back) as an argument.
"""

from dataclasses import dataclass

FAILURES = 8
"""Failures in a row that open the breaker."""

_FIRST_REST = 2.0
_LONGEST_REST = 30.0


@dataclass(slots=True)
class Breaker:
    """Closed: all requests pass. Open: none do until the rest is over. Then one passes as a trial, and decides."""

    failures: int = 0
    _rest: float = _FIRST_REST
    _open_until: float | None = None
    _trial_until: float | None = None

    def admits(self, now: float) -> bool:
        """Whether a request may be made; after the rest the first that asks is the trial."""
        if self._open_until is None:
            return True
        if now < self._open_until or (self._trial_until is not None and now < self._trial_until):
            return False
        self._trial_until = now + _LONGEST_REST
        return True

    def succeeded(self) -> None:
        """Notes an answer: whatever it says, the mirror is there."""
        self.failures = 0
        self._rest = _FIRST_REST
        self._open_until = self._trial_until = None

    def failed(self, now: float) -> None:
        """Notes that no answer came."""
        self.failures += 1
        if self._open_until is not None:
            if now >= self._open_until:
                self._rest = min(self._rest * 2, _LONGEST_REST)
                self._open_until = now + self._rest
            self._trial_until = None
        elif self.failures >= FAILURES:
            self._open_until = now + self._rest

    @property
    def open(self) -> bool:
        """Whether requests are held back, but for trials."""
        return self._open_until is not None

    def rest_left(self, now: float) -> float:
        """Seconds until the next trial."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)
