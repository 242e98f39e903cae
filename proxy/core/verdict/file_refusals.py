"""Refusals and denials of one file by the mirror, remembered apart from the verdict: they decide whether it may come from elsewhere.

Rules for this file: a refusal forbids a rescue, however it was asked for, until a later answer to an ordinary GET, the one that clients
make, denies the file or gives what is none. An answer that says nothing of the file, such as a timeout or a 5xx, lifts no refusal.
"""

from collections.abc import Collection
from math import inf, nextafter

import msgspec

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.verdict.judge import Cause

REFUSALS = frozenset({401, 403, 407, 451})
"""Statuses that refuse a file: somebody may have blocked it on purpose, or it is not for whoever asks."""

_REFUSING = frozenset({Cause.BLOCKED, Cause.AUTHENTICATION})
_DENYING = frozenset({Cause.ABSENT, Cause.NO_FILE})


class FileRefusals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When the mirror last refused a file, and denied it to a GET of the whole for the `cause`; in seconds since the epoch, 0 never.

    `head_refused` and `head_passed` say when HEAD was refused, and when it had another answer: there are mirrors that refuse HEAD alone.
    """

    refused: float = 0.0
    denied: float = 0.0
    cause: Cause | None = None
    head_refused: float = 0.0
    head_passed: float = 0.0

    def after(self, evidence: Evidence, cause: Cause) -> "FileRefusals":
        """Return what is known after the answer that `evidence` of this `cause` shows, which came later than they did."""
        if evidence.asked is Asked.HEAD:
            return self.after_head(evidence.status or 0, evidence.at)
        known = self if evidence.head is None else self.after_head(evidence.head, evidence.at)
        if cause in _REFUSING:
            return msgspec.structs.replace(known, refused=_later(evidence.at, known.denied))
        if cause in _DENYING and evidence.asked is Asked.GET:
            return msgspec.structs.replace(known, denied=_later(evidence.at, known.refused), cause=cause)
        return known

    def after_head(self, status: int, at: float) -> "FileRefusals":
        """Return what is known after the answer to HEAD, with this `status` (0: there was none), that came at `at`."""
        if status in REFUSALS:
            return msgspec.structs.replace(self, head_refused=_later(at, self.head_passed))
        return msgspec.structs.replace(self, head_passed=_later(at, self.head_refused))

    def merged(self, other: "FileRefusals") -> "FileRefusals":
        """Return what both know, which may be of different replicas."""
        later = self if self.denied >= other.denied else other
        return FileRefusals(
            max(self.refused, other.refused),
            later.denied,
            later.cause,
            max(self.head_refused, other.head_refused),
            max(self.head_passed, other.head_passed),
        )

    def refuse(self, *, by_head: bool) -> bool:
        """Return whether the mirror refuses the file; `by_head` says whether a refusal of HEAD counts."""
        return self.refused > self.denied or (by_head and self.head_refused > self.head_passed)

    def permit(self, causes: Collection[Cause], *, by_head: bool) -> bool:
        """Return whether a file may be rescued that the mirror denies for one of the `causes`: a whole GET, and HEAD, have said so."""
        asked_by_head = not by_head or self.head_passed > 0
        return self.denied > 0 and self.cause in causes and asked_by_head and not self.refuse(by_head=by_head)

    @property
    def last_refused(self) -> float:
        """When the file was last refused, in seconds since the epoch."""
        return max(self.refused, self.head_refused)

    @property
    def last_heard(self) -> float:
        """When the mirror last answered for the file, in seconds since the epoch."""
        return max(self.refused, self.denied, self.head_refused, self.head_passed)


NOTHING_REFUSED = FileRefusals()


def concern(cause: Cause) -> bool:
    """Return whether an answer of this `cause` is to be remembered."""
    return cause in _REFUSING or cause in _DENYING


def _later(at: float, than: float) -> float:
    # The later answer has the later time also where the clock went back in between.
    return at if at > than else nextafter(than, inf)
