"""What a stand-in mirror remembers of a request."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

Kind = Literal["page", "file", "metadata", "list", "other"]


@dataclass(frozen=True)
class Asked:
    """A request that the mirror got.

    `name` is what faults are matched against: the file's name, "page:PROJECT", "metadata:FILENAME", or "list".
    `at` is in seconds of the monotonic clock.
    """

    method: str
    path: str
    name: str
    kind: Kind
    range: str | None
    authorization: str | None
    host: str
    headers: Mapping[str, str]
    at: float


def asked(request: web.BaseRequest, kind: Kind, name: str) -> Asked:
    """Gives the record of a request."""
    headers = request.headers
    return Asked(
        request.method,
        request.rel_url.raw_path,
        name,
        kind,
        headers.get("Range"),
        headers.get("Authorization"),
        request.host,
        CIMultiDictProxy(CIMultiDict(headers)),
        time.monotonic(),
    )
