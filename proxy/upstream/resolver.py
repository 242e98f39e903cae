"""Names to addresses, at connect time: what `destinations` does not allow is not even handed out."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.upstream.destinations import Destinations, Reach, literal_address, reach_of

_LOOKUPS = 4
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Refused(OSError):
    """A name resolves to where the proxy does not go; the message says to what."""


class GuardedResolver(AbstractResolver):
    """Resolves names for one mirror, each lookup within `timeout` seconds.

    It has threads of its own: a lookup that hangs goes on hanging after its time is over, and must not hold up those of other mirrors.
    `proxies` are host and port of outbound proxies: whoever operates the proxy chose them, so that their addresses do not matter.
    """

    def __init__(self, destinations: Destinations, proxies: frozenset[tuple[str, int]], timeout: float) -> None:
        self._destinations = destinations
        self._proxies = proxies
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="mirrormend-names")
        literal = literal_address(destinations.host)
        self._own_reach = None if literal is None else reach_of(literal)

    async def addresses(self, host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        """Gives family and address of all that `host` resolves to; raises OSError where it does not."""
        try:
            async with asyncio.timeout(self._timeout):
                look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
                found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        except UnicodeError:
            # The idna codec's word for a label that is empty or too long.
            raise OSError(f"{host!r} is no host name") from None
        return [(socket.AddressFamily(each[0]), str(each[4][0])) for each in found]

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Gives the addresses of `host` that may be dialled.

        Raises Refused where there are only others, OSError where there are none.
        """
        addresses = await self.addresses(host, port)
        if self._destinations.own(host, port):
            self._own_reach = max((reach_of(address) for _, address in addresses), default=Reach.PUBLIC)
        elif (host, port) not in self._proxies:
            own_reach = await self.own_reach()
            refusals = {address: self._destinations.refusal(host, port, address, own_reach) for _, address in addresses}
            addresses = [(kind, address) for kind, address in addresses if not refusals[address]]
            if not addresses and refusals:
                raise Refused(next(iter(refusals.values())))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=_NUMERIC)
            for kind, address in addresses
            if family in {socket.AF_UNSPEC, kind}
        ]

    async def own_reach(self) -> Reach:
        """Gives the reach of the mirror's own address, as it was when it was last dialled; public where it cannot be found out."""
        if self._own_reach is None:
            try:
                own = await self.addresses(self._destinations.host, self._destinations.port)
            except OSError:
                return Reach.PUBLIC
            self._own_reach = max((reach_of(address) for _, address in own), default=Reach.PUBLIC)
        return self._own_reach

    async def refusal(self, host: str, port: int) -> str:
        """Says why `host` is not to be asked for at an outbound proxy, which would resolve it itself; empty where nothing is against it.

        Only the proxy can tell for sure, but a name that resolves here to a closed door is not even given to it.
        """
        if self._destinations.own(host, port):
            return ""
        try:
            await self.resolve(host, port)
        except Refused as refused:
            return str(refused)
        except OSError:
            # Behind an outbound proxy names of the world often do not resolve.
            return ""
        return ""

    async def close(self) -> None:
        """Ends the threads, as far as they do not hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)
