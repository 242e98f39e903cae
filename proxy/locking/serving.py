"""A proxy for the time of a lock, on loopback."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from pydantic import SecretStr

from proxy.config import AccessSection, LinkMode, LinksSection, Settings
from proxy.index import Index
from proxy.locking.addresses import Door
from proxy.server import create_app
from proxy.server.context import INDEXES
from proxy.server.warm import WarmRunner
from proxy.upstream.addresses import shown

HOST = "127.0.0.1"
_FIRST_PORT, _PORTS = 20_000, 10_000
"""Below the ports that systems give away by themselves."""


@asynccontextmanager
async def proxy_for_a_while(settings: Settings) -> AsyncIterator[Mapping[Door, Index]]:
    """Serves while the block runs; gives a door for each mirror of `settings`, the first one at `/simple/`, and what stands behind it.

    Whatever the settings say of links, they lead through the proxy, so that every core metadata comes from it.
    Nothing is rescued: a lock that names the mirror can only hold files that the mirror itself delivers.
    """
    # Whoever else is on this machine is not to use the credentials that it has for the mirror.
    token = secrets.token_urlsafe(24)
    rescue, access = settings.rescue.model_copy(update={"enabled": False}), AccessSection(tokens=(SecretStr(token),))
    settings = settings.model_copy(update={"links": LinksSection(mode=LinkMode.PROXY), "rescue": rescue, "access": access})
    app = create_app(settings)
    runner = WarmRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        address = await _listen(runner, settings)
        names = ["", *(f"{section.name}/" for section in settings.upstream[1:])]
        yield {
            Door(shown(section.url), f"{address}/{name}simple/", ("mirrormend", token)): app[INDEXES][section.name]
            for name, section in zip(names, settings.upstream, strict=True)
        }
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> str:
    # uv keeps what it read by the address of the index: at the same one it finds it again.
    told = " ".join(shown(section.url) for section in settings.upstream)
    usual = _FIRST_PORT + int.from_bytes(hashlib.sha256(told.encode()).digest()[:4]) % _PORTS
    try:
        await web.TCPSite(runner, HOST, usual).start()
    except OSError:
        await web.TCPSite(runner, HOST, 0).start()
    return f"http://{HOST}:{runner.addresses[0][1]}"
