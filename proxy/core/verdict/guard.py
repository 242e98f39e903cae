"""The storm guard: when files known to be good begin to fail, it is the mirror that fails, not the files.

A mirror that has one platform only denies most of what it lists, rightly; that is no storm.
Rules for this file: a state that is changed by what was seen, with the time as an argument; it asks nothing.
"""

from dataclasses import dataclass, field

STORM_AT = 3
"""Distinct files known good that must fail before it is called a storm: one that is gone is a deletion."""

_WINDOW = 120.0
"""Seconds within which they fail."""


@dataclass(slots=True)
class StormGuard:
    """Remembers, for one mirror and one identity, when a file was last delivered and which known-good files failed since.

    All times are in seconds since the epoch.
    """

    last_good: float = float("-inf")
    _failed: dict[str, float] = field(default_factory=dict)
    _storm_since: float | None = None

    def good(self, at: float) -> None:
        """Record that some file was delivered: a witness, and the end of a storm that began before."""
        self.last_good = max(self.last_good, at)
        # A clock that went back ends it as well: nobody knows when it began.
        if self._storm_since is not None and not 0 <= self._storm_since - at < _WINDOW:
            self._storm_since = None
            self._failed.clear()

    def known_good_failed(self, file: str, at: float) -> None:
        """Notes that `file`, delivered before, is denied or fails now."""
        self._failed = {name: seen for name, seen in self._failed.items() if at - seen < _WINDOW}
        self._failed[file] = at
        if len(self._failed) >= STORM_AT:
            self._storm_since = max(at, self._storm_since or at)

    @property
    def storm(self) -> bool:
        """Whether dropping has stopped."""
        return self._storm_since is not None

    def witnessed(self, at: float, window: float) -> bool:
        """Whether a good answer came within `window` seconds of `at`, and no storm has begun since."""
        return self._storm_since is None and abs(at - self.last_good) <= window
