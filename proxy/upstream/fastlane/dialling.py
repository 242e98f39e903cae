"""Making connections: the name is resolved once for many of them, and the address that answered comes first."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial

from proxy.core.errors import DestinationRefused, UpstreamError
from proxy.core.flows.exchange import Trouble
from proxy.upstream.fastlane.connection import Connection, Owner
from proxy.upstream.fastlane.words import Resolver

_RESOLVED_FOR = 30.0


class Dialler:
    """Makes connections to `port` of the addresses that `resolver` gives, over TLS for `server_hostname` where `tls` is given.

    All addresses together have `within` seconds.
    """

    def __init__(self, resolver: Resolver, port: int, *, tls: ssl.SSLContext | None, server_hostname: str, within: float) -> None:
        self._resolver = resolver
        self._port = port
        self._tls = tls
        self._server_hostname = None if tls is None else server_hostname
        self._within = within
        self._resolving = asyncio.Lock()
        self._resolved_until = 0.0
        self.addresses: Sequence[tuple[int, str]] = ()
        """The address families and addresses that are dialled, in this order."""

    async def connection(self, owner: Owner) -> Connection:
        """Gives a new connection of `owner`; raises OSError, what the resolver raises, and ValueError where the name cannot be one."""
        loop = asyncio.get_running_loop()
        async with self._resolving:
            if not self.addresses or loop.time() >= self._resolved_until:
                self.addresses = tuple(await self._resolver())
                self._resolved_until = loop.time() + _RESOLVED_FOR
        failure: OSError = socket.gaierror("no address")
        addresses = self.addresses
        for family, address in addresses:
            try:
                # One address that swallows packets must leave time for the others.
                async with asyncio.timeout(self._within / len(addresses)):
                    _, connection = await loop.create_connection(
                        partial(Connection, owner),
                        address,
                        self._port,
                        family=family,
                        ssl=self._tls,
                        server_hostname=self._server_hostname,
                    )
            except OSError as error:
                failure = error
            else:
                self.addresses = ((family, address), *(other for other in self.addresses if other != (family, address)))
                return connection
        self._resolved_until = 0.0
        raise failure


def trouble_of(error: Exception) -> Trouble:
    """Names what went wrong on the way to a connection."""
    if isinstance(error, DestinationRefused):
        return Trouble.FORBIDDEN_DESTINATION
    if isinstance(error, socket.gaierror | UpstreamError | UnicodeError):
        return Trouble.DNS
    if isinstance(error, ssl.SSLError):
        return Trouble.TLS
    if isinstance(error, TimeoutError):
        return Trouble.TIMEOUT
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Trouble.RESET
    return Trouble.REFUSED
