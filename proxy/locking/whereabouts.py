"""Asking a proxy which mirror it stands before, and where that has its files."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import aiohttp
import msgspec

from proxy.config.load import SettingsError
from proxy.core.index_urls import same_for_uv
from proxy.core.lockfile import LockedFile
from proxy.core.url_standard import parse_url
from proxy.locking.addresses import Door, Proxied, file_of_mirror
from proxy.locking.credentials import credentials_in, credentials_of
from proxy.locking.errors import LockFailed
from proxy.locking.indexes import UvIndex
from proxy.server.whereabouts import KNOWN_HEADER
from proxy.upstream.addresses import address_digest, shown
from proxy.upstream.credentials import basic
from proxy.upstream.route import RequestOptions, options_of_environment

_PATIENCE = aiohttp.ClientTimeout(total=60)
_AT_ONCE = 8
_BEHIND_A_PROXY = "write its user and password into HTTP_PROXY or HTTPS_PROXY, or name the host of mirrormend in NO_PROXY"

_Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]")]


class _Told(msgspec.Struct):
    """What `/files/` and `/files/<project>/` answer: the mirror's simple API, and its address of each file."""

    upstream: _Address
    files: dict[str, _Address] = {}


_decode = msgspec.json.Decoder(_Told).decode


async def running_proxy(url: str, indexes: Sequence[UvIndex], environ: Mapping[str, str]) -> Door:
    """Return the door that the proxy at `url` is, with the credentials that stand there, else those of uv's index for it or its mirror.

    Raise SettingsError where `url` is no address, LockFailed where no mirrormend answers there.
    """
    try:
        parts = parse_url(url)
    except ValueError:
        raise SettingsError("--proxy", "give the whole address of the proxy's simple API, such as http://127.0.0.1:8080/simple/") from None
    address = f"{str(replace(parts, user='', query='', fragment='')).rstrip('/')}/"
    if not address.endswith("/simple/"):
        address += "simple/"
    in_address = credentials_in(str(parts))
    given = in_address if any(in_address) else None
    own = environ.get("MIRRORMEND_UPSTREAM_URL") or environ.get("MIRRORMEND_UPSTREAM") or ""
    mirror = await mirror_behind(Door("", address, given), (own, *(index.url for index in indexes)), by_environment=True)
    known = (credentials_of(index, environ) for index in indexes if same_for_uv(index.url, mirror) or same_for_uv(index.url, address))
    return Door(mirror, address, given or next(filter(None, known), None))


async def find_proxy(url: str, indexes: Sequence[UvIndex], environ: Mapping[str, str]) -> Door | None:
    """Return the door that a proxy at `url` is, None where no mirrormend answers there."""
    try:
        return await running_proxy(url, indexes, environ)
    except LockFailed:
        return None


async def mirror_behind(door: Door, known: Iterable[str] = (), *, by_environment: bool) -> str:
    """Return the address of the mirror that the proxy stands before; raise LockFailed.

    A proxy may tell it only to who shows that it is among the addresses that it has `known` before.
    Raises SettingsError where the environment names an impossible outbound proxy.
    """
    way = _way(door, by_environment=by_environment)
    async with _session(known) as session:
        return (await _told(session, way, door.files)).upstream


async def at_mirror(files: Iterable[Proxied], *, by_environment: bool) -> Mapping[str, str]:
    """Gives the mirror's addresses of files, by those at the proxy; raises LockFailed, also where the mirror lists one no more.

    `by_environment` says whether the environment tells the way to the proxy (HTTP_PROXY, netrc); one on loopback is reached without.
    """
    asked: dict[Door, dict[str, list[Proxied]]] = {}
    for file in files:
        asked.setdefault(file.door, {}).setdefault(file.project, []).append(file)
    found: dict[str, str] = {}
    for door, projects in asked.items():
        way = _way(door, by_environment=by_environment)
        async with _session((door.mirror,)) as session:
            found.update(await _of_projects(session, way, door, projects))
    return found


async def _of_projects(
    session: aiohttp.ClientSession, way: RequestOptions, door: Door, projects: Mapping[str, list[Proxied]]
) -> Mapping[str, str]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(project: str) -> Mapping[str, str]:
        async with slots:
            return (await _told(session, way, f"{door.files}{project}/")).files

    try:
        async with asyncio.TaskGroup() as group:
            told = {project: group.create_task(ask(project)) for project in projects}
    except ExceptionGroup as failures:
        # One of them is enough to tell, and the group has stopped the others.
        raise failures.exceptions[0] from None
    return {each.url: _address(each, told[project].result()) for project, wanted in projects.items() for each in wanted}


def _session(known: Iterable[str]) -> aiohttp.ClientSession:
    headers = {}
    digests = sorted({digest for digest in map(_digest, known) if digest})
    if digests:
        headers[KNOWN_HEADER] = ",".join(digests)
    return aiohttp.ClientSession(headers=headers, timeout=_PATIENCE, trust_env=False)


def _way(door: Door, *, by_environment: bool) -> RequestOptions:
    try:
        way: RequestOptions = options_of_environment(door.proxy) if by_environment else {}
    except ValueError as error:
        raise LockFailed(f"{shown(door.proxy)} is no address ({error})", "correct it") from None
    if door.credentials is not None:
        way["headers"] = {**way.get("headers", {}), "Authorization": basic(*door.credentials)}
    return way


def _digest(url: str) -> str:
    try:
        return address_digest(url) if url else ""
    except ValueError:
        return ""


async def _told(session: aiohttp.ClientSession, way: RequestOptions, url: str) -> _Told:
    try:
        async with session.get(url, **way) as response:
            body = await response.read()
    except aiohttp.ClientHttpProxyError as error:
        raise LockFailed(
            f"the outbound proxy {way['proxy']} does not let this through ({error.status} {error.message})", _BEHIND_A_PROXY
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or f"no answer within {_PATIENCE.total:g} s"
        raise LockFailed(
            f"the proxy at {shown(url)} cannot be asked ({why})", "start it, or leave out --proxy to have one started"
        ) from error
    if response.status == 407 and "proxy" in way:
        raise LockFailed(f"the outbound proxy {way['proxy']} wants credentials (407)", _BEHIND_A_PROXY)
    if response.status != 200:
        raise LockFailed(
            f"the proxy does not tell where the mirror has its files: {shown(url)} answered {_reason(response.status, body)}",
            _remedy(response.status),
        )
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise LockFailed(
            f"what answers at {shown(url)} is no mirrormend", "give the address of the proxy's simple API with --proxy"
        ) from error


def _reason(status: int, body: bytes) -> str:
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return str(status)
    return f"{status}, {problem.get('detail') or problem.get('title') or ''}".rstrip(", .")


def _remedy(status: int) -> str:
    if status == 403:
        return "name the mirror as an index of the project, or give what the proxy wants for a sign-in in the address of --proxy"
    if status == 401:
        return "give the mirror's credentials, such as http://user:password@… in the address of --proxy"
    return "see that it is a mirrormend of this version" if status == 404 else "try again"


def _address(file: Proxied, listed: Mapping[str, str]) -> str:
    url = listed.get(file.filename)
    if url is None:
        what = f"the mirror's page of {file.project} does not list {file.filename} any more"
        raise LockFailed(what, "lock anew: mirrormend lock -- --refresh")
    address = file_of_mirror(url)
    if LockedFile(address).filename != file.filename.rpartition("/")[2]:
        what = f"the mirror's address of {file.filename} does not end with its name, which uv reads there"
        raise LockFailed(what, "such a lock has to name the proxy: give the team one stable address")
    return address
