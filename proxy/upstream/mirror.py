"""One mirror: its pages, its files, and conversations about them."""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import Context
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import Self, TypeVar

import structlog

from proxy.config import MirrorKind, ProbeSection, UpstreamSection
from proxy.core.errors import (
    DestinationRefused,
    OutboundProxyRefused,
    OwnLimit,
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
    UpstreamUntrusted,
)
from proxy.core.flows.evidence import DELIVERED
from proxy.core.flows.exchange import Answer, Ask, Flow, Method, NoAnswer, Reply, Trouble
from proxy.core.identity import SHARED, Identity
from proxy.core.redaction import Redaction
from proxy.core.verdict.allowance import Allowance
from proxy.core.verdict.budget import Budget
from proxy.core.verdict.reason import Reason
from proxy.telemetry import withhold
from proxy.telemetry.counts import MirrorCounts
from proxy.upstream.address_order import AddressOrder
from proxy.upstream.addresses import dialled, is_loopback, origin_of, shown
from proxy.upstream.again import RetryBudget
from proxy.upstream.client import Client, Download
from proxy.upstream.contact import FirstContact
from proxy.upstream.converse import Conversations
from proxy.upstream.credentials import configured_authorization, principal_of
from proxy.upstream.failure import Failure
from proxy.upstream.fastlane import FastLane, Sharing
from proxy.upstream.health import Health, Observer
from proxy.upstream.inflate import ACCEPT_ENCODING
from proxy.upstream.inside import PagesInside
from proxy.upstream.kinds import Recognition
from proxy.upstream.pace import Pace
from proxy.upstream.pagelane import PLAIN, PageLane
from proxy.upstream.pages import (
    FetchedPage,
    NotModified,
    Validators,
    Way,
    lowered,
    page_in,
    page_of,
    read_at_most,
    status_error,
    wait_before,
)

_log = structlog.get_logger("mirrormend.upstream")

T = TypeVar("T")
K = TypeVar("K")

_SILENCES_OF_A_PAGE = 6
"""How many read timeouts a page may take as a whole, so that one which comes byte by byte does come to an end."""

_WELL_FOR = 5.0
"""Seconds after a page came well for which nobody asks for one again to find out whether the mirror is down."""

_TRIAL_LOOK, _TRIAL_LOOKS = 0.05, 40
"""Seconds after which it is looked whether the trial of an open breaker has told something, and how often."""

_CALM_WITHIN, _CALM_FOR, _CALM_LOOK = 2.0, 0.3, 0.05
"""Seconds within which probes under way are waited for, for which no others start then, and after which it is looked again."""

_BESIDE = 0.003
"""Seconds within which a mirror on the same machine answers now and then, however busy both are."""

_IN_PASSING = frozenset({Trouble.TIMEOUT, Trouble.RESET, Trouble.REFUSED, Trouble.DNS})
_BROKE = frozenset({Trouble.RESET, Trouble.NOT_HTTP, Trouble.TOO_MANY_REDIRECTS})


class Mirror:
    """One configured upstream.

    `kind` is the product it runs, `allowance` what its pages share of files that nobody waits for.
    `key` tells it from all others in a store: by its name, by its address, since a name may be given to another mirror one day,
    and by whom the configured credentials are of, since these may see more than others.
    `url` is its address as it is told to anybody, `address` the true one, still without credentials.
    `health` is how it does, `counts` what it was asked for so far. `clock` tells the seconds since the epoch,
    `steady` those of a clock that does not go back. `looks_inside` says whether a page is looked for inside of a folder that has none.
    Raises OSError where a file of the settings' TLS cannot be read, SettingsError where the environment names an impossible proxy.
    """

    def __init__(
        self,
        section: UpstreamSection,
        probe: ProbeSection,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        counts: MirrorCounts | None = None,
        looks_inside: bool = True,
    ) -> None:
        self._section = section
        self._probe = probe
        self._clock = clock
        self._steady = steady
        self.name = section.name
        self.address = shown(section.url)
        redaction = Redaction([section.url], [section.name])
        self.url = redaction.text(self.address)
        if redaction:
            withhold(section.url, redaction.text)
        authorization = configured_authorization(section, os.environ)
        self._base, question_mark, query = section.url.partition("?")
        self._query = question_mark + query
        self.key = f"{section.name}@{sha256(f'{self.address}{query}{principal_of(authorization)}'.encode()).hexdigest()[:12]}"
        self.product = Recognition(section.kind, section.url)
        self.counts = counts if counts is not None else MirrorCounts()
        self._pages_at = str(dialled(self._base))
        self._observer = Observer(section.name, steady, self.counts, is_page=self._is_page, suspected=self._find_out)
        self._good_pages: deque[str] = deque(maxlen=4)
        self._finding_out: asyncio.Task[None] | None = None
        self._found_well = float("-inf")
        self.address_order = AddressOrder()
        self._client = self._new_client(authorization)
        self._pace = Pace(probe.concurrency, rate=self._rate())
        self.allowance = Allowance(*self._shared())
        self._seen_at = 0.0
        self._contact = FirstContact(steady)
        self.downloads = 0
        """Files that clients are being sent."""
        self._page_retries = RetryBudget()
        self._pages_asked = 0
        self.inside = PagesInside(section.name, looks=looks_inside)
        self._on_loopback = is_loopback(origin_of(section.url)[1]) and self._client.outbound_proxy is None
        self._fast: FastLane | None = None
        self._pages: PageLane | None = None
        self._sharing = Sharing()
        self._conversations: Conversations | None = None
        self._bodies_to_head = False

    async def open(self) -> None:
        """Make ready; nothing is dialled yet."""
        await self._client.open()
        if self._client.outbound_proxy is None:
            self._fast = self._new_lane(self._probe.concurrency, {"Accept-Encoding": "identity"})
            pages = self._new_lane(self._section.connections, {}, plain=PLAIN)
            self._pages = PageLane(pages, self._section.page_limit, self._section.read_timeout)
        self._conversations = Conversations(
            self.ask,
            self._fast,
            self._pace,
            authorization_for=lambda who: self._client.authorization_for(who.authorization),
            retries=self._section.retries,
            own_origin=self._client.own_origin,
            clock=self._clock,
            admit=self._is_plain,
            heard=self._heard,
            took=self.counts.took["probe"].add_all,
            sent=self.counts.price.sent,
        )

    def _new_client(self, authorization: str | None) -> Client:
        """Return the ordinary client. A simulation puts its own in its place."""
        return Client(self._section, authorization, self._heard_slowly, self._clock, self.address_order)

    def _new_lane(self, connections: int, headers: Mapping[str, str], *, plain: Collection[int] = ()) -> FastLane:
        """Return lean connections to the mirror's own origin. A simulation puts its own in their place."""
        scheme, host, port = origin_of(self._section.url)
        return FastLane(
            host=host,
            port=port,
            tls=self._client.tls if scheme == "https" else None,
            server_hostname=host,
            connections=connections,
            connect_timeout=self._section.connect_timeout,
            read_timeout=self._section.read_timeout,
            headers={"User-Agent": self._client.user_agent, **headers},
            resolver=self._client.addresses,
            clock=self._clock,
            plain=plain,
            order=self.address_order,
            tls_failure=self._client.tls_failure,
            sharing=self._sharing,
        )

    async def close(self) -> None:
        """Ends conversations and closes connections."""
        if self._finding_out is not None:
            self._finding_out.cancel()
            await asyncio.wait([self._finding_out])
        if self._conversations is not None:
            await self._conversations.close()
        for lane in (self._fast, self._pages):
            if lane is not None:
                await lane.close()
        await self._client.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def facts(self) -> dict[str, object]:
        """What is told of the mirror when the proxy starts."""
        return {
            "url": self.url,
            "kind": self.kind.value,
            "authenticates": self._client.authorization_for(None) is not None,
            "outbound_proxy": self._client.outbound_proxy is not None,
        }

    @property
    def health(self) -> Health:
        """How the mirror does."""
        return self._observer.health

    def take_over(self, earlier: "Mirror") -> None:
        """Knows from now on what `earlier` learned of the same mirror; whether it is to be left alone, it finds out anew."""
        self._observer.health = replace(earlier.health, resting=False)
        self.inside.take_over(earlier.inside)
        self.address_order.take_over(earlier.address_order)
        self.product.take_over(earlier.product)
        # It is the same mirror, and the earlier one goes on for a while.
        self.allowance = earlier.allowance
        self._recognised()

    @property
    def kind(self) -> MirrorKind:
        """The product it runs: the configured one, else what its answers tell, else its address; AUTO until they do."""
        return self.product.kind

    @property
    def budget(self) -> Budget:
        """How much is asked of a mirror of this kind, where the settings do not say it."""
        return self.product.budget

    @property
    def kind_is_sure(self) -> bool:
        """True where the kind is configured, or the mirror has answered and did not contradict it."""
        return self.product.is_sure

    def authenticates(self, who: Identity) -> bool:
        """Return whether requests to the mirror for `who` carry credentials, the client's own or the configured ones."""
        return self._client.authorization_for(who.authorization) is not None

    @property
    def window(self) -> int:
        """How many requests about files may be under way at once, at present."""
        return self._pace.limit

    def ask_less_at_once(self) -> None:
        """Ask for fewer files at once from now on: the mirror denied in a crowd what it delivers to few."""
        self._pace.crowded(asyncio.get_running_loop().time())

    @property
    def page_limit(self) -> int:
        """Bytes of the largest page that is taken."""
        return self._section.page_limit

    @property
    def breaker_open(self) -> bool:
        """Whether the mirror is left alone just now, since it did not answer."""
        return self._observer.breaker.open

    async def converse(self, flow: Flow[T], who: Identity, *, within: float | None = None, reason: Reason = Reason.DEMAND) -> T:
        """Drive one conversation with the mirror, for at most `within` seconds, and return what it learned.

        Its requests are counted as made for this `reason`.
        """
        async with self._contact.made(self._contact_key(who)):
            return await self._talking().one(flow, who, within=within, reason=reason)

    async def converse_all(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        background: bool = False,
        patient: bool = False,
        urgent: bool = False,
        reason: Reason | Callable[[K], Reason] = Reason.DEMAND,
    ) -> None:
        """Drives many conversations in their order, as the mirror bears it, and calls `learned` as each ends.

        `urgent` ones go before others; `patient` ones wait for all others but those in the `background`, which keep to a rate as well.
        `reason` is why they are made, or tells it by the key of each.
        """
        flows = iter(flows)
        if self._contact.due(self._contact_key(who)):
            for key, flow in islice(flows, 1):
                first = reason if isinstance(reason, Reason) else reason(key)
                learned(key, await self.converse(flow, who, reason=first))
        await self._talking().all(flows, who, learned=learned, background=background, patient=patient, urgent=urgent, reason=reason)

    async def converse_alone(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        within: float,
        reason: Reason = Reason.DEMAND,
    ) -> bool:
        """Drive conversations one after the other with no other probe under way, and call `learned` as each ends.

        Return False where the probes under way do not end within `within` seconds: then nothing was asked.
        """
        async with self._contact.made(self._contact_key(who)):
            return await self._talking().alone(flows, who, learned=learned, within=within, reason=reason)

    def _contact_key(self, who: Identity) -> str | None:
        return None if self._client.authorization_for(who.authorization) is None else who.key

    def _talking(self) -> Conversations:
        if self._conversations is None:
            raise RuntimeError("the mirror is not open")
        return self._conversations

    async def ask(self, ask: Ask, who: Identity, sent: Callable[[], None] | None = None) -> Reply:
        """Make one exchange of a conversation by the ordinary client; trouble becomes a NoAnswer.

        Where the mirror sends a body to HEAD (against RFC 9110, section 9.3.2), it is asked by GET from then on, and the body is not read.
        `sent` is called for each request that leaves.
        """
        reply = await self._ask(ask, Method.GET if self._bodies_to_head and ask.method is Method.HEAD else ask.method, who, sent)
        if ask.method is Method.HEAD and not self._bodies_to_head and isinstance(reply, NoAnswer) and reply.trouble is Trouble.NOT_HTTP:
            instead = await self._ask(ask, Method.GET, who, sent)
            if isinstance(instead, Answer):
                self._bodies_to_head = True
                return instead
            if instead.trouble is Trouble.OUTBOUND_PROXY:
                # It sends its own page to HEAD as well.
                return instead
        return reply

    async def _ask(self, ask: Ask, method: Method, who: Identity, sent: Callable[[], None] | None) -> Reply:
        headers = {"Accept-Encoding": "identity"}
        if ask.spread:
            headers["Connection"] = "close"
        if ask.range:
            headers["Range"] = ask.range
        try:
            async with self._exchange(method.value, ask.url, headers, who, sent=sent) as download:
                body = await read_at_most(download, ask.read) if ask.read and download.status in DELIVERED else b""
                return Answer(download.status, lowered(download.headers), body, download.url, self._clock())
        except Failure as failure:
            return NoAnswer(failure.trouble, failure.detail, self._clock())
        except (UpstreamBroke, UpstreamTimeout) as error:
            trouble = Trouble.TIMEOUT if isinstance(error, UpstreamTimeout) else Trouble.RESET
            return NoAnswer(trouble, error.detail, self._clock())

    async def greet(self) -> None:
        """Asks for next to nothing, so that `health` tells how the mirror does; it does not raise."""
        await self.ask(Ask(Method.HEAD, self._section.url), SHARED)

    async def fetch_page(
        self,
        project: str,
        who: Identity,
        known: Validators | None = None,
        *,
        spelling: str | None = None,
        within: float | None = None,
    ) -> FetchedPage | NotModified:
        """Fetches the simple-API page of `project` (its normalised name), in JSON where the mirror has it.

        With `known` validators it may answer that nothing changed. `spelling` is tried where the mirror has no page of the
        normalised name: there are some that keep the name as its author wrote it.
        What fails in passing is asked again, as often as the settings say, as long as that begins `within` so many seconds
        (without it, those that a page may wait).
        Raises UpstreamStatus for any other answer than a page, and the other UpstreamErrors where there is none.
        """
        try:
            return await self._fetch_page(project, who, known, within)
        except UpstreamStatus as error:
            if error.status != 404 or spelling is None or spelling == project:
                raise
            try:
                return await self._fetch_page(spelling, who, None, within)
            except UpstreamStatus:
                raise error from None

    async def _fetch_page(self, name: str, who: Identity, known: Validators | None, within: float | None) -> FetchedPage | NotModified:
        async def fetch(url: str, usual: bool) -> FetchedPage | NotModified:
            return await self._fetch_at(url, name, who, known if usual else None, within if usual else 0.0)

        return await self.inside.fetch(f"{self._base}{name}/{self._query}", name, fetch, own=not who.shared)

    async def _fetch_at(
        self, url: str, name: str, who: Identity, known: Validators | None, within: float | None
    ) -> FetchedPage | NotModified:
        until = self._steady() + (self._probe.deadline if within is None else within)
        way = Way({} if known is None else known.conditions(), codings=self._codings())
        self._pages_asked += 1
        attempt = 0
        alone = False
        while True:
            crowd = self._pace.under_way
            failed = await self._tried(url, way, who)
            if not isinstance(failed, UpstreamError):
                return failed
            status = failed.status if isinstance(failed, UpstreamStatus) else 0
            instead = way.instead(status)
            if instead is not None:
                way = instead
                continue
            if crowd and not alone and _may_be_crowded(status, known):
                alone = True
                await self._calm()
                continue
            attempt += 1
            wait = wait_before(attempt, failed) if attempt <= self._section.retries else None
            now = self._steady()
            if wait is None or now + wait >= until or not self._page_retries.allows(self._pages_asked, now):
                try:
                    raise failed
                finally:
                    # An error holds the frames it passes, and the requests in them: no frame must hold it.
                    del failed
            _log.info("asked-again", mirror=self.name, project=name, why=str(failed), wait=round(wait, 2))
            await asyncio.sleep(wait)

    async def _tried(self, url: str, way: Way, who: Identity) -> FetchedPage | NotModified | UpstreamError:
        """Ask once; return why no page came where asking otherwise or again may help, raise it where not."""
        try:
            answer = await self._page_answer(url, way, who)
        except (UpstreamStatus, UpstreamBroke, UpstreamTimeout) as error:
            return error
        except Failure as failure:
            # An error holds the frames that it passes: no name of this one may hold it.
            if failure.trouble not in _IN_PASSING:
                raise self._error(failure) from None
            return self._error(failure)
        if url not in self._good_pages:
            self._good_pages.append(url)
        return answer

    async def _calm(self) -> None:
        """Hold back probes until those under way are answered, and for as long as a page takes besides."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _CALM_WITHIN
        while self._pace.under_way > 0 and loop.time() < until:
            self._pace.paused_until = max(self._pace.paused_until, loop.time() + 2 * _CALM_LOOK)
            await asyncio.sleep(_CALM_LOOK)
        self._pace.paused_until = max(self._pace.paused_until, loop.time() + _CALM_FOR)

    def _codings(self) -> str:
        """Gives the content codings to ask for: on the same machine none, since compressing takes both sides longer than sending.

        What answers from farther away, through a tunnel that begins here, is on another one.
        """
        return "identity" if self._on_loopback and self._pace.least <= _BESIDE else ACCEPT_ENCODING

    async def _page_answer(self, url: str, way: Way, who: Identity) -> FetchedPage | NotModified:
        began = self._steady()
        at_most = _SILENCES_OF_A_PAGE * self._section.read_timeout
        limit, conditional = self._section.page_limit, bool(way.conditions)
        try:
            async with asyncio.timeout(at_most), self._contact.made(self._contact_key(who)):
                answer = await self._plain_answer(url, way, who)
                if answer is not None:
                    return await page_of(answer, limit, conditional=conditional)
                async with self._exchange("GET", url, way.headers(), who) as download:
                    return await page_in(download, limit, conditional=conditional)
        except TimeoutError:
            raise UpstreamTimeout(shown(url), at_most, "the page did not come to its end") from None
        finally:
            self.counts.took["page"].add(self._steady() - began)

    async def _plain_answer(self, url: str, way: Way, who: Identity) -> Answer | None:
        """Asks for a page by the lane of pages, where the mirror is one for it."""
        if self._pages is None or not self._is_plain():
            return None
        try:
            answer = await self._pages.answer(url, way.headers(), self._client.authorization_for(who.authorization))
        except Failure as failure:
            self._heard((NoAnswer(failure.trouble, failure.detail, self._clock()),), url)
            raise
        if answer is not None:
            self._heard((answer,), url)
        return answer

    @asynccontextmanager
    async def fetch_project_list(self, who: Identity, accept: str) -> AsyncIterator[Download]:
        """Asks for the list of all projects, to be streamed; raises UpstreamError where there is none."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        async with self._streamed("GET", self._section.url, headers, who) as download:
            if download.status != 200:
                raise await status_error(download)
            yield download

    def download(
        self, method: str, url: str, who: Identity, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Download]:
        """Ask for a file as it is (no content coding), whatever the status; raise UpstreamError where no answer comes.

        `headers` go with the request to wherever it leads: those of ranges and conditions, never credentials.
        """
        return self._streamed(method, url, {**(headers or {}), "Accept-Encoding": "identity"}, who, self.counts.price.relay)

    @asynccontextmanager
    async def _streamed(
        self, method: str, url: str, headers: Mapping[str, str], who: Identity, sent: Callable[[], None] | None = None
    ) -> AsyncIterator[Download]:
        self.downloads += 1
        try:
            began = self._steady()
            async with AsyncExitStack() as stack:
                async with self._contact.made(self._contact_key(who)):
                    download = await stack.enter_async_context(self._exchange(method, url, headers, who, streaming=True, sent=sent))
                self.counts.took["file"].add(self._steady() - began)
                yield download
        except Failure as failure:
            raise self._error(failure) from None
        finally:
            self.downloads -= 1

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        who: Identity,
        *,
        streaming: bool = False,
        sent: Callable[[], None] | None = None,
    ) -> AsyncIterator[Download]:
        breaker, now = self._observer.breaker, self._steady()
        if self._client.own_origin(url) and not breaker.admits(now) and not await self._admitted_after_trial():
            rest = max(1.0, breaker.rest_left(self._steady()))
            proxy = self._client.outbound_proxy
            who_failed = "the mirror did not answer" if proxy is None else f"nothing was answered by way of the outbound proxy {proxy}"
            raise Failure(Trouble.BREAKER_OPEN, shown(url), f"{who_failed} lately; next try in {rest:.0f} s")
        try:
            async with self._client.exchange(method, url, headers, who.authorization, streaming=streaming, sent=sent) as download:
                yield download
        except asyncio.CancelledError:
            breaker.abandoned()
            raise

    async def _admitted_after_trial(self) -> bool:
        """Wait a little for the trial that is under way, and return whether requests may be made after it."""
        breaker = self._observer.breaker
        for _ in range(_TRIAL_LOOKS):
            if not breaker.on_trial(self._steady()):
                break
            await asyncio.sleep(_TRIAL_LOOK)
        return breaker.admits(self._steady())

    def _is_page(self, url: str) -> bool:
        return url.startswith(self._pages_at)

    def _find_out(self, failing: Collection[str]) -> None:
        """Ask for a page that was well before, to tell the trouble of some paths from the mirror's own; `failing` are those."""
        if self._finding_out is not None or self._steady() - self._found_well < _WELL_FOR:
            return
        pages = [url for url in reversed(self._good_pages) if url not in failing]
        ask = Ask(Method.GET, pages[0], read=1) if pages else Ask(Method.HEAD, self._section.url)
        # It is nobody's request: the log must not take it for the one that failed last.
        self._finding_out = asyncio.get_running_loop().create_task(self._found_out(ask), context=Context())

    async def _found_out(self, ask: Ask) -> None:
        self._observer.witness = str(dialled(ask.url))
        try:
            await self.ask(ask, SHARED)
            if not self._observer.breaker.failures:
                self._found_well = self._steady()
        finally:
            self._observer.witness = None
            self._finding_out = None

    def _heard(self, replies: Sequence[Reply], path: str | None = None) -> None:
        """Learns from answers of the mirror's own origin, or from there being none, how it does and what it is."""
        self._observer.hear(replies, None if path is None else str(dialled(path)))
        before = self.kind
        # Of files there are tens of thousands, and one answer of each batch tells as much.
        looked_at = replies if path is not None or not self.kind_is_sure else replies[-1:]
        news = [self.product.hear(reply.headers) for reply in looked_at if isinstance(reply, Answer)]
        if any(news):
            self._recognised()
            if self.kind is not before:
                _log.info("mirror-recognised", mirror=self.name, kind=self.kind.value, instead_of=before.value)

    def _heard_slowly(self, reply: Reply, path: str) -> None:
        """As `_heard`, from the ordinary client, which alone finds out that a mirror takes a connection for each request."""
        self._pace.narrow(few=self._client.one_each)
        self._heard((reply,), path)

    def _is_plain(self) -> bool:
        """Whether lean connections will do; trials of an open breaker need the ordinary client, which copes with whatever the answer is."""
        return not self._observer.breaker.open and not self._client.one_each

    def _rate(self) -> float | None:
        return (self.budget.rate if self._probe.rate == "auto" else self._probe.rate) or None

    def _shared(self) -> tuple[int | None, float | None]:
        """Return the budget that all pages share, and the rate at which it comes back."""
        kept = self.budget.shared if self._probe.budget == "auto" else self._probe.budget
        return kept, self.budget.regained if self._probe.rate == "auto" else self._probe.rate

    def _recognised(self) -> None:
        self._pace.rate = self._rate()
        self.allowance.change(*self._shared(), self._now())

    def take(self, files: int, *, keep: int = 0) -> int:
        """Take at most so many files out of the allowance of what nobody waits for, so that `keep` remain; return how many."""
        return self.allowance.take(files, self._now(), keep=keep)

    def left(self, *, keep: int = 0) -> int | None:
        """Return how many files may be asked about that nobody waits for so that `keep` remain, None where there is no bound."""
        return self.allowance.left(self._now(), keep=keep)

    def ready_in(self, files: int, *, keep: int = 0) -> float | None:
        """Return in how many seconds so many files can be taken out of the allowance, None where they never can."""
        now = self._now()
        at = self.allowance.ready_at(files, now, keep=keep)
        return None if at is None else max(0.0, at - now)

    def _now(self) -> float:
        """Return the seconds of the loop's clock, which does not go back; outside of the loop, those that were seen last."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._seen_at
        self._seen_at = loop.time()
        return self._seen_at

    def _error(self, failure: Failure) -> UpstreamError:
        error = self._error_of(failure)
        error.trouble = failure.trouble.value
        return error

    @staticmethod
    def _error_of(failure: Failure) -> UpstreamError:
        if failure.trouble is Trouble.TIMEOUT:
            return UpstreamTimeout(failure.url, failure.seconds, failure.detail)
        if failure.trouble is Trouble.FORBIDDEN_DESTINATION:
            return DestinationRefused(failure.url, failure.detail)
        if failure.trouble is Trouble.OUTBOUND_PROXY:
            return OutboundProxyRefused(failure.url, failure.detail)
        if failure.trouble is Trouble.OWN_LIMIT:
            return OwnLimit(failure.url, failure.detail)
        if failure.trouble in _BROKE:
            return UpstreamBroke(failure.url, failure.detail)
        if failure.trouble is Trouble.TLS:
            return UpstreamUntrusted(failure.url, failure.detail)
        return UpstreamUnreachable(failure.url, failure.detail)


def _may_be_crowded(status: int, known: Validators | None) -> bool:
    """Return whether a page may be denied only since so much else is asked for: some mirrors say so by 403 or 404."""
    return status == 403 or (known is not None and status in {404, 410})
