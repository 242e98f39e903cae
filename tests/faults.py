"""The ways in which a mirror misbehaves: each a small coroutine that answers instead of the file, or gives None and lets it be."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from random import Random

from aiohttp import web

from tests.answers import ranged


@dataclass(frozen=True)
class Target:
    """What a fault finds: the request, and what a healthy mirror would send. `data` is empty where there is nothing to send."""

    request: web.BaseRequest
    data: bytes
    content_type: str
    found: bool


Fault = Callable[[Target], Awaitable[web.StreamResponse | None]]
"""Answers the request; None means that the mirror goes on as if healthy."""


def ANYTHING(_: str) -> bool:  # noqa: N802 - used as a value, in the place of a pattern
    """Matches every request: files, pages, metadata and the list."""
    return True


@dataclass
class Rule:
    """A fault and where it applies; `times` is how often it still does, None for always."""

    match: str | Callable[[str], bool]
    fault: Fault
    methods: Collection[str]
    times: int | None = None

    def applies(self, method: str, name: str) -> bool:
        """Whether the rule is for this request. A pattern without "page:" or "metadata:" before it is for files alone."""
        if method not in self.methods or self.times == 0:
            return False
        if callable(self.match):
            return self.match(name)
        # Names of files hold no colon.
        return (":" in name) <= (":" in self.match) and fnmatchcase(name, self.match)

    def spend(self) -> None:
        """Counts one application."""
        if self.times is not None:
            self.times -= 1


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answers with this status."""

    async def fault(_: Target) -> web.StreamResponse:
        return web.Response(status=code, headers=headers, body=body)

    return fault


def artifactory_404() -> Fault:
    """What Artifactory says of a file that its page lists and it cannot deliver."""
    body = json.dumps({"errors": [{"status": 404, "message": "Could not find resource"}]}).encode()
    return status(404, {"Content-Type": "application/json;charset=ISO-8859-1"}, body)


def hang(seconds: float) -> Fault:
    """Says nothing for so long, then hangs up."""

    async def fault(target: Target) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return _hang_up(target)

    return fault


def slow(seconds: float) -> Fault:
    """Answers rightly, but late."""

    async def fault(_: Target) -> None:
        await asyncio.sleep(seconds)

    return fault


def cut(promise: int = 1000, send: int = 10) -> Fault:
    """Promises so many bytes, sends fewer, and hangs up; to HEAD it only promises."""

    async def fault(target: Target) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(promise), "Content-Type": target.content_type})
        await response.prepare(target.request)
        if target.request.method == "HEAD":
            return response
        await response.write((target.data or bytes(send))[:send].ljust(send, b"\0"))
        # Give the bytes time to leave: an abort throws away what is still in the buffer.
        await asyncio.sleep(0.02)
        return _hang_up(target, response)

    return fault


def without_length(send: int | None = None) -> Fault:
    """Sends the file in chunks and never says how long it is; with `send`, hangs up after so many bytes."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if target.request.method == "HEAD":
            return web.Response(headers={"Content-Type": target.content_type})
        response = web.StreamResponse(headers={"Content-Type": target.content_type})
        await response.prepare(target.request)
        for first in range(0, len(target.data) if send is None else send, 64 * 1024):
            await response.write(target.data[first : first + 64 * 1024][: None if send is None else send - first])
        if send is None:
            await response.write_eof()
            return response
        # Give the bytes time to leave: an abort throws away what is still in the buffer.
        await asyncio.sleep(0.02)
        return _hang_up(target, response)

    return fault


def reset() -> Fault:
    """Hangs up without a word."""

    async def fault(target: Target) -> web.StreamResponse:
        return _hang_up(target)

    return fault


def ignores_range() -> Fault:
    """Says that it takes ranges, and answers 200 with all of the file."""

    async def fault(target: Target) -> web.StreamResponse:
        return web.Response(body=target.data, headers={"Content-Type": target.content_type, "Accept-Ranges": "bytes"})

    return fault


def wrong_content_range() -> Fault:
    """Answers a range with 206 and other bytes than those asked for, as Content-Range says."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if "Range" not in target.request.headers:
            return None
        size = len(target.data)
        first = min(7, size - 1)
        headers = {"Content-Type": target.content_type, "Content-Range": f"bytes {first}-{size - 1}/{size}"}
        return web.Response(status=206, body=target.data[first:], headers=headers)

    return fault


def lies_on_head(code: int) -> Fault:
    """Answers HEAD with this status, whether the file is there or not, and everything else as it would."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if target.request.method != "HEAD":
            return None
        return web.Response(status=code, headers={"Content-Type": target.content_type, "Content-Length": str(len(target.data))})

    return fault


def wrong_type(body: bytes = b"<html>log in</html>") -> Fault:
    """Answers 200 with a page for people, as a login portal does."""
    return status(200, {"Content-Type": "text/html; charset=utf-8"}, body)


def empty() -> Fault:
    """Answers 200 and no bytes, with the right type."""

    async def fault(target: Target) -> web.StreamResponse:
        return web.Response(headers={"Content-Type": target.content_type})

    return fault


def redirects(location: str, code: int = 302) -> Fault:
    """Sends the client elsewhere."""
    return status(code, {"Location": location})


def quota(after_n: int, status: int = 403) -> Fault:
    """Lets so many requests through, then refuses the others with this status."""
    numbers = count(1)

    async def fault(_: Target) -> web.StreamResponse | None:
        return None if next(numbers) <= after_n else web.Response(status=status)

    return fault


def _hang_up(target: Target, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if target.request.transport is not None:
        target.request.transport.abort()
    return response or web.StreamResponse()


def limited(at_once: int, answer: Fault, seconds: float = 0.02) -> Fault:
    """Deliver to so many requests at a time, each of which takes so long, and answer all others otherwise at once."""
    under_way = 0

    async def fault(target: Target) -> web.StreamResponse | None:
        nonlocal under_way
        if under_way >= at_once:
            return await answer(target)
        under_way += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            under_way -= 1
        return None

    return fault


def some_nodes(nodes: int, lacking: int, answer: Fault, seed: int = 0) -> Fault:
    """Send each request to one of so many nodes, of which some lack the files."""
    random = Random(seed)  # noqa: S311 - which node answers is no secret

    async def fault(target: Target) -> web.StreamResponse | None:
        return await answer(target) if random.randrange(nodes) < lacking else None

    return fault


def delivers_only_plain_get(answer: Fault) -> Fault:
    """Deny HEAD and Range, as a cache does that an ordinary GET fills."""

    async def fault(target: Target) -> web.StreamResponse | None:
        plain = target.request.method == "GET" and "Range" not in target.request.headers
        return None if plain else await answer(target)

    return fault


def typed(content_type: str) -> Fault:
    """Deliver the file, and say of it that it is something else."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if not target.found:
            return None
        return ranged(target.request, target.data, content_type, '"typed"')

    return fault


def cold_cache(at_once: int, answer: Fault, seconds: float, warm: Callable[[str], bool]) -> Fault:
    """Deliver at once what it has; fetch the rest from afar, so many files at a time, and answer otherwise beyond that."""
    fetch = limited(at_once, answer, seconds)
    fetched: set[str] = set()

    async def fault(target: Target) -> web.StreamResponse | None:
        path = target.request.path
        if path in fetched or warm(path):
            return None
        refused = await fetch(target)
        if refused is None:
            fetched.add(path)
        return refused

    return fault
