"""Handlers of distribution files and their core metadata: streamed from the mirror, never held whole, never cut silently."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

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
    UpstreamBroke,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.flows.evidence import Asked, Evidence, asked_as, content_range, evidence_of
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.core.flows.probe import probe
from proxy.core.page import File, normalised_name
from proxy.core.verdict.judge import Cause, Kind, cause_of
from proxy.index import Index
from proxy.index.project import Project
from proxy.server.context import BEGUN, abort, facts_of, generation_of, identity_of, index_of, key_of
from proxy.server.pages import matches
from proxy.server.passing import fit, fitting
from proxy.server.ranges import ByteRange, parse_range
from proxy.server.rescues import may_rescue, rescued_file
from proxy.upstream import Download, retry_after
from proxy.upstream.addresses import dialled, shown

_log = structlog.get_logger("mirrormend.server")

_PASSED_ON = ("ETag", "Last-Modified", "Cache-Control", "Expires", "X-Checksum-Sha256")
_CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Range", "If-Match", "If-Unmodified-Since")
_RESUMES = 2
_OF_BYTES = "application/octet-stream"


@dataclass(slots=True)
class _Part:
    """What of the mirror's answer goes to the client: `length` bytes (None: all, however many) after the first `skip`; `sent` were."""

    skip: int
    length: int | None
    sent: int = 0

    def cut(self, chunk: bytes) -> bytes:
        """Gives what of the next chunk belongs to the part."""
        if self.skip:
            skipped = min(self.skip, len(chunk))
            self.skip -= skipped
            chunk = chunk[skipped:]
        if self.length is not None:
            chunk = chunk[: self.length - self.sent]
        self.sent += len(chunk)
        return chunk

    @property
    def complete(self) -> bool:
        """Whether nothing is left to send."""
        return self.length is not None and self.sent >= self.length


@dataclass(slots=True)
class _Wanted:
    """A request for a file: where it is listed, and the part that is asked for (first and last byte; last None: to the end)."""

    index: Index
    project: Project
    file: File
    span: tuple[int, int | None] | None
    conditional: bool


async def distribution_file(request: web.Request) -> web.StreamResponse:
    """Answers `/files/<project>/<filename>` and, where `.metadata` is appended, the core metadata of that file (PEP 658).

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
    instead = index.rescue is not None and index.rescue.instead(project, file)
    response = await rescued_file(request, index, project, file) if instead else None
    if response is not None:
        return response
    try:
        return await _of_any_address(request, index, project, file)
    except MirrormendError as error:
        response = await rescued_file(request, index, project, file) if not instead and may_rescue(index, error) else None
        if response is None:
            raise
        return response


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
    if generation_of(request).links is LinkMode.REDIRECT and asked_range is None and request.method == "GET":
        facts_of(request)["outcome"] = "redirected"
        raise web.HTTPTemporaryRedirect(_address(file))
    if request.method == "HEAD":
        return await _head(index, project, file)
    span = await _absolute(index, project, file, asked_range)
    wanted = _Wanted(index, project, file, span, any(name in request.headers for name in _CONDITIONS))
    return await _stream(request, wanted)


def _address(file: File) -> URL:
    try:
        return dialled(file.url)
    except ValueError as error:
        raise DestinationRefused(shown(file.url), str(error)) from None


async def _core_metadata(request: web.Request, index: Index, name: str, key: str) -> web.StreamResponse:
    found = await index.metadata(name, key, identity_of(request))
    etag = f'"{found.sha256[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Authorization", "Content-Type": _OF_BYTES}
    facts_of(request)["outcome"] = "metadata"
    if found.source != key:
        source = found.source.rpartition("/")[2]
        headers["Mirrormend-Metadata-From"] = fitting(source)
        facts_of(request).update(outcome="metadata-of-another-file", source=source)
    if matches(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.content, headers=headers)


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


async def _head(index: Index, project: Project, file: File) -> web.StreamResponse:
    ask = Ask(Method.HEAD, file.url)
    reply = await index.mirror.ask(ask, project.who)
    if isinstance(reply, Answer) and cause_of(evidence_of(Asked.HEAD, reply), file.size) is not Cause.AVAILABLE:
        ask = Ask(Method.GET, file.url, first=0, last=0, read=1)
        reply = await index.mirror.ask(ask, project.who)
    if isinstance(reply, NoAnswer):
        raise _as_error(file, reply)
    evidence = evidence_of(asked_as(ask), reply)
    if cause_of(evidence, file.size) is not Cause.AVAILABLE:
        await _refuse(index, project, file, evidence, reply.headers)
    response = web.Response(headers=_headers(reply.headers))
    length = evidence.length if evidence.length is not None else file.size
    if length is not None:
        response.headers["Content-Length"] = str(length)
    return response


class _RangeContradicted(Exception):
    """The mirror sends another part than the one that was asked for."""


async def _stream(request: web.Request, wanted: _Wanted) -> web.StreamResponse:
    try:
        return await _streamed(request, wanted, ranged=wanted.span is not None)
    except _RangeContradicted:
        # What it sends when it is asked for all may be right, and the part is cut out of that.
        return await _streamed(request, wanted, ranged=False)


async def _streamed(request: web.Request, wanted: _Wanted, *, ranged: bool) -> web.StreamResponse:
    index, file = wanted.index, wanted.file
    headers = {name: request.headers[name] for name in _CONDITIONS if name in request.headers}
    if ranged and wanted.span is not None:
        headers["Range"] = _range_header(*wanted.span)
    try:
        async with index.mirror.download("GET", file.url, wanted.project.who, headers) as download:
            facts_of(request)["outcome"] = "streamed"
            if download.status == 304 or (download.status == 200 and _client_has_it(request, download)):
                return web.Response(status=304, headers=_headers(download.headers))
            if download.status == 412:
                return web.Response(status=412)
            response, skip, length = await _begin(request, wanted, download, ranged=ranged)
            if response is None:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{length}"})
            await _note_good(wanted, download)
            await response.prepare(request)
            await _pump(request, response, wanted, download, _Part(skip, length))
            return response
    except (UpstreamTimeout, UpstreamUnreachable, UpstreamBroke) as error:
        await index.correct(wanted.project, file, _no_answer(index, error))
        raise


def _client_has_it(request: web.Request, download: Download) -> bool:
    etag = download.headers.get("ETag")
    return etag is not None and matches(request.headers.get("If-None-Match"), etag)


async def _begin(
    request: web.Request, wanted: _Wanted, download: Download, *, ranged: bool
) -> tuple[web.StreamResponse | None, int, int | None]:
    """Decides how the answer begins: the response, how many bytes of the mirror's to skip, and how many then follow (None: not known)."""
    answer = Answer(download.status, {name.lower(): value for name, value in download.headers.items()})
    evidence = evidence_of(Asked.GET, answer)
    evidence = Evidence(evidence.asked, evidence.status, wanted.index.now(), evidence.media_type, evidence.length)
    cause = cause_of(evidence, wanted.file.size)
    whole = evidence.length
    if download.status == 416 and whole is not None:
        return None, 0, whole
    if download.status not in {200, 206} or cause is Cause.NO_FILE:
        await _refuse(wanted.index, wanted.project, wanted.file, evidence, download.headers)
    if download.status == 206:
        return _begin_partial(wanted, download, answer, ranged=ranged)
    response = web.StreamResponse(headers=_headers(download.headers))
    if wanted.span is None or "If-Range" in request.headers or whole is None:
        if whole is not None:
            response.content_length = whole
        return response, 0, whole
    inside = ByteRange(wanted.span[0], wanted.span[1]).within(whole)
    if inside is None:
        return None, 0, whole
    return _partial(response, inside, whole), inside[0], inside[1] - inside[0] + 1


def _begin_partial(wanted: _Wanted, download: Download, answer: Answer, *, ranged: bool) -> tuple[web.StreamResponse, int, int | None]:
    given = content_range(answer)
    if not ranged or wanted.span is None:
        raise UpstreamBroke(download.url, "it sent a part of the file though it was asked for all")
    if given is None or given[:2] != ByteRange(wanted.span[0], wanted.span[1]).within(given[2]):
        raise _RangeContradicted
    first, last, whole = given
    return _partial(web.StreamResponse(headers=_headers(download.headers)), (first, last), whole), 0, last - first + 1


def _partial(response: web.StreamResponse, inside: tuple[int, int], whole: int) -> web.StreamResponse:
    first, last = inside
    response.set_status(206)
    response.headers["Content-Range"] = f"bytes {first}-{last}/{whole}"
    response.content_length = last - first + 1
    return response


async def _pump(request: web.Request, response: web.StreamResponse, wanted: _Wanted, download: Download, part: _Part) -> None:
    """Sends the part on.

    Where the mirror breaks off it is asked for the rest, and where that fails the client's connection is broken too.
    """
    begun_at = 0 if wanted.span is None else wanted.span[0]
    try:
        await _send(response, download.chunks(), part)
    except (UpstreamBroke, UpstreamTimeout) as error:
        resumed = part.length is not None and await _resume(response, wanted, download, part, begun_at)
        if not resumed:
            _log.warning("broken-transfer", file=wanted.file.filename, sent=part.sent, promised=part.length, why=str(error))
            facts_of(request).update(outcome="broken-transfer", sent=part.sent)
            abort(request)
            return
    facts_of(request)["sent"] = part.sent
    await response.write_eof()


async def _send(response: web.StreamResponse, chunks: AsyncIterator[bytes], part: _Part) -> None:
    async for chunk in chunks:
        wanted = part.cut(chunk)
        if wanted:
            await response.write(wanted)
        if part.complete:
            return


async def _resume(response: web.StreamResponse, wanted: _Wanted, broken: Download, part: _Part, begun_at: int) -> bool:
    validator = broken.headers.get("ETag") or broken.headers.get("Last-Modified") or "W/"
    if validator.startswith("W/") and not wanted.file.hashes:
        # Nobody would notice that the rest is of another file.
        return False
    for _ in range(_RESUMES):
        first = begun_at + part.sent
        last = begun_at + (part.length or 0) - 1
        headers = {"Range": _range_header(first, last)}
        if not validator.startswith("W/"):
            headers["If-Range"] = validator
        try:
            async with wanted.index.mirror.download("GET", wanted.file.url, wanted.project.who, headers) as rest:
                answer = Answer(rest.status, {name.lower(): value for name, value in rest.headers.items()})
                given = content_range(answer)
                if rest.status != 206 or given is None or given[:2] != (first, last):
                    return False
                await _send(response, rest.chunks(), part)
        except UpstreamError:
            continue
        if part.complete:
            return True
    return False


async def _note_good(wanted: _Wanted, download: Download) -> None:
    verdict = wanted.project.verdicts.get(wanted.file.key)
    if verdict is None or verdict.kind is not Kind.DELIVERABLE:
        evidence = Evidence(Asked.GET, 206 if download.status == 206 else 200, wanted.index.now(), length=wanted.file.size)
        await wanted.index.correct(wanted.project, wanted.file, evidence)


async def _refuse(index: Index, project: Project, file: File, evidence: Evidence, headers: Mapping[str, str]) -> NoReturn:
    """Raises what a client is told where the mirror answered, but not with the file; the verdict on the file is corrected first."""
    await index.correct(project, file, evidence)
    url = shown(file.url)
    status = evidence.status or 0
    lowered = {name.lower(): value for name, value in headers.items()}
    if status in {401, 407}:
        challenge = lowered.get("www-authenticate")
        raise UpstreamStatus(url, 401, challenges=() if challenge is None else (challenge,))
    if status in {200, 206, 416}:
        sent = f"{evidence.length} bytes" if evidence.length is not None else "a body"
        why = f"answered {status} with {sent} of {evidence.media_type or 'no type'}, which is not this file"
        raise FileUndeliverable(project.name, file.filename, url, status, why)
    if status == 429 or status >= 500:
        raise UpstreamStatus(
            url,
            status,
            "the mirror lists the file but fails to deliver it",
            retry_after=retry_after(Answer(status, lowered, at=evidence.at)),
        )
    raise FileUndeliverable(project.name, file.filename, url, status, f"answered {status}")


def _as_error(file: File, reply: NoAnswer) -> UpstreamError:
    url = shown(file.url)
    if reply.trouble is Trouble.FORBIDDEN_DESTINATION:
        return DestinationRefused(url, reply.detail)
    if reply.trouble in {Trouble.RESET, Trouble.NOT_HTTP, Trouble.TOO_MANY_REDIRECTS}:
        return UpstreamBroke(url, reply.detail)
    return UpstreamUnreachable(url, reply.detail or reply.trouble.value)


def _no_answer(index: Index, error: UpstreamError) -> Evidence:
    trouble = Trouble.TIMEOUT if isinstance(error, UpstreamTimeout) else Trouble.RESET
    return Evidence(Asked.GET, None, index.now(), trouble=trouble.value)


def _headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Gives the headers that pass on to the client. The type is that of bytes: no file is a page of ours, whose scripts may do more."""
    given = CIMultiDict({name: value for name, value in headers.items() if fit(value)})
    passed = CIMultiDict({name: given[name] for name in _PASSED_ON if name in given})
    passed["Content-Type"] = _OF_BYTES
    passed["Accept-Ranges"] = "bytes"
    passed.setdefault("Vary", "Authorization")
    return passed


def _range_header(first: int, last: int | None) -> str:
    return f"bytes={first}-" if last is None else f"bytes={first}-{last}"
