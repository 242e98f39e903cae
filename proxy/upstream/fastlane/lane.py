"""The pool of lean connections to the mirror's own origin, and who may use which of them when."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextvars import Context
from functools import partial

from proxy.core.errors import UpstreamError
from proxy.core.flows.exchange import Answer, Ask, NoAnswer, Reply, Trouble
from proxy.upstream.address_order import AddressOrder
from proxy.upstream.fastlane.connection import Connection, Request
from proxy.upstream.fastlane.dialling import Dialler, trouble_of
from proxy.upstream.fastlane.requests import Requests
from proxy.upstream.fastlane.sharing import Sharing
from proxy.upstream.fastlane.words import Done, Exchange, Resolver, Unusual
from proxy.upstream.tls_sessions import MORE_TIME

_KEEP_IDLE = 15.0
"""Seconds for which an idle connection is kept: below the keep-alive times of common servers, so that few go stale."""

_FEWER_FOR = 10.0
_WARY_FOR = 600.0


_UNUSUAL = {status: Unusual("a redirect") for status in range(300, 400)} | {
    status: Unusual("a demand for credentials") for status in (401, 407)
}


_UNEXPLAINED = Unusual("a connection that closed before the first answer of all, as where TLS wants a client certificate")
"""The reason can get lost when a server refuses a certificate and closes at once; the ordinary client finds it out."""

_BROKE = "the connection closed before the answer was whole"

_SPREAD = 16
"""Connections among which requests are spread that ask for it: so many are as good as all, and are opened for them."""

_OPENED_AT_ONCE = 8
"""Connections to a mirror nearby that are opened at the same time."""

_BURST = 48
"""Connections over TLS to a mirror that is not nearby up to which all are opened at the same time; then a quarter of those there are
follow at a time. A handshake costs both sides as much as several answers, and a request waits no longer for what comes free meanwhile."""


class FastLane:
    """Plain exchanges with `host:port`, over TLS where `tls` is given, on at most `connections` keep-alive connections.

    `connect_timeout` bounds the making of a connection, `read_timeout` the time from sending a request to the end of its answer
    (of a long one: to its next bytes), both in seconds, both looked after by one sweep for all requests rather than by a timer for each.
    `plain` are statuses that are answers as any other here, unusual as they are elsewhere.
    `headers` go with every request; `resolver` gives the addresses that may be dialled; `clock` tells the seconds since the epoch.
    `order` holds which addresses worked, and is shared with whoever else dials the same host.
    `tls_failure` says what a failure of TLS means. `sharing` is for all lanes to the same origin by the same TLS context.
    Raises ValueError where a header could not be sent.

    What is not plain is answered by `Unusual`: redirects, demands for credentials, interim answers, HTTP/1.0, and whatever
    `answers` does not understand in one way only.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        server_hostname: str | None,
        connections: int,
        connect_timeout: float,
        read_timeout: float,
        headers: Mapping[str, str],
        resolver: Resolver,
        clock: Callable[[], float] = time.time,
        plain: Collection[int] = (),
        order: AddressOrder | None = None,
        tls_failure: Callable[[ssl.SSLError], str] = str,
        sharing: Sharing | None = None,
    ) -> None:
        self._requests = Requests("http" if tls is None else "https", host, port, headers)
        self._dialler = Dialler(resolver, port, tls=tls, server_hostname=server_hostname or host, within=connect_timeout, order=order)
        self._tls_failure = tls_failure
        self._has_answered = tls is None
        self._encrypted = tls is not None
        self._configured = self._most = connections
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._interval = max(0.01, min(1.0, read_timeout / 8))
        self._clock = clock
        self._plain = frozenset(plain)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._time: Callable[[], float] = time.monotonic
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        """Those used longest ago come first: behind each may stand another node of the mirror, and all are to be heard."""
        self._waiting: deque[Request] = deque()
        self._again: deque[Request] = deque()
        self._openers: set[asyncio.Task[None]] = set()
        self._fewer_until = 0.0
        self._sweeper: asyncio.TimerHandle | None = None
        self._wary_until = float("-inf")
        self._closed = False
        self._sharing = Sharing() if sharing is None else sharing
        self._sharing.join(self)
        self._leaving: list[tuple[Connection, Request]] = []
        self._arrived: deque[tuple[Request, Reply | Unusual]] = deque()
        self._turn_due = False
        self.turned: Callable[[], None] | None = None
        """Called when all that has come by now was told, before what is submitted meanwhile leaves."""

    def submit(
        self,
        ask: Ask,
        authorization: str | None,
        done: Done,
        headers: Mapping[str, str] | None = None,
        sent: Callable[[str], None] | None = None,
    ) -> Exchange:
        """Send `ask`, with this Authorization header if any, and have `done` called with what comes of it, later and once.

        `headers` go with this request besides those of the lane. `sent` is called with the address each time that it leaves.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._time = loop.time
        wire = self._requests.written(ask, authorization, headers)
        now = loop.time()
        if isinstance(wire, Unusual) or self._closed:
            request = Request(ask, b"", done, now)
            refused = wire if isinstance(wire, Unusual) else self._no_answer(Trouble.RESET, "the lane is closed")
            self._tell(request, refused)
            return request
        if ask.spread and len(self._all) + len(self._openers) < min(_SPREAD, self._most):
            request = Request(ask, wire, done, now + self._connect_timeout + self._read_timeout)
            if self._idle:
                # A server may have no more workers than there are connections.
                self._idle.popleft().close()
            self._again.append(request)
            self._open_more()
        elif self._idle and not self._waiting:
            request = Request(ask, wire, done, now)
            self._send(self._idle.popleft(), request)
        else:
            request = Request(ask, wire, done, now + self._connect_timeout + self._read_timeout)
            self._waiting.append(request)
            self._open_more()
        request.sent = sent
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._interval, self._sweep, context=Context())
        return request

    async def ask(self, ask: Ask, authorization: str | None = None, headers: Mapping[str, str] | None = None) -> Reply | Unusual:
        """Sends `ask` and gives what comes of it; see `submit`."""
        future: asyncio.Future[Reply | Unusual] = asyncio.get_running_loop().create_future()
        exchange = self.submit(ask, authorization, partial(_settle, future), headers)
        try:
            return await future
        finally:
            exchange.abandon()

    async def close(self) -> None:
        """Closes every connection; who still waits is told that no answer comes."""
        self._closed = True
        self._sharing.leave(self)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        openers = list(self._openers)
        for opener in openers:
            opener.cancel()
        await asyncio.gather(*openers, return_exceptions=True)
        unanswered = [connection.request for connection in self._all if connection.request is not None]
        for connection in list(self._all):
            connection.close()
        unanswered += [*(request for _, request in self._leaving), *self._again, *self._waiting]
        self._leaving.clear()
        self._again.clear()
        self._waiting.clear()
        for request in unanswered:
            self._tell(request, self._no_answer(Trouble.RESET, "the lane is closed"))
        self._turn()
        # A transport that was aborted closes its socket in the loop's next round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def answered(self, connection: Connection, request: Request) -> None:
        """Gives the connection to the next request, then the answer to who asked."""
        self._has_answered = True
        reader = connection.reader
        status, body = reader.status, reader.kept
        reply: Reply | Unusual
        if status < 300 or status not in _UNUSUAL or status in self._plain:
            reply = Answer(status, reader.headers, body, request.ask.url, self._clock())
        else:
            reply = _UNUSUAL[status]
        if body:
            reader.forget()
        if reader.excess:
            self._beware()
        now = self._time()
        if reader.reusable and now >= self._wary_until:
            connection.deadline = now + _KEEP_IDLE
            self._idle.append(connection)
        else:
            connection.close()
        self._tell(request, reply)

    def goes_on(self, connection: Connection) -> None:
        """Waits on for the rest of a long answer: silence is what has a limit."""
        connection.deadline = self._time() + self._read_timeout

    def puzzled(self, connection: Connection, request: Request, why: str) -> None:
        """Hands the request back."""
        if connection.used and not connection.reader.parsed:
            # What looks like a broken answer may be the body that a server sent after the one before.
            self._beware()
        self._tell(request, Unusual(why))

    def broke(self, connection: Connection, request: Request, refusal: ssl.SSLError | None) -> None:
        """Sends the request again, once, where nothing of an answer had come and the mirror closed for reasons of its own.

        A `refusal` is no such reason: in TLS 1.3 a server refuses a client's certificate only after the handshake.
        """
        if refusal is not None and not connection.reader.begun:
            self._tell(request, self._no_answer(Trouble.TLS, self._tls_failure(refusal)))
        elif connection.reader.begun:
            self._tell(request, self._no_answer(Trouble.RESET, _BROKE))
        else:
            self._send_again(connection, request)
        self._open_more()

    def _send_again(self, connection: Connection, request: Request) -> None:
        if request.again or request.done is None or self._closed or not (connection.used or self._all):
            self._tell(request, self._no_answer(Trouble.RESET, _BROKE) if self._has_answered else _UNEXPLAINED)
            return
        # RFC 9112, 9.3.1: an idempotent request may be sent again on a new connection.
        request.again = True
        request.deadline = self._time() + self._connect_timeout + self._read_timeout
        if connection.used:
            self._again.append(request)
            return
        # It takes no more connections than the others: these must do.
        self._make_do()
        if self._idle:
            self._send(self._idle.popleft(), request)
        else:
            self._waiting.append(request)

    def overheard(self, connection: Connection, data: bytes) -> None:
        """Remembers a server that sends bodies after HEAD; a late `408` to an idle connection is another matter (RFC 9110, 15.5.9)."""
        if connection.used and not data.startswith(b"HTTP/1."):
            self._beware()

    def gone(self, connection: Connection) -> None:
        """Forgets the connection."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _beware(self) -> None:
        """Lets no connection serve twice for a while: what this server sends after an answer would look like the next one."""
        self._wary_until = self._time() + _WARY_FOR

    def _no_answer(self, trouble: Trouble, detail: str) -> NoAnswer:
        return NoAnswer(trouble, detail, self._clock())

    def _send(self, connection: Connection, request: Request) -> None:
        """Sends `request` on `connection` as soon as all answers that have come by now are read.

        Sent in between, each request would find a mirror nearby asleep, and to wake it costs more than to send.
        """
        # The sweep may come in between.
        connection.deadline = self._time() + self._read_timeout
        self._leaving.append((connection, request))
        self._see_to_it()

    def _tell(self, request: Request, reply: Reply | Unusual) -> None:
        self._arrived.append((request, reply))
        self._see_to_it()

    def _see_to_it(self) -> None:
        """Lets what arrives be told, and what leaves be sent, once everything that has come by now is read."""
        if not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn, context=Context())

    def _turn(self) -> None:
        arrived = self._arrived
        try:
            while arrived:
                request, reply = arrived.popleft()
                done = request.done
                if done is not None:
                    request.done = None
                    done(reply)
            if self.turned is not None:
                self.turned()
        finally:
            self._send_all()
            if arrived:
                self._see_to_it()

    def _send_all(self) -> None:
        while self._waiting and self._idle:
            self._free(self._idle.popleft())
        self._turn_due = False
        leaving, self._leaving = self._leaving, []
        for connection, request in leaving:
            if connection.closed:
                # The mirror closed it meanwhile, or bytes came that nobody had asked for.
                self._send_again(connection, request)
            elif request.done is None:
                self._free(connection)
            else:
                if request.sent is not None:
                    request.sent(request.ask.url)
                connection.send(request)
        self._open_more()

    def _free(self, connection: Connection) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            if request.done is not None:
                self._send(connection, request)
                return
        connection.deadline = self._time() + _KEEP_IDLE
        self._idle.append(connection)

    def _open_more(self) -> None:
        if self._closed:
            return
        opening = len(self._openers)
        self._borrow(min(len(self._waiting) - len(self._idle), self._most - len(self._all)) - opening)
        # What is idle takes what waits at the end of the turn.
        wanted = len(self._again) + max(0, len(self._waiting) - len(self._idle)) - opening
        # What waits for a new connection gets one, even where the mirror has just refused more.
        allowed = max(self._most - len(self._all) - opening, len(self._again) - opening)
        self._dial(min(wanted, allowed, self._at_once() - opening))

    def _borrow(self, connections: int) -> None:
        """Take as many as possible from other lanes to the same origin."""
        if self._time() < self._wary_until:
            return
        for _ in range(connections):
            connection = self._sharing.borrowed(self)
            if connection is None:
                return
            connection.belong_to(self)
            self._all.add(connection)
            self._free(connection)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._all)

    def spared(self) -> Connection | None:
        """Return a connection that is free and stays so, and forget it; None if there is none, or if it is the last one."""
        if not self._idle or len(self._all) == 1 or self._waiting or self._again or self._time() < self._wary_until:
            return None
        connection = self._idle.popleft()
        self._all.discard(connection)
        return connection

    def _at_once(self) -> int:
        """Return how many connections may be opened at the same time."""
        if self._sharing.nearby:
            # A connection is there before many answers are, and those which are free by then may do.
            return _OPENED_AT_ONCE
        return max(_BURST - self._sharing.connections, self._sharing.connections // 4) if self._encrypted else self._most

    def _dial(self, connections: int) -> None:
        for _ in range(connections):
            # A connection is there for all requests, so that it carries nothing of the one that it is opened for into the log.
            opener = asyncio.get_running_loop().create_task(self._open(), context=Context())
            self._openers.add(opener)

    async def _open(self) -> None:
        failure: NoAnswer | None = None
        connection: Connection | None = None
        began = self._time()
        try:
            async with asyncio.timeout(self._connect_timeout * (MORE_TIME if self._encrypted else 1)):
                connection = await self._dialler.connection(self)
                self._sharing.dialled(self._time() - began, tls=self._encrypted)
        except (OSError, UpstreamError, ValueError) as error:
            detail = self._tls_failure(error) if isinstance(error, ssl.SSLError) else str(error)
            failure = self._no_answer(trouble_of(error), detail)
        finally:
            self._openers.discard(asyncio.current_task())
        if connection is not None and not connection.closed:
            self._all.add(connection)
            self._serve_first(connection)
        else:
            self._spare(failure or self._no_answer(Trouble.RESET, "the connection closed at once"))
        self._open_more()

    def _serve_first(self, connection: Connection) -> None:
        """Lets a new connection take what must not leave on an old one, before anything else."""
        while self._again:
            request = self._again.popleft()
            if request.done is not None:
                self._send(connection, request)
                return
        self._free(connection)

    def _spare(self, failure: NoAnswer) -> None:
        """Makes do with the connections there are, if any: a mirror may refuse more. Else the longest waiting request has failed."""
        if self._all and any(not request.again for request in self._again):
            # Those that were to be spread do with the connections there are.
            self._waiting.extend(request for request in self._again if not request.again)
            self._again = deque(request for request in self._again if request.again)
        if self._all and not self._again:
            self._make_do()
            self._see_to_it()
            return
        for queue in (self._again, self._waiting):
            while queue:
                request = queue.popleft()
                if request.done is not None:
                    self._tell(request, failure)
                    return

    def _make_do(self) -> None:
        self._most = max(1, len(self._all))
        self._fewer_until = self._time() + _FEWER_FOR

    def _sweep(self) -> None:
        now = self._time()
        for connection in list(self._all):
            if connection.deadline < now:
                request = connection.request
                if request is not None and not connection.used and not connection.reader.begun:
                    self._dialler.silent(connection)
                connection.close()
                if request is not None:
                    self._tell(request, self._no_answer(Trouble.TIMEOUT, f"no answer within {self._read_timeout:g} s"))
        for queue in (self._again, self._waiting):
            while queue and (queue[0].deadline < now or queue[0].done is None):
                self._tell(queue.popleft(), self._no_answer(Trouble.OWN_LIMIT, "none of the proxy's own connections was free in time"))
        if now >= self._fewer_until:
            self._most = self._configured
        self._open_more()
        busy = self._all or self._waiting or self._again or self._openers
        self._sweeper = self._loop.call_later(self._interval, self._sweep, context=Context()) if busy and self._loop is not None else None


def _settle(future: "asyncio.Future[Reply | Unusual]", reply: Reply | Unusual) -> None:
    if not future.done():
        future.set_result(reply)
