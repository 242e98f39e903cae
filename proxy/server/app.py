"""The application: what is built, in which order, and how it is taken down."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from proxy.config import Settings
from proxy.core.errors import AccessDenied, MirrormendError, NoSuchMirror, TooManyRequests
from proxy.index import Index
from proxy.server.access import ADMISSION, Admission, keep_from_shared_caches
from proxy.server.context import BEGUN, GENERATIONS, INDEXES, SECRET, abort, facts_of, generation_of, identity_of
from proxy.server.counting import COUNTS, ROUTES, count
from proxy.server.explaining import explained_file
from proxy.server.files import distribution_file
from proxy.server.generations import Generations
from proxy.server.operations import REGISTRY, SIBLINGS, WATCH, healthz, metrics, readyz
from proxy.server.outcomes import Problem, problem_of, problem_of_refusal, problem_response
from proxy.server.pages import project_list, project_page, project_page_without_slash, simple_without_slash
from proxy.server.passing import fitting
from proxy.server.request_id import NEW_ID, new_ids, request_id_of, send_request_id
from proxy.server.siblings import Siblings
from proxy.server.status_page import HISTORY, STARTED, status_json, status_page, verify_again
from proxy.server.whereabouts import files_of_project, mirror_of_files
from proxy.status.history import History
from proxy.status.metrics import metrics_registry
from proxy.status.readiness import Watch
from proxy.store import open_store
from proxy.telemetry.counts import Counts
from proxy.telemetry.lag import LoopLag

_log = structlog.get_logger("mirrormend.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NOT_FOUND = Problem(404, "no-such-address", "There is nothing at this address", "The package index is at /simple/.")
_ROUTES: dict[object, str] = {
    project_list: "list",
    project_page: "page",
    distribution_file: "file",
    explained_file: "explanation",
    files_of_project: "whereabouts",
    mirror_of_files: "whereabouts",
    healthz: "health",
    readyz: "health",
    metrics: "metrics",
    status_page: "status",
    status_json: "status",
    verify_again: "verify",
}
_TOLD_OF_ADDRESSES = frozenset({"explanation", "status", "health", "metrics"})
"""The kinds of answers that may name an upstream's address, beside problems."""
_ASKED_OFTEN = frozenset({"/healthz", "/readyz", "/metrics"})
_INTERNAL = Problem(500, "error", "mirrormend failed", "Please report this with the log line of this request.")


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
    siblings: Siblings | None = None,
) -> web.Application:
    """Builds the application for `settings`; nothing is opened before it starts.

    `clock` tells the seconds since the epoch, `steady` those of a clock that does not go back; `siblings` are the other workers, if any.
    Raises SettingsError where a file of `[access]` is not right.
    """
    admission = Admission(settings.access, workers=1 if siblings is None else siblings.count)
    app = web.Application(middlewares=[_log_request, _keep_secrets, _answer_errors, admission.admit], client_max_size=64 * 1024)
    app[ADMISSION] = admission
    app[SECRET] = secrets.token_bytes(32)
    app[INDEXES] = {}
    app[COUNTS] = Counts()
    app[GENERATIONS] = Generations(settings, app[COUNTS], app[INDEXES], steady=steady)
    app[ROUTES] = _ROUTES
    app[NEW_ID] = new_ids()
    app.on_response_prepare.extend([send_request_id, keep_from_shared_caches, _note_begun])
    app.cleanup_ctx.append(admission.looked_after)
    app.cleanup_ctx.append(_indexes(settings, clock, steady))
    if siblings is not None:
        app[SIBLINGS] = siblings
        app.cleanup_ctx.append(_among_siblings)
    for prefix in ("", "/{upstream}"):
        app.router.add_get(f"{prefix}/simple", simple_without_slash)
        app.router.add_get(f"{prefix}/simple/", project_list)
        app.router.add_get(f"{prefix}/simple/{{project}}", project_page_without_slash)
        app.router.add_get(f"{prefix}/simple/{{project}}/", project_page)
        app.router.add_get(f"{prefix}/files/{{project}}/{{filename}}", distribution_file)
        app.router.add_get(f"{prefix}/files/{{project}}/{{mark}}/{{filename}}", distribution_file)
        app.router.add_get(f"{prefix}/files/{{project}}/", files_of_project)
        app.router.add_get(f"{prefix}/files/", mirror_of_files)
        app.router.add_get(f"{prefix}/explain/{{project}}/{{filename}}", explained_file)
        app.router.add_get(f"{prefix}/explain/{{project}}/{{mark}}/{{filename}}", explained_file)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/", status_page)
    app.router.add_get("/status.json", status_json)
    app.router.add_post("/verify", verify_again)
    return app


def _indexes(
    settings: Settings, clock: Callable[[], float], steady: Callable[[], float]
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(app: web.Application) -> AsyncIterator[None]:
        store = open_store(settings.store, shared=settings.server.workers > 1, clock=clock)
        await store.open()
        await app[GENERATIONS].open(store)
        lag, indexes = LoopLag(), app[INDEXES]
        watch = app[WATCH] = Watch(indexes, store, steady)
        history = app[HISTORY] = History()
        app[STARTED] = clock()
        watching = [
            asyncio.create_task(lag.watch(), name="loop lag"),
            asyncio.create_task(history.watch(clock, app[COUNTS].mirrors), name="history"),
        ]
        app[REGISTRY] = metrics_registry(app[COUNTS], indexes, lambda: store.stats, lag)
        yield
        for task in watching:
            task.cancel()
        await watch.close()
        await app[GENERATIONS].close()
        await store.close()

    return run


async def _among_siblings(app: web.Application) -> AsyncIterator[None]:
    runner = await app[SIBLINGS].listen(app[REGISTRY])
    yield
    await runner.cleanup()


@web.middleware
async def _log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    facts = facts_of(request)
    requests = request.app[COUNTS].requests
    requests.in_flight += 1
    status = 500
    bound = structlog.contextvars.bind_contextvars(request_id=request_id_of(request))
    try:
        with generation_of(request).used():
            response = await handler(request)
    except web.HTTPException as answer:
        status = answer.status
        raise
    except (asyncio.CancelledError, ConnectionError):
        status = 499
        facts["outcome"] = "client-went-away"
        raise
    else:
        status = response.status
        return response
    finally:
        seconds = time.perf_counter() - started
        requests.in_flight -= 1
        count(request, status, seconds)
        log = _log.debug if request.path in _ASKED_OFTEN and status != 500 else _log.warning if status >= 500 else _log.info
        log("request", method=request.method, path=request.rel_url.raw_path, status=status, ms=round(seconds * 1000, 1), **facts)
        structlog.contextvars.reset_contextvars(**bound)


@web.middleware
async def _keep_secrets(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take out of problems, and of pages for people, what may be a secret in an upstream's address."""
    response = await handler(request)
    redaction = generation_of(request).redaction
    if redaction and isinstance(response, web.Response) and not response.prepared and isinstance(response.body, bytes):
        kind = _ROUTES.get(request.match_info.handler)
        if response.content_type == "application/problem+json" or kind in _TOLD_OF_ADDRESSES:
            response.body = redaction.body(response.body)
            for name in (hdrs.WWW_AUTHENTICATE, hdrs.LOCATION):
                if name in response.headers:
                    values = [redaction.text(value) for value in response.headers.popall(name)]
                    response.headers.extend((name, fitting(value)) for value in values)
    return response


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except MirrormendError as error:
        problem = problem_of(error, anonymous=_anonymous(request))
        facts_of(request).update(outcome=problem.outcome, why=str(error))
        return _answer(request, problem, error)
    except web.HTTPNotFound:
        return _answer(request, _NOT_FOUND, None)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        problem = Problem(405, "not-allowed", f"{request.method} is not answered here", f"Ask by one of these methods: {allowed}.")
        response = _answer(request, problem, None)
        response.headers["Allow"] = allowed
        return response
    except web.HTTPClientError as refusal:
        return _answer(request, problem_of_refusal(refusal.status, refusal.text or ""), None)
    except web.RequestPayloadError:
        return _answer(request, problem_of_refusal(400, "Its body cannot be read."), None)
    except asyncio.CancelledError:
        if BEGUN in request:
            # The process ends before the answer does, or the client is gone.
            abort(request)
        raise
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last line of defence: the client gets a clear error, the log the traceback
        _log.exception("failure", path=request.rel_url.raw_path)
        facts_of(request)["outcome"] = "error"
        return _answer(request, _INTERNAL, None)


async def _note_begun(request: web.Request, _: web.StreamResponse) -> None:
    request[BEGUN] = True


def _index_for(request: web.Request) -> Index | None:
    """Return the index that the address means, the first one where it means none."""
    indexes = generation_of(request).indexes
    return indexes.get(request.match_info.get("upstream", ""), next(iter(indexes.values()), None))


def _anonymous(request: web.Request) -> bool:
    index = _index_for(request)
    return index is not None and not index.mirror.authenticates(identity_of(request))


def _answer(request: web.Request, problem: Problem, error: MirrormendError | None) -> web.StreamResponse:
    if BEGUN in request:
        # The head of another answer has left: a second one would stand in the middle of its body.
        facts_of(request)["outcome"] = "broken-transfer"
        abort(request)
    index = _index_for(request)
    # Who was not let in learns nothing of the mirror, nor does anybody to whose request it is nothing.
    if error is None or isinstance(error, (AccessDenied, TooManyRequests, NoSuchMirror)):
        index = None
    return problem_response(problem, error, None if index is None else index.mirror.url, request_id_of(request))
