"""The ordinary way of asking: aiohttp, redirects followed by hand, credentials and destinations checked at every hop.

Rules for this file: a failure to answer leaves it as `Failure`, which `mirror` turns into an error or a `NoAnswer`.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy
from yarl import URL

from proxy import __version__
from proxy.config import UpstreamSection
from proxy.core.errors import UpstreamBroke, UpstreamTimeout
from proxy.core.flows.exchange import Trouble
from proxy.upstream.credentials import origin_of, shown, without_credentials
from proxy.upstream.destinations import Destinations, Reach, literal_address, reach_of
from proxy.upstream.route import Route
from proxy.upstream.tls import tls_context

USER_AGENT = f"mirrormend/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_READ_AT_ONCE = 1024 * 1024
_HEADER_LIMIT = 16 * 1024
_DOWNLOADS = 512


class Failure(Exception):
    """That no answer came: why, and the details."""

    def __init__(self, trouble: Trouble, url: str, detail: str = "") -> None:
        super().__init__(trouble.value, detail)
        self.trouble = trouble
        self.url = shown(url)
        self.detail = detail


class _Refused(OSError):
    """A name resolves to where the proxy does not go."""


@dataclass(slots=True)
class Download:
    """An answer whose body is still to come, where the redirects ended."""

    status: int
    headers: CIMultiDictProxy[str]
    url: str
    response: aiohttp.ClientResponse
    read_timeout: float

    async def chunks(self) -> AsyncIterator[bytes]:
        """Gives the body as it comes.

        Raises UpstreamBroke where it ends before the length that was promised, UpstreamTimeout where the mirror falls silent.
        """
        try:
            async for chunk in self.response.content.iter_any():
                yield chunk
        except TimeoutError:
            raise UpstreamTimeout(self.url, self.read_timeout, "it fell silent in the middle of its answer") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise UpstreamBroke(self.url, _sentence(error)) from None


class _RequestOptions(TypedDict, total=False):
    headers: Mapping[str, str]
    allow_redirects: bool
    proxy: str
    proxy_headers: Mapping[str, str]


class _GuardedResolver(AbstractResolver):
    """Resolves names, and refuses addresses that `destinations` does not allow: at connect time, when it counts."""

    def __init__(self, destinations: Destinations, proxies: frozenset[str]) -> None:
        self._destinations = destinations
        self._proxies = proxies
        self.own_reach = Reach.PUBLIC

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Gives the addresses of `host`; raises OSError where there are none, or none that is allowed."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        addresses = [(each[0], str(each[4][0])) for each in found]
        if (host.lower(), port) == (self._destinations.host, self._destinations.port):
            self.own_reach = max(reach_of(address) for _, address in addresses)
        refusal = ""
        allowed: list[ResolveResult] = []
        for kind, address in addresses:
            refusal = "" if host in self._proxies else self._destinations.refusal(host, port, address, self.own_reach)
            if not refusal:
                numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
                allowed.append(ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=numeric))
        if not allowed:
            raise _Refused(refusal or f"{host} has no address")
        return allowed

    async def close(self) -> None:
        """Holds nothing open."""


class Client:
    """Asks for one mirror's pages and files, wherever its links and redirects lead within the rules."""

    def __init__(self, section: UpstreamSection, authorization: str | None) -> None:
        self._section = section
        self._configured = authorization
        self._origin = origin_of(section.url)
        scheme, host, port = self._origin
        self._own_prefix = f"{scheme}://{host}:{port}/" if urlsplit(section.url).port is not None else f"{scheme}://{host}/"
        self.destinations = Destinations(host, port, frozenset(each.lower() for each in section.allow_hosts))
        self._route = Route(section)
        self.tls: ssl.SSLContext = tls_context(section)
        self.proxied = self._route.proxy_for(section.url) is not None
        self._resolver: _GuardedResolver | None = None
        self._asking: aiohttp.ClientSession | None = None
        self._streaming: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Makes the sessions; nothing is dialled yet."""
        proxies = frozenset(
            urlsplit(found[0]).hostname or "" for scheme in ("http", "https") if (found := self._route.proxy_for(f"{scheme}://x.invalid/"))
        )
        self._resolver = _GuardedResolver(self.destinations, proxies)
        own = literal_address(self.destinations.host)
        if own is not None:
            self._resolver.own_reach = reach_of(own)
        self._asking = self._session(self._section.connections)
        self._streaming = self._session(_DOWNLOADS)

    def _session(self, limit: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=limit, resolver=self._resolver, ttl_dns_cache=30, ssl=self.tls, keepalive_timeout=15.0)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_AT_ONCE,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._section.connect_timeout, sock_read=self._section.read_timeout),
            headers={"User-Agent": USER_AGENT},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes the sessions."""
        for session in (self._asking, self._streaming):
            if session is not None:
                await session.close()

    def authorization_for(self, own: str | None) -> str | None:
        """Gives the Authorization header for the mirror itself: the client's `own`, else the configured one."""
        return own if own is not None else self._configured

    def own_origin(self, url: str) -> bool:
        """Whether the URL is the mirror's own: the same scheme, host and port. An upgrade to https is another origin."""
        return url.startswith(self._own_prefix) or origin_of(url) == self._origin

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], own: str | None, *, streaming: bool = False
    ) -> AsyncIterator[Download]:
        """Asks for `url` and gives the answer at the end of the redirects; raises Failure where there is none."""
        session = self._streaming if streaming else self._asking
        if session is None:
            raise RuntimeError("the client is not open")
        visited = {url}
        for _ in range(_HOPS + 1):
            try:
                response = await session.request(method, URL(without_credentials(url), encoded=True), **self._options(url, headers, own))
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
                raise _failure(error, url) from None
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                response.close()
                url = urljoin(url, location).partition("#")[0]
                if url in visited:
                    break
                visited.add(url)
                continue
            try:
                yield Download(response.status, response.headers, shown(url), response, self._section.read_timeout)
            finally:
                response.close() if not response.content.at_eof() else response.release()
            return
        raise Failure(Trouble.TOO_MANY_REDIRECTS, url, "its redirects do not end")

    def _options(self, url: str, headers: Mapping[str, str], own: str | None) -> "_RequestOptions":
        self._check(url)
        sent = dict(headers)
        authorization = self.authorization_for(own) if self.own_origin(url) else None
        if authorization is not None:
            sent["Authorization"] = authorization
        options: _RequestOptions = {"headers": sent, "allow_redirects": False}
        proxy = self._route.proxy_for(url)
        if proxy is not None:
            address, proxy_authorization = proxy
            options["proxy"] = address
            if proxy_authorization is not None:
                options["proxy_headers"] = {"Proxy-Authorization": proxy_authorization}
        return options

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host:
            raise Failure(Trouble.FORBIDDEN_DESTINATION, url, "only http and https are fetched")
        address = literal_address(host)
        if address is not None and self._resolver is not None:
            refusal = self.destinations.refusal(host, origin_of(url)[2], address, self._resolver.own_reach)
            if refusal:
                raise Failure(Trouble.FORBIDDEN_DESTINATION, url, refusal)

    async def addresses(self) -> list[tuple[int, str]]:
        """Gives family and address of the mirror's own host."""
        _, host, port = self._origin
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(int(each[0]), str(each[4][0])) for each in found]


def _failure(error: Exception, url: str) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, TimeoutError):
        return Failure(Trouble.TIMEOUT, url, "no answer in time")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if isinstance(error.os_error, _Refused):
            return Failure(Trouble.FORBIDDEN_DESTINATION, url, str(error.os_error))
        return Failure(Trouble.DNS, url, "its name does not resolve")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Failure(Trouble.TLS, url, f"TLS failed ({_sentence(error)}); name the right authorities in ca_bundle or SSL_CERT_FILE")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError):
        return Failure(Trouble.REFUSED, url, f"no connection ({_sentence(error)})")
    if isinstance(error, ConnectionError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return Failure(Trouble.RESET, url, "it closed the connection without an answer")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return Failure(Trouble.NOT_HTTP, url, f"what came is no proper HTTP ({_sentence(error)})")
    return Failure(Trouble.RESET, url, _sentence(error))


def _sentence(error: Exception) -> str:
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(error)).split())
    return (text or type(error).__name__)[:200]
