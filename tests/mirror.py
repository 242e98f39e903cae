"""A stand-in for a broken mirror: a real server on loopback, in Artifactory's layout, that misbehaves where a test says so.

    async with BrokenMirror() as mirror:
        mirror.add("demo-1.0-py3-none-macosx_11_0_arm64.whl")
        mirror.fault("*macosx*", artifactory_404())

It answers rightly where no fault applies: ranges, HEAD, conditional requests, credentials, negotiation of JSON and HTML.
"""

import asyncio
import base64
import ssl
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from tests.answers import Untyped, negotiated, ranged, unchanged
from tests.asked import Asked, Kind, asked
from tests.faults import (
    ANYTHING,
    Fault,
    Rule,
    Target,
    artifactory_404,
    cut,
    empty,
    hang,
    ignores_range,
    lies_on_head,
    quota,
    redirects,
    reset,
    slow,
    status,
    wrong_content_range,
    wrong_type,
)
from tests.listing import Listed, Project, Written, content_by_name, path_by_name, project_by_name, project_list

__all__ = [
    "ANYTHING",
    "Asked",
    "BrokenMirror",
    "Fault",
    "Rule",
    "artifactory_404",
    "cut",
    "empty",
    "hang",
    "ignores_range",
    "lies_on_head",
    "quota",
    "redirects",
    "reset",
    "slow",
    "status",
    "wrong_content_range",
    "wrong_type",
]

_SIMPLE = "/artifactory/api/pypi/pypi/simple/"
_PACKAGES = "/artifactory/api/pypi/pypi/packages/packages/"


def _by_name() -> bytes:
    """Stands for the content that goes with the name of the file."""
    raise NotImplementedError


class BrokenMirror:
    """The mirror. What it does can be changed at any time by its attributes, by `add` and by `fault`.

    `forms` are the forms that it can speak; where it speaks one, it answers in that one whatever the client accepts.
    `credentials` are asked for everywhere, with the status `refuses_with` where they are wrong.
    `latency` is in seconds, before each answer. `etags` says whether pages have ETags and are answered with 304.
    `port` is where it listens on loopback, 0 for any that is free.
    """

    def __init__(
        self,
        *,
        forms: Collection[str] = frozenset({"json", "html"}),
        credentials: tuple[str, str] | None = None,
        server_header: str | None = None,
        latency: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.forms = forms
        self.credentials = credentials
        self.refuses_with = 401
        self.server_header = server_header
        self.latency = latency
        self.etags = True
        self.asked: list[Asked] = []
        self.projects: dict[str, Project] = {}
        self.rules: list[Rule] = []
        self._by_path: dict[str, Listed] = {}
        self._ssl_context = ssl_context
        self._port = port
        self._runner: web.ServerRunner | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the mirror."""
        return f"{'http' if self._ssl_context is None else 'https'}://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The address of the mirror's simple API, with the slash at its end."""
        return self.origin + _SIMPLE

    def page_url(self, project: str) -> str:
        """The address of a project's page."""
        return f"{self.url}{project}/"

    def file_url(self, filename: str) -> str:
        """The address of a listed file at this mirror."""
        listed = next(project.files[filename] for project in self.projects.values() if filename in project.files)
        return f"{self.origin}{_PACKAGES}{listed.path}"

    def add(
        self,
        filename: str,
        data: bytes | Callable[[], bytes] | None = _by_name,
        *,
        project: str | None = None,
        requires_python: str | None = None,
        yanked: bool | str = False,
        upload_time: str | None = None,
        core_metadata: bool | Literal["hash"] = False,
        size: int | Literal["auto"] | None = "auto",
        hashes: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        url: str | None = None,
        path: str | None = None,
    ) -> Listed:
        """Lists a file on the page of its project, and delivers it.

        Without `data` its content goes with its name; None is a file that is listed but answers 404. `size` None leaves the size out,
        `hashes` None tells the true sha256. `extra` are keys of the JSON entry that win over all others. `url` replaces the link.
        """
        if data is _by_name:
            content: Callable[[], bytes] | None = lambda: content_by_name(filename)  # noqa: E731
        elif data is None or callable(data):
            content = data
        else:
            content = lambda: data  # noqa: E731
        listed = Listed(
            filename,
            path_by_name(filename) if path is None else path,
            content,
            requires_python,
            yanked,
            upload_time,
            core_metadata,
            size,
            hashes,
            extra or {},
            url,
        )
        name = project_by_name(filename) if project is None else project
        self.projects.setdefault(name, Project(name)).add(listed)
        self._by_path[listed.path] = listed
        return listed

    def add_project(self, project: Project) -> None:
        """Takes over a project that was made elsewhere, as a copy."""
        self.projects[project.name] = project.copy()
        self._by_path.update((each.path, each) for each in project.files.values())

    def remove(self, filename: str, *, still_listed: bool = False) -> None:
        """Deletes a file; where it is `still_listed`, only its content."""
        project = next(each for each in self.projects.values() if filename in each.files)
        listed = project.files[filename] if still_listed else project.remove(filename)
        del self._by_path[listed.path]

    def set_page(self, project: str, body: bytes, content_type: str = "text/html", headers: Mapping[str, str] | None = None) -> None:
        """Puts bytes of the test's own in the place of a project's page; an empty `content_type` sends none."""
        self.projects.setdefault(project, Project(project)).raw = Written(body, content_type, headers or {})

    def fault(
        self,
        match: str | Callable[[str], bool],
        fault: Fault,
        methods: Collection[str] = ("HEAD", "GET"),
        times: int | None = None,
    ) -> Rule:
        """Lets the mirror misbehave where `match` (a pattern or a function of the name, see Asked) says so, `times` times or always.

        The first rule that answers wins; one that only waits lets the next ones have their say. Gives the rule, for `heal`.
        """
        rule = Rule(match, fault, methods, times)
        self.rules.append(rule)
        return rule

    def heal(self, rule: Rule | None = None) -> None:
        """Takes a fault back, all of them without `rule`."""
        if rule is None:
            self.rules.clear()
        else:
            self.rules.remove(rule)

    def asked_for(self, name: str) -> list[Asked]:
        """The requests for this name: a file's, "page:PROJECT", "metadata:FILENAME", or "list"."""
        return [each for each in self.asked if each.name == name]

    def count(self, *, kind: str | None = None, method: str | None = None) -> int:
        """How many requests came, of this kind and method."""
        return sum(kind in {None, each.kind} and method in {None, each.method} for each in self.asked)

    def forget(self) -> None:
        """Forgets what was asked."""
        self.asked.clear()

    async def start(self) -> None:
        """Listens, at the port it had before if any."""
        server = web.Server(self._serve)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._ssl_context)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Goes down: open connections are closed, new ones refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        kind, name, listed = self._what(request.path)
        self.asked.append(asked(request, kind, name))
        if self.latency:
            await asyncio.sleep(self.latency)
        response: web.StreamResponse | None = self._refusal(request)
        if response is None:
            response = await self._misbehave(request, kind, name, listed)
        if response is None:
            response = await self._answer(request, kind, name, listed)
        if self.server_header is not None and not response.prepared:
            response.headers["Server"] = self.server_header
        return response

    def _what(self, path: str) -> tuple[Kind, str, Listed | None]:
        if path == _SIMPLE:
            return "list", "list", None
        if path.startswith(_SIMPLE) and path.endswith("/"):
            return "page", f"page:{path[len(_SIMPLE) : -1]}", None
        filename = path.rpartition("/")[2]
        if not path.startswith(_PACKAGES):
            return "other", filename, None
        path = path[len(_PACKAGES) :]
        if path.endswith(".metadata"):
            return "metadata", f"metadata:{filename.removesuffix('.metadata')}", self._by_path.get(path.removesuffix(".metadata"))
        return "file", filename, self._by_path.get(path)

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        if self.credentials is None:
            return None
        right = base64.b64encode(":".join(self.credentials).encode()).decode()
        if request.headers.get("Authorization") == f"Basic {right}":
            return None
        headers = {"WWW-Authenticate": 'Basic realm="Artifactory Realm"'} if self.refuses_with == 401 else {}
        return web.Response(status=self.refuses_with, headers=headers)

    async def _misbehave(self, request: web.BaseRequest, kind: Kind, name: str, listed: Listed | None) -> web.StreamResponse | None:
        rules = [rule for rule in self.rules if rule.applies(request.method, name)]
        if not rules:
            return None
        data, content_type = self._body(request, kind, name, listed)
        for rule in rules:
            rule.spend()
            response = await rule.fault(Target(request, data or b"", content_type, data is not None))
            if response is not None:
                return response
        return None

    def _body(self, request: web.BaseRequest, kind: Kind, name: str, listed: Listed | None) -> tuple[bytes | None, str]:
        if kind == "page":
            written = self._written(request, name)
            return (None, "text/html") if written is None else (written.body, written.content_type)
        if kind == "metadata":
            return (listed.metadata or None if listed is not None and listed.core_metadata else None), "application/octet-stream"
        return (None if listed is None or listed.content is None else listed.content()), "application/octet-stream"

    async def _answer(self, request: web.BaseRequest, kind: Kind, name: str, listed: Listed | None) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if kind == "list":
            content_type = negotiated(request.headers.get("Accept", "*/*"), self.forms)
            return web.Response(body=project_list(self.projects, content_type), headers={"Content-Type": content_type})
        written = self._written(request, name) if kind == "page" else None
        if written is not None:
            return self._page(request, written)
        data, content_type = self._body(request, kind, name, listed)
        if data is None:
            missing = await artifactory_404()(Target(request, b"", content_type, found=False))
            return missing or web.Response(status=404)
        return ranged(request, data, content_type, f'"{sha256(data).hexdigest()[:32]}"')

    def _written(self, request: web.BaseRequest, name: str) -> Written | None:
        project = self.projects.get(name.removeprefix("page:"))
        return None if project is None else project.page(negotiated(request.headers.get("Accept", "*/*"), self.forms))

    def _page(self, request: web.BaseRequest, written: Written) -> web.Response:
        headers = {"Content-Type": written.content_type} | ({"ETag": written.etag} if self.etags else {}) | dict(written.headers)
        if "ETag" in headers and unchanged(request, headers["ETag"]):
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
        return (web.Response if written.content_type else Untyped)(body=written.body, headers=headers)
