"""Which releases of a project clients asked for lately: a page waits for these, since the next lock may name them again."""

from collections.abc import Mapping

REMEMBERED_FOR = 21 * 86400.0
"""Seconds for which it counts that a client asked for a file, or for metadata, of a release."""

_MOST_RELEASES = 8
_LONGEST_SPELLING = 100
_KEPT_AGAIN_AFTER = 86400.0


class Demand:
    """The releases of one project that clients asked for, by their normalised version: the last few of them.

    `asked` says when, in seconds since the epoch, the latest last. `has_news` is set if the store does not have it.
    """

    __slots__ = ("asked", "has_news")

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}
        self.has_news = False

    def note(self, release: str, now: float) -> None:
        """Note that a client asked for something of `release`."""
        before = self.asked.get(release)
        if len(release) > _LONGEST_SPELLING or not release:
            return
        if before is not None and 0 <= now - before < _KEPT_AGAIN_AFTER:
            # What the store has is near enough: not every download is worth a write.
            return
        self.asked.pop(release, None)
        self.asked[release] = now
        self.has_news = True
        self._bound()

    def lately(self, now: float) -> tuple[str, ...]:
        """Return the releases that were asked for within the last weeks, the latest first."""
        return tuple(release for release, at in reversed(self.asked.items()) if abs(now - at) <= REMEMBERED_FOR)

    def take_over(self, asked: Mapping[str, float], now: float) -> None:
        """Add what the store has, of a replica or another run; a moment after `now` counts as now."""
        for release, at in list(asked.items())[-_MOST_RELEASES:]:
            if len(release) <= _LONGEST_SPELLING and min(at, now) > self.asked.get(release, 0.0):
                self.asked[release] = min(at, now)
        self.asked = dict(sorted(self.asked.items(), key=lambda item: item[1]))
        self._bound()

    def kept(self) -> None:
        """Note that the store has it."""
        self.has_news = False

    def _bound(self) -> None:
        while len(self.asked) > _MOST_RELEASES:
            del self.asked[next(iter(self.asked))]
