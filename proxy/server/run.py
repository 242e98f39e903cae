"""Running the application until it is told to end."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable

import structlog
from aiohttp import web

from proxy.config import Settings
from proxy.server.app import create_app
from proxy.server.context import INDEXES
from proxy.server.warm import WarmRunner

_log = structlog.get_logger("mirrormend.server")


async def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serves until SIGTERM or SIGINT; requests in flight then have the drain time of `[server]` to finish.

    Calls `ready` with the address once it listens. Raises OSError where it cannot listen.
    """
    app = create_app(settings)
    runner = WarmRunner(app, access_log=None, handle_signals=False, shutdown_timeout=settings.server.drain, keepalive_timeout=75.0)
    await runner.setup()
    # What was imported stays for good: the collector need not look at it, nor look as often as its defaults have it,
    # since parsing a large page makes tens of thousands of objects that live on.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    # While a thread renders a large page, the event loop waits no longer than this to have its turn.
    sys.setswitchinterval(0.001)
    try:
        site = web.TCPSite(runner, settings.server.host, settings.server.port, backlog=1024)
        await site.start()
        address = _address(runner)
        mirrors = [index.mirror for index in app[INDEXES].values()]
        for mirror in mirrors:
            _log.info("mirror", mirror=mirror.name, at="/simple/" if mirror is mirrors[0] else f"/{mirror.name}/simple/", **mirror.facts)
        _log.info("listening", address=address, upstreams={mirror.name: mirror.url for mirror in mirrors})
        if ready is not None:
            ready(address)
        await _told_to_end()
        _log.info("ending", drain=settings.server.drain)
    finally:
        await runner.cleanup()
    _log.info("ended")


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _told_to_end() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, told.set)
    try:
        await told.wait()
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
