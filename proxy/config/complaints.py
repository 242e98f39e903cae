"""A wrong setting as one sentence: where it stands, as the user wrote it, what is wrong, and what would be right.

No sentence quotes a value that may hold a password: texts and addresses are never repeated.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeAlias, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from proxy.config.allowed import allowed_values
from proxy.config.keys import Key, keys_of, sections
from proxy.core.errors import MirrormendError

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the settings: ("probe", "patience") or ("upstream", 0, "url")."""

_NO_UPSTREAM = "no mirror is given; say --upstream URL, set MIRRORMEND_UPSTREAM, or write url under [upstream] in a file named by --config"
_LONGEST_SHOWN = 40


class SettingsError(MirrormendError):
    """A setting that cannot be used: `where` names it as it was written (empty for what is nowhere), `why` tells what to do."""

    def __init__(self, where: str, why: str) -> None:
        self.where = where
        self.why = why

    def __str__(self) -> str:
        return on_one_line(f"{self.where}: {self.why}" if self.where else self.why)


def on_one_line(text: str) -> str:
    """Gives `text` with everything escaped that would break the line or command a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Gives the name among `known` that `wrong` was probably meant to be."""
    matches = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def no_upstream() -> SettingsError:
    """Gives the complaint of who gave no mirror at all."""
    return SettingsError("", _NO_UPSTREAM)


def complaint(error: ValidationError, origins: Mapping[Place, str]) -> SettingsError:
    """Gives the first thing that pydantic found wrong; `origins` says for each place where its value was written."""
    first = error.errors(include_url=False)[0]
    place = first["loc"]
    section = str(place[0])
    index = next((each for each in place if isinstance(each, int)), None)
    name = next((str(each) for each in place[1:] if not isinstance(each, int)), None)
    keys = keys_of(section) if section in sections() else {}
    if name not in keys:
        return SettingsError(origins.get(place, f"[{section}]"), _reason(first))
    full: Place = (section, name) if index is None or section != "upstream" else (section, index, name)
    where = origins.get(full) or origins.get(full[:-1], f"[{section}]")
    if first["type"] == "missing":
        return SettingsError(where, f"{name} is missing; give {allowed_values(keys[name].field)}")
    if first["type"] == "value_error":
        return SettingsError(where, _reason(first))
    return SettingsError(where, f"{_quoted(first, keys[name])} is not allowed; write {_listed(allowed_values(keys[name].field))}")


def _reason(first: ErrorDetails) -> str:
    return str(first.get("ctx", {}).get("error", first["msg"]))


def _listed(allowed: str) -> str:
    head, comma, last = allowed.rpartition(", ")
    return f"{head} or {last}" if comma else last


def _quoted(first: ErrorDetails, key: Key) -> str:
    given = first["input"]
    if {str, SecretStr} & {key.field.annotation, *get_args(key.field.annotation)}:
        return "this value"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, int | float):
        return repr(given)
    # What looks like an address may hold a password put into the wrong place, and what is long may be one.
    short = isinstance(given, str) and len(given) <= _LONGEST_SHOWN and "@" not in given
    return repr(given) if short else "this value"
