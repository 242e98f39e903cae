"""One keep-alive connection: it writes a request, reads the answer, and tells its lane how that went."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from typing import Protocol, cast

from proxy.core.flows.exchange import Ask, Method
from proxy.upstream.fastlane.answers import AnswerReader
from proxy.upstream.fastlane.words import Done, Malformed

# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each request.
_HEAD = Method.HEAD

_BUFFER = 128 * 1024


class _Room(threading.local):
    """The one room that all connections of a thread, and so of its loop, read into.

    Every loop reads into it and says so in one go, whether or not there is TLS, and what is to be kept is copied out before that ends:
    no other connection is read meanwhile. A room for each connection would take more than all the pages together.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_BUFFER))


_room = _Room()


class Request:
    """An exchange on its way: what is asked, by which bytes, and whom to tell.

    `done` is None once it was called, or when nobody waits any more. `deadline`, in the loop's time, ends the wait for a connection.
    `again` says that a connection which had gone stale took the request already: it leaves on a new one, and never a third time.
    `sent`, if any, is called with the address each time that it leaves.
    """

    __slots__ = ("again", "ask", "deadline", "done", "sent", "wire")

    def __init__(self, ask: Ask, wire: bytes, done: Done, deadline: float) -> None:
        self.ask = ask
        self.wire = wire
        self.done: Done | None = done
        self.deadline = deadline
        self.again = False
        self.sent: Callable[[str], None] | None = None

    def abandon(self) -> None:
        """Forgets who asked (see `Exchange`)."""
        self.done = None


class Owner(Protocol):
    """Whom a connection tells."""

    def answered(self, connection: "Connection", request: Request) -> None:
        """The connection's reader holds the whole answer to `request`."""

    def goes_on(self, connection: "Connection") -> None:
        """Of an answer larger than what is read at one go another part came."""

    def puzzled(self, connection: "Connection", request: Request, why: str) -> None:
        """What came for `request` is no plain answer; the connection is closed."""

    def broke(self, connection: "Connection", request: Request, refusal: ssl.SSLError | None) -> None:
        """The connection closed before `request` was answered, by a `refusal` of TLS if there is one."""

    def overheard(self, connection: "Connection", data: bytes) -> None:
        """Bytes came that nobody had asked for; the connection is closed."""

    def gone(self, connection: "Connection") -> None:
        """The connection is closed; this may be said more than once."""


class Connection(asyncio.BufferedProtocol):
    """A connection that carries one request at a time, never more: pipelined answers could be taken for one another.

    `deadline`, in the loop's time, is kept by the owner: until then an answer must be whole, or an idle connection is kept.
    `address` is the one that was dialled.
    """

    __slots__ = ("_buffer", "_owner", "_transport", "_write", "address", "closed", "deadline", "reader", "request", "used")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], None] = _unconnected
        self._buffer = _room.view
        self.reader = AnswerReader()
        self.request: Request | None = None
        self.deadline = 0.0
        self.address = ""
        self.used = False
        self.closed = False

    def belong_to(self, owner: Owner) -> None:
        """Tell this owner from now on; the connection must be idle."""
        self._owner = owner

    def send(self, request: Request) -> None:
        """Sends `request`; the connection must be idle."""
        self.request = request
        ask = request.ask
        self.reader.expect(ask.method is _HEAD, ask.read)
        self._write(request.wire)

    def close(self) -> None:
        """Closes at once, whatever is under way: a TLS farewell would wait for the mirror's."""
        self.request = None
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature; the hint is for larger things than a head
        """Return the room that the next bytes are read into, which all connections share (asyncio)."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on in the answer, and keep nothing of the room (asyncio)."""
        data = self._buffer[:nbytes]
        request = self.request
        if request is None:
            if not self.closed:
                self.close()
                self._owner.overheard(self, bytes(data))
            return
        try:
            whole = self.reader.feed(data)
        except Malformed as malformed:
            self.close()
            self._owner.puzzled(self, request, str(malformed))
            return
        if whole:
            self.request = None
            self.used = True
            self._owner.answered(self, request)
        elif request.ask.read > _BUFFER:
            self._owner.goes_on(self)

    def eof_received(self) -> None:
        """Takes an idle connection out of use at once; the rest follows when it is lost (asyncio)."""
        if self.request is None:
            self._leave()

    def connection_lost(self, error: Exception | None) -> None:
        """Decides what became of the request under way (asyncio)."""
        request, self.request = self.request, None
        self._leave()
        if request is None:
            return
        if self.reader.begun and self.reader.ends():
            self._owner.answered(self, request)
        else:
            self._owner.broke(self, request, error if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) else None)

    def _leave(self) -> None:
        if not self.closed:
            self.closed = True
            self._owner.gone(self)


def _unconnected(_: bytes) -> None:
    raise AssertionError("a connection is used only once it is made")
