"""Asking a proxy where the mirror has its files."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Annotated

import aiohttp
import msgspec

from proxy.core.lockfile import LockedFile
from proxy.locking.addresses import Door, Proxied, file_of_mirror
from proxy.locking.errors import LockFailed
from proxy.server.whereabouts import KNOWN_HEADER
from proxy.upstream.addresses import address_digest, shown
from proxy.upstream.credentials import basic

_PATIENCE = aiohttp.ClientTimeout(total=60)
_AT_ONCE = 8

_Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]")]


class _Told(msgspec.Struct):
    """What `/files/` and `/files/<project>/` answer: the mirror's simple API, and its address of each file."""

    upstream: _Address
    files: dict[str, _Address] = {}


_decode = msgspec.json.Decoder(_Told).decode


async def mirror_behind(door: Door, known: Iterable[str] = (), *, by_environment: bool) -> str:
    """Return the address of the mirror that the proxy stands before; raise LockFailed.

    A proxy may tell it only to who shows that it is among the addresses that it has `known` before.
    """
    async with _session(door, known, by_environment=by_environment) as session:
        return (await _told(session, door.files)).upstream


async def at_mirror(files: Iterable[Proxied], *, by_environment: bool) -> Mapping[str, str]:
    """Gives the mirror's addresses of files, by those at the proxy; raises LockFailed, also where the mirror lists one no more.

    `by_environment` says whether the environment tells the way to the proxy (HTTP_PROXY, netrc); one on loopback is reached without.
    """
    asked: dict[Door, dict[str, list[Proxied]]] = {}
    for file in files:
        asked.setdefault(file.door, {}).setdefault(file.project, []).append(file)
    found: dict[str, str] = {}
    for door, projects in asked.items():
        async with _session(door, (door.mirror,), by_environment=by_environment) as session:
            found.update(await _of_projects(session, door, projects))
    return found


async def _of_projects(session: aiohttp.ClientSession, door: Door, projects: Mapping[str, list[Proxied]]) -> Mapping[str, str]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(project: str) -> Mapping[str, str]:
        async with slots:
            return (await _told(session, f"{door.files}{project}/")).files

    try:
        async with asyncio.TaskGroup() as group:
            told = {project: group.create_task(ask(project)) for project in projects}
    except ExceptionGroup as failures:
        # One of them is enough to tell, and the group has stopped the others.
        raise failures.exceptions[0] from None
    return {each.url: _address(each, told[project].result()) for project, wanted in projects.items() for each in wanted}


def _session(door: Door, known: Iterable[str], *, by_environment: bool) -> aiohttp.ClientSession:
    headers = {} if door.credentials is None else {"Authorization": basic(*door.credentials)}
    digests = sorted({digest for digest in map(_digest, known) if digest})
    if digests:
        headers[KNOWN_HEADER] = ",".join(digests)
    return aiohttp.ClientSession(headers=headers, timeout=_PATIENCE, trust_env=by_environment)


def _digest(url: str) -> str:
    try:
        return address_digest(url) if url else ""
    except ValueError:
        return ""


async def _told(session: aiohttp.ClientSession, url: str) -> _Told:
    try:
        async with session.get(url) as response:
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or f"no answer within {_PATIENCE.total:g} s"
        raise LockFailed(
            f"the proxy at {shown(url)} cannot be asked ({why})", "start it, or leave out --proxy to have one started"
        ) from error
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
