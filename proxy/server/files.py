"""Handlers of distribution files and their core metadata: streamed from the mirror, never held whole, never cut silently."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import NoReturn

import msgspec
import structlog
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from proxy.config import LinkMode
from proxy.core.errors import (
    DestinationRefused,
    FileNotListed,
    FileUndeliverable,
    MirrormendError,
    OutboundProxyRefused,
    OwnLimit,
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
    UpstreamUntrusted,
)
from proxy.core.filling import sha256_of
from proxy.core.flows.evidence import (
    SIGNATURE_LENGTH,
    Asked,
    Beginning,
    Evidence,
    asked_as,
    beginning_of,
    content_length,
    content_range,
    evidence_of,
)
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble
from proxy.core.flows.probe import probe
from proxy.core.page import File, normalised_name
from proxy.core.redaction import without_query
from proxy.core.verdict.judge import Cause, Kind, cause_of
from proxy.core.verdict.reason import Reason
from proxy.index import Index
from proxy.index.gate import CoreMetadata
from proxy.index.project import Project
from proxy.server.content_coding import decoded, is_gzip_coded, labelled_gzip, with_its_start
from proxy.server.context import BEGUN, facts_of, generation_of, identity_of, index_of, key_of
from proxy.server.file_transfer import Begun, OtherBytes, Part, Wanted, range_header, transfer
from proxy.server.pages import matches
from proxy.server.passing import fit, fitting
from proxy.server.ranges import ByteRange, parse_range
from proxy.server.rescues import hurried, rescued_file, rescued_or_failed
from proxy.upstream import Download, lowered, retry_after, status_error
from proxy.upstream.addresses import dialled, shown

_log = structlog.get_logger("mirrormend.server")

_PASSED_ON = ("ETag", "Last-Modified", "Cache-Control", "Expires", "X-Checksum-Sha256")
_CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Range", "If-Match", "If-Unmodified-Since")
_OF_BYTES = "application/octet-stream"
_UNCHANGED = "max-age=86400, immutable"
"""The address names no digest, and some private indexes do replace files under their names: pip and uv fail then as long as they keep
the old one, so that a day bounds the harm."""


async def distribution_file(request: web.Request) -> web.StreamResponse:
    """Answer `/files/<project>/<filename>` and, where `.metadata` is appended, the core metadata of that file (PEP 658).

    Before the name of a file that has twins stands a mark; without it, the first of them is meant.
    """
    index = index_of(request)
    name = normalised_name(request.match_info["project"])
    filename = request.match_info["filename"]
    facts_of(request).update(project=name, file=filename)
    if filename.endswith(".metadata"):
        try:
            return await _core_metadata(request, index, name, key_of(request).removesuffix(".metadata"))
        except FileNotListed:
            # Some folders list such files themselves.
            facts_of(request).pop("outcome", None)
    project, file = await index.file(name, key_of(request), identity_of(request))
    until = asyncio.get_running_loop().time() + (0.0 if index.rescue is None else index.rescue.deadline)
    began = index.now()
    instead = index.rescue is not None and index.rescue.instead(project, file)
    response = await rescued_file(request, index, project, file, until=until) if instead else None
    if response is not None:
        return response
    try:
        return await _of_any_address(request, index, project, file)
    except MirrormendError as error:
        if instead or BEGUN in request:
            raise
        return await rescued_or_failed(request, index, project, file, error, began=began, until=until, whole=_whole)


async def _whole(request: web.Request, index: Index, project: Project, file: File) -> web.StreamResponse:
    """Answer with what a GET of the whole file gives, with the part of it that is asked for."""
    if request.method != "HEAD":
        asked_range = parse_range(request.headers.get("Range"))
        return await _stream(request, Wanted(index, project, file, await _absolute(index, project, file, asked_range)), by_range=False)
    wanted = Wanted(index, project, file, None)
    async with index.mirror.download("GET", file.url, project.who) as download:
        begun = await _begin(request, wanted, download, ranged=False)
        await _note_good(wanted, download)
        return web.Response(headers=begun.response.headers)


async def _of_any_address(request: web.Request, index: Index, project: Project, file: File) -> web.StreamResponse:
    """Answer with `file`, or with the same bytes from another address on the page if nothing was sent before its own one failed."""
    first, *others = index.addresses(project, file)
    try:
        return await _of_mirror(request, index, project, first)
    except (FileUndeliverable, UpstreamError) as error:
        if BEGUN in request or not _may_be_elsewhere(error):
            raise
        for other in others:
            try:
                return await _of_mirror(request, index, project, other)
            except (FileUndeliverable, UpstreamError):
                if BEGUN in request:
                    raise
        raise


def _may_be_elsewhere(error: FileUndeliverable | UpstreamError) -> bool:
    return not isinstance(error, UpstreamStatus) or error.status == 429 or error.status >= 500


async def _of_mirror(request: web.Request, index: Index, project: Project, file: File) -> web.StreamResponse:
    asked_range = parse_range(request.headers.get("Range")) if request.method == "GET" else None
    dead = index.rescue is not None and index.rescue.denied_lately(project, file)
    if generation_of(request).links is LinkMode.REDIRECT and asked_range is None and request.method == "GET" and not dead:
        facts_of(request)["outcome"] = "redirected"
        raise web.HTTPTemporaryRedirect(_address(file))
    if request.method == "HEAD":
        return await _head(request, index, project, file)
    span = await _absolute(index, project, file, asked_range)
    return await _stream(request, Wanted(index, project, file, span))


def _address(file: File) -> URL:
    try:
        return dialled(file.url)
    except ValueError as error:
        raise DestinationRefused(shown(file.url), str(error)) from None


async def _core_metadata(request: web.Request, index: Index, name: str, key: str) -> web.StreamResponse:
    found = await index.metadata(name, key, identity_of(request))
    etag = f'"{found.sha256[:32]}"'
    caching = _metadata_caching(request, found)
    headers = {"ETag": etag, "Cache-Control": caching, "Vary": "Authorization", "Content-Type": _OF_BYTES}
    facts_of(request)["outcome"] = "metadata"
    if not found.own:
        source = found.source.rpartition("/")[2]
        headers["Mirrormend-Metadata-From"] = fitting(source)
        facts_of(request).update(outcome="metadata-of-another-file", source=source)
    if matches(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.content, headers=headers)


def _metadata_caching(request: web.Request, found: CoreMetadata) -> str:
    """Return the Cache-Control (RFC 9111, RFC 8246): metadata is immutable as the file is, but for that of another file."""
    if not found.own:
        return "no-store"
    caching = _UNCHANGED if found.immutable else "no-cache"
    # Of those who signed in at the proxy `server.access.admission` sees to it.
    return caching if identity_of(request).shared else f"private, {caching}"


async def _absolute(index: Index, project: Project, file: File, asked: ByteRange | None) -> tuple[int, int | None] | None:
    """Turns a suffix range into an absolute one: mirrors answer suffix ranges wrongly in many ways."""
    if asked is None:
        return None
    if asked.suffix is None:
        return asked.first, asked.last
    length = file.size
    if length is None:
        length = (await index.mirror.converse(probe(file.url, head=False), project.who)).length
    if length is None:
        return None
    return asked.within(length) or (length, None)


async def _head(request: web.Request, index: Index, project: Project, file: File) -> web.StreamResponse:
    async with hurried(index, project, file):
        return await _head_of_mirror(request, index, project, file)


async def _head_of_mirror(request: web.Request, index: Index, project: Project, file: File) -> web.StreamResponse:
    ask = Ask(Method.HEAD, file.url)
    price = index.mirror.counts.price
    reply = _counted_as_200(await index.mirror.ask(ask, project.who, price.relay))
    by_head = reply.status if isinstance(reply, Answer) else None
    if isinstance(reply, Answer) and _cause(evidence_of(Asked.HEAD, reply), file) is not Cause.AVAILABLE:
        ask = Ask(Method.GET, file.url, first=0, last=SIGNATURE_LENGTH - 1, read=SIGNATURE_LENGTH)
        reply = _counted_as_200(await index.mirror.ask(ask, project.who, partial(price.sent, Reason.DEMAND, file.url)))
    if isinstance(reply, NoAnswer):
        raise _as_error(file, reply)
    evidence = msgspec.structs.replace(evidence_of(asked_as(ask), reply), head=None if ask.method is Method.HEAD else by_head)
    length = evidence.length
    if reply.status in {200, 206} and file.size is not None and length not in {None, file.size} and await _is_coded(index, project, file):
        length = file.size
    elif _cause(evidence, file) is not Cause.AVAILABLE:
        await _refuse(index, project, file, evidence, reply.headers)
    response = web.Response(headers=_headers(reply.headers, request, file))
    length = length if length is not None else file.size
    if length is not None:
        response.headers["Content-Length"] = str(length)
    return response


def _cause(evidence: Evidence, file: File) -> Cause:
    """Return what `evidence` shows; a link that is no wheel or sdist may lead to text, such as a signature or a list of variants."""
    cause = cause_of(evidence, file.size)
    return Cause.AVAILABLE if cause is Cause.NO_FILE and not file.probeable else cause


def _counted_as_200(reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, status=_status(reply.status)) if isinstance(reply, Answer) else reply


async def _is_coded(index: Index, project: Project, file: File) -> bool:
    """Return whether the mirror sends the file gzip-coded without saying so, as its first bytes tell."""
    async with index.mirror.download("GET", file.url, project.who) as download:
        if _status(download.status) != 200:
            return False
        answer = Answer(200, lowered(download.headers))
        start, _ = await with_its_start(download.chunks())
        labelled = labelled_gzip(answer.headers.get("content-encoding"))
        return is_gzip_coded(file.filename, start, labelled=labelled, size=file.size, length=content_length(answer))


class _RangeContradicted(Exception):
    """The mirror sends another part than the one that was asked for, or none though it is a part of the file."""


_REFUSES_RANGES = frozenset({400, 405, 416, 501})
"""Statuses that say of a request with Range that the request is wrong, and nothing of the file."""


async def _stream(request: web.Request, wanted: Wanted, *, by_range: bool = True) -> web.StreamResponse:
    try:
        try:
            return await _streamed(request, wanted, ranged=by_range and wanted.span is not None)
        except _RangeContradicted:
            # What it sends when it is asked for all may be right, and the part is cut out of that.
            return await _streamed(request, wanted, ranged=False)
    except OtherBytes as other:
        _log.info("other-bytes", file=wanted.file.filename, sha256=other.sha256, again=True)
    try:
        return await _streamed(request, wanted, ranged=False)
    except OtherBytes as other:
        why = f"delivers, twice, bytes whose sha256 is {other.sha256}, and its page says {sha256_of(wanted.file)}"
        raise FileUndeliverable(wanted.project.name, wanted.file.filename, shown(wanted.file.url), 200, why) from None


async def _streamed(request: web.Request, wanted: Wanted, *, ranged: bool) -> web.StreamResponse:
    index, file = wanted.index, wanted.file
    headers = {name: request.headers[name] for name in _CONDITIONS if name in request.headers}
    if ranged and wanted.span is not None:
        headers["Range"] = range_header(*wanted.span)
    try:
        async with (
            hurried(index, wanted.project, file) as begins,
            index.mirror.download("GET", file.url, wanted.project.who, headers) as download,
        ):
            begins()
            facts_of(request)["outcome"] = "streamed"
            if download.status == 304 or (_status(download.status) == 200 and _client_has_it(request, download)):
                return web.Response(status=304, headers=_headers(download.headers, request, file))
            if download.status == 412:
                return web.Response(status=412)
            begun = await _begin(request, wanted, download, ranged=ranged)
            if wanted.span is None:
                begun.body = index.overheard(wanted.project, file, begun.body, begun.part.length)
            if begun.doubtful:
                if await transfer(request, wanted, download, begun):
                    await _note_good(wanted, download)
            else:
                await _note_good(wanted, download)
                await transfer(request, wanted, download, begun)
            return begun.response
    except _BeyondTheEnd as end:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{end.length}"})
    except (UpstreamTimeout, UpstreamUnreachable, UpstreamBroke) as error:
        await index.correct(wanted.project, file, _no_answer(index, error))
        raise


def _is_beyond(wanted: Wanted, length: int) -> bool:
    """Tell whether the range that is asked for begins after the end of a file of `length` bytes, as its page has it too."""
    return wanted.span is not None and wanted.span[0] >= length and wanted.file.size in {None, length}


def _client_has_it(request: web.Request, download: Download) -> bool:
    etag = download.headers.get("ETag")
    return etag is not None and matches(request.headers.get("If-None-Match"), etag)


class _BeyondTheEnd(Exception):
    """The range that is asked for begins after the last of the file's `length` bytes."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


def _status(status: int) -> int:
    """Return the status, 200 for a 203, which a proxy before the mirror may make of it (RFC 9110, section 15.3.4)."""
    return 200 if status == 203 else status


async def _begin(request: web.Request, wanted: Wanted, download: Download, *, ranged: bool) -> Begun:
    """Decide how the answer begins; raise _RangeContradicted, _BeyondTheEnd, or what a client is told where the answer is not the file."""
    file, status = wanted.file, _status(download.status)
    answer = Answer(status, lowered(download.headers), at=wanted.index.now())
    evidence = evidence_of(Asked.RANGE if ranged else Asked.GET, answer)
    cause = _cause(evidence, file)
    whole = evidence.length
    labelled = labelled_gzip(answer.headers.get("content-encoding"))
    if status == 416 and whole and _is_beyond(wanted, whole):
        raise _BeyondTheEnd(whole)
    if ranged and (status in _REFUSES_RANGES or (status == 206 and (labelled or cause is Cause.NO_FILE))):
        # Of a coded file, parts say nothing.
        raise _RangeContradicted
    body, coded = download.chunks(), False
    if status == 200 and (labelled or whole is None or whole != file.size):
        start, body = await with_its_start(body)
        evidence = msgspec.structs.replace(evidence, begins=Beginning.UNREAD if labelled else beginning_of(start))
        cause = _cause(evidence, file)
        whole = content_length(answer)
        coded = is_gzip_coded(file.filename, start, labelled=labelled, size=file.size, length=whole)
        if coded:
            body, whole, cause = decoded(body, download.url), file.size, Cause.AVAILABLE
    if status not in {200, 206} or cause is Cause.NO_FILE:
        said = without_query((await status_error(download)).detail, file.url) if status >= 400 else ""
        await _refuse(wanted.index, wanted.project, file, evidence, download.headers, said=said)
    if status == 206:
        return _begin_partial(wanted, download, answer, ranged=ranged)
    response = web.StreamResponse(headers=_headers(download.headers, request, file))
    if wanted.span is None or "If-Range" in request.headers or whole is None:
        if whole is not None:
            response.content_length = whole
        return Begun(response, Part(0, whole), body, resumable=not coded, doubtful=cause is not Cause.AVAILABLE)
    inside = ByteRange(wanted.span[0], wanted.span[1]).within(whole)
    if inside is None:
        raise _BeyondTheEnd(whole)
    response = web.StreamResponse(headers=_headers(download.headers))
    return Begun(_partial(response, inside, whole), Part(inside[0], inside[1] - inside[0] + 1), body, resumable=not coded)


def _begin_partial(wanted: Wanted, download: Download, answer: Answer, *, ranged: bool) -> Begun:
    given = content_range(answer)
    if not ranged or wanted.span is None:
        raise UpstreamBroke(download.url, "it sent a part of the file though it was asked for all")
    if given is None or given[:2] != ByteRange(wanted.span[0], wanted.span[1]).within(given[2]):
        raise _RangeContradicted
    first, last, whole = given
    response = web.StreamResponse(headers=_headers(download.headers))
    return Begun(_partial(response, (first, last), whole), Part(0, last - first + 1), download.chunks())


def _partial(response: web.StreamResponse, inside: tuple[int, int], whole: int) -> web.StreamResponse:
    first, last = inside
    response.set_status(206)
    response.headers["Content-Range"] = f"bytes {first}-{last}/{whole}"
    response.content_length = last - first + 1
    return response


async def _note_good(wanted: Wanted, download: Download) -> None:
    verdict = wanted.project.verdicts.get(wanted.file.key)
    if verdict is None or verdict.kind is not Kind.DELIVERABLE:
        seen = None if verdict is None or verdict.evidence.status not in {200, 206} else verdict.evidence.length
        if seen not in {None, wanted.file.size}:
            # A probe told that the page's size is wrong, and what is noted now will not.
            wanted.project.missized.add(wanted.file.key)
        evidence = Evidence(Asked.GET, 206 if download.status == 206 else 200, wanted.index.now(), length=wanted.file.size)
        await wanted.index.correct(wanted.project, wanted.file, evidence)


async def _refuse(
    index: Index, project: Project, file: File, evidence: Evidence, headers: Mapping[str, str], *, said: str = ""
) -> NoReturn:
    """Raises what a client is told where the mirror answered, but not with the file; the verdict on the file is corrected first."""
    await index.correct(project, file, evidence)
    url = shown(file.url)
    status = evidence.status or 0
    by_name = lowered(headers)
    if status in {401, 407}:
        challenge = by_name.get("www-authenticate")
        raise UpstreamStatus(url, 401, challenges=() if challenge is None else (without_query(challenge, file.url),))
    if status in {200, 206, 416}:
        sent = f"{evidence.length} bytes" if evidence.length is not None else "a body"
        why = f"answered {status} with {sent} of {evidence.media_type or 'no type'}, which is not this file"
        raise FileUndeliverable(project.name, file.filename, url, status, why)
    if status == 429 or status >= 500:
        what = "the mirror lists the file but fails to deliver it"
        raise UpstreamStatus(
            url,
            status,
            f"{what} ({said})" if said else what,
            retry_after=retry_after(Answer(status, by_name, at=evidence.at)),
        )
    raise FileUndeliverable(project.name, file.filename, url, status, f"answered {status}: {said}" if said else f"answered {status}")


def _as_error(file: File, reply: NoAnswer) -> UpstreamError:
    url = shown(file.url)
    if reply.trouble is Trouble.FORBIDDEN_DESTINATION:
        return DestinationRefused(url, reply.detail)
    if reply.trouble is Trouble.OUTBOUND_PROXY:
        return OutboundProxyRefused(url, reply.detail)
    if reply.trouble is Trouble.OWN_LIMIT:
        return OwnLimit(url, reply.detail)
    if reply.trouble in {Trouble.RESET, Trouble.NOT_HTTP, Trouble.TOO_MANY_REDIRECTS}:
        return UpstreamBroke(url, reply.detail)
    if reply.trouble is Trouble.TLS:
        return UpstreamUntrusted(url, reply.detail)
    return UpstreamUnreachable(url, reply.detail or reply.trouble.value)


def _no_answer(index: Index, error: UpstreamError) -> Evidence:
    of_proxy = Trouble.OUTBOUND_PROXY if isinstance(error, OutboundProxyRefused) else Trouble.RESET
    trouble = Trouble.TIMEOUT if isinstance(error, UpstreamTimeout) else of_proxy
    return Evidence(Asked.GET, None, index.now(), trouble=error.trouble or trouble.value)


def _headers(headers: Mapping[str, str], request: web.Request | None = None, file: File | None = None) -> CIMultiDict[str]:
    """Return the headers that pass on to the client. The type is that of bytes: no file is a page of ours, whose scripts may do more.

    Where they are of all of a `file` whose SHA-256 the page tells, it does not change (RFC 8246), whatever the mirror says of it.
    """
    given = CIMultiDict({name: value for name, value in headers.items() if fit(value)})
    passed = CIMultiDict({name: given[name] for name in _PASSED_ON if name in given})
    passed["Content-Type"] = _OF_BYTES
    passed["Accept-Ranges"] = "bytes"
    passed.setdefault("Vary", "Authorization")
    if request is not None and file is not None and sha256_of(file) is not None:
        passed.pop("Expires", None)
        own = "Authorization" in request.headers
        passed["Cache-Control"] = f"private, {_UNCHANGED}" if own else _UNCHANGED
    return passed
