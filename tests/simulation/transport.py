"""The transport below the real `Mirror`: lean connections and the ordinary client, answered by a simulated mirror in virtual time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from proxy.core.errors import UpstreamBroke
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble
from proxy.upstream import Mirror
from proxy.upstream.failure import Failure
from proxy.upstream.fastlane import Unusual
from tests.simulation.simulated_mirror import Incoming, Lost, Outcome, SimulatedMirror, Sketch
from tests.simulation.world import ALWAYS, ORIGIN

READ_TIMEOUT = 20.0
_KEEP_IDLE = 15.0
_SPREAD = 16
_RESETS_AFTER = 0.05

Done = Callable[[Reply | Unusual], None]


class _Exchange:
    __slots__ = ("ask", "authorization", "connection", "done", "headers", "sent")

    def __init__(
        self, ask: Ask, authorization: str | None, done: Done, headers: Mapping[str, str] | None, sent: Callable[[str], None] | None
    ) -> None:
        self.ask = ask
        self.authorization = authorization
        self.done: Done | None = done
        self.headers = headers
        self.sent = sent
        self.connection = 0

    def abandon(self) -> None:
        self.done = None


class SimulatedLane:
    """Stands in the place of `FastLane`: at most so many connections, kept for a while, each carrying one request at a time."""

    def __init__(
        self, mirror: SimulatedMirror, connections: int, clock: Callable[[], float], identify: Callable[[str | None], str]
    ) -> None:
        self._mirror = mirror
        self._loop = mirror.loop
        self._most = connections
        self._clock = clock
        self._identify = identify
        self.plain: Collection[int] = ()
        self._idle: deque[tuple[int, float]] = deque()
        self._used = 0
        self._waiting: deque[_Exchange] = deque()
        self._arrived: deque[tuple[_Exchange, Reply | Unusual]] = deque()
        self._turn_due = False
        self.turned: Callable[[], None] | None = None
        self.closed = False

    def submit(
        self,
        ask: Ask,
        authorization: str | None,
        done: Done,
        headers: Mapping[str, str] | None = None,
        sent: Callable[[str], None] | None = None,
    ) -> _Exchange:
        """Send `ask`, and have `done` called with what comes of it."""
        exchange = _Exchange(ask, authorization, done, headers, sent)
        if not ask.url.startswith(ORIGIN + "/"):
            self._tell(exchange, Unusual("the address is of another origin"))
        elif self._used < self._most:
            self._send(exchange)
        else:
            self._waiting.append(exchange)
        return exchange

    async def ask(self, ask: Ask, authorization: str | None = None, headers: Mapping[str, str] | None = None) -> Reply | Unusual:
        """Send `ask` and return what comes of it."""
        future: asyncio.Future[Reply | Unusual] = self._loop.create_future()
        exchange = self.submit(ask, authorization, lambda reply: None if future.done() else future.set_result(reply), headers)
        try:
            return await future
        finally:
            exchange.abandon()

    async def close(self) -> None:
        """Answer nothing any more."""
        self.closed = True
        self._waiting.clear()

    def _send(self, exchange: _Exchange) -> None:
        now = self._loop.now
        self._used += 1
        connecting = 0.0
        connection = 0
        spread = exchange.ask.spread and len(self._idle) + self._used <= min(_SPREAD, self._most)
        while self._idle and not connection and not spread:
            number, since = self._idle.popleft()
            connection = number if now - since <= _KEEP_IDLE else 0
        if not connection:
            if not spread:
                self._idle.clear()
            elif self._idle:
                self._idle.popleft()
            connection, connecting = self._mirror.connected(), self._mirror.near
        exchange.connection = connection
        if connecting:
            self._loop.call_later(connecting, self._leave, exchange)
        else:
            self._leave(exchange)

    def _leave(self, exchange: _Exchange) -> None:
        etag = None if exchange.headers is None else exchange.headers.get("If-None-Match")
        who = self._identify(exchange.authorization)
        if exchange.sent is not None:
            exchange.sent(exchange.ask.url)
        request, outcome, latency = self._mirror.receive(exchange.ask, who, exchange.connection, etag)
        if isinstance(outcome, Lost):
            latency = READ_TIMEOUT if outcome.trouble is Trouble.TIMEOUT else min(latency, _RESETS_AFTER)
        self._loop.call_later(latency, self._answered, exchange, request, outcome)

    def _answered(self, exchange: _Exchange, request: Incoming, outcome: Outcome) -> None:
        self._mirror.sent(request)
        self._used -= 1
        reply: Reply | Unusual
        if isinstance(outcome, Lost):
            reply = NoAnswer(outcome.trouble, "no answer", self._clock())
        else:
            status = outcome.status
            if "x-hang-up" not in outcome.headers and not _hung_up(exchange.ask, outcome):
                self._idle.append((exchange.connection, self._loop.now))
            if (300 <= status < 400 or status in {401, 407}) and status not in self.plain:
                reply = Unusual("unusual")
            elif "x-unusual" in outcome.headers:
                reply = Unusual("the answer before had a body that it should not have")
            else:
                body = b"" if exchange.ask.method is Method.HEAD else outcome.body[: exchange.ask.read]
                reply = Answer(status, outcome.headers, body, exchange.ask.url, self._clock())
        while self._waiting and self._used < self._most:
            waiting = self._waiting.popleft()
            if waiting.done is not None:
                self._send(waiting)
        self._tell(exchange, reply)

    def _tell(self, exchange: _Exchange, reply: Reply | Unusual) -> None:
        self._arrived.append((exchange, reply))
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        while self._arrived:
            exchange, reply = self._arrived.popleft()
            done, exchange.done = exchange.done, None
            if done is not None and not self.closed:
                done(reply)
        if self.turned is not None and not self.closed:
            self.turned()


def _hung_up(ask: Ask, outcome: Sketch) -> bool:
    """Return whether the asker hangs up before the end: a file's rest is large, here as elsewhere, though its bytes are few."""
    return ask.method is Method.GET and outcome.status in {200, 203} and ask.read < len(outcome.body) and not _is_page(outcome)


def _is_page(outcome: Sketch) -> bool:
    return outcome.body.startswith((b"<", b"{"))


class SimulatedDownload:
    """Stands in the place of `Download`."""

    through: str | None = None

    def __init__(self, sketch: Sketch, url: str, at: float) -> None:
        self.status = sketch.status
        self.headers = CIMultiDictProxy(CIMultiDict(sketch.headers))
        self.url = url
        self.at = at
        self._body = sketch.body
        self._promised = int(sketch.headers.get("content-length", len(sketch.body)))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Return the body."""
        if self._body:
            yield self._body
        if len(self._body) < self._promised:
            raise UpstreamBroke(self.url, "the body ended early")


class SimulatedClient:
    """Stands in the place of `Client`: at most so many requests at once, on connections that are kept for a while."""

    outbound_proxy: str | None = None
    one_each = False
    tls = None

    def __init__(
        self,
        mirror: SimulatedMirror,
        connections: int,
        heard: Callable[[Reply, str], None],
        clock: Callable[[], float],
        identify: Callable[[str | None], str],
    ) -> None:
        self._mirror = mirror
        self._heard = heard
        self._clock = clock
        self._identify = identify
        self._asking = asyncio.Semaphore(connections)
        self._idle: list[tuple[int, float]] = []

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    @staticmethod
    def authorization_for(own: str | None) -> str | None:
        """Return the client's own Authorization header: none is configured."""
        return own

    @staticmethod
    def own_origin(url: str) -> bool:
        """Return whether the URL is the mirror's own."""
        return url.startswith(ORIGIN + "/")

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        own: str | None,
        *,
        streaming: bool = False,
        sent: Callable[[], None] | None = None,
    ) -> AsyncIterator[SimulatedDownload]:
        """Ask for `url`; raise Failure where no answer comes."""
        if streaming:
            outcome = await self._one(method, url, headers, own, sent)
        else:
            async with self._asking:
                outcome = await self._one(method, url, headers, own, sent)
        yield SimulatedDownload(outcome, url, self._clock())

    async def _one(self, method: str, url: str, headers: Mapping[str, str], own: str | None, sent: Callable[[], None] | None) -> Sketch:
        mirror = self._mirror
        first, last, suffix = _span(headers.get("Range"))
        ask = Ask(Method(method), url, first, last, read=1 << 30, suffix=suffix)
        connection, since = self._idle.pop() if self._idle else (0, ALWAYS)
        if mirror.loop.now - since > _KEEP_IDLE:
            self._idle.clear()
            connection = mirror.connected()
        if sent is not None:
            sent()
        request, outcome, latency = mirror.receive(ask, self._identify(own), connection, headers.get("If-None-Match"))
        try:
            if isinstance(outcome, Lost):
                timed_out = outcome.trouble is Trouble.TIMEOUT
                await asyncio.sleep(READ_TIMEOUT if timed_out else min(latency, _RESETS_AFTER))
            else:
                await asyncio.sleep(latency)
        finally:
            mirror.sent(request)
            if isinstance(outcome, Sketch):
                self._idle.append((connection, mirror.loop.now))
        if isinstance(outcome, Lost):
            self._heard(NoAnswer(outcome.trouble, "no answer", self._clock()), url)
            raise Failure(outcome.trouble, url, "no answer", READ_TIMEOUT if timed_out else 0.0)
        self._heard(Answer(outcome.status, outcome.headers, url=url, at=self._clock()), url)
        if ask.method is Method.HEAD:
            return Sketch(outcome.status, outcome.headers)
        return outcome


def _span(header: str | None) -> tuple[int | None, int | None, int]:
    """Return the first and the last byte that are asked for, and how many of the end."""
    if header is None:
        return None, None, 0
    first, _, last = header.removeprefix("bytes=").partition("-")
    return (int(first), int(last) if last else None, 0) if first else (None, None, int(last))


class SimulatedUpstream(Mirror):
    """The real `Mirror`, with the transport below it replaced."""

    def __init__(self, simulated: SimulatedMirror, identify: Callable[[str | None], str], *arguments: Any, **options: Any) -> None:
        self._simulated = simulated
        self._identify = identify
        super().__init__(*arguments, **options)

    def _new_client(self, authorization: str | None) -> Any:
        del authorization
        return SimulatedClient(self._simulated, self._section.connections, self._heard_slowly, self._clock, self._identify)

    def _new_lane(self, connections: int, headers: Mapping[str, str], *, plain: Collection[int] = ()) -> Any:
        del headers
        lane = SimulatedLane(self._simulated, connections, self._clock, self._identify)
        lane.plain = plain
        return lane
