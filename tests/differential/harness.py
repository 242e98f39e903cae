"""The differential itself: each page is read direct and through the proxy by every reader, and what differs is reported."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from proxy.config import Settings
from tests.differential.comparison import Context, compare, expected
from tests.differential.contents import Content, address_key, filename_in
from tests.differential.observations import ACCEPTS, Difference, Entry, Reading, Response, Unreadable
from tests.differential.readers import READERS
from tests.differential.standin import SourcePage, StandIn
from tests.differential.templates import default_content

_WHOLE = 64 * 1024
"""Larger files are compared by their first bytes, which tell them apart as well."""
_FIRST_BYTES = 512
_MOST_FILES = 24
"""Of a page, so many files are fetched; those whose name is listed more than once, and those that clients see, before others."""
_PAGES_AT_ONCE = 6
_LONGEST = 60.0
_LOOKS, _BETWEEN_LOOKS = 40, 0.5
"""How often a page with dead files is looked at, and the seconds in between."""

ContentOf = Callable[[str, Sequence[Entry]], Content]
"""Chooses the content at an address, by what the page states of it."""


class Comparison:
    """A mirror at `direct_url`, the proxy before it at `proxy_url`, and the readers that look at both."""

    def __init__(self, direct_url: str, proxy_url: str, session: aiohttp.ClientSession) -> None:
        self.direct_url = direct_url
        self.proxy_url = proxy_url
        self.session = session

    async def project(self, project: str, clients: Sequence[str] = tuple(READERS)) -> list[Difference]:
        """Return how the page of a project differs through the proxy for these clients, whatever form they ask for."""
        return await self._compared(project, project, await self._direct(project), frozenset(), clients)

    async def projects(self) -> list[str]:
        """Return the names of all projects that the mirror lists."""
        response = await self.get(self.direct_url, "text/html")
        names = {filename_in(entry.url) for entry in READERS["pypi-simple"](response, "").entries if entry.url.startswith(self.direct_url)}
        return sorted(names - {""})

    async def links(self, links: Sequence[tuple[str, str]], client: str, title: str) -> list[Difference]:
        """Return which links through the proxy do not deliver what those at the mirror, their first ones, deliver."""
        return await self._files(dict.fromkeys(links, Context(client, title, "")), ())

    async def get(self, url: str, accept: str, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for a page or a file, at the address as it is written."""
        asked = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "differential", **(headers or {})}
        async with self.session.get(URL(url, encoded=True), headers=asked) as response:
            body = await response.read()
            given = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, given, body, str(response.url))

    async def _direct(self, project: str) -> dict[str, Response]:
        url = f"{self.direct_url}{project}/"
        return {accepting: await self.get(url, accept) for accepting, accept in ACCEPTS.items()}

    async def _compared(
        self, project: str, title: str, direct: Mapping[str, Response], dead: frozenset[str], clients: Sequence[str]
    ) -> list[Difference]:
        stated = _stated(direct)
        found: list[Difference] = []
        links: dict[tuple[str, str], Context] = {}
        with_metadata: set[str] = set()
        for accepting, accept in ACCEPTS.items():
            response = direct[accepting]
            proxied = await self.get(f"{self.proxy_url}simple/{project}/", accept)
            for client in clients:
                context = Context(
                    client,
                    title,
                    f"{'json' if response.is_json else 'html'} for {accepting}",
                    stated,
                    to_html=response.is_json and not proxied.is_json,
                    in_json=proxied.is_json,
                    to_json=proxied.is_json and not response.is_json,
                    same_form=response.is_json == proxied.is_json,
                    dropped=dead,
                    headers=frozenset(response.headers),
                )
                differences, pairs = _read_both(client, project, response, proxied, context)
                found += differences
                links |= {(mine.url, theirs.url): replace(context, client="download") for mine, theirs in pairs}
                # pip alone tells files of this project from others, for which nobody asks here. A file has the metadata of one name.
                if client == "pip":
                    with_metadata |= {
                        theirs.url
                        for mine, theirs in pairs
                        if theirs.facts["core-metadata"] and len({each.name for each in stated.get(address_key(mine.url), ())}) == 1
                    }
        return found + await self._files(links, with_metadata)

    async def _files(self, links: Mapping[tuple[str, str], Context], with_metadata: Collection[str]) -> list[Difference]:
        chosen = _chosen(links)
        asked = [self._file(*pair, links[pair]) for pair in chosen]
        asked += [self._metadata(*pair, links[pair]) for pair in chosen if pair[1] in with_metadata]
        return [each for each in await asyncio.gather(*asked) if each is not None]

    async def _file(self, direct: str, proxied: str, context: Context) -> Difference | None:
        name = filename_in(direct)
        if urlsplit(direct).scheme not in {"http", "https"}:
            return None if direct == proxied else context.differs("link changed", name, direct, proxied)
        expected_bytes, headers = await self._delivered(direct)
        return None if expected_bytes is None else await self._same(direct, proxied, expected_bytes, headers, context, "file", "bytes")

    async def _metadata(self, direct: str, proxied: str, context: Context) -> Difference | None:
        metadata = await self._metadata_of(direct)
        if metadata is None:
            return None
        return await self._same(direct, _beside(proxied), metadata, {}, context, "metadata", "metadata")

    async def _same(
        self, direct: str, proxied: str, wanted: bytes, headers: Mapping[str, str], context: Context, refused: str, other: str
    ) -> Difference | None:
        name = filename_in(direct)
        try:
            got = await self.get(proxied, "*/*", headers)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return context.differs(f"{refused} refused", name, direct, f"{proxied}: {type(error).__name__}: {error}")
        if got.status not in {200, 206}:
            said = got.body[:300].decode(errors="replace")
            return context.differs(f"{refused} refused", name, direct, f"{proxied}: {got.status} {said}")
        return None if got.body == wanted else context.differs(f"other {other}", name, direct, f"{proxied}: {got.body[-60:]!r}")

    async def _delivered(self, direct: str) -> tuple[bytes | None, dict[str, str]]:
        """Return the bytes to expect, None where the mirror itself does not deliver, and the headers to ask for just these."""
        headers = {"Range": f"bytes=0-{_FIRST_BYTES - 1}"}
        try:
            got = await self.get(direct, "*/*", headers)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None, {}
        return (got.body if got.status == 206 else None), headers

    async def _metadata_of(self, direct: str) -> bytes | None:
        """Return the metadata to expect beside a file, None where that cannot be told."""
        try:
            got = await self.get(_beside(direct), "*/*")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return got.body if got.status == 200 and got.body.startswith(b"Metadata-Version:") else None


class Differential(Comparison):
    """The comparison where the mirror is a stand-in, which has a file behind each address that a client reads on a page."""

    def __init__(self, mirror: StandIn, proxy_url: str, session: aiohttp.ClientSession) -> None:
        super().__init__(mirror.url, proxy_url, session)
        self.mirror = mirror
        # Files that are not those of the page's digests: only a part of them can be asked for, since the proxy checks a whole.
        self._of_other_digests: set[str] = set()

    async def page(self, page: SourcePage, content: ContentOf | None = None, clients: Sequence[str] = tuple(READERS)) -> list[Difference]:
        """Return how `page` differs through the proxy for these clients, whatever form they ask for."""
        direct = await self.prepare(page, content)
        return await self._compared(page.project, page.title or page.project, direct, page.dead, clients)

    async def settled(self, page: SourcePage) -> list[Difference]:
        """Return how `page` differs once its dead files left it, or after a while; a denial may take its time to be proven."""
        async with asyncio.timeout(_LONGEST):
            for _ in range(_LOOKS):
                found = await self.page(page)
                if not any(each.kind in {"dead file kept", "entry added"} for each in found):
                    break
                await asyncio.sleep(_BETWEEN_LOOKS)
        return found

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
        direct = await self._direct(page.project)
        stated = _stated(direct)
        for response in direct.values():
            for read in READERS.values():
                try:
                    entries = read(response, page.project).entries
                except Unreadable:
                    continue
                for entry in entries:
                    if urlsplit(entry.url).netloc.rpartition("@")[2] == urlsplit(self.mirror.origin).netloc:
                        known = stated.get(address_key(entry.url), ())
                        if content is not None:
                            self._of_other_digests.add(entry.url)
                        self.mirror.deliver(entry.url, (content or default_content)(entry.url, known))
        return direct

    async def _delivered(self, direct: str) -> tuple[bytes | None, dict[str, str]]:
        content = self.mirror.content(direct)
        if content is None or content.size <= 1:
            return None, {}
        if content.size <= _WHOLE and direct not in self._of_other_digests:
            return content.whole, {}
        last = min(_FIRST_BYTES, content.size - 1) - 1
        return content.part(0, last), {"Range": f"bytes=0-{last}"}

    async def _metadata_of(self, direct: str) -> bytes | None:
        content = self.mirror.content(direct)
        return None if content is None else content.metadata


def _beside(url: str) -> str:
    """Return the address of the core metadata of the file at `url` (PEP 658)."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path + ".metadata").geturl()


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


def _stated(direct: Mapping[str, Response]) -> dict[str, list[Entry]]:
    stated: dict[str, list[Entry]] = {}
    for response in direct.values():
        try:
            reading = READERS["fields"](response, "")
        except Unreadable:
            reading = Reading(())
        for entry in reading.entries:
            stated.setdefault(address_key(entry.url), []).append(entry)
    return stated


def _chosen(links: Mapping[tuple[str, str], Context]) -> list[tuple[str, str]]:
    names: dict[str, set[str]] = {}
    for direct, _ in links:
        names.setdefault(filename_in(direct), set()).add(direct)
    ordered = sorted(links, key=lambda pair: len(names[filename_in(pair[0])]) == 1)
    return ordered if len(ordered) <= _MOST_FILES else ordered[:_MOST_FILES]


@asynccontextmanager
async def proxied_server(url: str, **sections: Any) -> AsyncIterator[Comparison]:
    """Run the proxy, with these sections of settings, in this process before the simple API at `url`."""
    # Imported late, so that the readers can be tested without a server.
    from proxy.server import create_app  # noqa: PLC0415

    upstream = {"url": url} | sections.pop("upstream", {})
    settings = Settings.model_validate({"upstream": upstream, "store": {"location": "memory"}, **sections})
    runner = web.AppRunner(create_app(settings), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connector, timeout = aiohttp.TCPConnector(limit=32), aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield Comparison(url, f"http://127.0.0.1:{runner.addresses[0][1]}/", session)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def differential(**sections: Any) -> AsyncIterator[Differential]:
    """Run the proxy, with these sections of settings, in this process before a stand-in that lists nothing yet."""
    async with StandIn() as mirror, proxied_server(mirror.url, **sections) as run:
        yield Differential(mirror, run.proxy_url, run.session)
