"""The probe: can this file be had? Asked with HEAD, and with one ranged byte wherever HEAD is not to be believed.

Rules for this file: it decides what to ask next, never what the answer means for the page (`verdict` does).
"""

import msgspec

from proxy.core.flows.evidence import DELIVERED, SIGNATURE_LENGTH, Asked, Beginning, Evidence, evidence_of
from proxy.core.flows.exchange import Answer, Ask, Flow, Method

_HEAD_IS_NOT_BELIEVED = frozenset({400, 403, 404, 405, 410, 451, 500, 501})
"""Statuses that real mirrors give to HEAD for files that GET delivers: no HEAD at all, or addresses signed for GET only."""

_RANGE_IS_NOT_BELIEVED = _HEAD_IS_NOT_BELIEVED | {416}
"""The same for a ranged GET; other failures pass, and say nothing of Range."""

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_HEAD = Method.HEAD
_BY_HEAD = Asked.HEAD
_BY_RANGE = Asked.RANGE
_UNREAD = Beginning.UNREAD

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})


def probe(
    url: str, *, size: int | None = None, head: bool = True, believe_head: bool = True, ranged: bool = True, spread: bool = False
) -> Flow[Evidence]:
    """Ask for the file at `url`, of `size` bytes by the page, and return the evidence.

    With `head` False the ranged GET comes first, for mirrors whose HEAD is known to lie; with `believe_head` False it follows HEAD,
    whatever that says. Unless it is to be `ranged`, an ordinary GET follows HEAD. `spread` requests keep to no connection.
    A success that looks like something else than the file is asked for once more, for the first bytes: they tell what it is.
    """
    if not head:
        return (yield from _ranged_probe(url, size, spread))
    reply = yield Ask(_HEAD, url)
    evidence = evidence_of(_BY_HEAD, reply)
    if evidence.status in DELIVERED and is_doubtful(evidence, size):
        return (yield from _first_bytes(url, spread))
    if believe_head and evidence.status not in _HEAD_IS_NOT_BELIEVED:
        return evidence
    return (yield from get_probe(url, evidence.status or 0, size=size, ranged=ranged, spread=spread))


def get_probe(url: str, head: int, *, size: int | None = None, ranged: bool = True, spread: bool = False) -> Flow[Evidence]:
    """Ask for the file at `url` by GET after HEAD had the status `head` (0: no answer), and return the evidence."""
    evidence = yield from (_ranged_probe(url, size, spread) if ranged else plain_probe(url, spread=spread))
    if ranged and head in DELIVERED and (evidence.status in _RANGE_IS_NOT_BELIEVED or _is_no_file(evidence)):
        # Either HEAD lies, or Range is refused: clients ask by neither when they fetch the file.
        plain = yield from plain_probe(url, spread=spread)
        evidence = plain if plain.status in DELIVERED and not _is_no_file(plain) else evidence
    return msgspec.structs.replace(evidence, head=head)


def _is_no_file(evidence: Evidence) -> bool:
    return evidence.status in DELIVERED and (evidence.length == 0 or evidence.begins is Beginning.TEXT)


def _ranged_probe(url: str, size: int | None, spread: bool) -> Flow[Evidence]:
    reply = yield Ask(Method.GET, url, first=0, last=0, read=1, spread=spread)
    evidence = evidence_of(_BY_RANGE, reply)
    if is_doubtful(evidence, size):
        return (yield from _first_bytes(url, spread))
    return evidence


def plain_probe(url: str, *, spread: bool = False) -> Flow[Evidence]:
    """Ask for the whole file at `url`, hang up after its first bytes, and return the evidence.

    For mirrors that deny HEAD and Range, such as caches that are filled by an ordinary GET only.
    """
    reply = yield Ask(Method.GET, url, read=SIGNATURE_LENGTH, spread=spread)
    return evidence_of(Asked.GET, reply)


def whole_probe(url: str, *, head: bool = True) -> Flow[Evidence]:
    """Ask for the whole file at `url` as clients do, by HEAD before it unless `head` is False, hang up, and return the evidence."""
    if not head:
        return (yield from plain_probe(url))
    status = yield from head_status(url)
    plain = yield from plain_probe(url)
    return msgspec.structs.replace(plain, head=status)


def head_status(url: str) -> Flow[int]:
    """Ask for the file at `url` by HEAD, and return the status, 0 where no answer came."""
    reply = yield Ask(_HEAD, url)
    return reply.status if isinstance(reply, Answer) else 0


def probe_alone(url: str, *, size: int | None = None) -> Flow[tuple[Evidence, Evidence | None]]:
    """Ask for the file as clients do, by an ordinary GET that is hung up on, and return the evidence.

    If that delivers the file, ask by Range as well, and return that evidence beside it: so it shows whether Range is refused.
    """
    plain = yield from plain_probe(url)
    if plain.status not in DELIVERED:
        return plain, None
    return plain, (yield from probe(url, size=size, head=False))


def is_doubtful(evidence: Evidence, size: int | None) -> bool:
    """Return whether a success looks like something else than the file of `size` bytes, and the first bytes were not read yet."""
    if evidence.status not in DELIVERED or evidence.begins is not _UNREAD:
        return False
    if size is not None and evidence.length == size > 0:
        return False
    if evidence.media_type in _PAGE_TYPES or evidence.length == 0:
        return True
    return size is not None and evidence.length is not None and evidence.length < size


def _first_bytes(url: str, spread: bool) -> Flow[Evidence]:
    reply = yield Ask(Method.GET, url, first=0, last=SIGNATURE_LENGTH - 1, read=SIGNATURE_LENGTH, spread=spread)
    return evidence_of(Asked.RANGE, reply)
