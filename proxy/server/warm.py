"""Connections of clients: pages at hand are answered before a request is even parsed, all else is aiohttp's.

A `WarmHandler` stands before aiohttp's handler of the same connection and reads nothing of HTTP: it looks up whole requests in the
`ResponseMemo` and hands on what is not there. It answers only while nothing that it handed on is under way.

Rules for this file: of aiohttp only names without an underscore are used; where one does not do any more what it did, every request
goes the ordinary way.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import structlog
from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from proxy.server.access import ADMISSION
from proxy.server.outcomes import problem_of_refusal, problem_response
from proxy.server.request_id import HEADER
from proxy.server.response_memo import AtHand, ResponseMemo, is_one_head
from proxy.server.stalled import WriteTimeout

_log = structlog.get_logger("mirrormend.server")

_LONGEST_REQUEST = 1024
_BREAK_OFF_WITHIN = 0.2
_NEVER = 10 * 365 * 86400.0
"""Seconds until aiohttp would hang up on an idle connection. It does not see what is answered here, so the idle timer is ours."""


class WarmHandler(asyncio.Protocol):
    """A connection that answers what is at hand itself, and leaves the rest to aiohttp."""

    __slots__ = (
        "_begun",
        "_ended",
        "_handed_on",
        "_idle",
        "_idle_since",
        "_in_step",
        "_loop",
        "_memo",
        "_paused",
        "_peer",
        "_plain",
        "_ready",
        "_request_bytes",
        "_send",
        "_server",
        "_write_timeout",
        "transport",
    )

    def __init__(self, server: "WarmServer", memo: ResponseMemo) -> None:
        self._server = server
        self._memo = memo
        self._loop = asyncio.get_running_loop()
        self._plain = server.plain_handler(self)
        self._peer = ""
        self._request_bytes = b""
        self._send: Callable[[tuple[bytes, bytes]], None] = _nowhere
        self.transport: asyncio.Transport | None = None
        self._write_timeout: WriteTimeout | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        # Requests: how many whole heads were handed on, how many of those handed on aiohttp began, and how many it has answered.
        self._handed_on = self._begun = self._ended = 0
        # Once a request came in pieces, or with a body, where the next one begins is the parser's knowledge alone.
        self._in_step = True
        self._paused = False
        # All of it at a glance: in step, nothing under way, and the client takes what it is sent.
        self._ready = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who connects."""
        # uvloop's are no subclass of it.
        self.transport = cast("asyncio.Transport", transport)
        # Those of asyncio before Python 3.12.9 and 3.13.2 do not say when `writelines` fills their buffer.
        self._send = _in_one_piece(transport) if isinstance(transport, asyncio.Transport) else self.transport.writelines
        self._write_timeout = WriteTimeout(self.transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._server.connected(self)
        self._plain.connection_made(transport)
        self._idle_since = self._loop.time()
        self._idle = self._loop.call_at(self._idle_since + self._server.idle_timeout, self._look_whether_idle)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing any more."""
        self.transport, self._send = None, _nowhere
        self._in_step = self._ready = False
        self._plain.connection_lost(exc)
        self._server.disconnected(self)
        if self._write_timeout is not None:
            self._write_timeout.stop()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def data_received(self, data: bytes) -> None:
        """Answer `data` if it is one whole request for a page at hand and nothing else is under way; else hand it on."""
        if self._ready:
            answer = self._memo.answer(data, self._peer)
            if answer is not None:
                head, body = answer
                if body:
                    self._send(answer)
                elif self.transport is not None:
                    self.transport.write(head)
                self._idle_since = self._loop.time()
                return
        if self._in_step:
            self._request_bytes = data if self._ready and len(data) <= _LONGEST_REQUEST else b""
            self._ready = False
            self._in_step = is_one_head(data)
            self._handed_on += 1
        self._plain.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on that the client sends no more."""
        self._plain.eof_received()
        return None

    def pause_writing(self) -> None:
        """Note that the client takes less than it is sent."""
        self._paused, self._ready = True, False
        self._plain.pause_writing()
        if self._write_timeout is not None:
            self._write_timeout.start()

    def resume_writing(self) -> None:
        """Note that it has taken most of it."""
        self._paused = False
        self._become_ready()
        self._plain.resume_writing()
        if self._write_timeout is not None:
            self._write_timeout.stop()

    def begun(self) -> None:
        """Note that aiohttp begins with a request that was handed on."""
        self._begun += 1

    def ended(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Note that all of the response has been handed to the transport."""
        self._ended += 1
        self._request_bytes = b""
        self._idle_since = self._loop.time()
        if not response.keep_alive or request.body_exists or hdrs.UPGRADE in request.headers or request.method == hdrs.METH_CONNECT:
            self._in_step = False
        self._become_ready()
        if self._idle is None and self.transport is not None:
            self._idle = self._loop.call_at(self._idle_since + self._server.idle_timeout, self._look_whether_idle)

    def answer_no_more(self) -> None:
        """Leave all that still comes to aiohttp, which is about to end."""
        self._in_step = self._ready = False

    def close(self) -> None:
        """Close the connection once the client has what was sent to it."""
        if self.transport is not None:
            self.transport.close()

    def remember(self, request: web.Request, response: web.Response, page: AtHand) -> None:
        """Note how the request under way was answered, for the next one with the same bytes."""
        raw, self._request_bytes = self._request_bytes, b""
        if raw:
            self._memo.remember(raw, self._peer, request, response, page)

    def _become_ready(self) -> None:
        self._ready = self._in_step and not self._paused and self._ended == self._begun == self._handed_on

    def _look_whether_idle(self, *, again: bool = True) -> None:
        self._idle = None
        if self.transport is None or self._begun > self._ended:
            # Under way: its end sets the timer again.
            return
        due = self._idle_since + self._server.idle_timeout
        if self._loop.time() < due:
            self._idle = self._loop.call_at(due, self._look_whether_idle)
        elif again:
            # A request that was handed on just now is begun in the next turn of the loop.
            self._loop.call_soon(lambda: self._look_whether_idle(again=False))
        else:
            self.transport.close()


def _in_one_piece(transport: asyncio.Transport) -> Callable[[tuple[bytes, bytes]], None]:
    def send(parts: tuple[bytes, bytes]) -> None:
        transport.write(b"".join(parts))

    return send


def _nowhere(parts: tuple[bytes, bytes]) -> None:
    """Send nothing: there is no connection."""


class _PlainHandler(web.RequestHandler):
    """aiohttp's handler of a connection, which tells the one before it what it does."""

    __slots__ = ("_new_id", "before")

    def __init__(self, server: web.Server, before: WarmHandler, memo: ResponseMemo, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self.before = before
        self._new_id = memo.new_id

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response (aiohttp), and tell that it was sent."""
        sent, lost = await super().finish_response(request, resp, start_time)
        if not lost:
            self.before.ended(request, sent)
        return sent, lost

    def log_exception(self, *arguments: Any, **details: Any) -> None:
        """Log a failure (aiohttp); what was no HTTP is nobody's failure here, and a line of it is enough.

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
        """Answer what no handler was called for (aiohttp) as everything that fails is answered, with the parser's own words."""
        super().handle_error(request, status, exc, message)
        request_id = self._new_id()
        response = problem_response(problem_of_refusal(status, message or "See the log."), None, None, request_id)
        response.headers[HEADER] = request_id
        response.force_close()
        return response


class WarmServer(web.Server):
    """A server that makes the connections of `application`, which aiohttp set up, and ends them; `options` are aiohttp's for each."""

    def __init__(self, application: web.Server, memo: ResponseMemo, idle_timeout: float, **options: Any) -> None:
        super().__init__(application.request_handler, request_factory=self._begin)
        self._new_request = application.request_factory
        self._memo = memo
        self._options = options
        self._clients: set[WarmHandler] = set()
        self._handling: dict[asyncio.Task[None], WarmHandler | None] = {}
        self.idle_timeout = idle_timeout
        """Seconds after which a connection without a request is closed."""

    def __call__(self) -> WarmHandler:  # type: ignore[override]  # all that asyncio wants is a protocol
        """Make what stands at this end of a new connection."""
        return WarmHandler(self, self._memo)

    @property
    def connections(self) -> list[WarmHandler]:  # type: ignore[override]  # those that asyncio knows, not those behind them
        """The connections that are open."""
        return list(self._clients)

    def plain_handler(self, before: WarmHandler) -> web.RequestHandler:
        """Make aiohttp's handler behind `before`."""
        return _PlainHandler(self, before, self._memo, keepalive_timeout=_NEVER, **self._options)

    def connected(self, client: WarmHandler) -> None:
        """Note a new connection."""
        self._clients.add(client)

    def disconnected(self, client: WarmHandler) -> None:
        """Note that a connection is closed."""
        self._clients.discard(client)

    def pre_shutdown(self) -> None:
        """Take no more requests from those who are connected."""
        for client in self._clients:
            client.answer_no_more()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own name
        """Give requests `timeout` seconds to finish in all, then break off what is left.

        Connections without a request are closed at once. aiohttp waits as long twice: for a request to finish, and once more for it
        to end after its body was broken off.
        """
        # A request that came just now is begun in the next turn of the loop, and aiohttp ends those who waited for one.
        for _ in range(2):
            await asyncio.sleep(0)
        handling = [task for task in self._handling if not task.done()]
        busy = {self._handling[task] for task in handling}
        for client in self.connections:
            if client not in busy:
                client.close()
        if handling:
            _, left = await asyncio.wait(handling, timeout=timeout)
            # They reset what they began to send: aiohttp would only close it, which is the end of a whole body to some clients.
            for each in left:
                each.cancel()
            if left:
                await asyncio.wait(left, timeout=_BREAK_OFF_WITHIN)
        await super().shutdown(_BREAK_OFF_WITHIN)

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        before = protocol.before if isinstance(protocol, _PlainHandler) else None
        if before is not None:
            before.begun()
        if task not in self._handling:
            # It outlives its connection where the client goes away meanwhile.
            self._handling[task] = before
            task.add_done_callback(self._handling.pop)
        return self._new_request(message, payload, protocol, writer, task)


class WarmRunner(web.AppRunner):
    """Run an application on connections that answer what is at hand themselves.

    Idle ones are closed after `keepalive_timeout` seconds, and requests have `shutdown_timeout` seconds to finish at the end.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        keepalive_timeout: float = 3630.0,
        shutdown_timeout: float = 60.0,
        handle_signals: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(app, handle_signals=handle_signals, shutdown_timeout=shutdown_timeout)
        self._idle_timeout = keepalive_timeout
        self._drain = shutdown_timeout
        self._options = options
        self._warm: WarmServer | None = None

    @property
    def server(self) -> WarmServer | None:
        """The server that makes connections, once it is set up."""
        return self._warm

    async def setup(self) -> None:
        """Start the application."""
        await super().setup()
        application = super().server
        if application is None:
            raise RuntimeError("aiohttp set up no server")
        self._warm = WarmServer(application, ResponseMemo(self.app[ADMISSION]), self._idle_timeout, **self._options)

    async def shutdown(self) -> None:
        """End the connections, as part of `cleanup`."""
        if self._warm is not None:
            self._warm.pre_shutdown()
        await super().shutdown()
        if self._warm is not None:
            await self._warm.shutdown(self._drain)

    async def cleanup(self) -> None:
        """Stop to listen, end the connections, and end the application."""
        await super().cleanup()
        self._warm = None


def remember(request: web.Request, response: web.Response, page: AtHand) -> None:
    """Note how `request` was answered, where its connection can make use of it."""
    if isinstance(request.protocol, _PlainHandler):
        request.protocol.before.remember(request, response, page)
