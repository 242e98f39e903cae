"""What a page of the mirror is asked for with, and what comes back: several ways of asking, for mirrors that dislike one."""

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from proxy.core.errors import UpstreamBroke, UpstreamError, UpstreamStatus
from proxy.core.flows.exchange import Answer
from proxy.upstream import again
from proxy.upstream.addresses import shown
from proxy.upstream.client import Download
from proxy.upstream.inflate import ACCEPT_ENCODING, Inflater
from proxy.upstream.said import remedy_in, said_in

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_ACCEPT_HTML = "text/html, application/vnd.pypi.simple.v1+html;q=0.9, */*;q=0.1"
_CONDITION_FAILED = frozenset({400, 412, 501})
_FORM_REFUSED = frozenset({400, 406, 415})
_IN_PASSING = frozenset({408, 425, 429})
_FOR_GOOD = frozenset({501, 505, 510, 511})
_LONGEST_WAIT = 4.0
_SAID_BYTES = 4096
_AT_ONE_GO = 256 * 1024


_WITH_A_PAGE = frozenset({200, 203})
"""A proxy before the mirror that has its hand in a page makes a 203 of a 200 (RFC 9110, section 15.3.4)."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a page can be asked for again with (RFC 9110, section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def conditions(self) -> dict[str, str]:
        """Gives the headers of a conditional request."""
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.last_modified} if self.last_modified is not None else {}


@dataclass(frozen=True, slots=True)
class Packed:
    """A body in its content coding, and what its Content-Encoding says that this is (RFC 9110, section 8.4)."""

    content: bytes
    coding: str

    async def unpacked(self, url: str, limit: int) -> bytes:
        """Gives the body, of at most `limit` bytes: the content itself where that is in no content coding, whatever is said of it.

        Raises UpstreamOverLimit, and UpstreamBroke where it cannot be inflated.
        """
        inflater = Inflater(url, self.coding, limit)
        for piece in _pieces(self.content):
            inflater.feed(piece)
            if inflater.plain and len(self.content) <= limit:
                return self.content
            await asyncio.sleep(0)
        return inflater.finish()


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page of the mirror: the inflated `body`, and the `url` where the redirects ended, without credentials and query.

    `headers` have lower-case names. `packed` is the body as it came, None where it came in no content coding or nobody kept that.
    """

    body: bytes
    content_type: str | None
    url: str
    validators: Validators
    headers: Mapping[str, str]
    packed: Packed | None = None


@dataclass(frozen=True, slots=True)
class NotModified:
    """That the page is still the one that the validators are of. `headers` have lower-case names."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask for a page: with these conditions or none, in JSON if possible or in HTML, in one of these content codings."""

    conditions: Mapping[str, str]
    accept: str = _ACCEPT
    codings: str = ACCEPT_ENCODING

    def headers(self) -> dict[str, str]:
        """Gives the request's headers."""
        return {"Accept": self.accept, "Accept-Encoding": self.codings, **self.conditions}

    def instead(self, status: int) -> "Way | None":
        """Gives how to ask after this status, None where asking otherwise is of no use.

        There are mirrors that answer 400 to If-Modified-Since, and others that know no JSON and do not negotiate but refuse.
        """
        if self.conditions and status in _CONDITION_FAILED:
            return replace(self, conditions={})
        if self.accept == _ACCEPT and status in _FORM_REFUSED:
            return replace(self, accept=_ACCEPT_HTML)
        return None


async def page_in(download: Download, limit: int, *, conditional: bool) -> FetchedPage | NotModified:
    """Reads a page of at most `limit` bytes.

    Raises UpstreamStatus where the answer is another than a page, UpstreamOverLimit, UpstreamBroke, UpstreamTimeout.
    """
    headers = lowered(download.headers)
    if download.status == 304:
        return _not_modified(download.url, headers, conditional)
    if download.status not in _WITH_A_PAGE:
        raise await status_error(download)
    inflater = Inflater(download.url, headers.get("content-encoding", ""), limit)
    async for chunk in download.chunks():
        for piece in _pieces(chunk):
            inflater.feed(piece)
            await asyncio.sleep(0)
    return _page(download.url, headers, inflater.finish(), None)


async def page_of(answer: Answer, limit: int, *, conditional: bool) -> FetchedPage | NotModified:
    """As `page_in`, of an answer that is here as a whole."""
    url, headers = shown(answer.url), answer.headers
    if answer.status == 304:
        return _not_modified(url, headers, conditional)
    if answer.status not in _WITH_A_PAGE:
        challenge = headers.get("www-authenticate")
        raise _status_error(url, answer, answer.body[:_SAID_BYTES], () if challenge is None else (challenge,))
    packed = Packed(answer.body, headers.get("content-encoding", ""))
    body = await packed.unpacked(url, limit)
    return _page(url, headers, body, None if body is packed.content else packed)


def _pieces(content: bytes) -> Iterator[bytes]:
    """Gives pieces between which others get their turn: a large page takes tens of milliseconds to inflate."""
    return (content[start : start + _AT_ONE_GO] for start in range(0, len(content), _AT_ONE_GO))


def _page(url: str, headers: Mapping[str, str], body: bytes, packed: Packed | None) -> FetchedPage:
    validators = Validators(headers.get("etag"), headers.get("last-modified"))
    return FetchedPage(body, headers.get("content-type"), url, validators, headers, packed)


def _not_modified(url: str, headers: Mapping[str, str], conditional: bool) -> NotModified:
    if not conditional:
        raise UpstreamBroke(url, "it says that nothing changed (304), though it was not asked whether anything did")
    return NotModified(headers)


_OF_A_GATEWAY = frozenset({403, 502, 503, 504})
"""The statuses by which an outbound proxy itself says that it does not, or cannot, pass on a request."""


async def status_error(download: Download) -> UpstreamStatus:
    """Gives the error that an answer is, with what the mirror says of it."""
    try:
        said = await read_at_most(download, _SAID_BYTES)
    except UpstreamError:
        said = b""
    answer = Answer(download.status, lowered(download.headers), at=download.at)
    error = _status_error(download.url, answer, said, tuple(download.headers.getall("WWW-Authenticate", ())))
    if download.through is not None and error.status in _OF_A_GATEWAY:
        error.detail = ", ".join(filter(None, (error.detail, f"by way of the outbound proxy {download.through}, which may be what failed")))
    return error


def _status_error(url: str, answer: Answer, said: bytes, challenges: tuple[str, ...]) -> UpstreamStatus:
    inflater = Inflater(url, answer.headers.get("content-encoding", ""), 16 * _SAID_BYTES)
    detail = remedy = ""
    try:
        inflater.feed(said)
        detail = said_in(inflater.finish())
        remedy = remedy_in(detail)
    except UpstreamError:
        pass
    return UpstreamStatus(url, answer.status, detail, challenges=challenges, retry_after=again.retry_after(answer), remedy=remedy)


def wait_before(attempt: int, error: Exception) -> float | None:
    """Gives the seconds to wait before repetition number `attempt` (from 1 on), None where none is of use."""
    wanted = None
    if isinstance(error, UpstreamStatus):
        passing = error.status in _IN_PASSING or (error.status >= 500 and error.status not in _FOR_GOOD)
        if not passing:
            return None
        wanted = error.retry_after
    wait = again.delay(attempt, 0.5 + random.random() / 2, wanted)  # noqa: S311 - it spreads requests, it guards nothing
    return wait if wait <= _LONGEST_WAIT else None


async def read_at_most(download: Download, limit: int) -> bytes:
    """Reads the first `limit` bytes of a body, or fewer where it ends."""
    body = bytearray()
    async for chunk in download.chunks():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Gives headers with lower-case names and values that are text, whatever bytes they hold; of several of one name the last."""
    return {name.lower(): value.encode("utf-8", "replace").decode() for name, value in headers.items()}
