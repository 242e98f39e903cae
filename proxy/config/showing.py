"""The settings in force, as they may be shown to anybody: without users, passwords, tokens and queries."""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from proxy.config.sections import Settings

_SECRET = re.compile(r"username|password|token|secret|credential|htpasswd", re.IGNORECASE)
_NOT_SHOWN = "set, not shown"


@dataclass(frozen=True, slots=True)
class Shown:
    """A key of a section as it is written in TOML, its value in words, and whether that is the default."""

    section: str
    key: str
    value: str
    default: bool


def shown_settings(settings: Settings) -> tuple[Shown, ...]:
    """Gives every key of every section, in the order of the models; of several mirrors those of each."""
    rows: list[Shown] = []
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        for each in section if isinstance(section, tuple) else (section,):
            title = f"{name} {each.name}" if isinstance(section, tuple) and len(section) > 1 else name
            rows += _of_section(title, each)
    return tuple(rows)


def _of_section(title: str, section: BaseModel) -> list[Shown]:
    return [
        Shown(title, key, _in_words(key, value := getattr(section, key)), value == field.default)
        for key, field in type(section).model_fields.items()
    ]


def _in_words(key: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, SecretStr) or _SECRET.search(key):
        return _NOT_SHOWN if value else "none"
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(_in_words(key, each) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _without_secrets(str(value.value) if isinstance(value, Enum) else str(value))


def _without_secrets(text: str) -> str:
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return _NOT_SHOWN
    return f"{parts.scheme}://{host}{parts.path}"
