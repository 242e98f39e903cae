"""`mirrormend lock`: from the command line to a lock that names the mirror, and back to an exit status."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from proxy.cli.running import begin_command, begin_without_settings, run_loop
from proxy.cli.serving import settings_to_serve
from proxy.config import Settings
from proxy.config.complaints import no_upstream
from proxy.config.load import SettingsError
from proxy.core.lockfile import LockUnreadable
from proxy.core.url_standard import parse_url
from proxy.locking.addresses import normalised
from proxy.locking.credentials import settings_with_credentials
from proxy.locking.errors import LockFailed
from proxy.locking.exclusion import only_run
from proxy.locking.indexes import UvIndex, configured, index_named
from proxy.locking.project import Project
from proxy.locking.serving import proxy_for_a_while
from proxy.locking.steps import UvRun, Way, check, lock, rename
from proxy.locking.uv import KILLED, Errand, errand_of, find_uv, refused, run_uv, script_of
from proxy.locking.uv_location import UvLocation
from proxy.locking.uv_version import refuse_too_old
from proxy.locking.whereabouts import find_proxy, running_proxy

_INSTEAD = {
    "--project": "say --project DIR before the --",
    "--directory": "say --project DIR before the --",
    "--config-file": "set UV_CONFIG_FILE",
    "--no-config": "set UV_NO_CONFIG=1",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What was typed: `to` is `mirror`, `proxy` or None, `arguments` are those for `uv lock`."""

    folder: Path | None
    config: Path | None
    upstream: str | None
    proxy: str | None
    to: str | None
    check: bool
    log_level: str
    arguments: tuple[str, ...]
    script: Path | None = None


def run_lock(order: Order) -> int:
    """Does what was ordered, and gives the exit status: uv's own, or 1 from a check that finds a proxy's address.

    Raises SettingsError and its like for what the user wrote, click.ClickException for what could not be done.
    """
    script, arguments = script_of(order.arguments)
    if order.script is not None and script is not None:
        raise click.UsageError(f"{order.script} and {script}: one script at a time can be locked; give one with --script FILE")
    order = replace(order, script=order.script or script, arguments=tuple(arguments))
    _refuse_contradictions(order)
    location = UvLocation.of(order.folder, order.script, os.environ)
    try:
        return run_loop(_until_told_to_end(order, location))
    except (LockFailed, LockUnreadable) as error:
        raise click.ClickException(str(error)) from error


def _project_at(location: UvLocation) -> Project:
    return Project.at(location.folder) if location.script is None else Project.of_script(location.script, location.folder)


def _refuse_contradictions(order: Order) -> None:
    if order.check and (order.to or order.arguments):
        raise click.UsageError(
            "--check looks at the lock only; leave out --to and what is for uv (uv lock --check is: mirrormend lock -- --check)"
        )
    if order.to and order.arguments:
        raise click.UsageError("--to changes addresses only, without uv; leave out what is for uv")
    if order.to == "proxy" and not order.proxy:
        raise click.UsageError("--to proxy needs the proxy's address: --proxy URL")
    if order.proxy and order.upstream and not order.check:
        raise click.UsageError("give either --upstream or --proxy: a proxy that runs knows its mirror")
    option = refused(order.arguments)
    if option == "--script":
        raise click.UsageError("--script names no file, or a second one; give one with --script FILE")
    if option is not None:
        raise click.UsageError(f"{option} cannot be passed on to uv; {_INSTEAD.get(option, 'the index is the mirror: say --upstream URL')}")


async def _until_told_to_end(order: Order, location: UvLocation) -> int:
    this = asyncio.current_task()
    told: list[int] = []

    def end(number: int) -> None:
        # Keys repeat: a second one is not to cut off what puts the lock back.
        if not told and this is not None:
            told.append(number)
            this.cancel()

    # Windows has no such handlers.
    with suppress(NotImplementedError):
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, end, each)
    try:
        return await _carried_out(order, location)
    except asyncio.CancelledError:
        if not told:
            raise
        return KILLED + told[0]


async def _carried_out(order: Order, location: UvLocation) -> int:
    errand, lock_file = errand_of(order.arguments, location.environ), _project_at(location).lock
    async with only_run(lock_file, _say) as exclusion:
        # Whoever was waited for may have changed it.
        project = _project_at(location)
        if project.lock != lock_file:
            raise LockFailed(f"the lock is {project.lock} by now, and was {lock_file}", "run this again")
        indexes = configured(project.settings(location.environ), location.environ, project.projects())
        if order.check:
            mirrors = [url for url in (order.upstream, os.environ.get("MIRRORMEND_UPSTREAM")) if url]
            return check(project, mirrors, [order.proxy] if order.proxy else [], indexes, _say)
        if errand is Errand.LOOK and not order.to:
            return await run_uv([*location.arguments, *order.arguments], location.directory, location.environ)
        uv = None if order.to else find_uv()
        if uv is not None:
            await refuse_too_old(uv)
        async with _way(order, indexes) as way:
            if order.to:
                return await rename(project, indexes, way, to_mirror=order.to == "mirror", say=_say)
            run = UvRun(order.arguments, errand, location, exclusion)
            return await lock(project, indexes, way, run, _say)


@asynccontextmanager
async def _way(order: Order, indexes: Sequence[UvIndex]) -> AsyncIterator[Way]:
    """Opens the way to the mirror: through the proxy that was named, else through one of our own before the mirror of the settings.

    Where neither says which mirror, it is uv's own index; if that is a mirrormend already, the way leads through it.
    """
    if order.proxy:
        begin_without_settings()
        yield Way((await running_proxy(order.proxy, indexes, os.environ),), own=False)
        return
    settings = _settings_or_none(order)
    if settings is None:
        named = index_named(indexes)
        if named is None:
            raise SettingsError("", f"{no_upstream().why}, or name it as uv's default index in pyproject.toml")
        settings = _settings_for(order, named)
        door = await find_proxy(named.url, indexes, os.environ)
        if door is not None:
            yield Way((door,), own=False)
            return
    settings, without = settings_with_credentials(_normalised(settings), indexes, os.environ)
    begin_command(settings, settings.log)
    async with proxy_for_a_while(settings, _say) as (doors, verification):
        yield Way(doors, own=True, without=without, verification=verification)


def _settings(order: Order, upstream: str | None) -> Settings:
    return settings_to_serve(order.config, {"upstream": upstream, "log_level": order.log_level})


def _settings_for(order: Order, index: UvIndex) -> Settings:
    """Return the settings for the mirror that is uv's `index`, without the credentials; raise SettingsError that names where it stands."""
    try:
        parts = parse_url(index.url)
        settings = _settings(order, str(replace(parts, user="", query="", fragment="")))
    except ValueError as error:
        raise SettingsError(index.where, f"the address of its index cannot be used: {error}") from None
    if not parts.query.strip("?"):
        return settings
    # No setting has a query. uv sends it with what it asks for pages, and so does the proxy that runs for this lock.
    upstream = tuple(each.model_copy(update={"url": f"{each.url}{parts.query}"}) for each in settings.upstream)
    return settings.model_copy(update={"upstream": upstream})


def _normalised(settings: Settings) -> Settings:
    """Return the settings with the mirrors spelled as uv spells them, so that what is compared is alike; raise SettingsError."""
    try:
        upstream = tuple(each.model_copy(update={"url": normalised(each.url)}) for each in settings.upstream)
    except ValueError as error:
        raise SettingsError("", f"uv does not take the address of the mirror: {error}; give another one") from None
    return settings.model_copy(update={"upstream": upstream})


def _settings_or_none(order: Order) -> Settings | None:
    try:
        return _settings(order, order.upstream)
    except SettingsError as error:
        if error.why == no_upstream().why:
            return None
        raise


def _say(what: str) -> None:
    click.echo(f"mirrormend: {what}", err=True)
