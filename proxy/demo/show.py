"""The demo from its first line to its last: two servers on loopback, a lock from each, and what made the difference."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import click
from aiohttp import web
from pydantic import ValidationError

from proxy.config import LogSection, ServerSection, Settings
from proxy.core.errors import MirrormendError
from proxy.demo import telling
from proxy.demo.comparing import compare
from proxy.demo.locking import Lock, concerns_clients, find_uv, lock
from proxy.demo.mirror import BASE, DEPENDENT, PROJECT, create_mirror
from proxy.server import create_app
from proxy.telemetry import configure_logging

Say = Callable[[str], None]


def run(keep: bool, say: Say = click.echo) -> int:
    """Shows the demo; gives 0 where the repair could be seen, else 1, and 143 where SIGTERM ended it.

    With `keep` both servers stay up until SIGINT or SIGTERM.
    """
    configure_logging(LogSection(level="error"))
    with _nothing_of_this_machine(), tempfile.TemporaryDirectory(prefix="mirrormend-demo-") as folder:
        try:
            return asyncio.run(_show(Path(folder), keep, say))
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM


def serve_mirror(listen: str, say: Say = click.echo) -> int:
    """Serves the broken mirror at `listen` (HOST:PORT) until SIGINT or SIGTERM, and gives 0.

    Raises click.ClickException where `listen` is not written so, or listening there is not possible.
    """
    try:
        where = ServerSection(listen=listen)
    except ValidationError as error:
        raise click.UsageError("--mirror: write it as HOST:PORT, such as 127.0.0.1:8081") from error

    async def serve() -> None:
        async with _serving(create_mirror(), where.host, where.port) as address:
            say(telling.mirror_told(f"{address}{BASE}/simple/"))
            await _told_to_end()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {listen} ({os.strerror(error.errno or 0).lower()}); choose another address"
        ) from error
    return 0


@contextmanager
def _nothing_of_this_machine() -> Iterator[None]:
    taken = {name: value for name, value in os.environ.items() if concerns_clients(name)}
    for name in taken:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(taken)


async def _show(folder: Path, keep: bool, say: Say) -> int:
    this = asyncio.current_task()
    if this is not None:
        _on_signal(signal.SIGTERM, this.cancel)
    say(telling.HEAD)
    async with _serving(create_mirror()) as broken:
        mirror = f"{broken}{BASE}/simple/"
        settings = Settings.model_validate({"upstream": {"url": mirror}, "store": {"location": "memory"}})
        async with _serving(create_app(settings)) as proxy:
            mended = f"{proxy}/simple/"
            worked = await _compare_both(folder, mirror, mended, say)
            if keep:
                say(telling.addresses_told(mirror, mended))
                await _told_to_end()
    return 0 if worked else 1


async def _compare_both(folder: Path, mirror: str, mended: str, say: Say) -> bool:
    uv = find_uv()
    direct, through = await _locks(uv, folder, mirror, mended, say) if uv else (None, None)
    try:
        pages = await compare(PROJECT, mirror, mended)
    except (aiohttp.ClientError, MirrormendError) as error:
        say(f"The pages cannot be compared: {error}")
        say(telling.conclusion(direct, worked=False))
        return False
    if through is None:
        say(telling.NO_UV)
        say(telling.files_told(pages))
    say(telling.heading("What was mended"))
    say(telling.repair_told(pages))
    say(telling.summary(direct, through, pages))
    worked = pages.repaired if through is None else through.chosen is not None
    say(telling.conclusion(direct, worked=worked))
    return worked


async def _locks(uv: str, folder: Path, mirror: str, mended: str, say: Say) -> tuple[Lock, Lock]:
    say(telling.heading("1. uv asks the mirror itself"))
    direct = await lock(uv, folder / "direct", mirror, DEPENDENT, PROJECT)
    say(telling.direct_told(direct))
    say(telling.heading("2. uv asks through mirrormend"))
    through = await lock(uv, folder / "through", mended, DEPENDENT, PROJECT)
    say(telling.lock_told(through))
    return direct, through


@asynccontextmanager
async def _serving(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _told_to_end() -> None:
    told = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        _on_signal(each, told.set)
    await told.wait()


def _on_signal(which: signal.Signals, do: Callable[[], object]) -> None:
    # Windows has no such handlers; there Ctrl-C raises KeyboardInterrupt.
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(which, do)
