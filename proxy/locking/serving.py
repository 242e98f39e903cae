"""A proxy for the time of a lock, on loopback."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from pydantic import SecretStr

from proxy.config import AccessSection, LinkMode, LinksSection, Settings
from proxy.index import Index
from proxy.locking.addresses import Door, as_locked
from proxy.locking.verifying import CONFIRMED_AFTER, Verification
from proxy.server import create_app
from proxy.server.context import INDEXES
from proxy.server.warm import WarmRunner
from proxy.upstream.addresses import shown

HOST = "127.0.0.1"
_FIRST_PORT, _PORTS = 20_000, 10_000
"""Below the ports that systems give away by themselves."""


@asynccontextmanager
async def proxy_for_a_while(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[tuple[tuple[Door, ...], Verification]]:
    """Serve while the block runs; yield a door for each mirror of `settings`, the first one at `/simple/`, and what verifies a lock there.

    Whatever the settings say of links, they lead through the proxy, so that every core metadata comes from it.
    Nothing is rescued: a lock that names the mirror can only hold files that the mirror itself delivers.
    `say` tells the user what takes time.
    """
    # Whoever else is on this machine is not to use the credentials that it has for the mirror.
    token = secrets.token_urlsafe(24)
    rescue, access = settings.rescue.model_copy(update={"enabled": False}), AccessSection(tokens=(SecretStr(token),))
    verdict = settings.verdict.model_copy(update={"confirm": min(settings.verdict.confirm, CONFIRMED_AFTER)})
    settings = settings.model_copy(
        update={"links": LinksSection(mode=LinkMode.PROXY), "rescue": rescue, "access": access, "verdict": verdict}
    )
    app = create_app(settings)
    indexes: dict[Door, Index] = {}
    verification = Verification(indexes, say, verdict.confirm)
    app.middlewares.append(verification.note)
    runner = WarmRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        address = await _listen(runner, settings)
        names = ["", *(f"{section.name}/" for section in settings.upstream[1:])]
        for name, section in zip(names, settings.upstream, strict=True):
            indexes[Door(as_locked(section.url), f"{address}/{name}simple/", ("mirrormend", token))] = app[INDEXES][section.name]
        yield tuple(indexes), verification
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
