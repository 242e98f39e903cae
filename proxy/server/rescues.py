"""Answering with a file from a second index, where the mirror lists it and does not deliver it.

A range of such a file cannot be checked, so it is always sent as a whole, as a server may (RFC 9110, section 14.2).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import HttpVersion11, web

from proxy.core.errors import (
    FileUndeliverable,
    MirrormendError,
    OutboundProxyRefused,
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.filling import sha256_of
from proxy.core.page import File
from proxy.core.verdict.judge import PASSING, Cause
from proxy.index import Index
from proxy.index.checked import NotTheFile, OtherContent, begun, checked
from proxy.index.failure_backoff import retry_delay
from proxy.index.project import Project
from proxy.index.rescue import Rescue
from proxy.server.context import BEGUN, abort, facts_of
from proxy.server.pages import matches
from proxy.server.ranges import parse_range
from proxy.upstream.addresses import shown

_log = structlog.get_logger("mirrormend.server")

_HELD_FOR = 2.0
"""Seconds for which a client waits, at most, for the first byte of a file that comes slowly."""

_LEAST = 2.0
"""Seconds that the second index has at least to begin, however long the mirror took to fail."""


WholeFile = Callable[[web.Request, Index, Project, File], Awaitable[web.StreamResponse]]
"""Answers with what a GET of the whole file gives at the mirror, and raises what the client is told where that fails."""


def _may_rescue(index: Index, error: MirrormendError) -> bool:
    """Return whether a file that failed at the mirror with `error` may come from elsewhere: never where the mirror refuses it."""
    cause = _cause_of(error)
    return index.rescue is not None and cause is not None and index.rescue.covers(cause)


def _says_nothing(error: MirrormendError) -> bool:
    """Return whether `error` says nothing of the file: then no denial of the whole file is waited for."""
    return _cause_of(error) in PASSING


def _cause_of(error: MirrormendError) -> Cause | None:
    if isinstance(error, FileUndeliverable):
        return {404: Cause.ABSENT, 410: Cause.ABSENT, 200: Cause.NO_FILE, 206: Cause.NO_FILE, 416: Cause.NO_FILE}.get(error.status)
    if isinstance(error, OutboundProxyRefused):
        # The policy of whoever runs that proxy, and no evidence of the file.
        return None
    if isinstance(error, UpstreamTimeout | UpstreamUnreachable | UpstreamBroke):
        return Cause.NO_ANSWER
    return Cause.MIRROR_ERROR if isinstance(error, UpstreamStatus) and error.status >= 500 else None


@asynccontextmanager
async def hurried(index: Index, project: Project, file: File) -> AsyncIterator[Callable[[], None]]:
    """Wait for the mirror only half of the deadline where the second index turns out to have `file`, and silence is a reason to ask it.

    The block calls what it is given once the mirror begins to answer. Raises UpstreamTimeout where it does not.
    """
    rescue = index.rescue
    looking: asyncio.Task[None] | None = None
    seconds = 0.0 if rescue is None else rescue.deadline / 2
    try:
        async with asyncio.timeout(None) as limit:
            if rescue is not None and rescue.hurries(project, file):
                looking = asyncio.create_task(_limit_if_elsewhere(rescue, project, file, limit), name="look elsewhere")

            def begins() -> None:
                if looking is not None:
                    looking.cancel()
                limit.reschedule(None)

            yield begins
    except TimeoutError:
        raise UpstreamTimeout(shown(file.url), seconds, "it is asked for elsewhere") from None
    finally:
        if looking is not None:
            looking.cancel()


async def _limit_if_elsewhere(rescue: Rescue, project: Project, file: File, limit: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + rescue.deadline / 2
    await asyncio.sleep(rescue.deadline / 8)
    if await rescue.find(project, file) is not None:
        limit.reschedule(max(until, loop.time()))


async def rescued_or_failed(
    request: web.Request,
    index: Index,
    project: Project,
    file: File,
    error: MirrormendError,
    *,
    began: float,
    until: float,
    whole: WholeFile,
) -> web.StreamResponse:
    """Answer with `file` from the second index if it may come from there, though the mirror failed with `error`; raise that if not.

    Before that a GET of the `whole` file has failed as well, which a client that asked for a part, or by HEAD, did not make: what that
    delivers is the file, and what it is refused with is what the client is told. The mirror was asked at `began`, in seconds since the
    epoch. The answer begins by `until`, as for `rescued_file`, or
    soon after the mirror's last failure.
    """
    rescue = index.rescue
    if rescue is None or not _may_rescue(index, error):
        raise error
    asked_for_all = _asks_for_all(request)
    if not _says_nothing(error) and not rescue.permitted(project, file) and not asked_for_all:
        began = index.now()
        try:
            return await whole(request, index, project, file)
        except MirrormendError as failed:
            if BEGUN in request or not _may_rescue(index, failed):
                raise
            error, asked_for_all = failed, True
    cause = _cause_of(error)
    if asked_for_all and cause is not None and not _says_nothing(error):
        rescue.note_denial(project, file, cause, since=began)
    now = asyncio.get_running_loop().time()
    until = max(until, now + _LEAST)
    # Of the time that is left, HEAD has half.
    permitted = _says_nothing(error) or await rescue.permitted_by_head(project, file, (until - now) / 2)
    # Whatever the verdict says: all of it came just now, and it is another file.
    permitted = permitted or (asked_for_all and isinstance(error, FileUndeliverable) and error.status == 200)
    if not permitted or rescue.refused(project, file):
        raise error
    response = await rescued_file(request, index, project, file, until=until)
    if response is None:
        raise error
    return response


def _asks_for_all(request: web.Request) -> bool:
    return request.method == "GET" and parse_range(request.headers.get("Range")) is None


async def rescued_file(request: web.Request, index: Index, project: Project, file: File, *, until: float) -> web.StreamResponse | None:
    """Answers with `file` as the second index has it; None where it has not, and then nothing was sent.

    The second index has to begin to send it by `until`, in the seconds of the event loop's clock.
    What has another SHA-256 than the mirror's page gives ends in a broken transfer, or is not begun at all where it is small.
    """
    rescue, digest = index.rescue, sha256_of(file)
    left = until - asyncio.get_running_loop().time()
    source = None if rescue is None or digest is None else await rescue.find(project, file, left)
    if rescue is None or digest is None or source is None:
        return None
    headers = _headers(rescue, digest)
    if matches(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    since = rescue.now()
    for tries_left in (1, 0):
        response = web.StreamResponse(headers=headers)
        try:
            async with asyncio.timeout_at(until) as limit:
                if request.method == "HEAD":
                    answer = await _head(rescue, source, response)
                    rescue.succeeded(project, file)
                    return answer
                await _send(request, rescue, file, source, response, limit=limit)
            rescue.succeeded(project, file)
            break
        except (NotTheFile, UpstreamError, TimeoutError) as error:
            delay = retry_delay(error) if tries_left and not response.prepared else None
            if delay is None or delay >= until - asyncio.get_running_loop().time():
                # A transfer that broke off could not be begun anew here: the client does that.
                rescue.failed(project, file, error, since=since, passing=response.prepared)
                if not response.prepared:
                    return None
                facts_of(request)["outcome"] = "broken-transfer"
                abort(request)
                return response
            _log.info("rescue-again", project=project.name, file=file.filename, index=rescue.url, why=str(error), after=delay)
            await asyncio.sleep(delay)
    _log.info("rescued", project=project.name, file=file.filename, index=rescue.url)
    facts_of(request)["outcome"] = "rescued"
    return response


def _headers(rescue: Rescue, digest: str) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{digest[:32]}"',
        "Accept-Ranges": "none",
        "Vary": "Authorization",
        "Mirrormend-Rescued-From": rescue.url.replace("…", "..."),
    }


async def _head(rescue: Rescue, source: File, response: web.StreamResponse) -> web.StreamResponse:
    length = await rescue.length(source)
    if length is None:
        raise UpstreamBroke(rescue.url, "it does not deliver the file just now, or does not say how long it is")
    return web.Response(headers={**response.headers, "Content-Length": str(length)})


async def _send(
    request: web.Request, rescue: Rescue, file: File, source: File, response: web.StreamResponse, *, limit: asyncio.Timeout
) -> None:
    async with rescue.download(source) as download:
        begun(download)
        # The hash decides: a size counts only where both pages say it.
        size = file.size if file.size == source.size else None
        length = download.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit():
            if size is not None and int(length) != size:
                raise OtherContent(f"it has {length} bytes, and both pages say {size}")
            response.content_length = int(length)
        elif request.version < HttpVersion11:
            # Only such a client needs it.
            response.content_length = size
        promised = response.content_length
        loop = asyncio.get_running_loop()
        slow_from = loop.time() + min(_HELD_FOR, ((limit.when() or math.inf) - loop.time()) / 2)
        sent, piece = 0, b""
        async for following in checked(download.chunks(), sha256_of(file) or "", slow_from=slow_from):
            if piece:
                sent += len(piece)
                if promised is not None and sent >= promised:
                    # The client would take it for the whole.
                    raise NotTheFile(f"it has more than the {promised} bytes that were promised")
                await _pass_on(request, response, piece, limit)
            piece = following
        if not response.prepared and promised is None:
            response.content_length = len(piece)
        elif promised not in {None, sent + len(piece)}:
            raise NotTheFile(f"it has {sent + len(piece)} bytes, and {promised} were promised")
        await _pass_on(request, response, piece, limit)
    await response.write_eof()


async def _pass_on(request: web.Request, response: web.StreamResponse, piece: bytes, limit: asyncio.Timeout) -> None:
    if not response.prepared:
        # The answer begins, which is all that has a limit of time.
        limit.reschedule(None)
        await response.prepare(request)
    await response.write(piece)
