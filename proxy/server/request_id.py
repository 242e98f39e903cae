"""The request id: one word for a request, from the edge before the proxy to the last log line about it.

A client, or the edge before us, may choose it by `X-Request-ID`; else it is made here. What is no plain word of bounded length is not taken
over: it goes into the log, and back into a header.
"""

import re
import secrets
from collections.abc import Callable
from itertools import count

from aiohttp import web

HEADER = "X-Request-ID"
_WORD = r"[A-Za-z0-9._~:+/=-]{1,128}"
_WELL_FORMED = re.compile(_WORD)
# Spelled out, since a search that ignores case takes several times as long.
_LINE = re.compile(rb"\r\n[Xx]-[Rr]equest-[Ii][Dd]:[ \t]*(%b)[ \t]*(?=\r\n)" % _WORD.encode())
HINT = b"equest-"
"""What no request with an id is without, and few others have."""

NEW_ID: web.AppKey[Callable[[], str]] = web.AppKey("new_request_id")
_ID = web.RequestKey("request_id", str)


def new_ids() -> Callable[[], str]:
    """Gives a function that makes ids: different ones each time, and others than any other process makes."""
    start, numbers = secrets.token_hex(8), count(1)
    return lambda: f"{start}{next(numbers)}"


def request_id_of(request: web.Request) -> str:
    """Gives the id of the request: what came with it where that is a plain word, else a new one."""
    found = request.get(_ID)
    if found is None:
        given = request.headers.get(HEADER, "")
        found = request[_ID] = given if _WELL_FORMED.fullmatch(given) else request.app[NEW_ID]()
    return found


async def send_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Puts the id on the response, for `on_response_prepare`."""
    response.headers[HEADER] = request_id_of(request)


def without_id(raw: bytes) -> tuple[bytes, str]:
    """Gives the bytes of a request without the line that holds its id, and the id; empty where there is none that would be taken over."""
    found = _LINE.search(raw)
    if found is None:
        return raw, ""
    return raw[: found.start()] + raw[found.end() :], found[1].decode("ascii")
