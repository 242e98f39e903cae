"""Running the application until it is told to end."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from proxy.config import Settings
from proxy.core.identity import SHARED
from proxy.server.app import create_app
from proxy.server.context import INDEXES
from proxy.server.operations import WATCH
from proxy.server.reload import reload
from proxy.server.siblings import Siblings
from proxy.server.tls import listener_tls, renew
from proxy.server.warm import WarmRunner
from proxy.upstream.addresses import is_loopback

_log = structlog.get_logger("mirrormend.server")


async def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    load: Callable[[], Settings] | None = None,
    siblings: Siblings | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT; then it goes on listening for the notice of `[server]`, while `/readyz` says 503 already,
    and requests in flight have the drain time to finish.

    Calls `ready` with the address once it listens. SIGHUP puts in force what `load` gives, and a renewed certificate.
    With `siblings` it is one of several workers on the port.
    Raises OSError where it cannot listen, SettingsError where a file of `[access]` is not right.
    """
    tls = listener_tls(settings.server)
    app = create_app(settings, siblings=siblings)
    runner = WarmRunner(app, access_log=None, handle_signals=False, shutdown_timeout=settings.server.drain, keepalive_timeout=75.0)
    await runner.setup()
    # What was imported stays for good: the collector need not look at it, nor look as often as its defaults have it,
    # since parsing a large page makes tens of thousands of objects that live on.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    # While a thread renders a large page, the event loop waits no longer than this to have its turn.
    sys.setswitchinterval(0.001)

    async def begin_again() -> None:
        if load is not None:
            await reload(app, load)
        renew(tls, settings.server)

    try:
        # Signals are heard before anybody is told that it listens, and may send one.
        async with _signals(None if load is None else begin_again) as told_to_end:
            site = web.TCPSite(
                runner, settings.server.host, settings.server.port, backlog=1024, ssl_context=tls, reuse_port=siblings is not None
            )
            await site.start()
            address = _address(runner, "http" if tls is None else "https")
            _announce(runner, settings, app, siblings)
            mirrors = [index.mirror for index in app[INDEXES].values()]
            _log.info("listening", address=address, upstreams={mirror.name: mirror.url for mirror in mirrors})
            if ready is not None:
                ready(address)
            await told_to_end.wait()
        app[WATCH].ending = True
        _log.info("ending", notice=settings.server.notice, drain=settings.server.drain)
        await asyncio.sleep(settings.server.notice)
    finally:
        await runner.cleanup()
    _log.info("ended")


def _address(runner: web.AppRunner, scheme: str) -> str:
    host, port = runner.addresses[0][:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _announce(runner: web.AppRunner, settings: Settings, app: web.Application, siblings: Siblings | None) -> None:
    """Says what is served and what is amiss with it; of several workers the first one does."""
    if siblings is not None and siblings.number > 1:
        return
    mirrors = [index.mirror for index in app[INDEXES].values()]
    for mirror in mirrors:
        _log.info("mirror", mirror=mirror.name, at="/simple/" if mirror is mirrors[0] else f"/{mirror.name}/simple/", **mirror.facts)
    if len(mirrors) > 1 and not settings.access.controlled and not all(mirror.authenticates(SHARED) for mirror in mirrors):
        _log.warning(
            "first-mirror-without-name",
            meaning="clients with credentials of their own for several mirrors send those of the index at /simple/ to the others as well",
            remedy=f"name the first mirror in their index URLs too: /{mirrors[0].name}/simple/ in the place of /simple/",
        )
    if siblings is not None and settings.store.location == "memory":
        _log.warning(
            "workers-share-nothing",
            meaning="each worker asks the mirror for itself, since what is in memory is one process's own",
            remedy="let the store be sqlite or redis://",
        )
    _warn(runner, settings)


def _warn(runner: web.AppRunner, settings: Settings) -> None:
    """Warns of what others in the network could do, where the proxy listens to them."""
    if all(is_loopback(each[0]) for each in runner.addresses):
        return
    if not settings.access.controlled:
        _log.warning(
            "open-to-the-network",
            listen=settings.server.listen,
            meaning="whoever reaches this address may read the mirrors, with the credentials that the settings have for them",
            remedy="set tokens or htpasswd below [access], or listen on 127.0.0.1",
        )
    elif settings.server.tls_cert is None and not settings.access.trusted_proxies:
        _log.warning(
            "passwords-in-clear",
            listen=settings.server.listen,
            meaning="clients sign in over plain HTTP, where others in the network can read along",
            remedy="set tls_cert below [server], or name the TLS proxy before this one in trusted_proxies below [access]",
        )


@asynccontextmanager
async def _signals(on_hangup: Callable[[], Awaitable[None]] | None) -> AsyncIterator[asyncio.Event]:
    """Gives the event that SIGTERM or SIGINT sets; after the block either ends the process at once. At SIGHUP it calls `on_hangup`."""
    end, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    had_terminal = _has_terminal()

    def hung_up() -> None:
        # The terminal that it was started from was closed: nobody asks for a reload then.
        if had_terminal and not _has_terminal():
            end.set()
        else:
            again.set()

    handlers = {signal.SIGTERM: end.set, signal.SIGINT: end.set}
    reloading: asyncio.Task[None] | None = None
    if on_hangup is not None and sys.platform != "win32":
        handlers[signal.SIGHUP] = hung_up
        reloading = asyncio.create_task(_each_time(again, on_hangup), name="reloading")
    for each, handler in handlers.items():
        loop.add_signal_handler(each, handler)
    try:
        yield end
    finally:
        for each in handlers:
            loop.remove_signal_handler(each)
        if reloading is not None:
            # One more hangup while requests are drained must not end the process before they are.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)


async def _each_time(told: asyncio.Event, act: Callable[[], Awaitable[None]]) -> None:
    """Calls `act` each time that `told` is set; once more where that happened while it was at it."""
    while True:
        await told.wait()
        told.clear()
        await act()


def _has_terminal() -> bool:
    """Whether the process has a terminal that it belongs to."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
