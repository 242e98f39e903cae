"""The probe: can this file be had? Asked with HEAD, and with one ranged byte wherever HEAD is not to be believed.

Rules for this file: it decides what to ask next, never what the answer means for the page (`verdict` does).
"""

from proxy.core.flows.evidence import Asked, Evidence, evidence_of
from proxy.core.flows.exchange import Ask, Flow, Method

_HEAD_IS_NOT_BELIEVED = frozenset({400, 403, 404, 405, 410, 451, 500, 501})
"""Statuses that real mirrors give to HEAD for files that GET delivers: no HEAD at all, or addresses signed for GET only."""

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_HEAD = Method.HEAD
_BY_HEAD = Asked.HEAD

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})


def probe(url: str, *, size: int | None = None, head: bool = True) -> Flow[Evidence]:
    """Asks for the file at `url`, of `size` bytes by the page, and returns the evidence.

    With `head` False the ranged GET comes first, for mirrors whose HEAD is known to lie.
    """
    if head:
        reply = yield Ask(_HEAD, url)
        evidence = evidence_of(_BY_HEAD, reply)
        if _settles(evidence, size):
            return evidence
    reply = yield Ask(Method.GET, url, first=0, last=0, read=1)
    return evidence_of(Asked.RANGE, reply)


def _settles(evidence: Evidence, size: int | None) -> bool:
    status = evidence.status
    if status != 200:
        return status is None or status not in _HEAD_IS_NOT_BELIEVED
    if evidence.media_type in _PAGE_TYPES or evidence.length == 0:
        return False
    return size is None or evidence.length is None or evidence.length >= size
