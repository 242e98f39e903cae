"""How a healthy server answers: content negotiation, conditional requests, byte ranges (RFC 9110)."""

import re
from collections.abc import Collection

from aiohttp import web

from tests.listing import HTML_TYPE, JSON_TYPE

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Untyped(web.Response):
    """An answer without Content-Type, which aiohttp would add."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Content-Type", None)


def negotiated(accept: str, forms: Collection[str]) -> str:
    """Gives the content type of the page to send: of those that can be spoken the most wanted, where nothing is asked for HTML."""
    spoken = [(each, form) for each, form in (("text/html", "html"), (HTML_TYPE, "html"), (JSON_TYPE, "json")) if form in forms]
    weights = dict(_weighted(part) for part in accept.split(","))
    fallback = weights.get("*/*", 0.0)
    return max((content_type for content_type, _ in spoken), key=lambda content_type: weights.get(content_type, fallback))


def unchanged(request: web.BaseRequest, etag: str) -> bool:
    """Whether the client has this already, as its If-None-Match says."""
    return etag in {each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")}


def ranged(request: web.BaseRequest, data: bytes, content_type: str, etag: str) -> web.Response:
    """Gives the file, or the one range of it that was asked for; for more than one range, the whole file."""
    size = len(data)
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes", "ETag": etag}
    asked = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if asked is None or asked.groups() == ("", "") or request.headers.get("If-Range", etag) != etag:
        return web.Response(body=data, headers=headers)
    first, last = asked.groups()
    start, stop = (int(first), int(last or size - 1) + 1) if first else (max(size - int(last), 0), size)
    if start >= size or start >= stop:
        return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    stop = min(stop, size)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return web.Response(status=206, body=data[start:stop], headers=headers)


def _weighted(part: str) -> tuple[str, float]:
    content_type, *parameters = (each.strip() for each in part.lower().split(";"))
    quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return content_type, float(quality)
