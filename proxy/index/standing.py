"""How a mirror stands towards one identity, and what probes taught about the mirror itself."""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from proxy.core.page import File
from proxy.core.verdict.guard import StormGuard
from proxy.core.verdict.proof import PlatformDenials

_IN_VAIN = 16
_SURELY_IN_VAIN = 64

_FIRST_PAUSE = 15.0

_CAREFUL_FOR = 3600.0
"""Seconds after a contradiction for which more denials are asked for before a file is dropped."""

_ONLY_PLAIN = 2
"""So many files within the hour that only an ordinary GET delivers, and the mirror is asked by nothing else."""

SIGNED_FOR = 300.0
"""Seconds for which a link with a query, which may be a signature, is taken to be good after its page was fetched."""


class KnownGood(msgspec.Struct, frozen=True, gc=False):
    """A file that was delivered, and when (seconds since the epoch); or that HEAD promised, which is called `promised`."""

    file: File
    at: float
    promised: bool = False


@dataclass(slots=True)
class Standing:
    """What is remembered of a mirror for one identity: the files it delivered last, and when a witness was last looked for in vain.

    `delivered_count` counts the files delivered so far, `platforms` the denials by platform.
    `contradicted_at` is when the mirror last denied and delivered one and the same file (seconds since the epoch).
    `promise_broken_at` is when it last denied a file that HEAD promised still.
    `misses` is how many files were asked about since one was delivered; `tries` is how often one was tried alone since then,
    the last time at `tried`.
    """

    guard: StormGuard = field(default_factory=StormGuard)
    good: deque[KnownGood] = field(default_factory=lambda: deque(maxlen=16))
    searched: dict[str, float] = field(default_factory=dict)
    platforms: PlatformDenials = field(default_factory=PlatformDenials)
    delivered_count: int = 0
    contradicted_at: float | None = None
    promise_broken_at: float | None = None
    plain_deliveries: deque[float] = field(default_factory=lambda: deque(maxlen=_ONLY_PLAIN))
    misses: int = 0
    tries: int = 0
    tried: float = 0.0
    refuses_head: bool | None = None
    head_tested: float = 0.0

    def delivered(self, file: File, at: float, *, promised: bool = False) -> None:
        """Record that `file` was delivered at `at`, in seconds since the epoch, or only `promised` by HEAD."""
        self.guard.good(at)
        self.good.append(KnownGood(file, at, promised))
        self.delivered_count += 1
        self.misses = self.tries = 0

    def breaks_promises(self, now: float) -> bool:
        """Return whether HEAD promised lately what was denied."""
        return self.promise_broken_at is not None and abs(now - self.promise_broken_at) < _CAREFUL_FOR

    def contradicted(self, now: float) -> None:
        """Record that the mirror denied and delivered the same file: what it denies counts for less."""
        self.contradicted_at = now
        self.platforms.reset()

    def inconsistent(self, now: float) -> bool:
        """Return whether the mirror contradicted itself lately."""
        return self.contradicted_at is not None and abs(now - self.contradicted_at) < _CAREFUL_FOR

    def known_good(self, now: float) -> list[File]:
        """Return the files that were delivered last, the latest first, without those whose links may have expired by `now`."""
        usable = (good for good in reversed(self.good) if "?" not in good.file.url or 0 <= now - good.at < SIGNED_FOR)
        return list({good.file.url: good.file for good in usable}.values())

    def forget(self, file: File) -> KnownGood | None:
        """Take `file` for good no more; return for what it was taken."""
        was = next((good for good in reversed(self.good) if good.file.url == file.url), None)
        self.good = deque((good for good in self.good if good.file.url != file.url), maxlen=self.good.maxlen)
        return was

    def broke_promise(self, now: float) -> None:
        """Record that a file was denied which HEAD promises still: what HEAD alone promised bears no witness."""
        self.promise_broken_at = now
        self.good = deque((good for good in self.good if not good.promised), maxlen=self.good.maxlen)

    def only_plain_get_delivered(self, now: float) -> None:
        """Record that a file was delivered by an ordinary GET, though Range was denied before it and after it."""
        self.plain_deliveries.append(now)
        self.platforms.reset()

    def plain_only(self, now: float) -> bool:
        """Return whether to ask by an ordinary GET, since the mirror denied HEAD and Range lately for files that it has."""
        lately = self.plain_deliveries
        return len(lately) == _ONLY_PLAIN and all(abs(now - at) < _CAREFUL_FOR for at in lately)

    def may_try(self, now: float, longest: float) -> bool:
        """Whether it is time to try a file alone, while asking is in vain; that is ever more rarely, at the end every `longest` seconds."""
        if self.tries and 0 <= now - self.tried < min(longest, _FIRST_PAUSE * 2.0 ** min(self.tries, 20)):
            return False
        self.tries += 1
        self.tried = now
        return True

    def in_vain(self, now: float, window: float) -> bool:
        """Whether it seems to be in vain to ask: many files were not delivered, and none was within `window` seconds, or very many.

        A mirror in trouble is not asked all, and not again, before one file was tried.
        """
        return self.misses >= _SURELY_IN_VAIN or (self.doubtful and not self.guard.witnessed(now, window))

    @property
    def doubtful(self) -> bool:
        """Whether so many files in a row were not delivered that asking may be in vain."""
        return self.misses >= _IN_VAIN
