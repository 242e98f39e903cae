"""Evidence: what one probe saw, before anyone judges it."""

import re
from enum import StrEnum
from functools import lru_cache

import msgspec

from proxy.core.deflate import GZIP
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply

WHOLE = frozenset({200, 203})
"""Statuses of an answer with the whole of a file; 203 is a 200 that a proxy on the way transformed (RFC 9110, section 15.3.4)."""

DELIVERED = WHOLE | {206}
"""Statuses of an answer with a file, or with a part of it."""

SIGNATURE_LENGTH = 8
"""Bytes of a body that tell what it is."""

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.IGNORECASE)


class Asked(StrEnum):
    """How the mirror was asked for a file."""

    HEAD = "HEAD"
    RANGE = "GET bytes=0-0"
    GET = "GET"


class Beginning(StrEnum):
    """The kind of a body, as its first bytes tell it."""

    UNREAD = ""
    """Too few bytes were read to tell."""
    OTHER = "other"
    """They tell nothing."""
    ARCHIVE = "archive"
    """A zip file or a compressed tar file: a distribution file."""
    GZIP = "gzip"
    """A tar file compressed with gzip, or any file that is gzip-coded though that was not asked for."""
    TEXT = "text"
    """HTML, XML or JSON: a page for people, or an error."""


_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"BZh", b"\xfd7zXZ", b"\x1f\x9d", b"\x28\xb5\x2f\xfd", b"LZIP")


def beginning_of(body: bytes) -> Beginning:
    """Return what a body is, by its first bytes of which `SIGNATURE_LENGTH` are enough."""
    if len(body) < 2:
        return Beginning.UNREAD
    if body.startswith(GZIP):
        return Beginning.GZIP
    if body.startswith(_ARCHIVES):
        return Beginning.ARCHIVE
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return Beginning.TEXT if text[:1] in {b"<", b"{", b"["} else Beginning.OTHER


class Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What came back when a file was asked for.

    `status` is None where no answer came; then `trouble` says why.
    `length` is the size of the whole file in bytes as the answer tells it, None where it does not.
    `at` is in seconds since the epoch. `begins` tells what the first bytes of the body are, where they were read.
    `head` is the status that HEAD had just before (0: no answer), None where HEAD was not asked besides.
    """

    asked: Asked
    status: int | None
    at: float
    media_type: str = ""
    length: int | None = None
    trouble: str = ""
    begins: Beginning = Beginning.UNREAD
    head: int | None = None


def evidence_of(asked: Asked, reply: Reply) -> Evidence:
    """Return what `reply` says of the file that was asked for."""
    if isinstance(reply, NoAnswer):
        return Evidence(asked, None, reply.at, trouble=reply.trouble.value)
    media_type, length = _media_type(reply.headers.get("content-type", "")), whole_length(reply)
    if not reply.body or reply.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        return Evidence(asked, reply.status, reply.at, media_type, length)
    begins = beginning_of(reply.body)
    if reply.status == 206 and begins is not Beginning.UNREAD and (content_range(reply) or (0,))[0] > 0:
        # How a part begins that is not the file's first tells nothing: compressed bytes may be any, those of a page among them.
        begins = Beginning.OTHER
    return Evidence(asked, reply.status, reply.at, media_type, length, begins=begins)


@lru_cache(maxsize=256)
def _media_type(header: str) -> str:
    """Gives the type that a Content-Type names; the same text for all answers that have it, since there is one for each file."""
    # A header may hold any bytes, and evidence is kept as text.
    return header[:200].partition(";")[0].strip().lower()[:100].encode("ascii", "replace").decode()


def asked_as(ask: Ask) -> Asked:
    """Names the way of asking."""
    if ask.method is Method.HEAD:
        return Asked.HEAD
    return Asked.GET if ask.first is None and not ask.suffix else Asked.RANGE


def content_range(answer: Answer) -> tuple[int, int, int] | None:
    """Gives first byte, last byte and whole length of a partial answer, all in bytes; None where the header is missing or wrong.

    An unsatisfied range (`bytes */N`, RFC 9110, section 14.4) gives (0, -1, N).
    """
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    if found is None:
        return None
    first, last, whole = (None if group is None else int(group) for group in found.groups())
    if first is None or last is None:
        return 0, -1, whole or 0
    return (first, last, whole) if whole is not None and first <= last < whole else None


def whole_length(answer: Answer) -> int | None:
    """Gives the size in bytes of the whole file that `answer` is of, None where it cannot be told."""
    if answer.status in {206, 416}:
        span = content_range(answer)
        return None if span is None else span[2]
    headers = answer.headers
    coding = headers.get("content-encoding")
    if coding is not None and coding.lower() not in {"", "identity"}:
        return None
    return content_length(answer)


def content_length(answer: Answer) -> int | None:
    """Return the bytes of the body as it comes, whatever its content coding; None where the header is missing or wrong."""
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
