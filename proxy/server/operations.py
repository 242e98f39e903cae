"""What those who run the proxy ask it: whether it lives, and its numbers."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

REGISTRY = web.AppKey("registry", CollectorRegistry)


async def healthz(_: web.Request) -> web.Response:
    """Says that the process lives and its event loop turns."""
    return web.json_response({"status": "ok"})


async def metrics(request: web.Request) -> web.Response:
    """Gives the numbers, in the form that Prometheus asks for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[REGISTRY]), headers={"Content-Type": content_type, "Cache-Control": "no-store"})
