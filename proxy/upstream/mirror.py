"""One mirror: its pages, its files, and conversations about them."""

import asyncio
import os
import random
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import structlog

from proxy.config import MirrorKind, ProbeSection, UpstreamSection
from proxy.core.errors import (
    DestinationRefused,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverLimit,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.flows.exchange import Answer, Ask, Flow, NoAnswer, Reply, Trouble
from proxy.core.identity import Identity
from proxy.core.verdict.budget import BUDGETS
from proxy.upstream.breaker import Breaker
from proxy.upstream.client import USER_AGENT, Client, Download, Failure
from proxy.upstream.converse import Conversations
from proxy.upstream.credentials import configured_authorization, origin_of, shown
from proxy.upstream.fastlane import FastLane
from proxy.upstream.kinds import kind_by_address, kind_by_headers
from proxy.upstream.pace import Pace
from proxy.upstream.said import said_in

_log = structlog.get_logger("mirrormend.upstream")

T = TypeVar("T")
K = TypeVar("K")

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_ACCEPT_HTML = "text/html, application/vnd.pypi.simple.v1+html;q=0.9, */*;q=0.1"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_DOWN = frozenset({502, 503, 504})
_CONDITION_FAILED = frozenset({400, 412, 501})
_FORM_REFUSED = frozenset({400, 406, 415})
_BACKOFF = 0.25
_LONGEST_WAIT = 4.0
_SAID_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Validators:
    """What a page can be asked for again with (RFC 9110, section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def conditions(self) -> dict[str, str]:
        """Gives the headers of a conditional request."""
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.last_modified} if self.last_modified is not None else {}


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page of the mirror: the inflated `body`, and the `url` where the redirects ended, without credentials."""

    body: bytes
    content_type: str | None
    url: str
    validators: Validators
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotModified:
    """That the page is still the one that the validators are of."""

    headers: Mapping[str, str]


@dataclass(slots=True)
class Health:
    """How the mirror does: when it last answered (seconds since the epoch) and what its last failure was."""

    last_answer: float | None = None
    last_failure: str = ""
    last_failure_at: float | None = None
    requests: int = 0
    failures: int = 0


class Mirror:
    """One configured upstream."""

    def __init__(self, section: UpstreamSection, probe: ProbeSection, *, clock: Callable[[], float] = time.time) -> None:
        self._section = section
        self._probe = probe
        self._clock = clock
        self.name = section.name
        self.url = shown(section.url)
        self.kind = section.kind if section.kind is not MirrorKind.AUTO else kind_by_address(section.url)
        self.health = Health()
        self._breaker = Breaker()
        self._client = Client(section, configured_authorization(section, os.environ))
        self._pace = Pace(probe.concurrency, rate=self._rate())
        self._fast: FastLane | None = None
        self._conversations: Conversations | None = None

    async def open(self) -> None:
        """Makes ready; nothing is dialled yet."""
        await self._client.open()
        if not self._client.proxied:
            scheme, host, port = origin_of(self._section.url)
            self._fast = FastLane(
                host=host,
                port=port,
                tls=self._client.tls if scheme == "https" else None,
                server_hostname=host,
                connections=self._probe.concurrency,
                connect_timeout=self._section.connect_timeout,
                read_timeout=self._section.read_timeout,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                resolver=self._client.addresses,
                clock=self._clock,
            )
        self._conversations = Conversations(
            self.ask,
            self._fast,
            self._pace,
            authorization_for=lambda who: self._client.authorization_for(who.authorization),
            retries=self._section.retries,
            own_origin=self._client.own_origin,
            clock=self._clock,
            admit=lambda: self._breaker.admits(time.monotonic()),
            heard=self._heard,
        )

    async def close(self) -> None:
        """Ends conversations and closes connections."""
        if self._conversations is not None:
            await self._conversations.close()
        if self._fast is not None:
            await self._fast.close()
        await self._client.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def breaker_open(self) -> bool:
        """Whether the mirror is left alone just now, since it did not answer."""
        return self._breaker.open

    async def converse(self, flow: Flow[T], who: Identity, *, within: float | None = None) -> T:
        """Drives one conversation with the mirror, for at most `within` seconds, and gives what it learned."""
        return await self._talking().one(flow, who, within=within)

    async def converse_all(
        self, flows: Iterable[tuple[K, Flow[T]]], who: Identity, *, learned: Callable[[K, T], None], background: bool = False
    ) -> None:
        """Drives many conversations in their order, as the mirror bears it, and calls `learned` as each ends."""
        await self._talking().all(flows, who, learned=learned, background=background)

    def _talking(self) -> Conversations:
        if self._conversations is None:
            raise RuntimeError("the mirror is not open")
        return self._conversations

    async def ask(self, ask: Ask, who: Identity) -> Reply:
        """Makes one exchange of a conversation by the ordinary client; trouble becomes a NoAnswer."""
        headers = {"Accept-Encoding": "identity"}
        if ask.first is not None:
            headers["Range"] = f"bytes={ask.first}-{'' if ask.last is None else ask.last}"
        try:
            async with self._exchange(ask.method.value, ask.url, headers, who) as download:
                body = await _read_at_most(download, ask.read) if ask.read and download.status in {200, 206} else b""
                return Answer(download.status, _lowered(download.headers), body, download.url, self._clock())
        except Failure as failure:
            return NoAnswer(failure.trouble, failure.detail, self._clock())
        except (UpstreamBroke, UpstreamTimeout) as error:
            trouble = Trouble.TIMEOUT if isinstance(error, UpstreamTimeout) else Trouble.RESET
            return NoAnswer(trouble, error.detail, self._clock())

    async def fetch_page(self, project: str, who: Identity, known: Validators | None = None) -> FetchedPage | NotModified:
        """Fetches the simple-API page of `project` (its normalised name), in JSON where the mirror has it.

        With `known` validators it may answer that nothing changed. What fails in passing is asked again, as often as the settings say.
        Raises UpstreamStatus for any other answer than a page, and the other UpstreamErrors where there is none.
        """
        url = f"{self._section.url}{project}/"
        attempt = 0
        while True:
            try:
                return await self._fetch_page_once(url, who, known)
            except (UpstreamStatus, UpstreamBroke) as error:
                wait = _wait_before(attempt, error)
                if attempt >= self._section.retries or wait is None:
                    raise
                _log.info("asked-again", mirror=self.name, project=project, why=str(error), wait=round(wait, 2))
            attempt += 1
            await asyncio.sleep(wait)

    async def _fetch_page_once(self, url: str, who: Identity, known: Validators | None) -> FetchedPage | NotModified:
        conditions = known.conditions() if known is not None else {}
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "gzip, deflate", **conditions}
        try:
            return await self._page_answer(url, headers, who)
        except UpstreamStatus as error:
            if conditions and error.status in _CONDITION_FAILED:
                headers = {name: value for name, value in headers.items() if name not in conditions}
            elif error.status in _FORM_REFUSED:
                headers["Accept"] = _ACCEPT_HTML
            else:
                raise
            return await self._page_answer(url, headers, who)

    async def _page_answer(self, url: str, headers: Mapping[str, str], who: Identity) -> FetchedPage | NotModified:
        try:
            async with self._exchange("GET", url, headers, who) as download:
                lowered = _lowered(download.headers)
                if download.status == 304:
                    return NotModified(lowered)
                if download.status != 200:
                    raise await _status_error(download)
                body = await self._inflated(download)
                validators = Validators(lowered.get("etag"), lowered.get("last-modified"))
                return FetchedPage(body, lowered.get("content-type"), download.url, validators, lowered)
        except Failure as failure:
            raise self._error(failure) from None

    async def _inflated(self, download: Download) -> bytes:
        limit = self._section.page_limit
        encoded = download.headers.get("Content-Encoding", "identity").strip().lower()
        inflater = None if encoded in {"", "identity"} else zlib.decompressobj(wbits=47)
        body = bytearray()
        try:
            async for chunk in download.chunks():
                body += chunk if inflater is None else inflater.decompress(chunk, limit + 1 - len(body))
                if len(body) > limit:
                    raise UpstreamOverLimit(download.url, limit, "bytes")
        except zlib.error as error:
            raise UpstreamBroke(download.url, f"its {encoded} encoding is broken ({error})") from None
        if inflater is not None and not inflater.eof:
            raise UpstreamBroke(download.url, "its encoded answer ends too early")
        return bytes(body)

    @asynccontextmanager
    async def fetch_project_list(self, who: Identity, accept: str) -> AsyncIterator[Download]:
        """Asks for the list of all projects, to be streamed; raises UpstreamError where there is none."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        async with self._streamed("GET", self._section.url, headers, who) as download:
            if download.status != 200:
                raise await _status_error(download)
            yield download

    def download(
        self, method: str, url: str, who: Identity, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Download]:
        """Asks for a file as it is (no content coding), whatever the status; raises UpstreamError where no answer comes."""
        return self._streamed(method, url, {**(headers or {}), "Accept-Encoding": "identity"}, who)

    @asynccontextmanager
    async def _streamed(self, method: str, url: str, headers: Mapping[str, str], who: Identity) -> AsyncIterator[Download]:
        try:
            async with self._exchange(method, url, headers, who, streaming=True) as download:
                yield download
        except Failure as failure:
            raise self._error(failure) from None

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], who: Identity, *, streaming: bool = False
    ) -> AsyncIterator[Download]:
        now = time.monotonic()
        if self._client.own_origin(url) and not self._breaker.admits(now):
            rest = self._breaker.rest_left(now)
            raise Failure(Trouble.BREAKER_OPEN, url, f"it did not answer lately, and is tried again in {rest:.0f} s")
        try:
            async with self._client.exchange(method, url, headers, who.authorization, streaming=streaming) as download:
                self._heard(Answer(download.status, _lowered(download.headers), at=self._clock()))
                yield download
        except Failure as failure:
            if failure.trouble is not Trouble.BREAKER_OPEN:
                self._heard(NoAnswer(failure.trouble, failure.detail, self._clock()))
            raise

    def _heard(self, reply: Reply) -> None:
        """Learns from an answer, or from there being none, how the mirror does and what it is."""
        self.health.requests += 1
        if isinstance(reply, Answer) and reply.status not in _DOWN:
            self._breaker.succeeded()
            self.health.last_answer = reply.at
            self._recognise(reply.headers)
            return
        if isinstance(reply, NoAnswer) and reply.trouble in {Trouble.FORBIDDEN_DESTINATION, Trouble.TOO_MANY_REDIRECTS}:
            return
        was_open = self._breaker.open
        self._breaker.failed(time.monotonic())
        self.health.failures += 1
        self.health.last_failure_at = reply.at
        self.health.last_failure = f"status {reply.status}" if isinstance(reply, Answer) else reply.detail or reply.trouble.value
        if self._breaker.open and not was_open:
            _log.warning("breaker-open", mirror=self.name, why=self.health.last_failure)

    def _recognise(self, headers: Mapping[str, str]) -> None:
        if self.kind is MirrorKind.AUTO:
            self.kind = kind_by_headers(headers)
            if self.kind is not MirrorKind.AUTO:
                self._pace.rate = self._rate()
                _log.info("mirror-recognised", mirror=self.name, kind=self.kind.value)

    def _rate(self) -> float | None:
        rate = BUDGETS[self.kind].rate if self._probe.rate == "auto" else self._probe.rate
        return rate or None

    def _error(self, failure: Failure) -> UpstreamError:
        if failure.trouble is Trouble.TIMEOUT:
            return UpstreamTimeout(failure.url, self._section.read_timeout)
        if failure.trouble is Trouble.FORBIDDEN_DESTINATION:
            return DestinationRefused(failure.url, failure.detail)
        if failure.trouble in {Trouble.RESET, Trouble.NOT_HTTP, Trouble.TOO_MANY_REDIRECTS}:
            return UpstreamBroke(failure.url, failure.detail)
        return UpstreamUnreachable(failure.url, failure.detail)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def _read_at_most(download: Download, limit: int) -> bytes:
    body = bytearray()
    async for chunk in download.chunks():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


async def _status_error(download: Download) -> UpstreamStatus:
    try:
        detail = said_in(await _read_at_most(download, _SAID_BYTES))
    except UpstreamError:
        detail = ""
    text = download.headers.get("Retry-After", "")
    retry_after = float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
    challenges = tuple(download.headers.getall("WWW-Authenticate", ()))
    return UpstreamStatus(download.url, download.status, detail, challenges=challenges, retry_after=retry_after)


def _wait_before(attempt: int, error: UpstreamError) -> float | None:
    """Gives the seconds to wait before asking again, None where that is of no use."""
    jitter = 0.5 + random.random()  # noqa: S311 - it spreads requests, it guards nothing
    wait = _BACKOFF * 2**attempt * jitter
    if isinstance(error, UpstreamStatus):
        if error.status not in _PASSING:
            return None
        if error.retry_after is not None:
            wait = max(wait, error.retry_after)
    return wait if wait <= _LONGEST_WAIT else None
