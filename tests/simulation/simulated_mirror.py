"""The simulated mirror: answers each request from the truth of its world, as far as its behaviours let it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeAlias

from proxy.core.flows.exchange import Ask, Method, Trouble
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import JSON_TYPE, ORIGIN, SimFile, World, content_of, metadata_in

FILES, PAGES = f"{ORIGIN}/files/", f"{ORIGIN}/simple/"
A_PAGE = b"<!DOCTYPE html><html><head><title>Something else</title></head><body>Please try again later.</body></html>"
Told: TypeAlias = int | str
"""How a mirror refuses: a status, "page" (HTML with status 200), "empty" (an empty page), "silence" or "reset"."""


@dataclass(slots=True)
class Incoming:
    """A request as the mirror sees it: `kind` is page, file or metadata; `who` the key of the identity; `at` in the loop's seconds."""

    kind: str
    project: str
    filename: str
    ask: Ask
    who: str
    connection: int
    etag: str | None
    at: float
    file: SimFile | None
    query: str = ""
    holders: "list[Behaviour]" = field(default_factory=list)


@dataclass(slots=True)
class Sketch:
    """An answer that has not left yet."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Lost:
    """No answer: the connection breaks, or stays silent."""

    trouble: Trouble


Outcome: TypeAlias = Sketch | Lost


class Behaviour(Protocol):
    """One way in which a mirror misbehaves. It answers in the mirror's place (`before`), changes its answers (`after`), or counts both."""

    def before(self, request: Incoming) -> Outcome | None:
        """Return the answer that the request gets in the place of the true one, None where it gets that."""

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        """Return the answer as it leaves."""

    def left(self, request: Incoming) -> None:
        """Note that the answer to a request that this behaviour holds has left."""


class SimulatedMirror:
    """Answers requests. `near` is the shortest time that an answer takes, in seconds, `jitter` the share by which it may take longer."""

    def __init__(self, world: World, loop: VirtualLoop, rng: Random, *, near: float, jitter: float, validates: bool) -> None:
        self.world = world
        self.loop = loop
        self.near = near
        self.jitter = jitter
        self.validates = validates
        self._rng = rng
        self._files = {file.filename: file for file in world.files}
        self._takes_part: Sequence[Behaviour] = ()
        self._changes: Sequence[Behaviour] = ()
        self.asked: Counter[str] = Counter()
        self.asked_for: Counter[str] = Counter()
        self.serial = 0
        self.log: list[str] | None = None

    def behave(self, before: Sequence[Behaviour], after: Sequence[Behaviour]) -> None:
        """Take on these behaviours."""
        self._takes_part, self._changes = before, after

    def connected(self) -> int:
        """Return the number of a new connection."""
        self.serial += 1
        return self.serial

    def latency(self) -> float:
        """Return the seconds that one answer takes."""
        seconds = self.near * (1.0 + self.jitter * self._rng.random())
        # Answers come in steps, many at once, as they do where the proxy is busy: one by one, the loop takes longer than all the rest.
        step = self.near / 2
        return (int((self.loop.now + seconds) / step) + 1) * step - self.loop.now

    def receive(self, ask: Ask, who: str, connection: int, etag: str | None = None) -> tuple[Incoming, Outcome, float]:
        """Return the request as it was understood, what comes of it, and in how many seconds; `sent` has to be called then."""
        filename, file, kind = "", None, "page"
        url, _, query = ask.url.partition("?")
        if url.startswith(FILES):
            project, _, filename = url[len(FILES) :].partition("/")
            kind = "file"
            if filename.endswith(".metadata"):
                kind, filename = "metadata", filename[: -len(".metadata")]
            file = self._files.get(filename)
        else:
            project = url[len(PAGES) :].strip("/") if url.startswith(PAGES) else ""
        self.asked[kind] += 1
        if kind == "file":
            self.asked_for[filename] += 1
        request = Incoming(kind, project, filename, ask, who, connection, etag, self.loop.now, file, query)
        outcome: Outcome | None = None
        for each in self._takes_part:
            outcome = each.before(request)
            if outcome is not None:
                break
        if outcome is None:
            outcome = self._truth(request)
            for each in self._changes:
                outcome = each.after(request, outcome)
        latency = self.latency()
        if isinstance(outcome, Sketch) and "x-seconds" in outcome.headers:
            latency += float(outcome.headers["x-seconds"])
        if self.log is not None:
            shown = outcome.status if isinstance(outcome, Sketch) else outcome.trouble.value
            span = f" {ask.range}" if ask.range else ""
            name = filename or project
            self.log.append(f"{self.loop.now:12.3f}      {ask.method.value} {kind} {name}{span} #{connection} {who or '-'} -> {shown}")
        return request, outcome, latency

    @staticmethod
    def sent(request: Incoming) -> None:
        """Note that the answer has left."""
        for each in request.holders:
            each.left(request)

    def _truth(self, request: Incoming) -> Outcome:
        if request.kind == "page":
            return self._page(request)
        file = request.file
        if file is None:
            return refusal(404)
        if not file.there(request.who, request.at):
            return refusal(file.denied, head=request.ask.method is Method.HEAD)
        if request.kind == "metadata":
            if not file.core_metadata:
                return refusal(404)
            data = metadata_in(file.filename)
            return Sketch(200, {"content-type": "application/octet-stream", "content-length": str(len(data))}, data)
        if file.failing is not None:
            return refusal(file.failing, head=request.ask.method is Method.HEAD)
        return delivery(request.ask, content_of(file.filename))

    def _page(self, request: Incoming) -> Outcome:
        project = self.world.projects.get(request.project)
        if project is None or not project.shows(request.who) or request.at >= project.withdrawn_from:
            return refusal(404)
        body, etag = project.page(request.who, request.at)
        headers = {"content-type": JSON_TYPE if project.form == "json" else "text/html; charset=utf-8", "content-length": str(len(body))}
        if self.validates:
            headers["etag"] = etag
            if request.etag == etag:
                return Sketch(304, {"etag": etag})
        return Sketch(200, headers, body)


def delivery(ask: Ask, data: bytes, *, ranged: bool = True) -> Sketch:
    """Return the answer that delivers `data`, a part of it where a range was asked for and `ranged` is true."""
    headers = {"content-type": "application/octet-stream", "content-length": str(len(data))}
    if ask.method is Method.HEAD:
        return Sketch(200, headers)
    if ask.suffix:
        ask = Ask(ask.method, ask.url, max(0, len(data) - ask.suffix), len(data) - 1)
    if ask.first is None or not ranged:
        return Sketch(200, headers, data)
    if ask.first >= len(data):
        return Sketch(416, {"content-range": f"bytes */{len(data)}", "content-length": "0"})
    last = len(data) - 1 if ask.last is None else min(ask.last, len(data) - 1)
    headers |= {"content-range": f"bytes {ask.first}-{last}/{len(data)}", "content-length": str(last - ask.first + 1)}
    return Sketch(206, headers, data[ask.first : last + 1])


def refusal(told: Told, *, head: bool = False) -> Outcome:
    """Return the answer that refuses in this way."""
    if told == "silence":
        return Lost(Trouble.TIMEOUT)
    if told == "reset":
        return Lost(Trouble.RESET)
    if told == "page":
        headers = {"content-type": "text/html", "content-length": str(len(A_PAGE))}
        return Sketch(200, headers, b"" if head else A_PAGE)
    if told == "empty":
        return Sketch(200, {"content-type": "application/octet-stream", "content-length": "0"})
    return Sketch(int(told), {"content-length": "0"})
