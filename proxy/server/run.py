"""Running the application until it is told to end."""

import asyncio
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import structlog
from aiohttp import web

from proxy.config import ServerSection, Settings
from proxy.core.identity import SHARED
from proxy.server.allocator import settle_allocator
from proxy.server.app import create_app
from proxy.server.context import INDEXES
from proxy.server.operations import WATCH
from proxy.server.reload import reload
from proxy.server.shared_site import SharedSite
from proxy.server.siblings import Siblings
from proxy.server.tls import listener_tls, renew
from proxy.server.warm import WarmRunner
from proxy.upstream.addresses import is_loopback

_log = structlog.get_logger("mirrormend.server")

Listening: TypeAlias = Sequence[tuple[socket.socket, Sequence[socket.socket]]]

_BACKLOG = 1024
_CLOSE_WITHIN = 2.0
"""Seconds after notice and drain for what is left then: to cut connections, and to write what was learned to the store."""
_FORCE_AFTER = 1.0


def seconds_to_end(section: ServerSection) -> float:
    """Return in how many seconds after SIGTERM a process with these settings has ended, whatever hangs in it."""
    return section.notice + section.drain + _CLOSE_WITHIN + _FORCE_AFTER


async def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    load: Callable[[], Settings] | None = None,
    siblings: Siblings | None = None,
    listen: Callable[[], Listening] | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT; then it goes on listening for the notice of `[server]`, while `/readyz` says 503 already,
    and requests in flight have the drain time to finish.

    Calls `ready` with the address once it listens, and `ending` once it was told to end. Signals that the caller holds are released.
    SIGHUP puts in force what `load` gives, and a renewed certificate.
    With `siblings` it is one of several workers; `listen` returns its own sockets, and beside each those of the others at that address.
    It is called once the application is set up, so that no client waits for an answer meanwhile.
    Raises OSError where it cannot listen, SettingsError where a file of `[access]` is not right.
    """
    started = asyncio.Event()
    tls = listener_tls(settings.server)
    app = create_app(settings, siblings=siblings)
    runner = WarmRunner(app, access_log=None, handle_signals=False, shutdown_timeout=settings.server.drain, keepalive_timeout=75.0)

    async def begin_again() -> None:
        await started.wait()
        if load is not None:
            await reload(app, load)
        renew(tls, settings.server)

    until: float | None = None
    try:
        # Signals are heard before anybody is told that it listens, and may send one.
        async with _signals(None if load is None else begin_again, once=siblings is None) as told_to_end:
            if await _set_up(runner, told_to_end):
                _settle_memory()
                addresses = await _listen(runner, settings.server, tls, () if listen is None else listen())
                started.set()
                address = _address(addresses, "http" if tls is None else "https")
                _announce(addresses, settings, app, siblings)
                mirrors = [index.mirror for index in app[INDEXES].values()]
                _log.info("listening", address=address, upstreams={mirror.name: mirror.url for mirror in mirrors})
                if ready is not None:
                    ready(address)
                await told_to_end.wait()
        if ending is not None:
            ending()
        _log.info("ending", notice=settings.server.notice, drain=settings.server.drain)
        until = asyncio.get_running_loop().time() + seconds_to_end(settings.server) - _FORCE_AFTER
        if started.is_set():
            app[WATCH].ending = True
            await asyncio.sleep(settings.server.notice)
    finally:
        try:
            async with asyncio.timeout_at(until):
                await runner.cleanup()
        except TimeoutError:
            _log.warning("ended-early", meaning="something took too long to close; what was learned last may not be in the store")
    _log.info("ended")


async def _set_up(runner: web.AppRunner, told_to_end: asyncio.Event) -> bool:
    """Start the application; return False if the process was told to end meanwhile."""
    setting_up, told = asyncio.ensure_future(runner.setup()), asyncio.ensure_future(told_to_end.wait())
    try:
        await asyncio.wait({setting_up, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        setting_up.cancel()
        told.cancel()
        await asyncio.gather(setting_up, told, return_exceptions=True)
    if not setting_up.cancelled():
        setting_up.result()
    return not told_to_end.is_set()


def _settle_memory() -> None:
    # All that was imported stays for good: the collector need not look at it, nor look as often as its defaults have it, since what is
    # served leaves nearly nothing to collect. Each look holds up the event loop, the longer the more new objects there are.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 100, 20)
    settle_allocator()
    # While a thread renders a large page, the event loop waits no longer than this to have its turn.
    sys.setswitchinterval(0.001)


async def _listen(runner: web.AppRunner, section: ServerSection, tls: ssl.SSLContext | None, listening: Listening) -> list[tuple[Any, ...]]:
    """Begin to accept connections, and return the addresses."""
    if not listening:
        await web.TCPSite(runner, section.host, section.port, backlog=_BACKLOG, ssl_context=tls).start()
        return runner.addresses
    sites = [SharedSite(runner, own, others, ssl_context=tls) for own, others in listening]
    for site in sites:
        await site.start()
    return [site.address for site in sites]


def _address(addresses: Sequence[tuple[Any, ...]], scheme: str) -> str:
    host, port = addresses[0][:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _announce(addresses: Sequence[tuple[Any, ...]], settings: Settings, app: web.Application, siblings: Siblings | None) -> None:
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
    _warn(addresses, settings)


def _warn(addresses: Sequence[tuple[Any, ...]], settings: Settings) -> None:
    """Warns of what others in the network could do, where the proxy listens to them."""
    if all(is_loopback(each[0]) for each in addresses):
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
async def _signals(on_hangup: Callable[[], Awaitable[None]] | None, *, once: bool) -> AsyncIterator[asyncio.Event]:
    """Give the event that SIGTERM or SIGINT sets; at SIGHUP call `on_hangup`.

    If `once`, either ends the process at once after the block. A worker hears of the end from its parent, and often from whoever told
    the parent as well (Ctrl-C in a terminal, systemd), so that a second signal means nothing there: the parent ends its workers at once.
    """
    end, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    had_terminal = has_terminal()

    def hung_up() -> None:
        # The terminal that it was started from was closed: nobody asks for a reload then.
        if had_terminal and not has_terminal():
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
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    try:
        yield end
    finally:
        if once:
            for each in handlers:
                loop.remove_signal_handler(each)
        if reloading is not None:
            if once:
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


def has_terminal() -> bool:
    """Return whether the process has a terminal that it belongs to."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
