"""A mirror in memory, whose files, rights, outages and time a test decides: it answers at once, and keeps a record of what it said."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from proxy.config import MirrorKind
from proxy.core.errors import UpstreamBroke, UpstreamStatus, UpstreamTimeout
from proxy.core.flows.exchange import Answer, Ask, Flow, Method, NoAnswer, Reply, Trouble
from proxy.core.identity import Identity
from proxy.core.verdict.allowance import Allowance
from proxy.core.verdict.budget import BUDGETS
from proxy.telemetry.counts import MirrorCounts
from proxy.upstream import FetchedPage, NotModified, Validators
from tests.listing import content_by_name

ORIGIN = "https://mirror.example.com"
_TAKES = 0.01
content = lru_cache(maxsize=None)(content_by_name)


@dataclass(frozen=True)
class Said:
    """What the mirror said of a file to an identity, when, and whether it was true: an outage denies what is there."""

    at: float
    good: bool
    true: bool


class ScriptedMirror:
    """Stands in the place of `proxy.upstream.Mirror`.

    `files` are those listed, by project, `absent` those of them that are not there, `forbidden` those that an identity may not see.
    `outage` is how the mirror fails, None while it does not; `pages_fail` says that it does for pages as well as for files.
    `coming` is the outage (None: its end) that sets in after so many answers about files.
    `now` is the time, of which each answer takes some.
    """

    name = key = "default"
    url = f"{ORIGIN}/simple/"
    kind = MirrorKind.STATIC
    budget = BUDGETS[kind]
    kind_is_sure = True
    breaker_open = False
    window = 64
    downloads = 0

    def __init__(self) -> None:
        self.counts = MirrorCounts()
        self.allowance = Allowance(None, None)
        self.now = 1_000_000.0
        self.files: dict[str, list[str]] = {}
        self.absent: set[str] = set()
        self.failing: set[str] = set()
        self.forbidden: set[tuple[str, str]] = set()
        self.private: dict[str, str] = {}
        self.outage: str | None = None
        self.pages_fail = True
        self.coming: tuple[int, str | None] | None = None
        self.said: dict[tuple[str, str], list[Said]] = {}

    def take(self, files: int, *, keep: int = 0) -> int:
        return self.allowance.take(files, self.now, keep=keep)

    def left(self, *, keep: int = 0) -> int | None:
        return self.allowance.left(self.now, keep=keep)

    def ask_less_at_once(self) -> None:
        """It answers one request after the other anyway."""

    def delivers(self, filename: str, who: str) -> bool:
        """Whether the file can be had by the identity with this key, outages aside."""
        return filename not in self.absent and (who, filename) not in self.forbidden

    def shows(self, project: str, who: str) -> bool:
        """Whether the identity may see the page."""
        return project in self.files and self.private.get(project, who) == who

    async def fetch_page(
        self, project: str, who: Identity, known: Validators | None = None, *, spelling: str | None = None, within: float | None = None
    ) -> FetchedPage | NotModified:
        del spelling, within
        url = f"{self.url}{project}/"
        outage = self.outage if self.pages_fail else None
        if outage == "silence":
            raise UpstreamTimeout(url, 1.0)
        if outage in {"404", "403", "500"}:
            raise UpstreamStatus(url, int(outage))
        if outage == "reset":
            raise UpstreamBroke(url, "the connection closed")
        if outage == "html":
            return FetchedPage(b"<html><title>Sign in</title><form></form></html>", "text/html", url, Validators(), {})
        if not self.shows(project, who.key):
            raise UpstreamStatus(url, 404)
        entries = [
            {"filename": name, "url": f"{ORIGIN}/files/{name}", "hashes": {"sha256": sha256(content(name)).hexdigest()}}
            | {"size": len(content(name))}
            for name in self.files[project]
        ]
        body = json.dumps({"meta": {"api-version": "1.0"}, "name": project, "files": entries}).encode()
        etag = f'"{sha256(body).hexdigest()}"'
        if known is not None and known.etag == etag:
            return NotModified({"etag": etag})
        return FetchedPage(body, "application/vnd.pypi.simple.v1+json", url, Validators(etag), {})

    async def converse(self, flow: Flow[Any], who: Identity, *, within: float | None = None, **_: Any) -> Any:
        del within
        try:
            ask = next(flow)
            while True:
                ask = flow.send(self._reply(ask, who))
        except StopIteration as end:
            return end.value

    async def converse_all(
        self, flows: Iterable[tuple[Any, Flow[Any]]], who: Identity, *, learned: Callable[[Any, Any], None], **_: Any
    ) -> None:
        for key, flow in flows:
            learned(key, await self.converse(flow, who))

    async def converse_alone(
        self, flows: Iterable[tuple[Any, Flow[Any]]], who: Identity, *, learned: Callable[[Any, Any], None], within: float, **_: Any
    ) -> bool:
        del within
        await self.converse_all(flows, who, learned=learned)
        return True

    def _reply(self, ask: Ask, who: Identity) -> Reply:
        if self.coming is not None:
            left, outage = self.coming
            self.coming = (left - 1, outage) if left else None
            self.outage = self.outage if left else outage
        self.now += _TAKES
        name = ask.url.rpartition("/")[2]
        reply = self._answer(ask, name, who)
        good = isinstance(reply, Answer) and reply.status in {200, 206} and reply.headers["content-type"] != "text/html"
        denied = isinstance(reply, Answer) and not good and reply.status < 500
        if good or (denied and ask.method is Method.GET):
            true = good or not self.delivers(name, who.key)
            self.said.setdefault((who.key, name), []).append(Said(self.now, good, true))
        return reply

    def _answer(self, ask: Ask, name: str, who: Identity) -> Reply:
        if self.outage in {"silence", "reset"}:
            return NoAnswer(Trouble.TIMEOUT if self.outage == "silence" else Trouble.RESET, at=self.now)
        if self.outage == "html":
            return Answer(200, {"content-type": "text/html", "content-length": "9"}, b"<html>"[: ask.read], ask.url, self.now)
        if self.outage is not None:
            return Answer(int(self.outage), {}, b"", ask.url, self.now)
        if name in self.failing:
            return Answer(503, {}, b"", ask.url, self.now)
        if not self.delivers(name, who.key):
            return Answer(404, {}, b"", ask.url, self.now)
        data = content(name)
        headers = {"content-type": "application/octet-stream", "content-length": str(len(data))}
        if ask.suffix:
            ask = msgspec.structs.replace(ask, first=max(0, len(data) - ask.suffix), last=len(data) - 1, suffix=0)
        if ask.method is Method.HEAD or ask.first is None:
            return Answer(200, headers, data[: ask.read], ask.url, self.now)
        last = min(len(data) - 1, len(data) - 1 if ask.last is None else ask.last)
        headers |= {"content-range": f"bytes {ask.first}-{last}/{len(data)}", "content-length": str(last - ask.first + 1)}
        return Answer(206, headers, data[ask.first : last + 1][: ask.read], ask.url, self.now)
