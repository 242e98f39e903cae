"""Which packages of a lock come from the mirror: the names of all others are nobody's business there.

A lock names the mirror by any spelling of its address, or a proxy before it, or no index at all; `docs/check.md` has the whole rule.
Rules for this file: pure, but for the errors that name the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from proxy.audit.wanted import Unreadable
from proxy.core.index_urls import (
    ComparableURL,
    base_of_index,
    comparable_url,
    is_proxied_file,
    mirror_name_at_proxy,
    shown_url,
)

_NAMED = 5


@dataclass(frozen=True, slots=True)
class KnownMirror:
    """The mirror that is looked at: the address of its simple API, its name in the settings, and whether it is the `first` there.

    `others` are the addresses of the other mirrors of the settings, by name. `stands_for` are indexes whose packages the user says it has.
    """

    url: str
    name: str = ""
    first: bool = True
    others: Mapping[str, str] = field(default_factory=dict)
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of the package `project`: the address of its `index` as the lock has it, None where the lock names none.

    `urls` are the addresses of its files, where the lock has such.
    """

    project: str
    index: str | None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FilesAt:
    """Stands for the index of files at `host`, where a lock names files alone."""

    host: str


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """Stands for the index that the program asks by itself, where a lock names neither index nor addresses."""


_Index: TypeAlias = ComparableURL | _FilesAt | _Unnamed


def from_mirror(path: Path, origins: Sequence[Origin | None], mirror: KnownMirror) -> list[bool]:
    """Return for each package of a lock whether it comes from the mirror; None is the origin of what comes from no index.

    Raises Unreadable where several indexes could be the mirror.
    """
    indexes = [None if origin is None else _index_of(origin, mirror) for origin in origins]
    found: dict[_Index, list[Origin]] = {}
    for origin, index in zip(origins, indexes, strict=True):
        if origin is not None and index is not None:
            found.setdefault(index, []).append(origin)
    chosen = _chosen(path, found, mirror)
    return [index in chosen for index in indexes]


def _index_of(origin: Origin, mirror: KnownMirror) -> _Index | None:
    """Return what tells the index of a package from others, None for a folder."""
    if origin.index is not None:
        return comparable_url(origin.index)
    files = [each for each in map(comparable_url, origin.urls) if each is not None]
    if not files:
        return None if origin.urls else _Unnamed()
    upstream = comparable_url(mirror.url)
    return upstream if upstream is not None and base_of_index(upstream).holds(files[0]) else _FilesAt(files[0].host)


def _chosen(path: Path, found: Mapping[_Index, Sequence[Origin]], mirror: KnownMirror) -> set[_Index]:
    names = {index: _mirror_at_proxy(index, origins) for index, origins in found.items()}
    of_others = {comparable_url(each) for each in mirror.others.values()}
    usable = [each for each in found if each not in of_others and not _is_other(names[each], mirror)]
    chosen = {each for each in usable if _is_named(each, mirror) or _is_own(names[each], mirror)}
    if chosen:
        return chosen
    if mirror.stands_for:
        raise Unreadable(path, f"no package of it comes from the index given by --lock-index; it has those of {_listed(usable, found)}")
    proxies = {each for each in usable if names[each] is not None}
    at_mirror = {each for each in usable if _has_files_at(each, found[each], mirror.url)}
    likely = proxies if len(proxies) == 1 else at_mirror or set(usable).intersection({_Unnamed()}) or set(usable)
    if len(likely) > 1 and likely is not at_mirror:
        raise Unreadable(
            path,
            f"it has packages of several indexes, and none of them is known to be the mirror: {_listed(usable, found)}; "
            "give --lock-index URL for each of them whose packages the mirror should have",
        )
    return likely


def _is_named(index: _Index, mirror: KnownMirror) -> bool:
    stands_for = [comparable_url(each) for each in mirror.stands_for]
    if isinstance(index, _FilesAt):
        return index.host in {each.host for each in stands_for if each is not None}
    return index == comparable_url(mirror.url) or index in stands_for


def _is_own(name: str | None, mirror: KnownMirror) -> bool:
    return name is not None and name in {mirror.name, "" if mirror.first else mirror.name}


def _is_other(name: str | None, mirror: KnownMirror) -> bool:
    return name is not None and (name in mirror.others or (name == "" and not mirror.first))


def _mirror_at_proxy(index: _Index, origins: Sequence[Origin]) -> str | None:
    """Return the name that the mirror has at the proxy, empty for the first; None where the index is no proxy by its looks."""
    if not isinstance(index, ComparableURL):
        return None
    files = [(each.project, comparable_url(url)) for each in origins for url in each.urls]
    proxied = files and all(file is not None and is_proxied_file(index, project, file) for project, file in files)
    return mirror_name_at_proxy(index) if proxied else None


def _has_files_at(index: _Index, origins: Sequence[Origin], upstream: str) -> bool:
    """Return whether all files of the index are the mirror's own; another repository of the same host is another index."""
    mirror = comparable_url(upstream)
    if not isinstance(index, ComparableURL) or mirror is None or index.host == mirror.host:
        return False
    base = base_of_index(mirror)
    files = [comparable_url(url) for each in origins for url in each.urls]
    return bool(files) and all(file is not None and base.holds(file) for file in files)


def _listed(indexes: Sequence[_Index], found: Mapping[_Index, Sequence[Origin]]) -> str:
    listed = [_shown(index, found[index][0]) for index in indexes]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more if listed else "no index"


def _shown(index: _Index, origin: Origin) -> str:
    if isinstance(index, _Unnamed):
        return "the index that is asked by default"
    return shown_url(origin.index if origin.index is not None else f"https://{index.host}")
