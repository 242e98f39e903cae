"""Handlers of the pages for people: how the proxy does, what was mended, and one project's releases.

A page has no script and loads nothing; its policy says so to the browser as well (Content Security Policy Level 3).
"""

import asyncio
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web
from multidict import MultiMapping

from proxy.core.errors import MirrormendError, NoSuchMirror
from proxy.core.page import normalised_name
from proxy.index import Index
from proxy.server.context import SIGNED_IN, facts_of, generation_of, identity_of
from proxy.server.counting import COUNTS
from proxy.server.outcomes import Problem, problem_of, problem_response
from proxy.server.request_id import request_id_of
from proxy.status.grid import grid_of
from proxy.status.history import History
from proxy.status.page import overview, problem_page, project_page
from proxy.status.snapshot import Status, status_of
from proxy.upstream.addresses import is_loopback

HISTORY = web.AppKey("history", History)
STARTED = web.AppKey("started", float)

_HEADERS = {
    "Cache-Control": "private, no-store",
    "Vary": "Authorization",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")
_MAY_NOT = Problem(
    403,
    "forbidden",
    "This may not be asked for from here",
    "Ask on the machine that mirrormend runs on, or switch access control on ([access]).",
)


async def status_page(request: web.Request) -> web.Response:
    """Answers `/` for a browser: the overview, or with `?project=NAME` (and `&mirror=NAME`) what is known of that project."""
    name = request.query.get("project", "").strip()
    facts_of(request)["outcome"] = "status"
    text = await _project(request, name) if name else overview(_status(request))
    return web.Response(text=text, content_type="text/html", headers=_HEADERS)


async def status_json(request: web.Request) -> web.Response:
    """Answers `/status.json` with what the overview tells, times in seconds since the epoch."""
    facts_of(request)["outcome"] = "status"
    headers = {"Cache-Control": "private, no-store", "Vary": "Authorization"}
    return web.Response(body=msgspec.json.encode(_status(request)), content_type="application/json", headers=headers)


async def verify_again(request: web.Request) -> web.Response:
    """Answers the button of a project's page: its files are asked about again, and the browser is sent back to the page."""
    facts_of(request)["outcome"] = "verify-again"
    if not may_verify(request):
        return problem_response(_MAY_NOT, None, None, request_id_of(request))
    # As the button sends it: in no other form.
    form = dict(parse_qsl((await request.read()).decode(errors="replace")))
    index = _index(request, form.get("mirror", ""))
    name = normalised_name(form.get("project", ""))
    facts_of(request)["project"] = name
    await index.verify_again(name, identity_of(request))
    return web.Response(status=303, headers={"Location": f"./?{urlencode({'project': name, 'mirror': index.mirror.name})}"})


def may_verify(request: web.Request) -> bool:
    """Whether who asks may have files asked about again, which costs the mirror something.

    Who signed in may, and on this machine anybody: a peer on loopback, by a name of loopback, with nothing in between.
    What another site's page sends is refused wherever it comes from (Fetch Metadata, Sec-Fetch-Site; RFC 6454, section 7).
    """
    return not _from_another_site(request.headers, request.host) and (SIGNED_IN in request or _local(request))


def _local(request: web.Request) -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    return is_loopback(request.remote or "") and is_loopback(_host_named(request))


def _host_named(request: web.Request) -> str:
    try:
        return request.url.host or ""
    except ValueError:
        return ""


def _from_another_site(headers: MultiMapping[str], host: str) -> bool:
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != host


def _status(request: web.Request) -> Status:
    generation, app = generation_of(request), request.app
    now = next(iter(generation.indexes.values())).now()
    app[HISTORY].look(now, app[COUNTS].mirrors)
    return status_of(generation.indexes, app[COUNTS], app[HISTORY], generation.settings, started=app[STARTED], now=now)


async def _project(request: web.Request, asked_for: str) -> str:
    mirrors, wanted = list(generation_of(request).indexes), request.query.get("mirror", "")
    try:
        index = _index(request, wanted)
        name = normalised_name(asked_for)
        looked = await index.look(name, identity_of(request))
    except MirrormendError as error:
        problem = problem_of(error)
        facts_of(request).update(outcome=problem.outcome, why=str(error))
        return problem_page(asked_for, wanted, mirrors, problem.title, f"{str(error)[:500]}. {problem.remedy}")
    facts_of(request)["project"] = name
    mended, may, now = looked.served.mended, may_verify(request), index.now()

    def page() -> str:
        grid = grid_of(looked.page, mended, looked.verdicts)
        return project_page(name, index.mirror.name, mirrors, grid, mended, may_verify=may, now=now)

    # A project of thousands of files takes a tenth of a second.
    return await asyncio.to_thread(page)


def _index(request: web.Request, name: str) -> Index:
    indexes = generation_of(request).indexes
    index = indexes.get(name) if name else next(iter(indexes.values()))
    if index is None:
        raise NoSuchMirror(name, tuple(indexes))
    return index
