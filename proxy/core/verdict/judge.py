"""Evidence becomes a verdict.

Rules for this file: only positive proof of absence makes a file undeliverable, and what is not understood is unknown.
"""

from enum import StrEnum

import msgspec

from proxy.core.flows.evidence import WHOLE, Asked, Beginning, Evidence


class Kind(StrEnum):
    """Whether the mirror can deliver a file."""

    DELIVERABLE = "deliverable"
    UNDELIVERABLE = "undeliverable"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """What the evidence shows."""

    AVAILABLE = "available"
    ABSENT = "absent"
    """404 or 410, confirmed by a GET."""
    BLOCKED = "blocked"
    """403 or 451: a policy, or the credentials, or a quota."""
    NO_FILE = "no-file"
    """Success, but what came is no distribution file: a page, nothing, or less than the page promises."""
    AUTHENTICATION = "authentication"
    MIRROR_ERROR = "mirror-error"
    """Too much asked, or an error of the mirror's own: it passes."""
    NO_ANSWER = "no-answer"
    NOT_UNDERSTOOD = "not-understood"


class VerdictRules(msgspec.Struct, frozen=True):
    """For how many seconds an answer stands. The meaning of each is told with the settings of `[verdict]`."""

    yes: float = 7 * 86400.0
    no: float = 600.0
    no_young: float = 60.0
    no_keep: float = 86400.0
    witness: float = 10.0
    confirm: float = 180.0


class Verdict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is held of one file.

    `evidence` is the answer that the verdict rests on; `checked` is when the mirror was last asked, whether or not it gave a useful answer;
    `since` is when the first of an unbroken row of such answers came. Times are in seconds since the epoch.
    `later` is the last answer, where it denies or refuses the file in another way than the one that was proven.
    """

    kind: Kind
    cause: Cause
    evidence: Evidence
    checked: float
    since: float
    later: Evidence | None = None

    @property
    def rests_on_head(self) -> bool:
        """True if nothing but HEAD was asked: mirrors promise by it what they deny to GET, and deny what they deliver."""
        return self.evidence.asked is _HEAD

    @property
    def needs_get(self) -> bool:
        """True if GETs proved that the file cannot be had: only a GET shows that it can be had again."""
        return self.kind is Kind.UNDELIVERABLE and not self.rests_on_head

    def confirmed_for(self, seconds: float) -> bool:
        """Whether the first and the last answer behind this verdict lie at least that far apart."""
        return self.evidence.at - self.since >= seconds


def is_undeliverable(verdict: Verdict | None) -> bool:
    """Whether there is a verdict, and it says no."""
    return verdict is not None and verdict.kind is Kind.UNDELIVERABLE


_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_PASSING = frozenset({408, 425, 429})
_SUCCESS = WHOLE | {206, 416}

_DISTRIBUTIONS = frozenset({Beginning.ARCHIVE, Beginning.GZIP})

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_AVAILABLE = Cause.AVAILABLE
_HEAD = Asked.HEAD
_DELIVERABLE = Kind.DELIVERABLE


def cause_of(evidence: Evidence, size: int | None) -> Cause:
    """Names what `evidence` shows of a file that has `size` bytes by the page (None: not known)."""
    status = evidence.status
    if status in _SUCCESS:
        return _AVAILABLE if size is not None and evidence.length == size > 0 else _cause_of_success(evidence, size)
    if status is None:
        return Cause.NO_ANSWER
    if status in {404, 410}:
        return Cause.ABSENT if evidence.asked is not Asked.HEAD else Cause.NOT_UNDERSTOOD
    if status in {403, 451}:
        return Cause.BLOCKED if evidence.asked is not Asked.HEAD else Cause.NOT_UNDERSTOOD
    if status in {401, 407}:
        return Cause.AUTHENTICATION
    return Cause.MIRROR_ERROR if status in _PASSING or status >= 500 else Cause.NOT_UNDERSTOOD


def _cause_of_success(evidence: Evidence, size: int | None) -> Cause:
    """Name what a success shows whose length is not the one that the page gives: the first bytes decide, then the type and the length."""
    if evidence.begins is Beginning.TEXT or evidence.length == 0:
        return Cause.NO_FILE
    if evidence.status != 416 and evidence.media_type in _PAGE_TYPES and evidence.begins not in _DISTRIBUTIONS:
        return Cause.NO_FILE if evidence.begins is Beginning.UNREAD else Cause.NOT_UNDERSTOOD
    if evidence.length is None:
        return Cause.NOT_UNDERSTOOD if evidence.status == 416 else Cause.AVAILABLE
    if size is None:
        return Cause.AVAILABLE
    # An archive of another length may be the file all the same: the page's size may be wrong, or the file gzip-coded on its way.
    return Cause.NO_FILE if evidence.length < size and evidence.begins not in _DISTRIBUTIONS else Cause.NOT_UNDERSTOOD


PROOF = {Cause.ABSENT, Cause.BLOCKED, Cause.NO_FILE}
"""Causes that make a file undeliverable, once what they ask for besides was seen."""

PASSING = frozenset({Cause.MIRROR_ERROR, Cause.NO_ANSWER})
"""Causes that say nothing of the file: the same question may have another answer in a moment."""


def judge(cause: Cause, evidence: Evidence, previous: Verdict | None, *, proven: bool, rules: VerdictRules) -> Verdict:
    """Gives the verdict on a file from new `evidence`, whose `cause` is given, and from what was held before.

    `proven` says that what an absence needs besides was seen: for ABSENT a witness, for BLOCKED and NO_FILE the same answer again after
    a later good answer for another file. Without it, and for all passing causes, the verdict is unknown, and what was known before stands:
    a no for `rules.no_keep` seconds, a yes without bound. HEAD only promises: what a GET showed stands against it, and its yes does not
    stand against a GET that fails. A no does not stand where HEAD promises the file again, and a GET fails in passing.
    """
    if cause is _AVAILABLE:
        if previous is not None and evidence.asked is _HEAD and previous.needs_get:
            return msgspec.structs.replace(previous, checked=evidence.at)
        return _follow(_DELIVERABLE, cause, evidence, previous)
    if cause in PROOF and proven:
        return _follow(Kind.UNDELIVERABLE, cause, evidence, previous)
    if previous is not None and _stands(previous, cause, evidence, rules):
        return msgspec.structs.replace(previous, checked=evidence.at, later=_later(previous, cause, evidence))
    return _follow(Kind.UNKNOWN, cause, evidence, previous)


def latest_denial(verdict: Verdict, size: int | None) -> tuple[Cause, Evidence]:
    """Return how a file of `size` bytes was denied or refused last, with its cause: an absence that was proven may be a refusal since."""
    return (verdict.cause, verdict.evidence) if verdict.later is None else (cause_of(verdict.later, size), verdict.later)


def _later(previous: Verdict, cause: Cause, evidence: Evidence) -> Evidence | None:
    if previous.kind is not Kind.UNDELIVERABLE:
        return None
    if cause in PROOF or cause is Cause.AUTHENTICATION:
        return None if cause is previous.cause else evidence
    return previous.later


def _follow(kind: Kind, cause: Cause, evidence: Evidence, previous: Verdict | None) -> Verdict:
    at = evidence.at
    since = min(previous.since, at) if previous is not None and previous.kind is kind else at
    return Verdict(kind, cause, evidence, at, since)


def _stands(previous: Verdict, cause: Cause, evidence: Evidence, rules: VerdictRules) -> bool:
    if previous.kind is Kind.DELIVERABLE:
        return not previous.rests_on_head or evidence.asked is Asked.HEAD
    if cause in PASSING and evidence.head in WHOLE:
        # HEAD promises it again, and GET shows nothing: better a bad file kept than a good one dropped.
        return False
    # Evidence from the future is of a clock that went back since: nobody knows how old it is.
    return previous.kind is Kind.UNDELIVERABLE and 0 <= evidence.at - previous.evidence.at < rules.no_keep
