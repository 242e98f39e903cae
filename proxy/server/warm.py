"""Pages that are at hand, answered before a request is even parsed: the same bytes asked again get the same bytes again.

Rules for this file: nothing is answered that `Index.at_hand` does not vouch for at that moment; only what the shared identity asked
is remembered, so that no credential is; whatever is unusual goes the ordinary way.

It stands on some attributes of aiohttp's RequestHandler that are not public; where one is missing, every request goes the ordinary way.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from proxy.config.sections import CLIENT_ADDRESS_HEADERS
from proxy.core.render import Form
from proxy.index import Index, ServedPage
from proxy.server.access import ADMISSION
from proxy.server.context import facts_of
from proxy.server.counting import COUNTS, answered
from proxy.server.outcomes import problem_of_refusal, problem_response
from proxy.server.request_id import HEADER, HINT, new_ids, without_id
from proxy.server.stalled import ImpatientHandler
from proxy.telemetry import line_told_often
from proxy.telemetry.counts import Tally

_log = structlog.get_logger("mirrormend.server")

_ANSWERS = 2048
_LONGEST_REQUEST = 1024
_BREAK_OFF_WITHIN = 0.2
_ID_LINE = f"\r\n{HEADER}: ".encode()
_END_OF_HEAD = b"\r\n\r\n"
_NEEDED = (
    "_force_close",
    "_close",
    "_messages",
    "_waiter",
    "_request_count",
    "_next_keepalive_close_time",
    "_keepalive_timeout",
    "_manager",
)
_UNUSUAL = (
    hdrs.AUTHORIZATION,
    hdrs.PROXY_AUTHORIZATION,
    hdrs.COOKIE,
    hdrs.EXPECT,
    hdrs.UPGRADE,
    hdrs.CONTENT_LENGTH,
    hdrs.TRANSFER_ENCODING,
)


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
    """What a request gets as long as the page is the one with this serial number; the time goes between the two parts of the head.

    It holds no page, so that none outlives its use. Where the `client` is not simply who connects, it is so for this `peer` alone.
    """

    index: Index
    name: str
    serial: int
    before: bytes
    after: bytes
    body: tuple[Form, str] | None
    tell: Callable[[str, str], None]
    client: str | None
    peer: str
    tally: Tally


class WarmAnswers:
    """The answers to requests for pages at hand, by the bytes of the request."""

    def __init__(self) -> None:
        self._answers: dict[bytes, _Answer] = {}
        self._second = 0
        self._date = b""
        self.new_id = new_ids()

    def answer(self, request: bytes, peer: str) -> tuple[bytes, bytes] | None:
        """Gives head and body of the answer to `request`, which came from the address `peer`; None where it has to go the ordinary way."""
        request_id = ""
        if HINT in request:
            request, request_id = without_id(request)
        known = self._answers.get(request)
        if known is None or (known.client is not None and known.peer != peer):
            return None
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
        known.tally.at_hand += 1
        request_id = request_id or self.new_id()
        known.tell(request_id, known.client or peer)
        return b"".join((known.before, self._date_now(), _ID_LINE, request_id.encode(), known.after)), content

    def remember(self, raw: bytes, peer: str, request: web.Request, response: web.Response, page: AtHand) -> None:
        """Notes how `raw` from the address `peer`, which was `request`, was answered, unless it is a request of an unusual kind."""
        usual = request.method == hdrs.METH_GET and request.version == HttpVersion11 and request.keep_alive
        # One head of a GET and nothing else: what follows it may be another request, or a part of one, and is the parser's to read.
        usual = usual and raw.startswith(b"GET ") and raw.find(_END_OF_HEAD) == len(raw) - len(_END_OF_HEAD)
        raw, _ = without_id(raw)
        # An id that is left was refused, so that this request is unlike the next one.
        usual = usual and HEADER.lower().encode() not in raw.lower()
        if not usual or any(name in request.headers for name in _UNUSUAL) or response.status not in {200, 304}:
            return
        headers = [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status == 200:
            headers.append(f"{hdrs.CONTENT_LENGTH}: {response.content_length}")
        if any("\r" in header or "\n" in header for header in headers):
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

    def _date_now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date


class WarmHandler(ImpatientHandler):
    """A connection that answers what is at hand itself, and leaves the rest to aiohttp."""

    __slots__ = ("_at_start_of_request", "_peer", "_request_bytes", "_warm")

    def __init__(self, manager: web.Server, warm: WarmAnswers, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._warm = warm
        self._request_bytes = b""
        self._peer = ""
        # Once a request came in pieces, or with a body, where the next one begins is the parser's knowledge alone.
        self._at_start_of_request = all(hasattr(self, name) for name in _NEEDED)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes who connects."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""

    def data_received(self, data: bytes) -> None:
        """Takes what arrives; answers it where it is one whole request for a page at hand, and nothing else is under way."""
        if not self._at_start_of_request or not data:
            super().data_received(data)
            return
        waiter, transport = self._waiter, self.transport
        idle = waiter is not None and not waiter.done() and not self._messages and not self._paused
        if idle and transport is not None and not self._force_close and not self._close:
            answer = self._warm.answer(data, self._peer)
            if answer is not None:
                transport.writelines(answer)
                self._request_count += 1
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                if self._manager is not None:
                    self._manager.requests_count += 1
                return
        count = self._request_count
        super().data_received(data)
        whole = self._request_count == count + 1 and data.endswith(_END_OF_HEAD) and bool(self._messages)
        self._at_start_of_request = whole and self._messages[-1][1] is EMPTY_PAYLOAD and not self._upgraded
        self._request_bytes = data if self._at_start_of_request and idle and len(data) <= _LONGEST_REQUEST else b""

    def log_exception(self, *arguments: Any, **details: Any) -> None:
        """Logs a failure (aiohttp); what was no HTTP is nobody's failure here, and a line of it is enough.

        The error quotes what came, which may be credentials: so its name alone is told.
        """
        error = details.get("exc_info")
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            _log.info("no-request", why=type(error).__name__)
            return
        if isinstance(error, ConnectionError):
            # The client went away, or its connection was broken on purpose: the line of the request tells it.
            return
        super().log_exception(*arguments, **details)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answers what no handler was called for (aiohttp) as everything that fails is answered, with the parser's own words."""
        super().handle_error(request, status, exc, message)
        request_id = self._warm.new_id()
        response = problem_response(problem_of_refusal(status, message or "See the log."), None, None, request_id)
        response.headers[HEADER] = request_id
        response.force_close()
        return response

    def remember(self, request: web.Request, response: web.Response, page: AtHand) -> None:
        """Notes how the request under way was answered, for the next one with the same bytes."""
        raw, self._request_bytes = self._request_bytes, b""
        if raw:
            self._warm.remember(raw, self._peer, request, response, page)


class WarmRunner(web.AppRunner):
    """Runs an application on connections that answer what is at hand themselves."""

    async def _make_server(self) -> web.Server:
        return _WarmServer(await super()._make_server())


class _WarmServer(web.Server):
    def __init__(self, plain: web.Server) -> None:
        self.__dict__.update(plain.__dict__)
        self._warm = WarmAnswers()

    def __call__(self) -> RequestHandler:
        return WarmHandler(self, self._warm, loop=self._loop, **self._kwargs)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own name
        """Give requests `timeout` seconds to finish in all, then break off what is left.

        aiohttp waits as long twice: for a request to finish, and once more for it to end after its body was broken off.
        """
        handling = [each for each in (connection._task_handler for connection in self._connections) if each is not None]  # noqa: SLF001
        if handling:
            _, left = await asyncio.wait(handling, timeout=timeout)
            # They reset what they began to send: aiohttp would only close it, which is the end of a whole body to some clients.
            for each in left:
                each.cancel()
            if left:
                await asyncio.wait(left, timeout=_BREAK_OFF_WITHIN)
        await super().shutdown(_BREAK_OFF_WITHIN)


def remember(request: web.Request, response: web.Response, page: AtHand) -> None:
    """Notes how `request` was answered, where its connection can make use of it."""
    if isinstance(request.protocol, WarmHandler) and request.app[ADMISSION].short_way:
        request.protocol.remember(request, response, page)
