"""The ordinary way of asking: aiohttp, redirects followed by hand, credentials and destinations checked at every hop.

Rules for this file: a failure to answer leaves it as `Failure`, which `mirror` turns into an error or a `NoAnswer`.

Credentials go to the mirror's own origin: scheme, host and port of the settings' URL, all three. A redirect from http to https of
the same host is another origin as well, since another service may listen there; who means that one writes https in the settings.
Once a chain of redirects has left the origin, nothing on the rest of the chain gets credentials, not even the mirror itself: another
host is not to choose what is read there in the client's name.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypedDict
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from proxy import __version__
from proxy.config import UpstreamSection
from proxy.core.errors import UpstreamBroke, UpstreamTimeout
from proxy.core.flows.exchange import Answer, NoAnswer, Reply, Trouble
from proxy.upstream.address_order import AddressOrder
from proxy.upstream.addresses import dialled, link_authorization, origin_of, origin_of_dialled, redirected, shown
from proxy.upstream.connector import Connector
from proxy.upstream.destinations import Destinations, literal_address
from proxy.upstream.failure import Failure, failure_behind, failure_of, proxy_wants_credentials, sentence
from proxy.upstream.resolver import GuardedResolver
from proxy.upstream.route import OutboundProxy, Route
from proxy.upstream.tls import tls_context
from proxy.upstream.tls_failure import Inspection, Inspector, explain, tls_error_in, worth_inspecting
from proxy.upstream.tls_sessions import resume_sessions

USER_AGENT = f"mirrormend/{__version__} (on behalf of pip/uv)"
"""Some mirrors have pages for package clients and other ones for people at the same address, and tell them apart by `pip/` in this header:
devpi does at the address of an index."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_READ_AT_ONCE = 1024 * 1024
_STREAMED_AT_ONCE = 128 * 1024
_HEADER_LIMIT = 16 * 1024
DOWNLOADS = 512
"""Bodies that are streamed at once from one mirror."""

_WORTH_READING = 16 * 1024
"""Bytes of an unwanted body that are read to keep the connection; a larger rest is cheaper to hang up on."""


@dataclass(slots=True)
class Download:
    """An answer whose body is still to come, where the redirects ended: `url`, without credentials and query.

    `at` is when it came, in seconds since the epoch.
    """

    status: int
    headers: CIMultiDictProxy[str]
    url: str
    at: float
    response: aiohttp.ClientResponse
    read_timeout: float
    through: str | None = None
    """The outbound proxy that passed on a plain HTTP request, without credentials: the answer may be its own."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Gives the body as it comes.

        Raises UpstreamBroke where it ends before the length that was promised, UpstreamTimeout where the mirror falls silent.
        """
        try:
            content = self.response.content
            # Piece by piece, as read from the socket: joining them costs a copy, and more than the processor's cache holds.
            # Where the mirror cut its answer in chunks, these can be so small that joining them is the cheaper.
            chunked = "Transfer-Encoding" in self.response.headers
            while True:
                chunk = await content.readany() if chunked else (await content.readchunk())[0]
                if chunk:
                    yield chunk
                elif content.at_eof():
                    return
        except TimeoutError:
            raise UpstreamTimeout(self.url, self.read_timeout, "it fell silent in the middle of its answer") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamBroke(self.url, sentence(error)) from None


class _RequestOptions(TypedDict, total=False):
    headers: Mapping[str, str]
    allow_redirects: bool
    proxy: str
    proxy_headers: Mapping[str, str]
    trace_request_ctx: Callable[[], None] | None


class Client:
    """Asks for one mirror's pages and files, wherever its links and redirects lead within the rules.

    `authorization` is the configured one. `heard` is told what came of each request to the mirror's own origin, and only of those,
    with the address that was asked for.
    Of requests under way there are as many as the settings have connections, and `DOWNLOADS` besides that are streamed;
    who finds no place in time gets a Failure that says so: the mirror has nothing to do with it.
    `one_each` says that the mirror takes a connection for each request, as its last good answer was by HTTP/1.0 (RFC 9112, 9.3).
    `outbound_proxy` is the address, without credentials, of the outbound proxy on the way to the mirror, if there is one.
    `order` holds which addresses worked, and is shared with whoever else dials the same host.
    Raises OSError where a file of the settings' TLS cannot be read, SettingsError where the environment names an impossible proxy.
    """

    def __init__(
        self,
        section: UpstreamSection,
        authorization: str | None,
        heard: Callable[[Reply, str], None],
        clock: Callable[[], float] = time.time,
        order: AddressOrder | None = None,
    ) -> None:
        self._section = section
        self.user_agent = section.user_agent or USER_AGENT
        self._configured = authorization
        self._heard = heard
        self._clock = clock
        self._origin = origin_of(section.url)
        scheme, host, port = self._origin
        self._own_prefix = f"{scheme}://{host}:{port}/" if urlsplit(section.url).port is not None else f"{scheme}://{host}/"
        self.destinations = Destinations(host, port, frozenset(each.lower() for each in section.allow_hosts))
        self._route = Route(section.proxy)
        self.tls: ssl.SSLContext = tls_context(section)
        resume_sessions(self.tls)
        proxy = self._route.proxy_for(section.url)
        self.outbound_proxy = None if proxy is None else proxy.address
        self._order = AddressOrder() if order is None else order
        self._resolver = GuardedResolver(self.destinations, self._route.proxies(), section.connect_timeout)
        self._inspector = Inspector(section)
        self._has_answered = False
        self.one_each = False
        self._places = asyncio.Semaphore(section.connections)
        self._streams = asyncio.Semaphore(DOWNLOADS)
        self._asking: aiohttp.ClientSession | None = None
        self._streaming: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Makes the sessions; nothing is dialled yet."""
        self._asking = self._session(_READ_AT_ONCE)
        self._streaming = self._session(_STREAMED_AT_ONCE)

    def _session(self, read_at_once: int) -> aiohttp.ClientSession:
        section = self._section
        connector = Connector(self._resolver, self._order, self.tls)
        timeout = aiohttp.ClientTimeout(
            total=None,
            # Several addresses that answer nothing are not to take this long each, nor an outbound proxy that is asked for a tunnel.
            connect=2 * section.connect_timeout,
            sock_connect=section.connect_timeout,
            sock_read=section.read_timeout,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=read_at_once,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
            timeout=timeout,
            headers={"User-Agent": self.user_agent},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            trust_env=False,
            trace_configs=[_departures()],
        )

    async def close(self) -> None:
        """Closes the sessions."""
        for session in (self._asking, self._streaming):
            if session is not None:
                await session.close()
        await self._resolver.close()

    def authorization_for(self, own: str | None) -> str | None:
        """Gives the Authorization header for the mirror itself: the client's `own`, else the configured one."""
        return own if own is not None else self._configured

    def own_origin(self, url: str) -> bool:
        """Whether the URL is the mirror's own: the same scheme, host and port."""
        if url.startswith(self._own_prefix):
            return True
        try:
            return origin_of(url) == self._origin
        except ValueError:
            return False

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
    ) -> AsyncIterator[Download]:
        """Ask for `url` and yield the answer at the end of the redirects; raise Failure where there is none.

        `own` is the client's Authorization header, if it has one. Redirects are followed by the same method, at most five of them.
        `sent` is called for each request that leaves, also where it leaves again, or follows a redirect.
        """
        session = self._streaming if streaming else self._asking
        if session is None:
            raise RuntimeError("the client is not open")
        async with (
            self._place(url, self._streams if streaming else self._places),
            self._followed(session, method, url, headers, own, sent=sent) as download,
        ):
            yield download

    @asynccontextmanager
    async def _place(self, url: str, places: asyncio.Semaphore) -> AsyncIterator[None]:
        # One is waited for as long as an answer may take: then one must have come free.
        seconds = self._section.connect_timeout + self._section.read_timeout
        try:
            async with asyncio.timeout(seconds):
                await places.acquire()
        except TimeoutError:
            why = f"the proxy itself has as many requests under way as it allows, and none ended within {seconds:g} s"
            raise Failure(Trouble.OWN_LIMIT, shown(url), why) from None
        try:
            yield
        finally:
            places.release()

    @asynccontextmanager
    async def _followed(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        own: str | None,
        *,
        sent: Callable[[], None] | None,
    ) -> AsyncIterator[Download]:
        visited: set[str] = set()
        trusted = True
        while url not in visited and len(visited) <= _HOPS:
            visited.add(url)
            address = _address(url)
            at_home = origin_of_dialled(address) == self._origin
            trusted = trusted and at_home
            authorization = self.authorization_for(own) if trusted else None
            if len(visited) == 1 and not url.startswith(self._section.url.partition("?")[0]):
                # What a page says in a link itself is for that link, wherever it leads.
                authorization = link_authorization(url) or authorization
            proxy = self._route.proxy_for(str(address))
            options = await self._options(address, headers, authorization, proxy)
            options["trace_request_ctx"] = sent
            response = await self._one_hop(session, method, address, options, proxy, at_home=at_home)
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                await _let_go(response)
                url = _next(str(address), location)
                continue
            try:
                through = proxy.address if proxy is not None and address.scheme == "http" else None
                silence = self._section.read_timeout
                yield Download(response.status, response.headers, shown(str(address)), self._clock(), response, silence, through)
            except BaseException:
                response.close()
                raise
            await _let_go(response)
            return
        raise Failure(Trouble.TOO_MANY_REDIRECTS, shown(url), "its redirects do not end")

    async def _one_hop(
        self,
        session: aiohttp.ClientSession,
        method: str,
        address: URL,
        options: _RequestOptions,
        proxy: OutboundProxy | None,
        *,
        at_home: bool,
    ) -> aiohttp.ClientResponse:
        try:
            response = await session.request(method, address, **options)
            if response.status == 407 and proxy is not None and address.scheme == "http":
                # In a tunnel nobody answers but the mirror; in plain HTTP nobody but the outbound proxy wants such credentials.
                await _let_go(response)
                raise proxy_wants_credentials(proxy, str(address))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, Failure) as error:
            failure = await self._failure(error, address, proxy, at_home=at_home)
            if at_home:
                self._heard(NoAnswer(failure.trouble, failure.detail, self._clock()), str(address))
            raise failure from None
        if at_home:
            self._has_answered = True
            if response.ok:
                self.one_each = _ends_with_its_answer(response)
            lowered = {name.lower(): value for name, value in response.headers.items()}
            self._heard(Answer(response.status, lowered, url=shown(str(address)), at=self._clock()), str(address))
        return response

    async def _failure(self, error: Exception, address: URL, proxy: OutboundProxy | None, *, at_home: bool) -> Failure:
        if isinstance(error, Failure):
            return error
        if proxy is not None:
            return failure_behind(proxy, error, str(address), self._section)
        return failure_of(error, str(address), self._section, await self._seen_of(error, address, at_home=at_home))

    async def _seen_of(self, error: Exception, address: URL, *, at_home: bool) -> Inspection | None:
        """Return what the host of `address` shows of itself, if it says more than `error`."""
        tls = tls_error_in(error)
        # A mirror that has answered before wants no client certificate.
        cut_off = at_home and not self._has_answered and isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        refused = isinstance(error, aiohttp.ClientConnectorError)
        if address.scheme != "https" or not (worth_inspecting(tls) or (cut_off and tls is None and not refused)):
            return None
        host, port = address.host or "", address.port or 0
        literal = literal_address(host)
        try:
            found = await self._resolver.addresses(host, port) if literal else await self._allowed(host, port)
        except OSError:
            return None
        return await self._inspector.inspect(host, port, found)

    async def _allowed(self, host: str, port: int) -> list[tuple[int, str]]:
        return [(int(each["family"]), each["host"]) for each in await self._resolver.resolve(host, port)]

    def tls_failure(self, error: ssl.SSLError) -> str:
        """Return what a failure of TLS at the mirror's own host means."""
        _, host, port = self._origin
        return explain(error, host, self._section, self._inspector.seen(host, port))

    async def _options(
        self, address: URL, headers: Mapping[str, str], authorization: str | None, proxy: OutboundProxy | None
    ) -> _RequestOptions:
        url = str(address)
        refusal = await self._refusal(address, proxy)
        if refusal:
            raise Failure(Trouble.FORBIDDEN_DESTINATION, shown(url), refusal)
        sent = dict(headers)
        if authorization is not None:
            sent["Authorization"] = authorization
        options: _RequestOptions = {"headers": sent, "allow_redirects": False}
        if proxy is None:
            return options
        if not proxy.usable:
            detail = f"the outbound proxy {proxy.address} speaks no HTTP; name an http:// one in `proxy` or HTTPS_PROXY"
            raise Failure(Trouble.REFUSED, shown(url), detail)
        options["proxy"] = proxy.address
        tunnel = address.scheme == "https"
        to_proxy, options["proxy_headers"] = proxy.credentials(tunnel=tunnel)
        sent.update(to_proxy)
        return options

    async def _refusal(self, address: URL, proxy: OutboundProxy | None) -> str:
        """Says what is against `address` that the resolver will not get to see: spelled-out addresses, and all that a proxy resolves."""
        host, port = address.host or "", address.port or 0
        literal = literal_address(host)
        if literal is not None:
            return self.destinations.refusal(host, port, literal, await self._resolver.own_reach())
        return "" if proxy is None else await self._resolver.refusal(host, port)

    async def addresses(self) -> list[tuple[int, str]]:
        """Gives family and address of the mirror's own host."""
        _, host, port = self._origin
        return [(int(family), address) for family, address in await self._resolver.addresses(host, port)]


def _departures() -> aiohttp.TraceConfig:
    """Return a tracing that calls what a request was given, each time that it leaves: aiohttp sends some again by itself."""

    async def left(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(left)
    return tracing


def _address(url: str) -> URL:
    try:
        return dialled(url)
    except ValueError as error:
        raise Failure(Trouble.FORBIDDEN_DESTINATION, shown(url), sentence(error)) from None


def _ends_with_its_answer(response: aiohttp.ClientResponse) -> bool:
    old = response.version is not None and response.version < aiohttp.HttpVersion11
    return old and response.headers.get("Connection", "").lower() != "keep-alive"


def _next(url: str, location: str) -> str:
    try:
        return redirected(url, location)
    except ValueError:
        raise Failure(Trouble.NOT_HTTP, shown(url), "it redirects to what is no address") from None


async def _let_go(response: aiohttp.ClientResponse) -> None:
    """Gives the connection back for the next request where that costs little, else closes it."""
    length = response.content_length
    if not response.content.at_eof() and length is not None and length <= _WORTH_READING:
        try:
            async with asyncio.timeout(1.0):
                await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()
            return
    # aiohttp closes it by itself where the body was not read to its end.
    response.release()
