"""The worth of HEAD at one mirror: there are mirrors that deny by it what they deliver, and that promise by it what they do not."""

from collections.abc import Callable

from proxy.core.flows.evidence import DELIVERED, WHOLE, Asked, Evidence
from proxy.core.page import File
from proxy.core.verdict.judge import Cause

_FALSE_DENIALS = 3
"""So many denials of HEAD that a GET contradicts, and HEAD is not asked any more."""

_KNOWN_FOR = 3600.0
"""Seconds for which it counts what was seen of HEAD; then it is seen anew, so that neither one lost file nor one outage counts for good."""

_DENIED_FOR = 86400.0
_MOST_DENIED = 10_000

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_HEAD = Asked.HEAD


class HeadTrust:
    """Experience with HEAD, gained by comparing it with GET.

    HEAD lies if it promises a file whose absence is proven `settled_after` seconds after a GET was denied it first: there are mirrors that
    fetch a file only when it is asked for, and deny it until they have it. `clock` tells seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], settled_after: float = 0.0) -> None:
        self._clock = clock
        self._settled_after = settled_after
        self._false_denials = 0
        self._kept = 0
        self._disbelieved_at: float | None = None
        self._lied_at: float | None = None
        self._denied: dict[tuple[str, str], float] = {}

    @property
    def believed(self) -> bool:
        """True unless HEAD was seen to deny what GET delivers."""
        if self._disbelieved_at is not None and not self._lately(self._disbelieved_at):
            # One more false denial is enough.
            self._false_denials, self._kept, self._disbelieved_at = _FALSE_DENIALS - 1, 0, None
        return self._false_denials < _FALSE_DENIALS or self._kept > self._false_denials

    @property
    def holds(self) -> bool:
        """True if HEAD was seen to tell of files that are there, more often than to deny them."""
        return self.believed and self._kept > self._false_denials and not self.lies

    @property
    def lies(self) -> bool:
        """True if HEAD was seen lately to promise a file whose absence was proven: none of its promises counts."""
        return self._lied_at is not None and self._lately(self._lied_at)

    @property
    def is_asked(self) -> bool:
        """True if to ask for files by HEAD first."""
        return self.believed and not self.lies

    @property
    def is_doubted(self) -> bool:
        """True if HEAD lies, or promised a file that a GET was denied: then there is something to compare."""
        return bool(self._denied) or self.lies

    def weigh(self, evidence: Evidence, cause: Cause) -> None:
        """Note what came of a probe that may have begun with HEAD."""
        if evidence.asked is _HEAD:
            self._kept += evidence.status in WHOLE
        elif cause is Cause.AVAILABLE and evidence.asked is Asked.RANGE and self.is_asked and _is_denial(evidence.head):
            self._false_denials += 1
            if not self.believed:
                self._disbelieved_at = self._clock()

    def lied(self) -> bool:
        """Note that HEAD lies; return whether that is news."""
        news = not self.lies
        self._lied_at = self._clock()
        return news

    def denied(self, project: str, file: File, at: float) -> bool:
        """Note that a GET was denied `file` at `at`, which HEAD promised; return whether one was long before as well."""
        first = self._denied.get((project, file.key))
        if first is None or not 0 <= at - first < _DENIED_FOR:
            if len(self._denied) >= _MOST_DENIED:
                self._denied.clear()
            first = self._denied[project, file.key] = at
        return at - first >= self._settled_after

    def agrees(self, project: str, file: File) -> None:
        """Note that a GET delivered `file`, or HEAD denies it as well."""
        self._denied.pop((project, file.key), None)

    def is_denied(self, project: str, file: File) -> bool:
        """Return whether a GET was denied `file`, which HEAD promised."""
        return (project, file.key) in self._denied

    def is_due(self, project: str, file: File) -> bool:
        """Return whether it is time to ask for `file` again, which a GET was denied before."""
        first = self._denied.get((project, file.key))
        return first is not None and not 0 <= self._clock() - first < self._settled_after

    def _lately(self, at: float) -> bool:
        return abs(self._clock() - at) < _KNOWN_FOR


def _is_denial(head: int | None) -> bool:
    """Return whether that status of HEAD says that it is of no use, rather than that the mirror fails just now; None: HEAD is left out."""
    return head is None or head not in DELIVERED | {0, 401, 407, 408, 425, 429, 502, 503, 504}
