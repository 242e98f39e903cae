"""Counting the requests of clients, each in words that the code itself has."""

from aiohttp import web

from proxy.server.context import facts_of, generation_of
from proxy.telemetry.counts import Answered, Counts

COUNTS = web.AppKey("counts", Counts)
ROUTES = web.AppKey("routes", dict[object, str])
"""The kind of address that each handler answers."""

_OF_A_MIRROR = frozenset({"list", "page", "file"})


def count(request: web.Request, status: int, seconds: float) -> None:
    """Counts a request that was answered with `status` and took so long."""
    requests = request.app[COUNTS].requests
    way = answered(request, status)
    requests.note(way, seconds)
    sent = facts_of(request).get("sent")
    if sent:
        requests.sent[way.upstream] += sent


def answered(request: web.Request, status: int) -> Answered:
    """Says in which way `request` was answered."""
    found = request.match_info
    route, upstream = request.app[ROUTES].get(found.handler, "other"), ""
    if route in _OF_A_MIRROR:
        indexes = generation_of(request).indexes
        named = found.get("upstream")
        upstream = next(iter(indexes), "") if named is None else named if named in indexes else ""
    if route == "file" and found["filename"].endswith(".metadata"):
        route = "metadata"
    return Answered(route, upstream, status, str(facts_of(request).get("outcome", "ok" if status < 400 else "refused")))
