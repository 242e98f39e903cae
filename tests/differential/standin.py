"""A mirror on loopback that sends pages with exactly the bytes and headers of a test, and a distinct file behind each link."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web

from tests.differential.contents import Content, address_key

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"
TEXT_HTML = "text/html"

_SLASHES = re.compile(r"/{2,}(?=[^?]*(?:\?|$))")

SIMPLE = "/root/simple/"
"""Two folders deep, so that links which go up by `../../` stay below the root, as on real mirrors."""


@dataclass(frozen=True)
class Written:
    """A page in one form, as it is sent."""

    body: bytes
    content_type: str = TEXT_HTML
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourcePage:
    """A project's page at the mirror, in the forms that the mirror speaks: one that a client accepts is sent, else the first.

    `dead` are the address keys of files that are listed and answer 404. Where `moved_to` is a path, the page is there, and its own
    address redirects to it.
    """

    project: str
    forms: tuple[Written, ...]
    title: str = ""
    dead: frozenset[str] = frozenset()
    moved_to: str = ""

    def chosen(self, accept: str) -> Written:
        """Return the form that a mirror sends to a client which accepts this: JSON goes before HTML, as all clients want it."""
        named = [part.partition(";")[0].strip() for part in accept.split(",")]
        for form in sorted(self.forms, key=lambda form: form.content_type != JSON_TYPE):
            if form.content_type.partition(";")[0] in named:
                return form
        return self.forms[0]


class StandIn:
    """The mirror. It has the files that it was told to deliver, at the spellings that clients use, and answers 404 elsewhere."""

    def __init__(self) -> None:
        self.pages: dict[str, SourcePage] = {}
        self._contents: dict[str, Content] = {}
        self._users: dict[str, str] = {}
        self._addresses: set[str] = set()
        self.dead: set[str] = set()
        self._moved: dict[str, SourcePage] = {}
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The address of the simple API."""
        return self.origin + SIMPLE

    def page_url(self, project: str) -> str:
        """Return the address of a project's page."""
        return f"{self.url}{project}/"

    def deliver(self, url: str, content: Content) -> None:
        """Deliver `content` at `url` as it is written, and as pip writes it."""
        self._contents[_merged(address_key(url))] = content
        user = urlsplit(url).netloc.rpartition("@")[0]
        if user:
            self._users[_merged(address_key(url))] = "Basic " + b64encode(unquote(user).encode()).decode()
        self._addresses.update(map(_merged, spellings(url)))
        if content.metadata is not None:
            parts = urlsplit(url)
            beside = parts._replace(path=parts.path + ".metadata").geturl()
            self._contents[_merged(address_key(beside))] = Content(content.metadata)
            self._addresses.update(map(_merged, spellings(beside)))

    def content(self, url: str) -> Content | None:
        """Return what a client gets at `url` that sends the credentials in it, None where nothing is there or all of it is dead."""
        key = _merged(address_key(url))
        return None if key in self.dead else self._contents.get(key)

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = request.raw_path
        if raw.startswith(SIMPLE):
            page = self.pages.get(unquote(raw.removeprefix(SIMPLE).partition("?")[0].rstrip("/")))
            if page is not None and page.moved_to:
                self._moved[page.moved_to] = page
                return web.Response(status=302, headers={"Location": page.moved_to})
            if page is not None:
                return _page(request, page)
        if raw in self._moved:
            return _page(request, self._moved[raw])
        if raw in {SIMPLE, SIMPLE.rstrip("/")}:
            names = "".join(f'<a href="{name}/">{name}</a>\n' for name in self.pages)
            return web.Response(text=f"<!DOCTYPE html><html><body>{names}</body></html>", content_type=TEXT_HTML)
        raw = _merged(raw)
        key = address_key(raw)
        content = self._contents.get(key) if raw in self._addresses and key not in self.dead else None
        if content is not None and request.headers.get("Authorization") != self._users.get(key, request.headers.get("Authorization")):
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        if content is None:
            return web.Response(status=404, text='{"errors":[{"status":404}]}', content_type="application/json")
        return _file(request, content)


def _merged(path: str) -> str:
    """Return a path with repeated slashes merged, as most servers do: some clients send them, and others do not."""
    return _SLASHES.sub("/", path)


def spellings(url: str) -> set[str]:
    """Return the ways in which clients put the path of `url` on the wire: as it is written, as pip quotes it, and decoded where safe."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path or "/"
    written = quote(path, safe="%/!$&'()*+,;=:@-._~[]{}|^`<>\"\\")
    escaped = quote(path, safe="%/!$&'()*+,;=:@-._~")
    pieces = quote(unquote(path.replace("%2F", "\0").replace("%2f", "\0")), safe="/@").replace("%00", "%2F")
    return {each + query for each in (written, escaped, pieces)}


def _page(request: web.BaseRequest, page: SourcePage) -> web.Response:
    form = page.chosen(request.headers.get("Accept", "*/*"))
    headers = dict(form.headers)
    if form.content_type:
        headers.setdefault("Content-Type", form.content_type)
    return web.Response(body=form.body, headers=headers)


def _file(request: web.BaseRequest, content: Content) -> web.Response:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if request.method == "HEAD":
        return web.Response(headers=headers | {"Content-Length": str(content.size)})
    asked = request.headers.get("Range", "")
    if not asked.startswith("bytes=") or not content.size:
        return web.Response(body=content.whole, headers=headers)
    first_text, _, last_text = asked.removeprefix("bytes=").partition("-")
    first = int(first_text) if first_text else max(0, content.size - int(last_text))
    last = min(int(last_text), content.size - 1) if first_text and last_text else content.size - 1
    if first > last:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{content.size}"
    return web.Response(status=206, body=content.part(first, last), headers=headers)
