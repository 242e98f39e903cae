"""Resumption of TLS sessions: a connection after the first needs no certificates, and in TLS 1.2 one round trip less.

A session stands for the certificates of the handshake that began it. So it is resumed with the same context and for the same name
alone, and not for long after that handshake. Of what a server does not resume, it makes a full handshake by itself.

Some servers, and boxes before them, close, reset or leave hanging what offers a session instead. So one is offered only within `resuming`,
which makes such a connection once more without, and then none is offered to that name for a while.
"""

import asyncio
import ssl
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

RESUMED_FOR = 600.0
"""Seconds after certificates were verified in which sessions that come of it are resumed (RFC 8446, section 4.6.1: at most 7 days)."""

SHUNNED_FOR = 3600.0
"""Seconds in which no session is offered to a name after a handshake failed for which one was."""

MORE_TIME = 1.25
"""How much longer than one try the making of a connection takes at most by `resuming`."""

_HEAD_START = 2.5
_NAMES = 256
_LATEST = 4

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class _Session:
    ticket: ssl.SSLSession
    verified_at: float


@dataclass(slots=True)
class _Kept:
    """The session of one name that is offered next, and the latest connections with the time when their certificates were verified."""

    session: _Session | None = None
    latest: deque[tuple[weakref.ref[ssl.SSLObject], float]] = field(default_factory=lambda: deque(maxlen=_LATEST))
    shunned_until: float = float("-inf")


class Sessions:
    """The sessions of one context by server name; `clock` tells the seconds of any clock that does not go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_name: OrderedDict[str, _Kept] = OrderedDict()

    def offered(self, name: str) -> _Session | None:
        """Return the newest session with `name`, None where a full handshake is due.

        It may be offered several times: servers send few tickets, a burst needs many, and a proxy is known by its address anyway
        to those who could recognise it by its ticket (RFC 8446, appendix C.4).
        """
        kept = self._by_name.get(name)
        if kept is None or self._clock() < kept.shunned_until:
            return None
        # In TLS 1.3 tickets come after the handshake, so connections are asked for theirs when they are needed.
        without: list[tuple[weakref.ref[ssl.SSLObject], float]] = []
        while kept.latest:
            latest = kept.latest.pop()
            connection = latest[0]()
            ticket = None if connection is None else _ticket_of(connection)
            if ticket is not None:
                kept.session = _Session(ticket, latest[1])
                kept.latest.clear()
            elif connection is not None:
                without.append(latest)
        kept.latest.extend(reversed(without))
        if kept.session is not None and self._clock() >= kept.session.verified_at + RESUMED_FOR:
            kept.session = None
        return kept.session

    def connected(self, name: str, connection: ssl.SSLObject, offered: _Session | None) -> None:
        """Keep what can be resumed of a connection, for which this session was offered."""
        kept = self._by_name.pop(name, None) or _Kept()
        # The name that was used longest ago goes first.
        self._by_name[name] = kept
        if len(self._by_name) > _NAMES:
            self._by_name.popitem(last=False)
        verified_at = self._clock()
        if offered is not None and connection.session_reused:
            verified_at = offered.verified_at
        elif offered is not None and kept.session is offered:
            kept.session = None
        kept.latest.append((weakref.ref(connection), verified_at))

    def forget(self, name: str) -> None:
        """Forget the sessions with `name`, but not that none is to be offered."""
        kept = self._by_name.get(name)
        if kept is not None:
            kept.session = None
            kept.latest.clear()

    def shun(self, name: str) -> None:
        """Offer no session to `name` for a while: a handshake came to no end for which one was offered."""
        self.forget(name)
        self._by_name.setdefault(name, _Kept()).shunned_until = self._clock() + SHUNNED_FOR


@dataclass(slots=True)
class _Making:
    """The making of one connection: `limit` ends it where a handshake hangs; None where no session is to be offered.

    `offered` is the handshake under way for which one is.
    """

    limit: asyncio.Timeout | None
    head_start: float
    offered: tuple[Sessions, str] | None = None

    def offers(self, sessions: Sessions, name: str) -> None:
        """Note that a session is offered; a handshake before, which came to no end, has failed: it was at another address."""
        self.failed()
        self.offered = sessions, name
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + self.head_start)

    def ended(self) -> None:
        """Note that the handshake came to an end by which the session is not to blame for what follows."""
        self.offered = None
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(None)

    def failed(self) -> bool:
        """Return whether a session was offered in a handshake that came to no end; then it is offered no more for a while."""
        if self.offered is None:
            return False
        sessions, name = self.offered
        self.offered = None
        sessions.shun(name)
        return True


_making: ContextVar[_Making | None] = ContextVar("making", default=None)


async def resuming(make: Callable[[], Awaitable[Made]], within: float) -> Made:
    """Return the connection that `make` makes, in `within` seconds for one try; a session may be offered for it.

    Where that handshake fails, or lasts for a quarter of the time, it is made once more without. Raises what `make` raises.
    """
    making = _Making(None, min(_HEAD_START, within * (MORE_TIME - 1)))
    token = _making.set(making)
    try:
        try:
            async with asyncio.timeout(None) as making.limit:
                return await make()
        except Exception:
            if not making.failed():
                raise
        finally:
            # The connection keeps what it was made in, and is not to keep the task.
            making.limit = None
        return await make()
    finally:
        _making.reset(token)


def resume_sessions(context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic) -> None:
    """Let connections by `context` resume sessions of earlier ones by the same context."""
    sessions = Sessions(clock)

    class Resuming(ssl.SSLObject):
        begun = False
        offered: _Session | None = None
        making: _Making | None = None

        def do_handshake(self) -> None:
            """Begin the handshake, or go on with it (ssl)."""
            name = self.server_hostname or ""
            if not self.begun:
                self.begun = True
                making = _making.get()
                if making is not None and making.limit is not None:
                    self.offered = sessions.offered(name)
                if making is not None and self.offered is not None:
                    self.session = self.offered.ticket
                    self.making = making
                    making.offers(sessions, name)
            try:
                super().do_handshake()
            except ssl.SSLCertVerificationError:
                # It would be the same without a session.
                sessions.forget(name)
                self._ended()
                raise
            sessions.connected(name, self, self.offered)
            self.offered = None
            self._ended()

        def _ended(self) -> None:
            making, self.making = self.making, None
            if making is not None:
                making.ended()

    context.sslobject_class = Resuming


def _ticket_of(connection: ssl.SSLObject) -> ssl.SSLSession | None:
    session = connection.session
    if session is None:
        return None
    return session if session.has_ticket or (session.id and connection.version() != "TLSv1.3") else None
