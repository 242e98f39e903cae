"""Handlers of the simple API: the project list and the pages of projects."""

import asyncio
from collections.abc import Iterable

from aiohttp import web
from yarl import URL

from proxy.core.deflate import QUICK
from proxy.core.flows.evidence import content_length
from proxy.core.flows.exchange import Answer
from proxy.core.page import normalised_name
from proxy.core.render import Form, choose_form, html_form
from proxy.core.verdict.client import client_platform
from proxy.core.verdict.judge import PROOF
from proxy.index import Index, ServedPage
from proxy.server.context import facts_of, identity_of, index_of
from proxy.server.encodings import choose_encoding
from proxy.server.outcomes import Problem, problem_response
from proxy.server.request_id import request_id_of
from proxy.server.response_memo import AtHand
from proxy.server.warm import remember
from proxy.upstream import lowered

_INLINE_LINKS = {Form.JSON: 8000, Form.HTML: 2500, Form.LEGACY_HTML: 2500}
"""A page of at most so many links is rendered and compressed on the event loop in ten to twenty milliseconds, a larger one in a thread.

A thread that has to take turns with the event loop costs both more than it saves.
"""

_INLINE_LINKS_SLOWLY = 400
"""The same where compressing takes long."""

_AS_IT_CAME = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}
"""For what the mirror wrote: no script in it is one of the proxy's own address, from where more may be done than from elsewhere."""

_VARY = "Accept, Accept-Encoding, Authorization"


async def project_page(request: web.Request) -> web.StreamResponse:
    """Answers `/simple/<project>/`."""
    index = index_of(request)
    asked_for = request.match_info["project"]
    name = normalised_name(asked_for)
    facts_of(request)["project"] = name
    if name != asked_for:
        index.spelled(name, asked_for)
        raise _moved(request, f"../{name}/")
    form = choose_form(request.headers.get("Accept"), request.query.get("format"))
    if form is None:
        return problem_response(_NOT_ACCEPTABLE, None, index.mirror.url, request_id_of(request))
    client = client_platform(request.headers.get("User-Agent", ""))
    max_age = wanted_age(request.headers.getall("Cache-Control", ()), request.headers.get("Pragma", ""))
    served = await index.page(name, identity_of(request), client, max_age)
    if form is Form.JSON and _is_pip(request) and served.mended.page.clearer_in_html and "format" not in request.query:
        # Only pip takes the page in HTML instead: uv refuses all of it for some links.
        form = html_form(request.headers.get("Accept")) or form
    encoding = choose_encoding(request.headers.get("Accept-Encoding"))
    response = await _page_response(request, served, form, encoding)
    if max_age is None:
        remember(request, response, AtHand(index, name, served, form, encoding))
    return response


def _is_pip(request: web.Request) -> bool:
    return request.headers.get("User-Agent", "").startswith("pip/")


async def project_page_without_slash(request: web.Request) -> web.StreamResponse:
    """Redirects to the address with a slash at its end (simple repository API)."""
    asked_for = request.match_info["project"]
    name = normalised_name(asked_for)
    if name != asked_for:
        index_of(request).spelled(name, asked_for)
    raise _moved(request, f"{name}/")


async def project_list(request: web.Request) -> web.StreamResponse:
    """Streams the mirror's project list through."""
    index: Index = index_of(request)
    accept = request.headers.get("Accept", "text/html")
    async with index.mirror.fetch_project_list(identity_of(request), accept) as download:
        response = web.StreamResponse(headers={"Vary": _VARY, "Cache-Control": "no-cache", **_AS_IT_CAME})
        response.content_type = download.headers.get("content-type", "text/html").partition(";")[0].strip() or "text/html"
        response.content_length = content_length(Answer(download.status, lowered(download.headers)))
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for chunk in download.chunks():
            await response.write(chunk)
        await response.write_eof()
        return response


async def simple_without_slash(request: web.Request) -> web.StreamResponse:
    """Redirects to the project list."""
    raise _moved(request, "simple/")


_NOT_ACCEPTABLE = Problem(
    406,
    "not-acceptable",
    "None of the forms asked for can be served",
    f"Ask for one of {', '.join(form.value for form in Form)}.",
)


def _moved(request: web.Request, target: str) -> web.HTTPMovedPermanently:
    query = request.rel_url.raw_query_string
    return web.HTTPMovedPermanently(URL(f"{target}?{query}" if query else target, encoded=True))


async def _page_response(request: web.Request, served: ServedPage, form: Form, encoding: str) -> web.Response:
    body = served.ready(form, encoding)
    if body is None:
        inline = _INLINE_LINKS_SLOWLY if encoding == "gzip" and not QUICK else _INLINE_LINKS[form]
        if served.mended.page.count <= inline and not served.being_rendered:
            body = served.body(form, encoding)
        else:
            body = await asyncio.to_thread(served.body, form, encoding)
    vary = f"{_VARY}, User-Agent" if served.mended.page.clearer_in_html else _VARY
    headers = {"ETag": body.etag, "Vary": vary, **page_headers(served)}
    note_page(request, served)
    if matches(request.headers.get("If-None-Match"), body.etag):
        return web.Response(status=304, headers=headers)
    if encoding != "identity":
        headers["Content-Encoding"] = encoding
    headers["Content-Type"] = f"{form.value}; charset=utf-8" if form is Form.LEGACY_HTML else form.value
    return web.Response(body=body.content, headers=headers)


def wanted_age(cache_control: Iterable[str], pragma: str) -> float | None:
    """Return how many seconds old a client lets an answer be, None where it does not say (RFC 9111, sections 5.2.1 and 5.4).

    `no-cache` is no age at all: the mirror is to be asked. `uv --refresh` sends it, and pip `max-age=0`.
    """
    directives = [each.strip().lower() for field in cache_control for each in field.split(",") if each.strip()]
    if not directives:
        return 0.0 if "no-cache" in [each.strip().lower() for each in pragma.split(",")] else None
    ages = [0.0] if "no-cache" in directives else []
    for each in directives:
        name, _, value = each.partition("=")
        value = value.strip().strip('"')
        if name.strip() == "max-age" and value.isascii() and value.isdecimal():
            ages.append(float(value[:9]))
    return min(ages, default=None)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (RFC 9110, section 13.1.2, weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def page_headers(served: ServedPage) -> dict[str, str]:
    """Gives the headers that say how long a page may be used, and what was mended on it."""
    mended = served.mended
    headers = {
        "Cache-Control": "private, no-cache" if served.private else "no-cache",
        "Mirrormend-Dropped": _counted(len(mended.dropped), {cause.value: count for cause, count in mended.causes.items()}),
        "Mirrormend-Unknown": _counted(sum(mended.unknown.values()), {cause.value: count for cause, count in mended.unknown.items()}),
        "Mirrormend-Verified": "complete" if served.complete else f"partial; unasked={mended.unasked}",
    }
    unproven = sum(count for cause, count in mended.unknown.items() if cause in PROOF)
    if unproven:
        headers["Mirrormend-Unproven"] = str(unproven)
    if mended.page.skipped:
        headers["Mirrormend-Skipped"] = str(mended.page.skipped)
    if mended.page.serial is not None:
        headers["X-PyPI-Last-Serial"] = mended.page.serial
    if mended.rescued:
        headers["Mirrormend-Rescued"] = str(len(mended.rescued))
    if mended.lost:
        headers["Mirrormend-Lost"] = ", ".join(_token(version) for version in mended.lost[:20])
    if mended.sdist_only:
        headers["Mirrormend-Sdist-Only"] = ", ".join(_token(version) for version in mended.sdist_only[:20])
    if mended.held:
        headers["Mirrormend-Held"] = mended.held.value
    if served.storm:
        headers["Mirrormend-Storm"] = "nothing is dropped until the mirror delivers again"
    if served.stale_for is not None:
        headers["Mirrormend-Stale"] = f"{served.stale_for:.0f}"
        headers["Age"] = f"{served.stale_for:.0f}"
        headers["Warning"] = '110 - "Response is Stale"'
    return headers


def _counted(total: int, causes: dict[str, int]) -> str:
    return "; ".join([str(total), *(f"{cause}={count}" for cause, count in sorted(causes.items()))])


def _token(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii() and letter.isprintable() and letter not in ",;")[:60]


def note_page(request: web.Request, served: ServedPage) -> None:
    """Notes for the log line of the request what the page is."""
    mended = served.mended
    facts = facts_of(request)
    facts["outcome"] = "stale" if served.stale_for is not None else "mended" if mended.dropped else "as-is"
    facts["files"] = mended.page.count
    facts["dropped"] = len(mended.dropped)
    if mended.rescued:
        facts["rescued"] = len(mended.rescued)
    facts["unknown"] = sum(mended.unknown.values())
    facts["unasked"] = mended.unasked
