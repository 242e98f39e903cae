"""Resumption of TLS sessions: a connection after the first needs no certificates, and in TLS 1.2 one round trip less.

A session stands for the certificates of the handshake that began it. So it is resumed with the same context and for the same name
alone, and not for long after that handshake. Of what a server does not resume, it makes a full handshake by itself.
"""

import ssl
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

RESUMED_FOR = 600.0
"""Seconds after certificates were verified in which sessions that come of it are resumed (RFC 8446, section 4.6.1: at most 7 days)."""

_NAMES = 256
_LATEST = 4


@dataclass(frozen=True, slots=True)
class _Session:
    ticket: ssl.SSLSession
    verified_at: float


@dataclass(slots=True)
class _Kept:
    """The session of one name that is offered next, and the latest connections with the time when their certificates were verified."""

    session: _Session | None = None
    latest: deque[tuple[weakref.ref[ssl.SSLObject], float]] = field(default_factory=lambda: deque(maxlen=_LATEST))


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
        if kept is None:
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

    def failed(self, name: str) -> None:
        """Forget `name`: a server may dislike to be offered a session."""
        self._by_name.pop(name, None)


def resume_sessions(context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic) -> None:
    """Let connections by `context` resume sessions of earlier ones by the same context."""
    sessions = Sessions(clock)

    class Resuming(ssl.SSLObject):
        begun = False
        offered: _Session | None = None

        def do_handshake(self) -> None:
            """Begin the handshake, or go on with it (ssl)."""
            name = self.server_hostname or ""
            if not self.begun:
                self.begun = True
                self.offered = sessions.offered(name)
                if self.offered is not None:
                    self.session = self.offered.ticket
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError:
                sessions.failed(name)
                raise
            sessions.connected(name, self, self.offered)
            self.offered = None

    context.sslobject_class = Resuming


def _ticket_of(connection: ssl.SSLObject) -> ssl.SSLSession | None:
    session = connection.session
    if session is None:
        return None
    return session if session.has_ticket or (session.id and connection.version() != "TLSv1.3") else None
