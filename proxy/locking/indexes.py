"""Which indexes uv would use for a project, and what has to be in its environment so that it goes through the proxy instead.

Rules for this file: pure. So do uv 0.7, 0.9 and 0.13:

- UV_DEFAULT_INDEX wins over a `[[tool.uv.index]]` with `default = true`, and this over UV_INDEX_URL, and this over `index-url`.
- UV_INDEX comes before the indexes of files. An index of the environment that has the name of one of a file stands in its place,
  for `[tool.uv.sources]` as well; the one of the file is forgotten, and that it was `explicit` too.
- An index that is `explicit` is asked only for what `[tool.uv.sources]` binds to it. So is every index that stands in the pyproject.toml of
  a member of the workspace, or of another folder, whose own sources bind something to it: it comes before one of that name in the settings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from proxy.core.errors import MirrormendError
from proxy.core.index_urls import same_for_uv, shown_url
from proxy.core.url_standard import is_http
from proxy.locking.addresses import Door, as_locked, normalised, with_credentials

_LIMIT = "exclude-newer"
_IGNORED_ERRORS = "ignore-error-codes"


class Role(StrEnum):
    """When uv asks an index: for everything after the others, for everything, or only for what is bound to it."""

    DEFAULT = "default"
    IMPLICIT = "implicit"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class UvIndex:
    """An index of uv as it was configured; `where` names the file or the variable, `in_file` says which of both it is.

    `of_sources` says that it is no setting: it stands in the file of a project whose sources bind something to it.
    `only_in_files` names the keys of its table that no variable has a place for, and that change what uv locks.
    """

    url: str
    role: Role
    where: str
    name: str | None = None
    in_file: bool = True
    of_sources: bool = False
    only_in_files: frozenset[str] = frozenset()

    def at(self, url: str) -> str:
        """Gives the value for a variable that puts `url` in the place of this index."""
        return f"{self.name}={url}" if self.name else url


class OtherIndex(MirrormendError):
    """uv's index is `index`, and not the mirror at `mirror`: a lock that names the mirror would not be accepted."""

    def __init__(self, index: UvIndex, mirror: str) -> None:
        self.index = index
        self.mirror = mirror

    def __str__(self) -> str:
        named, mirror = shown_url(self.index.url), shown_url(self.mirror)
        if self.index.role is Role.EXPLICIT:
            return (
                f"{self.index.where} has {named} as an explicit index only, for which uv takes no other address; make it the default index"
            )
        return (
            f"{self.index.where} names {named} as uv's index, and the mirror is {mirror}: uv would not accept a lock that names it; "
            "write the mirror's address there"
        )


class LimitLost(MirrormendError):
    """The file limits what uv takes of `index` by its time, and uv would not for a proxy in its place: newer versions would be locked."""

    def __init__(self, index: UvIndex) -> None:
        self.index = index

    def __str__(self) -> str:
        named = self.index.name or shown_url(self.index.url)
        return (
            f"{self.index.where} has {_LIMIT} for the index {named} alone, which uv does not take for the proxy in its place; "
            f"write {_LIMIT} for all indexes, or {_LIMIT}-package for some projects"
        )


def configured(
    tables: Sequence[tuple[str, Mapping[str, Any]]], environ: Mapping[str, str], projects: Iterable[tuple[str, Mapping[str, Any]]] = ()
) -> list[UvIndex]:
    """Return the indexes of each role in the order of their strength, those that the environment names among them.

    `tables` are the settings of uv by the name of their file, the strongest first; `projects` are `[tool.uv]` of the projects that are
    locked together. What uv itself would refuse is passed over.
    """
    found = [replace(index, url=_normalised(index.url)) for index in _configured(tables, environ)]
    of_environment = {index.name for index in found if not index.in_file}
    for where, table in projects:
        bound = _bound_names(table.get("sources"))
        for index in _each_name_once(_of_table(where, table)):
            of_project = replace(index, url=_normalised(index.url), role=Role.EXPLICIT, of_sources=True)
            known = any(each.name == index.name and each.url == of_project.url for each in found)
            if index.name in bound and index.name not in of_environment and not known:
                found.append(of_project)
    return found


def _bound_names(sources: object) -> set[str]:
    each_source = sources.values() if isinstance(sources, dict) else ()
    tables = [table for source in each_source for table in (source if isinstance(source, list) else [source]) if isinstance(table, dict)]
    return {name for table in tables if isinstance(name := table.get("index"), str)}


def _normalised(url: str) -> str:
    try:
        return url if read_as_folder(url) else normalised(url)
    except ValueError:
        return url


def read_as_folder(url: str) -> bool:
    """Return whether uv takes an address for the path of a folder: it knows the scheme in small letters only."""
    return is_http(url) and not url.lstrip().startswith(("http:", "https:"))


def _configured(tables: Sequence[tuple[str, Mapping[str, Any]]], environ: Mapping[str, str]) -> list[UvIndex]:
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
            keys = frozenset({_LIMIT, _IGNORED_ERRORS} & index.keys())
            yield UvIndex(index["url"], role, where, name if isinstance(name, str) else None, only_in_files=keys)
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
    `restated` are those of files for which a variable stands.
    """

    environment: Mapping[str, str]
    without: frozenset[str]
    named: bool
    left: tuple[UvIndex, ...] = ()
    restated: tuple[UvIndex, ...] = ()


def detour(indexes: Sequence[UvIndex], doors: Sequence[Door]) -> Detour:
    """Decide how uv gets to the proxies of `doors` wherever it would ask their mirrors.

    A default index that only the environment names gives way where it is no mirror; one that a file names stays.
    Raise OtherIndex where uv would ask no mirror, LimitLost where it would take more from one index than it is to.
    """
    led = {id(index): door for index in indexes for door in doors if _leads_to(index, door)}
    implicit = [index for index in indexes if index.role is Role.IMPLICIT]
    explicit = [index for index in indexes if index.role is Role.EXPLICIT and id(index) in led]
    default = _default(indexes, led)
    door = None if default is None else led.get(id(default))
    if door is None and not any(id(index) in led for index in implicit):
        refused = next((index for index in explicit if not index.of_sources), default)
        if refused is not None:
            raise OtherIndex(refused, doors[0].mirror)
        door = doors[0]
    # An index that is asked for everything does no harm just before a default that is the same mirror.
    bound = [
        index for index in explicit if led[id(index)] is door and _LIMIT not in index.only_in_files and not _shares_its_name(index, indexes)
    ]
    left = tuple(index for index in explicit if index not in bound)
    environment: dict[str, str] = {}
    without: set[str] = set()
    restated = [] if default is None or door is None else [default]
    if door is not None:
        environment["UV_DEFAULT_INDEX"] = _value(default or UvIndex("", Role.DEFAULT, ""), door)
        without.add("UV_INDEX_URL")
    if bound or any(id(index) in led for index in implicit):
        in_variable = [*(implicit if bound else _up_to_the_last_led(implicit, led)), *bound]
        environment["UV_INDEX"] = " ".join(_value(index, led.get(id(index))) for index in in_variable)
        without.add("UV_EXTRA_INDEX_URL")
        restated += in_variable
    limited = next((index for index in restated if _LIMIT in index.only_in_files), None)
    if limited is not None:
        raise LimitLost(limited)
    named = any(same_for_uv(index.url, door.mirror) for index in indexes for door in doors)
    return Detour(environment, frozenset(without), named, left, tuple(index for index in restated if index.in_file))


def _up_to_the_last_led(implicit: Sequence[UvIndex], led: Mapping[int, Door]) -> list[UvIndex]:
    """Return what has to be in UV_INDEX: those of files behind the last one that is led stay where they are, with all that they say."""
    last = max(at for at, index in enumerate(implicit) if id(index) in led or not index.in_file)
    return list(implicit[: last + 1])


def _shares_its_name(index: UvIndex, indexes: Sequence[UvIndex]) -> bool:
    """Return whether another index has the name of this one: a variable would stand in the place of both."""
    return any(each.name == index.name and not same_for_uv(each.url, index.url) for each in indexes if index.name is not None)


def _value(index: UvIndex, door: Door | None) -> str:
    return index.at(index.url if door is None else with_credentials(door.proxy, door.credentials))


def _leads_to(index: UvIndex, door: Door) -> bool:
    # A file that names the proxy itself is no use: its readers would not accept a lock that names the mirror.
    return same_for_uv(index.url, door.mirror) or (not index.in_file and same_for_uv(index.url, door.proxy))


def _default(indexes: Sequence[UvIndex], led: Mapping[int, Door]) -> UvIndex | None:
    for index in indexes:
        if index.role is Role.DEFAULT and (index.in_file or id(index) in led):
            return index
    return None


def hints(indexes: Sequence[UvIndex], route: Detour) -> Iterator[str]:
    """Yield what the user should know of the indexes before uv runs, since it may fail for it."""
    for index in route.left:
        named = index.name or shown_url(index.url)
        yield f"note: {named} in {index.where} is an explicit index: uv asks it itself, not the proxy, and meets what is broken there"
    for index in route.restated:
        if _IGNORED_ERRORS in index.only_in_files:
            named = index.name or shown_url(index.url)
            yield f"note: {_IGNORED_ERRORS} of {named} in {index.where} does not hold for this run, as uv takes it from a file only"
    for index in indexes:
        if read_as_folder(index.url):
            remedy = f"write the beginning of {shown_url(index.url)} in small letters in {index.where}"
            yield f"note: uv takes an address with HTTP:// in capitals for the path of a folder: {remedy}"


def spelled(indexes: Sequence[UvIndex], doors: Sequence[Door], locked: Sequence[str] = ()) -> tuple[Door, ...]:
    """Gives the doors with the mirrors spelled as uv compares them: as a file has them, else the environment, else a lock's indexes."""
    result = []
    for door in doors:
        its = sorted((index for index in indexes if same_for_uv(index.url, door.mirror)), key=lambda index: not index.in_file)
        spellings = [*(index.url for index in its), *(each for each in locked if same_for_uv(each, door.mirror)), door.mirror]
        result.append(replace(door, mirror=as_locked(spellings[0])))
    return tuple(result)


def index_named(indexes: Sequence[UvIndex]) -> UvIndex | None:
    """Gives the index to lock from where nobody says which: the default one of a file, of the environment, else the first of all others."""
    over_http = [index for index in indexes if is_http(index.url) and index.role is not Role.EXPLICIT]
    over_http.sort(key=lambda index: (index.role is not Role.DEFAULT, not index.in_file))
    return next(iter(over_http), None)
