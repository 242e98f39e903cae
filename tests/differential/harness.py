"""The differential itself: each page is read direct and through the proxy by every reader, and what differs is reported."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from proxy.config import Settings
from tests.differential.comparison import Context, compare, expected
from tests.differential.contents import Content, address_key, filename_in
from tests.differential.observations import ACCEPTS, Difference, Entry, Reading, Response, Unreadable, shown
from tests.differential.readers import READERS
from tests.differential.standin import SourcePage, StandIn
from tests.differential.templates import PageTemplate, default_content

_WHOLE = 64 * 1024
"""Larger files are compared by their first bytes, which tell them apart as well."""
_FIRST_BYTES = 512
_MOST_FILES = 24
"""Of a page, so many files are fetched; those whose name is listed more than once, and those that clients see, before others."""
_PAGES_AT_ONCE = 6
_LONGEST = 60.0
_LOOKS, _BETWEEN_LOOKS = 40, 0.5
"""How often a page with dead files is looked at, and the seconds in between."""

Result = TypeVar("Result")
ContentOf = Callable[[str, Sequence[Entry]], Content]
"""Chooses the content at an address, by what the page states of it."""


class Differential:
    """A stand-in for a mirror, the proxy before it, and the readers that look at both."""

    def __init__(self, mirror: StandIn, proxy_url: str, session: aiohttp.ClientSession) -> None:
        self.mirror = mirror
        self.proxy_url = proxy_url
        self._session = session

    async def page(self, page: SourcePage, content: ContentOf | None = None, clients: Sequence[str] = tuple(READERS)) -> list[Difference]:
        """Return how `page` differs through the proxy for these clients, whatever form they ask for."""
        direct = await self.prepare(page, content)
        stated = _stated(direct)
        found: list[Difference] = []
        links: dict[tuple[str, str], Context] = {}
        for accepting, accept in ACCEPTS.items():
            response = direct[accepting]
            proxied = await self._get(f"{self.proxy_url}simple/{page.project}/", accept)
            for client in clients:
                context = Context(
                    client,
                    page.title or page.project,
                    f"{'json' if response.is_json else 'html'} for {accepting}",
                    stated,
                    to_html=response.is_json and not proxied.is_json,
                    to_json=proxied.is_json and not response.is_json,
                    same_form=response.is_json == proxied.is_json,
                    dropped=page.dead,
                    headers=frozenset(response.headers),
                )
                differences, pairs = _read_both(client, page.project, response, proxied, context)
                found += differences
                links |= {(mine.url, theirs.url): replace(context, client="download") for mine, theirs in pairs}
        found += await self._files(links)
        return found

    async def settled(self, page: SourcePage) -> list[Difference]:
        """Return how `page` differs once its dead files left it, or after a while; a denial may take its time to be proven."""
        async with asyncio.timeout(_LONGEST):
            for _ in range(_LOOKS):
                found = await self.page(page)
                if not any(each.kind in {"dead file kept", "entry added"} for each in found):
                    break
                await asyncio.sleep(_BETWEEN_LOOKS)
        return found

    async def links(self, links: Sequence[tuple[str, str]], client: str, title: str) -> list[Difference]:
        """Return which links through the proxy do not deliver what those at the mirror, their first ones, deliver."""
        return await self._files(dict.fromkeys(links, Context(client, title, "")))

    async def pages(
        self, pages: Sequence[SourcePage], content: ContentOf | None = None, clients: Sequence[str] = tuple(READERS)
    ) -> list[Difference]:
        """Return how these pages differ, some of them at a time."""
        turn = asyncio.Semaphore(_PAGES_AT_ONCE)

        async def one(page: SourcePage) -> list[Difference]:
            async with turn:
                return await self.page(page, content, clients)

        return [each for found in await asyncio.gather(*map(one, pages)) for each in found]

    async def prepare(self, page: SourcePage, content: ContentOf | None = None) -> dict[str, Response]:
        """List the page, and put a file behind each address that some client reads on it."""
        self.mirror.pages[page.project] = page
        self.mirror.dead |= page.dead
        url = self.mirror.page_url(page.project)
        direct = {accepting: await self._get(url, accept) for accepting, accept in ACCEPTS.items()}
        stated = _stated(direct)
        for response in direct.values():
            for read in READERS.values():
                try:
                    entries = read(response, page.project).entries
                except Unreadable:
                    continue
                for entry in entries:
                    if entry.url.startswith(self.mirror.origin + "/"):
                        known = stated.get(address_key(entry.url), ())
                        self.mirror.deliver(entry.url, content(entry.url, known) if content else default_content(entry.url))
        return direct

    async def _files(self, links: dict[tuple[str, str], Context]) -> list[Difference]:
        chosen = _chosen(links)
        found = await asyncio.gather(*(self._file(*pair, links[pair]) for pair in chosen))
        return [each for each in found if each is not None]

    async def _file(self, direct: str, proxied: str, context: Context) -> Difference | None:
        name = filename_in(direct)
        if urlsplit(direct).scheme not in {"http", "https"}:
            return None if direct == proxied else context.differs("link changed", name, direct, proxied)
        content = self.mirror.contents.get(address_key(direct))
        if content is None or address_key(direct) in self.mirror.dead:
            return None
        small = content.size <= _WHOLE
        headers = {} if small else {"Range": f"bytes=0-{_FIRST_BYTES - 1}"}
        try:
            got = await self._get(proxied, "*/*", headers)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return context.differs("file refused", name, direct, f"{proxied}: {type(error).__name__}: {error}")
        if got.status not in {200, 206}:
            return context.differs("file refused", name, direct, f"{proxied}: {got.status} {got.body[:300].decode(errors='replace')}")
        if got.body != content.part(0, content.size - 1 if small else _FIRST_BYTES - 1):
            return context.differs("other bytes", name, direct, f"{proxied}: {got.body[-60:]!r}")
        return None

    async def _get(self, url: str, accept: str, headers: dict[str, str] | None = None) -> Response:
        asked = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "differential", **(headers or {})}
        async with self._session.get(URL(url, encoded=True), headers=asked) as response:
            body = await response.read()
            given = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, given, body, str(response.url))


def _read_both(
    client: str, project: str, direct: Response, proxied: Response, context: Context
) -> tuple[list[Difference], list[tuple[Entry, Entry]]]:
    try:
        mine = READERS[client](direct, project)
    except Unreadable:
        # Nothing to lose: whatever the proxy makes of it is no worse.
        return [], []
    try:
        theirs = READERS[client](proxied, project)
    except Unreadable as error:
        nothing_lost = not expected(mine, context) and not _says_it_is_an_index(direct)
        if proxied.status == 502 and (nothing_lost or _is_of_another_major(direct)):
            return [], []
        return [context.differs("page fails", project, f"{len(mine.entries)} entries", error)], []
    return compare(mine, theirs, context)


def _says_it_is_an_index(response: Response) -> bool:
    """Return whether a page without files still claims to be one of the simple API: its reader is told that there are none."""
    return response.is_json or b"pypi:" in response.body or b"<title>Links for" in response.body or b"<h1>Links for" in response.body


def _is_of_another_major(response: Response) -> bool:
    """Return whether the page has an api-version that clients must refuse (PEP 629), though pip does not look at it in HTML."""
    version = READERS["fields"](response, "").facts["api-version"]
    return isinstance(version, str) and version.partition(".")[0] not in {"", "1"}


def _stated(direct: dict[str, Response]) -> dict[str, list[Entry]]:
    stated: dict[str, list[Entry]] = {}
    for response in direct.values():
        try:
            reading = READERS["fields"](response, "")
        except Unreadable:
            reading = Reading(())
        for entry in reading.entries:
            stated.setdefault(address_key(entry.url), []).append(entry)
    return stated


def _chosen(links: dict[tuple[str, str], Context]) -> list[tuple[str, str]]:
    names: dict[str, set[str]] = {}
    for direct, _ in links:
        names.setdefault(filename_in(direct), set()).add(direct)
    ordered = sorted(links, key=lambda pair: len(names[filename_in(pair[0])]) == 1)
    return ordered if len(ordered) <= _MOST_FILES else ordered[:_MOST_FILES]


@asynccontextmanager
async def differential(**sections: Any) -> AsyncIterator[Differential]:
    """Run the proxy, with these sections of settings, in this process before a stand-in that lists nothing yet."""
    # Imported late, so that the readers can be tested without a server.
    from proxy.server import create_app  # noqa: PLC0415

    async with StandIn() as mirror:
        upstream = {"url": mirror.url} | sections.pop("upstream", {})
        settings = Settings.model_validate({"upstream": upstream, "store": {"location": "memory"}, **sections})
        runner = web.AppRunner(create_app(settings), shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        connector, timeout = aiohttp.TCPConnector(limit=32), aiohttp.ClientTimeout(total=30)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield Differential(mirror, f"http://127.0.0.1:{runner.addresses[0][1]}/", session)
        finally:
            await runner.cleanup()


class InBackground:
    """A differential in a thread of its own, for tests that are no coroutines; a block of `with` begins and ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="differential", daemon=True)
        self._stack = AsyncExitStack()
        self._count = 0
        self._run: Differential | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run = self.wait(self._stack.enter_async_context(differential()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what a coroutine returns that runs in the thread of the differential."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LONGEST)

    def differences(self, template: PageTemplate) -> list[Difference]:
        """Return how a page differs."""
        return self.wait(self.started.page(self.listed(template)))

    def differences_once_settled(self, template: PageTemplate) -> list[Difference]:
        """Return how a page differs once the proxy had time to prove which of its files are dead."""
        return self.wait(self.started.settled(self.listed(template)))

    def listed(self, template: PageTemplate) -> SourcePage:
        """Return the page of a project which was not asked for before."""
        self._count += 1
        return template.page(f"demo{self._count}", self.started.mirror.origin)

    @property
    def started(self) -> Differential:
        """The differential."""
        assert self._run is not None, "it runs inside its block of `with` only"
        return self._run


def describe(differences: Sequence[Difference]) -> str:
    """Return the differences as text, a line for each, those that say the same of several clients and forms once."""
    seen: dict[tuple[str, str, str, str, str], list[str]] = {}
    for each in differences:
        seen.setdefault((each.kind, each.page, each.subject, each.direct, each.proxied), []).append(f"{each.client}/{each.form}")
    lines = [
        f"{kind} | {page} | {subject} | {direct} → {proxied} | {', '.join(who)}"
        for (kind, page, subject, direct, proxied), who in seen.items()
    ]
    return "\n".join(shown(line, 600) for line in lines)
