"""Which indexes uv would use for a project, and what has to be in its environment so that it goes through the proxy instead.

Rules for this file: pure. So do uv 0.7, 0.9 and 0.13:

- UV_DEFAULT_INDEX wins over a `[[tool.uv.index]]` with `default = true`, and this over UV_INDEX_URL, and this over `index-url`.
- UV_INDEX comes before the indexes of files. An index of the environment that has the name of one of a file stands in its place,
  for `[tool.uv.sources]` as well; the one of the file is forgotten, and that it was `explicit` too.
- An index that is `explicit` is asked only for what `[tool.uv.sources]` binds to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from proxy.core.errors import MirrormendError
from proxy.locking.addresses import Door, as_locked, same_index


class Role(StrEnum):
    """When uv asks an index: for everything after the others, for everything, or only for what is bound to it."""

    DEFAULT = "default"
    IMPLICIT = "implicit"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class UvIndex:
    """An index of uv as it was configured; `where` names the file or the variable, `in_file` says which of both it is."""

    url: str
    role: Role
    where: str
    name: str | None = None
    in_file: bool = True

    def at(self, url: str) -> str:
        """Gives the value for a variable that puts `url` in the place of this index."""
        return f"{self.name}={url}" if self.name else url


class OtherIndex(MirrormendError):
    """uv's index is `index`, and not the mirror at `mirror`: a lock that names the mirror would not be accepted."""

    def __init__(self, index: UvIndex, mirror: str) -> None:
        self.index = index
        self.mirror = mirror

    def __str__(self) -> str:
        named = as_locked(self.index.url)
        if self.index.role is Role.EXPLICIT:
            return (
                f"{self.index.where} has {named} as an explicit index only, for which uv takes no other address; make it the default index"
            )
        return (
            f"{self.index.where} names {named} as uv's index, and the mirror is {self.mirror}: uv would not accept a lock that names it; "
            "write the mirror's address there"
        )


def configured(tables: Sequence[tuple[str, Mapping[str, Any]]], environ: Mapping[str, str]) -> list[UvIndex]:
    """Gives the indexes of each role in the order of their strength, those that the environment names among them.

    `tables` are the settings of uv by the name of their file, the strongest first. What uv itself would refuse is passed over.
    """
    of_files = _each_name_once(index for where, table in tables for index in _of_table(where, table))
    old_form = [UvIndex(table["index-url"], Role.DEFAULT, where) for where, table in tables if isinstance(table.get("index-url"), str)]
    return [
        *_of_variable("UV_INDEX", Role.IMPLICIT, environ),
        *_of_variable("UV_EXTRA_INDEX_URL", Role.IMPLICIT, environ),
        *_of_variable("UV_DEFAULT_INDEX", Role.DEFAULT, environ),
        *of_files,
        *_of_variable("UV_INDEX_URL", Role.DEFAULT, environ),
        *old_form,
    ]


def _of_variable(variable: str, role: Role, environ: Mapping[str, str]) -> Iterator[UvIndex]:
    for word in environ.get(variable, "").split():
        name, mark, url = word.partition("=")
        # A name has no letters of an address, so that an address with a query is none.
        named = bool(mark) and not set(name) & set(":/?.")
        yield UvIndex(url if named else word, role, variable, name if named else None, in_file=False)


def _of_table(where: str, table: Mapping[str, Any]) -> Iterator[UvIndex]:
    indexes = table.get("index", [])
    for index in indexes if isinstance(indexes, list) else []:
        if isinstance(index, dict) and isinstance(index.get("url"), str) and index.get("format") != "flat":
            role = Role.DEFAULT if index.get("default") is True else Role.EXPLICIT if index.get("explicit") is True else Role.IMPLICIT
            name = index.get("name")
            yield UvIndex(index["url"], role, where, name if isinstance(name, str) else None)
    extra = table.get("extra-index-url", [])
    yield from (UvIndex(url, Role.IMPLICIT, where) for url in (extra if isinstance(extra, list) else []) if isinstance(url, str))


def _each_name_once(indexes: Iterable[UvIndex]) -> Iterator[UvIndex]:
    seen: set[str] = set()
    for index in indexes:
        if index.name is None or index.name not in seen:
            yield index
        if index.name is not None:
            seen.add(index.name)


@dataclass(frozen=True, slots=True)
class Detour:
    """How uv is led through the proxy: `environment` are variables to be set, `without` those to be removed.

    `named` says whether uv's settings name a mirror at all; `left` are explicit indexes at a mirror that uv goes on asking itself.
    """

    environment: Mapping[str, str]
    without: frozenset[str]
    named: bool
    left: tuple[UvIndex, ...] = ()


def detour(indexes: Sequence[UvIndex], doors: Sequence[Door]) -> Detour:
    """Decides how uv gets to the proxies of `doors` wherever it would ask their mirrors; raises OtherIndex where it would ask no mirror.

    A default index that only the environment names gives way where it is no mirror; one that a file names stays.
    """
    led = {id(index): door for index in indexes for door in doors if _leads_to(index, door)}
    implicit = [index for index in indexes if index.role is Role.IMPLICIT]
    explicit = [index for index in indexes if index.role is Role.EXPLICIT and id(index) in led]
    default = _default(indexes, led)
    door = None if default is None else led.get(id(default))
    # An index that is asked for everything does no harm just before a default that is the same mirror.
    bound = [index for index in explicit if led[id(index)] is door]
    left = tuple(index for index in explicit if index not in bound)
    environment: dict[str, str] = {}
    without: set[str] = set()
    if door is None and not any(id(index) in led for index in implicit):
        if left or default is not None:
            raise OtherIndex(left[0] if left or default is None else default, doors[0].mirror)
        door = doors[0]
    if door is not None:
        environment["UV_DEFAULT_INDEX"] = _value(default or UvIndex("", Role.DEFAULT, ""), door)
        without.add("UV_INDEX_URL")
    if bound or any(id(index) in led for index in implicit):
        environment["UV_INDEX"] = " ".join(_value(index, led.get(id(index))) for index in (*implicit, *bound))
        without.add("UV_EXTRA_INDEX_URL")
    named = any(same_index(index.url, door.mirror) for index in indexes for door in doors)
    return Detour(environment, frozenset(without), named, left)


def _value(index: UvIndex, door: Door | None) -> str:
    return index.at(index.url if door is None else with_credentials(door.proxy, door.credentials))


def _leads_to(index: UvIndex, door: Door) -> bool:
    # A file that names the proxy itself is no use: its readers would not accept a lock that names the mirror.
    return same_index(index.url, door.mirror) or (not index.in_file and same_index(index.url, door.proxy))


def _default(indexes: Sequence[UvIndex], led: Mapping[int, Door]) -> UvIndex | None:
    for index in indexes:
        if index.role is Role.DEFAULT and (index.in_file or id(index) in led):
            return index
    return None


def spelled(indexes: Sequence[UvIndex], doors: Sequence[Door], locked: Sequence[str] = ()) -> tuple[Door, ...]:
    """Gives the doors with the mirrors spelled as uv compares them: as a file has them, else the environment, else a lock's indexes."""
    result = []
    for door in doors:
        its = sorted((index for index in indexes if same_index(index.url, door.mirror)), key=lambda index: not index.in_file)
        spellings = [*(index.url for index in its), *(each for each in locked if same_index(each, door.mirror)), door.mirror]
        result.append(replace(door, mirror=as_locked(spellings[0])))
    return tuple(result)


def credentials_of(index: UvIndex, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Gives user and password that uv has for an index: those in its address, else those of UV_INDEX_<NAME>_USERNAME and _PASSWORD."""
    parts = urlsplit(index.url)
    if parts.username or parts.password:
        return unquote(parts.username or ""), unquote(parts.password or "")
    user, password = ([environ.get(variable, "") for variable in credentials_variables(index)] or ["", ""])[:2]
    return (user, password) if user or password else None


def credentials_variables(index: UvIndex) -> tuple[str, ...]:
    """Gives the variables from which uv takes user and password for an index, in this order; none for an index without a name."""
    if index.name is None:
        return ()
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in index.name).upper()
    return f"UV_INDEX_{stem}_USERNAME", f"UV_INDEX_{stem}_PASSWORD"


def index_named(indexes: Sequence[UvIndex]) -> UvIndex | None:
    """Gives the index to lock from where nobody says which: the default one of a file, of the environment, else the first of all others."""
    over_http = [index for index in indexes if index.url.lower().startswith(("http://", "https://")) and index.role is not Role.EXPLICIT]
    over_http.sort(key=lambda index: (index.role is not Role.DEFAULT, not index.in_file))
    return next(iter(over_http), None)


def with_credentials(url: str, credentials: tuple[str, str] | None) -> str:
    """Gives the address with user and password in it, unless it has some already or there are none."""
    if credentials is None or "@" in urlsplit(url).netloc:
        return url
    user, password = (quote(each, safe="") for each in credentials)
    return url.replace("://", f"://{user}:{password}@", 1)
