"""How a mirror stands towards one identity, and what probes taught about the mirror itself."""

from collections import Counter, deque
from dataclasses import dataclass, field

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.page import File
from proxy.core.verdict.guard import StormGuard
from proxy.core.verdict.judge import Cause

_HEAD_LIES = 3
"""So many denials of HEAD that a GET contradicts, and HEAD is not asked any more."""

_IN_VAIN = 16
_SURELY_IN_VAIN = 64

_FIRST_PAUSE = 15.0

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_HEAD = Asked.HEAD

_LACKING = 3
"""So many wheels of one platform denied in a row, and the next is expected to be."""


@dataclass(slots=True)
class Denied:
    """A denial that needs something besides before it counts.

    `moment` is when it came, by the guard's count. `flanked` says that a good answer came shortly before it
    and that the file was not known to be good: then one that is asked for after it is all that is missing.
    """

    file: File
    evidence: Evidence
    cause: Cause
    moment: int
    flanked: bool


@dataclass(slots=True)
class Standing:
    """What is remembered of a mirror for one identity: the files it delivered last, and when a witness was last looked for in vain.

    `misses` is how many files were asked about since one was delivered; `tries` is how often one was tried alone since then,
    the last time at `tried`.
    """

    guard: StormGuard = field(default_factory=StormGuard)
    good: deque[File] = field(default_factory=lambda: deque(maxlen=16))
    searched: dict[str, float] = field(default_factory=dict)
    misses: int = 0
    tries: int = 0
    tried: float = 0.0

    def delivered(self, file: File, at: float, began: int = 0) -> None:
        """Notes that `file`, asked for at the guard's moment `began` (0: not known), was delivered."""
        self.guard.good(at, began)
        self.good.append(file)
        self.misses = self.tries = 0

    def may_try(self, now: float, longest: float) -> bool:
        """Whether it is time to try a file alone, while asking is in vain; that is ever more rarely, at the end every `longest` seconds."""
        if self.tries and now - self.tried < min(longest, _FIRST_PAUSE * 2.0 ** min(self.tries, 20)):
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


class Platforms:
    """Which platforms the mirror has: where it denied all wheels of one so far, asking by HEAD first is a request for nothing.

    `denied` counts the wheels denied, by what their names share.
    """

    def __init__(self) -> None:
        self.denied: Counter[str] = Counter()

    def delivers(self, file: File) -> None:
        """Notes that `file` was delivered."""
        for mark in [mark for mark in self.denied if mark in file.filename]:
            del self.denied[mark]

    def denies(self, file: File) -> None:
        """Notes that `file` was denied."""
        self.denied[_mark(file)] += 1

    def lacks(self, file: File) -> bool:
        """Whether a denial is to be expected for `file`."""
        return any(count >= _LACKING and mark in file.filename for mark, count in self.denied.items())


def _mark(file: File) -> str:
    """What the names of all wheels for the same system hold, such as `-macosx_`, and those of all sdists."""
    name = file.filename
    if not name.endswith(".whl"):
        return name[name.rfind(".") :]
    tag = name[name.rfind("-") :]
    return tag[: tag.find("_") + 1] or tag


class HeadTrust:
    """Whether HEAD is worth asking: there are mirrors that deny by it what they deliver."""

    def __init__(self) -> None:
        self._lies = 0
        self._holds = 0

    @property
    def believed(self) -> bool:
        """Whether to begin with HEAD."""
        return self._lies < _HEAD_LIES or self._holds > self._lies

    def weigh(self, evidence: Evidence, cause: Cause) -> None:
        """Notes what came of a probe that may have begun with HEAD."""
        if evidence.asked is _HEAD:
            self._holds += evidence.status == 200
        elif evidence.asked is Asked.RANGE and self.believed and cause is Cause.AVAILABLE:
            self._lies += 1
