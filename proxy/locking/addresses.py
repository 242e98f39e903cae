"""Addresses in locks: of the mirror, and of proxies before it.

Rules for this file: pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from proxy.core.index_urls import same_for_uv
from proxy.core.lockfile import Lock, LockedPackage
from proxy.core.render.pages import file_path
from proxy.core.url_standard import is_http, parse_url
from proxy.upstream.addresses import without_credentials

_END_OF_ADDRESS = re.compile(r"(?:[0-9a-f]+/)?[^/?]+")
_KEPT_BY_UV = "".join(chr(each) for each in range(0x21, 0x7F) if chr(each) not in '"<>`{}\\^')
"""What a URL's path keeps unescaped when uv writes it (URL Standard, path percent-encode set)."""


@dataclass(frozen=True, slots=True)
class Door:
    """A mirror and a proxy before it: the addresses of their simple APIs, without credentials; the proxy's ends with a slash.

    `credentials` are user and password for the proxy, where it wants any.
    """

    mirror: str
    proxy: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def files(self) -> str:
        """Where the proxy has its files, and tells where the mirror has them."""
        return f"{base_of(self.proxy)}files/"


@dataclass(frozen=True, slots=True)
class Proxied:
    """A file of a lock that is named by the proxy's address: `url` is that address, `project` and `filename` what it means.

    Before the name of a file of whose name the mirror's page lists several stands its mark, as in that address.
    """

    url: str
    door: Door
    project: str
    filename: str


def normalised(url: str) -> str:
    """Return the address of an index as uv reads it, with its credentials; one that is not http or https (a folder's) stays as it is.

    Raises ValueError where it is no address.
    """
    return str(parse_url(url)) if is_http(url) else url


def as_locked(url: str) -> str:
    """Return the address of an index as uv writes it into a lock: normalised, and without credentials.

    Raises ValueError where it is no address.
    """
    return str(replace(parse_url(url), user="")) if is_http(url) else without_credentials(url)


def with_credentials(url: str, credentials: tuple[str, str] | None) -> str:
    """Return the address with user and password in it, unless it has some already or there are none."""
    if credentials is None or "@" in urlsplit(url).netloc:
        return url
    user, password = (quote(each, safe="") for each in credentials)
    return url.replace("://", f"://{user}:{password}@", 1)


def file_of_mirror(url: str) -> str:
    """Gives a file's address at the mirror as it may stand in a lock: as uv would spell it, without credentials, query and fragment."""
    parts = urlsplit(url)
    path = quote(parts.path.encode("utf-8", "surrogateescape"), safe=_KEPT_BY_UV)
    return urlunsplit((*urlsplit(as_locked(f"{parts.scheme}://{parts.netloc}/"))[:2], path, "", ""))


def file_at(proxy: str, project: str, key: str) -> str:
    """Return the address of a file at the proxy whose simple API is at `proxy`; `key` is its name, with a mark before that of a twin."""
    return f"{base_of(proxy)}files/{project}/{file_path(key)}"


def made_through_a_proxy(lock: Lock) -> tuple[str, ...]:
    """Gives the indexes of the lock that are proxies by their looks: all their files have addresses as only mirrormend makes them."""
    looks: dict[str, bool] = {}
    for package in lock.packages:
        own = bool(package.files) and all(_key_at(package.registry, package.name, file.url) is not None for file in package.files)
        looks[package.registry] = looks.get(package.registry, True) and own
    return tuple(registry for registry, own in looks.items() if own)


def through(lock: Lock, doors: Sequence[Door], proxies: Iterable[str] = (), *, whole: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Gives the new addresses, of indexes and of files, that lead a lock through the doors.

    An index that is the mirror of a door leads to its proxy; so does one that is a proxy by its looks, or one of `proxies`.
    Files at the mirror keep their addresses unless the `whole` lock is to lead through the proxy.
    """
    others = {*made_through_a_proxy(lock), *(each for each in lock.registries for proxy in proxies if same_for_uv(each, proxy))}
    registries, files = {}, {}
    for package in lock.packages:
        at_mirror = next((door for door in doors if same_for_uv(door.mirror, package.registry)), None)
        door = at_mirror or (_door_like(package.registry, doors) if package.registry in others else None)
        if door is None:
            continue
        registries[package.registry] = door.proxy
        for file in package.files:
            at_proxy = _key_at(package.registry, package.name, file.url)
            if at_proxy is not None or whole:
                files[file.url] = file_at(door.proxy, package.name, at_proxy or file.filename)
    return registries, files


def proxied_files(lock: Lock, doors: Sequence[Door]) -> Iterator[Proxied]:
    """Gives the files that the lock names by the address of a door's proxy."""
    for package in lock.packages:
        door = _behind(package, doors)
        for file in package.files if door is not None else ():
            key = _key_at(package.registry, package.name, file.url)
            if door is not None and key is not None:
                yield Proxied(file.url, door, package.name, key)


def back(lock: Lock, doors: Sequence[Door]) -> Mapping[str, str]:
    """Gives the new addresses of indexes, from the proxies of the doors to their mirrors."""
    behind = ((package.registry, _behind(package, doors)) for package in lock.packages)
    return {registry: door.mirror for registry, door in behind if door is not None}


def _behind(package: LockedPackage, doors: Sequence[Door]) -> Door | None:
    return next((door for door in doors if same_for_uv(door.proxy, package.registry)), None)


def _door_like(registry: str, doors: Sequence[Door]) -> Door | None:
    """Several mirrors are told apart by the path at the proxy; the first one has a path without its name as well."""
    path = urlsplit(registry).path.strip("/")
    return next((door for door in doors if urlsplit(door.proxy).path.strip("/") == path), next(iter(doors), None))


def base_of(simple: str) -> str:
    """Gives what the addresses of a proxy begin with, from that of its simple API."""
    return simple.rstrip("/").removesuffix("simple")


def marks_of(proxy: str) -> tuple[str, ...]:
    """Return texts of which a lock has one wherever it names the proxy with this simple API; the mirror may be at the same host."""
    ends = (f"{index}{quotation_mark}" for index in (proxy, proxy.rstrip("/")) for quotation_mark in ('"', "'"))
    return f"{base_of(proxy)}files/", *ends


def _key_at(registry: str, project: str, url: str) -> str | None:
    """Return the key of a file whose address is that of `project` at a proxy with the simple API `registry`, None where it is another."""
    base = base_of(registry)
    start = f"{base}files/{project}/"
    if base == registry.rstrip("/") or not url.startswith(start):
        return None
    found = _END_OF_ADDRESS.fullmatch(url, len(start))
    return None if found is None else unquote(found[0])
