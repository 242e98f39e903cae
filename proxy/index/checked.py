"""Bytes of a second index, checked against the SHA-256 on the mirror's page: the right ones come to their end, others never do."""

import hashlib
from collections.abc import AsyncIterator

from proxy.core.errors import UpstreamStatus
from proxy.core.flows.exchange import Answer
from proxy.upstream import Download, lowered, retry_after

_HELD_BACK = 256 * 1024
"""Bytes that are not passed on before more have come or all are checked; a file that is not larger is checked before it begins."""

_HAS_IT_NOT = frozenset({401, 403, 404, 410, 451})

_WHEEL_LIMIT = 64 * 1024 * 1024
"""Bytes of the largest wheel that is fetched whole for its metadata."""


class NotTheFile(Exception):
    """The second index sent something else than the file that the mirror's page lists."""


class TooLargeForMetadata(Exception):
    """A wheel is so large that it is not fetched for its metadata alone; of the wheel itself this says nothing."""


async def checked(chunks: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    """Passes on the bytes of a file, and the last of them only once all of them are seen to have the `sha256`.

    Raises NotTheFile where they have another: what was given until then is never the whole file.
    """
    hashed = hashlib.sha256()
    held = bytearray()
    async for chunk in chunks:
        hashed.update(chunk)
        if held and len(held) + len(chunk) > _HELD_BACK:
            yield bytes(held)
            held = bytearray()
        held += chunk
    if hashed.hexdigest() != sha256:
        raise NotTheFile(f"its sha256 is {hashed.hexdigest()}, and the mirror's page says {sha256}")
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
