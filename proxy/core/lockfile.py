"""A `uv.lock`: which indexes and files it names, and the same lock with other addresses.

Rules for this file: text in, text out. TOML is parsed to learn what is meant, and never written again: an address is changed by
exchanging the string that spells it, so that every other byte stays, comments and line endings too; what came out is parsed and
compared with what was meant.

What uv writes (versions 1 of the format): `source = { registry = "…" }` per package, the index's address as it was configured but without
credentials; `url = "…"` per file, absolute; `index = "…"` where a requirement is bound to an index.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from proxy.core.errors import MirrormendError

_STRING_OR_COMMENT = re.compile(
    r"""
      (?P<comment> \#[^\n]* )
    | (?P<long>    \"{3} (?: [^"\\] | \\. | \"(?!\"\") )* \"{3,5} | '{3} (?: [^'] | '(?!'') )* '{3,5} )
    | (?P<string>  " (?: [^"\\\n] | \\. )* " | ' [^'\n]* ' )
    """,
    re.VERBOSE | re.DOTALL,
)
"""In TOML nothing else can hide a quotation mark or a number sign (TOML 1.0, comments and strings)."""


class LockUnreadable(MirrormendError):
    """A text that cannot be used as a uv.lock, because of `why`."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        return f"this is no uv.lock that can be read: {self.why}"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A distribution file that a lock names: its address, its hash as uv writes it (`sha256:…`), and its size in bytes."""

    url: str
    hash: str | None = None
    size: int | None = None

    @property
    def filename(self) -> str:
        """The name of the file, as uv reads it out of the address."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """A package that a lock takes from an index: `registry` is the index's address (or the path of a folder), `files` have addresses."""

    name: str
    version: str | None
    registry: str
    files: tuple[LockedFile, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """A uv.lock: its text, and the packages that come from indexes, in the order of the text."""

    text: str
    packages: tuple[LockedPackage, ...]

    @property
    def registries(self) -> tuple[str, ...]:
        """The addresses of the indexes, each once, in the order of the text."""
        return tuple(dict.fromkeys(package.registry for package in self.packages))


def read_lock(text: str) -> Lock:
    """Read a uv.lock; raise LockUnreadable."""
    packages = _parsed(text).get("package", [])
    try:
        return Lock(text, tuple(_package(each) for each in packages if "registry" in each["source"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LockUnreadable("a package is not written as uv writes it") from error


def readdressed(lock: Lock, registries: Mapping[str, str], files: Mapping[str, str]) -> str:
    """Gives the text of the lock with other addresses: indexes by `registries`, files of packages by `files`, old to new.

    Files of packages from no index stay, and so does every byte that is not part of such an address.
    Raises LockUnreadable where the text spells them so that this cannot be done.
    """
    new = {**files, **registries}
    text = _STRING_OR_COMMENT.sub(lambda found: _exchanged(found, new), lock.text)
    if text != lock.text and _parsed(text) != _meant(_parsed(lock.text), registries, files):
        raise LockUnreadable("an address of an index stands where none is expected")
    return text


def _parsed(text: str) -> dict[str, Any]:
    try:
        # A byte order mark is passed over, as uv does; in the text it stays.
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise LockUnreadable(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise LockUnreadable("it has a number or a nesting that is beyond reason") from error


def _package(table: Mapping[str, Any]) -> LockedPackage:
    files = [*([table["sdist"]] if "sdist" in table else []), *table.get("wheels", [])]
    locked = tuple(LockedFile(_address(each["url"]), each.get("hash"), each.get("size")) for each in files if "url" in each)
    return LockedPackage(_text(table["name"]), table.get("version"), _address(table["source"]["registry"]), locked)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _address(value: object) -> str:
    """Return the address; raise ValueError if it has no parts."""
    urlsplit(_text(value))
    return _text(value)


def _exchanged(found: re.Match[str], new: Mapping[str, str]) -> str:
    literal = found.group()
    if found.lastgroup != "string":
        return literal
    value = tomllib.loads(f"it = {literal}")["it"] if "\\" in literal else literal[1:-1]
    # An address has no character that a TOML string would have to escape (RFC 3986, appendix A).
    return literal if value not in new else f"{literal[0]}{new[value]}{literal[0]}"


def _meant(tables: dict[str, Any], registries: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Any]:
    meant: dict[str, Any] = _with_registries(tables, registries)
    for old, package in zip(tables.get("package", []), meant.get("package", []), strict=True):
        if "registry" in old["source"]:
            for file in (*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", [])):
                if "url" in file:
                    file["url"] = files.get(file["url"], file["url"])
    return meant


def _with_registries(value: Any, registries: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_registries(each, registries) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: registries.get(each, each) if key in {"registry", "index"} and isinstance(each, str) else _with_registries(each, registries)
        for key, each in value.items()
    }
