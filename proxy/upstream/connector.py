"""aiohttp's connections: addresses race (RFC 8305), and the one that answered comes first for those that follow."""

import asyncio
import socket
import ssl
from contextvars import Context
from functools import partial

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from proxy.upstream.address_order import RACE_DELAY, AddressOrder
from proxy.upstream.tls_sessions import resuming

_KEPT_FOR = 30.0
_TRY = 10.0
_REMEMBERED = 1024


class OrderedResolver(AbstractResolver):
    """A resolver that returns the addresses of `resolver` in the order of `order`, and keeps them for 30 s.

    The cache of aiohttp hands out each address first in turn, and so one that is dead to every second connection.
    """

    def __init__(self, resolver: AbstractResolver, order: AddressOrder) -> None:
        self._resolver = resolver
        self._order = order
        self._found: dict[tuple[str, int], tuple[float, list[ResolveResult]]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of `host`; those who ask for it at the same time wait for one lookup. Raises what the lookup raises."""
        key = host, port
        loop = asyncio.get_running_loop()
        until, found = self._found.get(key, (0.0, []))
        if loop.time() >= until:
            lookup = self._lookups.get(key)
            if lookup is None:
                # A request that is given up must not end what others wait for, nor carry its own facts into the log.
                lookup = loop.create_task(self._look_up(host, port), context=Context())
                self._lookups[key] = lookup
                lookup.add_done_callback(partial(self._looked_up, key))
            found = await asyncio.shield(lookup)
        return [each for each in self._ordered(found, port) if family in {socket.AF_UNSPEC, each["family"]}]

    async def _look_up(self, host: str, port: int) -> list[ResolveResult]:
        return await self._resolver.resolve(host, port)

    def _looked_up(self, key: tuple[str, int], lookup: asyncio.Task[list[ResolveResult]]) -> None:
        del self._lookups[key]
        if lookup.cancelled() or lookup.exception() is not None:
            return
        # The oldest goes first.
        self._found.pop(key, None)
        self._found[key] = asyncio.get_running_loop().time() + _KEPT_FOR, lookup.result()
        if len(self._found) > _REMEMBERED:
            del self._found[next(iter(self._found))]

    def first(self, host: str, port: int) -> str | None:
        """Return the address that is dialled first for `host`, None if it was not looked up lately."""
        _, found = self._found.get((host, port), (0.0, []))
        return self._ordered(found, port)[0]["host"] if found else None

    def _ordered(self, found: list[ResolveResult], port: int) -> list[ResolveResult]:
        return sorted(found, key=lambda each: self._order.place(each["host"], port))

    async def close(self) -> None:
        """End the lookups; the resolver itself is left open."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)


class Connector(aiohttp.TCPConnector):
    """A connector to the addresses that `resolver` returns, which tells `order` which of them work."""

    def __init__(self, resolver: AbstractResolver, order: AddressOrder, tls: ssl.SSLContext) -> None:
        self._addresses = OrderedResolver(resolver, order)
        self._order = order
        # The client counts the connections: that none came free must not look as if the mirror did not answer.
        super().__init__(
            limit=0, resolver=self._addresses, use_dns_cache=False, ssl=tls, keepalive_timeout=15.0, happy_eyeballs_delay=RACE_DELAY
        )

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        """Return a connection, a kept one or a new one, and note its address; raises what aiohttp raises."""
        dialled = req.url if req.proxy is None else req.proxy
        host, port = dialled.raw_host or "", dialled.port or 0
        first = self._addresses.first(host, port)
        try:
            # A kept connection has made its handshake, and is returned at once.
            connection = await resuming(partial(super().connect, req, traces, timeout), timeout.sock_connect or _TRY)
        except TimeoutError:
            tried = first or self._addresses.first(host, port)
            if tried is not None:
                # It may have taken the connection and then hung in the TLS handshake: the race is won by then.
                self._order.failed(tried, port)
            raise
        peer = None if connection.transport is None else connection.transport.get_extra_info("peername")
        if isinstance(peer, tuple) and self._addresses.first(host, port) is not None:
            self._order.worked(peer[0], port)
        return connection

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close the connections and end lookups (aiohttp)."""
        await super().close(abort_ssl=abort_ssl)
        await self._addresses.close()
