"""The texts of files, and what they hold as TOML or JSON."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.wanted import Unreadable


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Return the content of a TOML file, and its text; raises Unreadable."""
    text = read_text(path)
    return parsed_toml(path, text), text


def parsed_toml(path: Path, text: str) -> dict[str, Any]:
    """Return the content of a TOML file with this text; raises Unreadable."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(path, f"it is no TOML ({error})") from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, and thousands of brackets.
        raise Unreadable(path, "it is no TOML that can be read: a number is too long, or it is nested too deeply") from error


def parsed_json(path: Path, text: str) -> Any:
    """Return the content of a JSON file with this text; raises Unreadable."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable(path, "it is no JSON that can be read") from error


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8; raises Unreadable."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(path, f"it cannot be read ({(error.strerror or str(error)).lower()}); check the path") from error
    except UnicodeDecodeError as error:
        raise Unreadable(path, "it is no text in UTF-8; save it as UTF-8") from error
