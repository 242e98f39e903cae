"""Making connections: the name is resolved once for many of them, its addresses race, and the one that answered comes first."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial

from aiohappyeyeballs import AddrInfoType, start_connection

from proxy.core.errors import DestinationRefused, UpstreamError
from proxy.core.flows.exchange import Trouble
from proxy.telemetry import descriptors
from proxy.upstream.address_order import RACE_DELAY, AddressOrder
from proxy.upstream.fastlane.connection import Connection, Owner
from proxy.upstream.fastlane.words import Resolver
from proxy.upstream.tls_sessions import resuming

_RESOLVED_FOR = 30.0


class Dialler:
    """Makes connections to `port` of the addresses that `resolver` gives, over TLS for `server_hostname` where `tls` is given.

    Addresses race as RFC 8305 says: while one does not answer, the next is dialled as well, and the first to answer wins.
    If it then fails or hangs in the TLS handshake, the others race for the rest of the time. All together have `within` seconds, and a
    quarter more where a handshake is made anew without a session.
    `order` holds what is known of the addresses.
    """

    def __init__(
        self,
        resolver: Resolver,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        server_hostname: str,
        within: float,
        order: AddressOrder | None = None,
    ) -> None:
        self._resolver = resolver
        self._port = port
        self._tls = tls
        self._server_hostname = None if tls is None else server_hostname
        self._within = within
        self._order = AddressOrder() if order is None else order
        self._resolving = asyncio.Lock()
        self._resolved_until = 0.0
        self._resolved: Sequence[tuple[int, str]] = ()

    @property
    def addresses(self) -> Sequence[tuple[int, str]]:
        """The address families and addresses that are dialled, in this order."""
        return sorted(self._resolved, key=lambda each: self._order.place(each[1], self._port))

    async def connection(self, owner: Owner) -> Connection:
        """Gives a new connection of `owner`; raises OSError, what the resolver raises, and ValueError where the name cannot be one."""
        loop = asyncio.get_running_loop()
        async with self._resolving:
            if not self._resolved or loop.time() >= self._resolved_until:
                self._resolved = tuple(await self._resolver())
                self._resolved_until = loop.time() + _RESOLVED_FOR
        until = loop.time() + self._within
        failure: OSError = socket.gaierror("no address")
        left = list(self.addresses)
        while left:
            sock = None
            winner = left[0]
            if len(left) > 1:
                try:
                    async with asyncio.timeout_at(until):
                        sock, winner = await self._race(left)
                except OSError as error:
                    failure = _telling(failure, error)
                    break
            left.remove(winner)
            # A handshake that hangs must leave time for the other addresses.
            seconds = (until - loop.time()) / (2 if left else 1)
            try:
                connection = await self._connected(winner, sock, owner, seconds)
            except OSError as error:
                failure = _telling(failure, error)
                if sock is not None and isinstance(error, TimeoutError):
                    self._order.failed(winner[1], self._port)
            else:
                connection.address = winner[1]
                self._order.worked(winner[1], self._port)
                return connection
        self._resolved_until = 0.0
        raise failure

    async def _race(self, addresses: Sequence[tuple[int, str]]) -> tuple[socket.socket, tuple[int, str]]:
        """Return the first socket that is connected and the address it is connected to; raises OSError where none is."""
        dialled: dict[socket.socket, tuple[int, str]] = {}

        def new_socket(info: AddrInfoType) -> socket.socket:
            family, kind, protocol, _, target = info
            sock = socket.socket(family, kind, protocol)
            dialled[sock] = (family, str(target[0]))
            return sock

        infos: list[AddrInfoType] = [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, self._port)) for family, address in addresses
        ]
        try:
            sock = await start_connection(infos, happy_eyeballs_delay=RACE_DELAY, socket_factory=new_socket)
        except RuntimeError as error:
            # As uvloop calls some failures to connect.
            raise OSError(str(error)) from error
        return sock, dialled[sock]

    async def _connected(self, to: tuple[int, str], sock: socket.socket | None, owner: Owner, seconds: float) -> Connection:
        """Return a connection by `sock`, which is connected to that address, or by a new socket if it is None, in so many seconds."""
        sockets = [sock]

        async def make() -> Connection:
            async with asyncio.timeout(seconds):
                return await self._made(to, sockets.pop() if sockets else None, owner)

        return await (make() if self._tls is None else resuming(make, seconds))

    async def _made(self, to: tuple[int, str], sock: socket.socket | None, owner: Owner) -> Connection:
        loop = asyncio.get_running_loop()
        protocol, tls, name = partial(Connection, owner), self._tls, self._server_hostname
        if sock is None:
            _, connection = await loop.create_connection(protocol, to[1], self._port, family=to[0], ssl=tls, server_hostname=name)
            return connection
        try:
            _, connection = await loop.create_connection(protocol, sock=sock, ssl=tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return connection

    def silent(self, connection: Connection) -> None:
        """Note that the first request on a new connection got no byte of an answer in time."""
        self._order.failed(connection.address, self._port)


def _telling(earlier: OSError, later: OSError) -> OSError:
    """Return the failure that tells more: what went wrong with an address that did answer, before the silence of another."""
    return earlier if isinstance(earlier, ssl.SSLError) and isinstance(later, TimeoutError) else later


def trouble_of(error: Exception) -> Trouble:
    """Names what went wrong on the way to a connection."""
    if isinstance(error, DestinationRefused):
        return Trouble.FORBIDDEN_DESTINATION
    if descriptors.caused(error):
        return Trouble.OWN_LIMIT
    if isinstance(error, socket.gaierror | UpstreamError | UnicodeError):
        return Trouble.DNS
    if isinstance(error, ssl.SSLError):
        return Trouble.TLS
    if isinstance(error, TimeoutError):
        return Trouble.TIMEOUT
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Trouble.RESET
    return Trouble.REFUSED
