"""Bytes of a second index, checked against the SHA-256 on the mirror's page: the right ones come to their end, others never do."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator

from proxy.core.errors import UpstreamStatus
from proxy.core.flows.exchange import Answer
from proxy.upstream import Download, lowered, retry_after

_HELD_BACK = 256 * 1024
"""Bytes that are not passed on before more have come or all are checked; a file that is not larger is checked before it begins."""

_OF_A_SLOW_ONE = 16 * 1024
"""Bytes of a file that comes slowly, and comes, so that it begins before more are there."""

_HAS_IT_NOT = frozenset({401, 403, 404, 410, 451})

_WHEEL_LIMIT = 64 * 1024 * 1024
"""Bytes of the largest wheel that is fetched whole for its metadata."""


class NotTheFile(Exception):
    """The second index sent something else than the file that the mirror's page lists."""


class OtherContent(NotTheFile):
    """All of it came, and it has another SHA-256."""


class TooLargeForMetadata(Exception):
    """A wheel is so large that it is not fetched for its metadata alone; of the wheel itself this says nothing."""


async def checked(chunks: AsyncIterator[bytes], sha256: str, *, slow_from: float = math.inf) -> AsyncIterator[bytes]:
    """Pass on the bytes of a file, and the last of them only once all of them are seen to have the `sha256`.

    From `slow_from` on, in the seconds of the event loop's clock, fewer of them are held back.
    Raise OtherContent where they have another: what was given until then is never the whole file.
    """
    loop = asyncio.get_running_loop()
    hashed = hashlib.sha256()
    held = bytearray()
    slow = False
    async for chunk in chunks:
        hashed.update(chunk)
        slow = slow or (len(held) >= _OF_A_SLOW_ONE and loop.time() >= slow_from)
        if held and (slow or len(held) + len(chunk) > _HELD_BACK):
            yield bytes(held)
            held = bytearray()
        held += chunk
    if hashed.hexdigest() != sha256:
        raise OtherContent(f"its sha256 is {hashed.hexdigest()}, and the mirror's page says {sha256}")
    yield bytes(held)


def begun(download: Download) -> None:
    """Sees to it that the second index begins to send a file; raises NotTheFile where it has none, UpstreamStatus where it fails."""
    if download.status in _HAS_IT_NOT:
        raise NotTheFile(f"it answered {download.status}")
    if download.status != 200:
        answer = Answer(download.status, lowered(download.headers), at=download.at)
        raise UpstreamStatus(download.url, download.status, retry_after=retry_after(answer))


async def whole(download: Download, sha256: str) -> bytes:
    """Return all of a wheel that has the `sha256`.

    Raise as `begun` and `checked` do, and TooLargeForMetadata as soon as it turns out to be so.
    """
    begun(download)
    length = download.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length) > _WHEEL_LIMIT:
        raise TooLargeForMetadata(f"it has {length} bytes")
    content = bytearray()
    async for piece in checked(download.chunks(), sha256):
        content += piece
        if len(content) > _WHEEL_LIMIT:
            raise TooLargeForMetadata(f"it has more than {_WHEEL_LIMIT} bytes")
    return bytes(content)
