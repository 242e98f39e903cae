"""What those who run the proxy ask it: whether it lives, whether it can serve, and its numbers."""

from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from proxy.server.context import facts_of
from proxy.server.outcomes import Problem, problem_response
from proxy.server.request_id import request_id_of
from proxy.server.siblings import Siblings
from proxy.status.readiness import Check, Watch

WATCH = web.AppKey("watch", Watch)
REGISTRY = web.AppKey("registry", CollectorRegistry)
SIBLINGS = web.AppKey("siblings", Siblings)


async def healthz(_: web.Request) -> web.Response:
    """Says that the process lives and its event loop turns."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Says whether requests should come here; with `?strict` only where nothing at all is wrong."""
    found = await request.app[WATCH].look()
    complaints = "; ".join(found.complaints)
    checks = {"store": _shown(found.store), "mirrors": {name: _shown(check) for name, check in found.mirrors.items()}}
    if found.ready and (found.well or "strict" not in request.query):
        facts_of(request).update(outcome="ready" if found.well else "ready-but", why=complaints)
        body = {"status": "ready", "complaints": found.complaints, "checks": checks}
        return web.json_response(body, headers={"Cache-Control": "no-store"})
    facts_of(request).update(outcome="not-ready", why=complaints)
    problem = Problem(503, "not-ready", "mirrormend is not ready to serve", f"{complaints[:1].upper()}{complaints[1:]}.")
    return problem_response(problem, None, None, request_id_of(request), checks=checks)


def _shown(check: Check) -> dict[str, object]:
    return {"state": check.state, "serves": check.serves, "well": check.well}


async def metrics(request: web.Request) -> web.Response:
    """Gives the numbers, in the form that Prometheus asks for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    own, siblings = request.app[REGISTRY], request.app.get(SIBLINGS)
    # What an encoder needs of a registry is that it can be collected.
    numbers = own if siblings is None else cast(CollectorRegistry, await siblings.numbers(own))
    return web.Response(body=encode(numbers), headers={"Content-Type": content_type, "Cache-Control": "no-store"})
