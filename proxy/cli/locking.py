"""`mirrormend lock`: from the command line to a lock that names the mirror, and back to an exit status."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from proxy.cli.running import begin_command, begin_without_settings, run_loop
from proxy.cli.serving import settings_to_serve
from proxy.config import Settings, UpstreamSection
from proxy.config.complaints import no_upstream
from proxy.config.load import SettingsError
from proxy.core.lockfile import LockUnreadable
from proxy.locking.addresses import Door, normalised, same_index
from proxy.locking.errors import LockFailed
from proxy.locking.exclusion import only_run
from proxy.locking.indexes import UvIndex, configured, credentials_in, credentials_of, credentials_variables, index_named, with_credentials
from proxy.locking.project import Project
from proxy.locking.serving import proxy_for_a_while
from proxy.locking.steps import UvRun, Way, check, lock, rename
from proxy.locking.url_standard import parse_url
from proxy.locking.uv import Errand, errand_of, find_uv, refused, run_uv, script_of
from proxy.locking.uv_location import UvLocation
from proxy.locking.uv_version import refuse_too_old
from proxy.locking.whereabouts import mirror_behind
from proxy.upstream.addresses import without_credentials
from proxy.upstream.credentials import netrc_credentials


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
    order = replace(order, script=order.script or script, arguments=tuple(arguments))
    _refuse_contradictions(order)
    location = UvLocation.of(order.folder, order.script, os.environ)
    if order.script is None or location.script is None:
        project = Project.at(location.folder)
    else:
        project = Project.of_script(location.script, location.folder)
    indexes = configured(project.settings(location.environ), location.environ, project.projects())
    try:
        return run_loop(_until_told_to_end(order, location, project, indexes))
    except (LockFailed, LockUnreadable) as error:
        raise click.ClickException(str(error)) from error
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


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
    if option is not None:
        instead = (
            "say --project DIR before the --" if option in {"--project", "--directory"} else "the index is the mirror: say --upstream URL"
        )
        raise click.UsageError(f"{option} cannot be passed on to uv; {instead}")


async def _until_told_to_end(order: Order, location: UvLocation, project: Project, indexes: Sequence[UvIndex]) -> int:
    this = asyncio.current_task()
    if this is not None:
        # Windows has no such handlers.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    errand = errand_of(order.arguments, location.environ)
    async with only_run(project.lock, _say) as exclusion:
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
            run = UvRun(order.arguments, errand, location.arguments, location.directory, location.environ, exclusion)
            return await lock(project, indexes, way, run, _say)


@asynccontextmanager
async def _way(order: Order, indexes: Sequence[UvIndex]) -> AsyncIterator[Way]:
    """Opens the way to the mirror: through the proxy that was named, else through one of our own before the mirror of the settings.

    Where neither says which mirror, it is uv's own index; if that is a mirrormend already, the way leads through it.
    """
    if order.proxy:
        begin_without_settings()
        yield Way((await _running(order.proxy, indexes),), own=False)
        return
    settings = _settings_or_none(order)
    if settings is None:
        named = index_named(indexes)
        if named is None:
            raise SettingsError("", f"{no_upstream().why}, or name it as uv's default index in pyproject.toml")
        settings = _settings_for(order, named)
        door = await _if_it_is_a_proxy(named.url, indexes)
        if door is not None:
            yield Way((door,), own=False)
            return
    settings, without = with_credentials_of(indexes, _normalised(settings))
    begin_command(settings, settings.log)
    async with proxy_for_a_while(settings, _say) as (doors, verification):
        yield Way(doors, own=True, without=without, verification=verification)


async def _running(proxy: str, indexes: Sequence[UvIndex]) -> Door:
    try:
        parts = urlsplit(str(replace(parse_url(proxy), query="", fragment="")))
    except ValueError:
        raise SettingsError("--proxy", "give the whole address of the proxy's simple API, such as http://127.0.0.1:8080/simple/") from None
    address = f"{without_credentials(parts.geturl()).rstrip('/')}/"
    if not address.endswith("/simple/"):
        address += "simple/"
    given = (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username or parts.password else None
    own = os.environ.get("MIRRORMEND_UPSTREAM_URL") or os.environ.get("MIRRORMEND_UPSTREAM") or ""
    mirror = await mirror_behind(Door("", address, given), (own, *(index.url for index in indexes)), by_environment=True)
    known = (credentials_of(index, os.environ) for index in indexes if same_index(index.url, mirror) or same_index(index.url, address))
    return Door(mirror, address, given or next(filter(None, known), None))


async def _if_it_is_a_proxy(url: str, indexes: Sequence[UvIndex]) -> Door | None:
    try:
        return await _running(url, indexes)
    except LockFailed:
        return None


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
    """Return the settings with the mirrors spelled as uv spells them, so that what is compared is alike."""
    upstream = tuple(each.model_copy(update={"url": normalised(each.url)}) for each in settings.upstream)
    return settings.model_copy(update={"upstream": upstream})


def _settings_or_none(order: Order) -> Settings | None:
    try:
        return _settings(order, order.upstream)
    except SettingsError as error:
        if error.why == no_upstream().why:
            return None
        raise


def with_credentials_of(indexes: Sequence[UvIndex], settings: Settings) -> tuple[Settings, frozenset[str]]:
    """Gives the settings with uv's own credentials for the mirrors that have none there, and the variables that uv takes such from.

    uv is not to see these: it would send them to the proxy, in the place of those that the proxy wants.
    """
    upstreams: list[UpstreamSection] = []
    without: set[str] = set()
    for section in settings.upstream:
        its = [index for index in indexes if same_index(index.url, section.url)]
        without.update(variable for index in its for variable in credentials_variables(index))
        has_some = section.token or section.username or section.password
        upstreams.append(section if has_some else section.model_copy(update={"url": _with_all_credentials(section.url, its)}))
    return settings.model_copy(update={"upstream": tuple(upstreams)}), frozenset(without)


def _with_all_credentials(url: str, indexes: Sequence[UvIndex]) -> str:
    """Return the mirror's address with those credentials that uv would use; to a user alone netrc has the password, as it has for uv."""
    own = credentials_in(url)
    known = (credentials_of(index, os.environ) for index in indexes)
    found = own if own[1] else next((each for each in known if each and own[0] in {"", each[0]}), None) or own
    if found[0] and not found[1]:
        host = urlsplit(url).hostname or ""
        of_netrc = netrc_credentials(host, os.environ)
        found = of_netrc if of_netrc is not None and of_netrc[0] == found[0] else found
    return with_credentials(without_credentials(url), found if any(found) else None)


def _say(what: str) -> None:
    click.echo(f"mirrormend: {what}", err=True)
