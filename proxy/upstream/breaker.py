"""The breaker: a mirror that does not answer is left alone for a while, so that nobody waits for it in vain.

Rules for this file: a state that is changed by what was seen, with the time (seconds, of any clock that does not go back) as an argument.
It knows nothing of who asked: a mirror is down for everybody.
"""

from dataclasses import dataclass

FAILURES = 8
"""Failures in a row that open the breaker."""

FIRST_REST = 2.0
"""Seconds for which an open breaker holds requests back at first; each trial that fails doubles them."""

LONGEST_REST = 30.0

_ROW_LASTS = 60.0
"""Seconds after which a failure is too old to be in a row with the next one."""


@dataclass(slots=True)
class Breaker:
    """Closed: all requests pass. Open: none do until the rest is over. Then one passes as a trial, and decides."""

    failures: int = 0
    _failed_at: float = float("-inf")
    _rest: float = FIRST_REST
    _open_until: float | None = None
    _trial_until: float | None = None

    def admits(self, now: float) -> bool:
        """Whether a request may be made; after the rest the first that asks is the trial."""
        if self._open_until is None:
            return True
        if now < self._open_until or (self._trial_until is not None and now < self._trial_until):
            return False
        self._trial_until = now + LONGEST_REST
        return True

    def succeeded(self) -> None:
        """Notes an answer: whatever it says, the mirror is there."""
        self.failures = 0
        self._rest = FIRST_REST
        self._open_until = self._trial_until = None

    def failed(self, now: float, *, opens: bool = True) -> None:
        """Note that no answer came; `opens` says whether what failed lets it be thought that the mirror as a whole does."""
        self.failures = 1 if now - self._failed_at > _ROW_LASTS and self._open_until is None else self.failures + 1
        self._failed_at = now
        if self._open_until is None:
            if opens and self.failures >= FAILURES:
                self._open_until = now + self._rest
        elif not opens:
            # It was no trial of the mirror: the next request is.
            self._trial_until = None
        elif now >= self._open_until:
            self._rest = min(self._rest * 2, LONGEST_REST)
            self._open_until = now + self._rest
            self._trial_until = None

    def abandoned(self) -> None:
        """Notes that a request was given up before anything came of it: if it was the trial, the next one is."""
        self._trial_until = None

    def on_trial(self, now: float) -> bool:
        """Return whether a trial is under way, which will soon tell whether requests may be made."""
        return self._trial_until is not None and now < self._trial_until

    @property
    def open(self) -> bool:
        """Whether requests are held back, but for trials."""
        return self._open_until is not None

    def rest_left(self, now: float) -> float:
        """Seconds until the next trial; 0 where one may be made, or is under way."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)
