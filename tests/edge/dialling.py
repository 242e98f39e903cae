"""A `Mirror` that dials a scripted server, and the bytes such a server says."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from proxy.config import ProbeSection, UpstreamSection
from proxy.core.identity import SHARED, Identity
from proxy.upstream import Mirror
from tests.edge.scripted import Script, Wire

Say = Callable[[str, Mapping[str, str]], bytes | None]
"""Gives the answer to a path and headers (lower-case names); None hangs up."""


def answer(status: int = 200, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """Gives an HTTP answer; `length` is what Content-Length says where it lies, underscores in names of headers are hyphens."""
    lines = [f"HTTP/1.1 {status} So it is", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def page(body: bytes = b'{"files":[]}', **headers: str) -> bytes:
    """Gives the answer that a page is."""
    return answer(200, body, **{"Content_Type": "application/vnd.pypi.simple.v1+json", **headers})


def saying(say: Say) -> Script:
    """Answers each request by what `say` gives, on connections that stay open."""

    async def script(wire: Wire) -> None:
        while True:
            head = await wire.request()
            said = say(path_of(head), headers_of(head))
            if said is None:
                wire.abort()
                return
            await wire.say(said)

    return script


def path_of(head: bytes) -> str:
    """Gives the request's target as it came."""
    return head.split(b" ", 2)[1].decode("latin-1")


def headers_of(head: bytes) -> dict[str, str]:
    """Gives the request's headers with lower-case names."""
    pairs = (line.decode("latin-1").partition(": ") for line in head.split(b"\r\n")[1:] if line)
    return {name.lower(): value for name, _, value in pairs}


@asynccontextmanager
async def mirror_at(url: str, *, probe: Mapping[str, Any] | None = None, **settings: Any) -> AsyncIterator[Mirror]:
    """An open Mirror of the simple API at `url`, with short patience; `settings` are those of its section."""
    section = UpstreamSection.model_validate({"url": url, "connect_timeout": 1.0, "read_timeout": 2.0, "retries": 0} | settings)
    async with Mirror(section, ProbeSection.model_validate(probe or {})) as mirror:
        yield mirror


async def file_of(mirror: Mirror, url: str, who: Identity = SHARED, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Downloads a file to its end; gives status and body."""
    async with mirror.download(method, url, who, {name.replace("_", "-"): value for name, value in headers.items()}) as download:
        return download.status, b"".join([chunk async for chunk in download.chunks()])
