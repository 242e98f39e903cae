"""Ready answers to requests for pages at hand, by the bytes of the request: the same bytes asked again get the same bytes again.

Rules for this file: nothing is answered that `Index.at_hand` does not vouch for at that moment, and nobody whom `Admission` does not let in
at that moment; only what the shared identity asked is remembered; of a request with credentials, a keyed digest; whatever is unusual
goes the ordinary way.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TypeAlias

from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

from proxy.config.sections import CLIENT_ADDRESS_HEADERS
from proxy.core.render import Form
from proxy.index import Index, ServedPage
from proxy.server.access import Admission, Grant, for_one_client
from proxy.server.context import SIGNED_IN, facts_of
from proxy.server.counting import COUNTS, answered
from proxy.server.request_id import HEADER, HINT, new_ids, without_id
from proxy.telemetry import line_told_often
from proxy.telemetry.counts import Tally

_ANSWERS = 2048
_ID_LINE = f"\r\n{HEADER}: ".encode()
_END_OF_HEAD = b"\r\n\r\n"
_CREDENTIALS = b"uthorization:"
_UNUSUAL = (
    hdrs.PROXY_AUTHORIZATION,
    hdrs.COOKIE,
    hdrs.EXPECT,
    hdrs.UPGRADE,
    hdrs.CONTENT_LENGTH,
    hdrs.TRANSFER_ENCODING,
)


def is_one_head(data: bytes) -> bool:
    """Return whether `data` is the head of one request, whole and with nothing behind it, for any parser of HTTP/1.

    The empty line at its end is the only one, and no line ends with a bare LF, which some take for the end of a line.
    """
    ends = data.endswith(_END_OF_HEAD) and data.find(_END_OF_HEAD) == len(data) - len(_END_OF_HEAD)
    return ends and data.count(b"\n") == data.count(b"\r\n")


@dataclass(frozen=True, slots=True)
class AtHand:
    """A page as it is served to one kind of request: the index that vouches for it, and which of its bodies it is."""

    index: Index
    name: str
    served: ServedPage
    form: Form
    encoding: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to a request while the page has this serial number and `grant` holds; the time goes between the two parts of the head.

    It holds no page, so that none outlives its use. Where the `client` is not simply who connects, it is so for this `peer` alone.
    """

    index: Index
    name: str
    serial: int
    grant: Grant
    before: bytes
    after: bytes
    body: tuple[Form, str] | None
    tell: Callable[[str, str], None]
    client: str | None
    peer: str
    tally: Tally


_Now: TypeAlias = tuple[_Answer, bytes, bytes]
"""An answer that holds in this turn of the event loop, its head up to the id of the request, and its body."""


class ResponseMemo:
    """The answers to requests for pages at hand, for those whom `admission` lets in."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._answers: dict[bytes, _Answer] = {}
        # Requests that are read in one turn of the event loop came before anything else that happens in it, so that an answer which was
        # right for one of them is right for all.
        self._of_this_turn: dict[bytes, _Now] = {}
        self._secret = secrets.token_bytes(32)
        self._second = 0
        self._date = b""
        self.new_id = new_ids()

    def answer(self, request: bytes, peer: str) -> tuple[bytes, bytes] | None:
        """Return head and body of the answer to `request` from the address `peer`; None if it has to go the ordinary way."""
        now = self._of_this_turn.get(request)
        request_id = ""
        if now is None:
            known = self._answers.get(request)
            if known is None:
                # What is remembered has no id, and of credentials a digest.
                if HINT in request:
                    request, request_id = without_id(request)
                if _CREDENTIALS in request:
                    request = self._digest(request)
                known = self._answers.get(request)
                if known is None:
                    return None
            now = self._vouched_for(request, known)
            if now is None:
                return None
        known, before, content = now
        client = known.client
        if client is None:
            client = peer
        elif known.peer != peer:
            return None
        if not self._admission.lets_in_at_once(known.grant, client):
            return None
        known.tally.at_hand += 1
        request_id = request_id or self.new_id()
        known.tell(request_id, client)
        return b"".join((before, request_id.encode(), known.after)), content

    def _vouched_for(self, request: bytes, known: _Answer) -> _Now | None:
        """Return what `known` is just now; None if the page has to be asked for in the ordinary way."""
        served = known.index.at_hand(known.name)
        if served is None or served.serial != known.serial:
            del self._answers[request]
            return None
        content = b""
        if known.body is not None:
            body = served.ready(*known.body)
            if body is None:
                return None
            content = body.content
        now = known, b"".join((known.before, self._date_now(), _ID_LINE)), content
        if not self._of_this_turn:
            asyncio.get_running_loop().call_soon(self._of_this_turn.clear)
        self._of_this_turn[request] = now
        return now

    def remember(self, raw: bytes, peer: str, request: web.Request, response: web.Response, page: AtHand) -> None:
        """Note how `raw` from the address `peer`, which was `request`, was answered, unless it is a request of an unusual kind."""
        usual = request.method == hdrs.METH_GET and request.version == HttpVersion11 and request.keep_alive
        # One head of a GET and nothing else: what follows it may be another request, or a part of one, and is the parser's to read.
        usual = usual and raw.startswith(b"GET ") and is_one_head(raw)
        raw, _ = without_id(raw)
        # An id that is left was refused, so that this request is unlike the next one.
        usual = usual and HEADER.lower().encode() not in raw.lower()
        if not usual or any(name in request.headers for name in _UNUSUAL) or response.status not in {200, 304}:
            return
        signed_in = SIGNED_IN in request
        if hdrs.AUTHORIZATION in request.headers:
            if not signed_in:
                # The credentials are for the mirror, and the page is for this identity alone.
                return
            raw = self._digest(raw)
        grant = self._admission.grant_of(request)
        if grant is None:
            return
        given = dict(response.headers)
        if signed_in:
            given[hdrs.CACHE_CONTROL] = for_one_client(given.get(hdrs.CACHE_CONTROL, ""))
        headers = [f"{name}: {value}" for name, value in given.items()]
        if response.status == 200:
            headers.append(f"{hdrs.CONTENT_LENGTH}: {response.content_length}")
        if len(given) != len(response.headers) or any("\r" in header or "\n" in header for header in headers):
            return
        before = f"HTTP/1.1 {response.status} {response.reason}\r\n{hdrs.SERVER}: {SERVER_SOFTWARE}\r\n{hdrs.DATE}: "
        after = "\r\n" + "\r\n".join(headers) + "\r\n\r\n"
        if len(self._answers) >= _ANSWERS:
            self._answers.clear()
        facts = dict(facts_of(request))
        client = facts.pop("client", peer)
        self._answers[raw] = _Answer(
            page.index,
            page.name,
            page.served.serial,
            grant,
            before.encode(),
            after.encode(),
            (page.form, page.encoding) if response.status == 200 else None,
            line_told_often(
                "mirrormend.server",
                "request",
                method=request.method,
                path=request.rel_url.raw_path,
                status=response.status,
                ms=0.0,
                **facts,
                of_each=("request_id", "client"),
            ),
            None if client == peer and not any(name in request.headers for name in CLIENT_ADDRESS_HEADERS) else client,
            peer,
            request.app[COUNTS].requests.tally(answered(request, response.status)),
        )

    def _digest(self, request: bytes) -> bytes:
        return hashlib.blake2b(request, digest_size=32, key=self._secret).digest()

    def _date_now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date
