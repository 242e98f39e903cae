"""TOML files, and the lines at which their array tables begin, which tomllib does not tell."""

import re
import tomllib
from pathlib import Path
from typing import Any

from proxy.audit.wanted import Unreadable


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Gives the content of a TOML file, and its text; raises Unreadable."""
    text = read_text(path)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(path, f"it is no TOML ({error})") from error


def read_text(path: Path) -> str:
    """Gives the text of a file in UTF-8; raises Unreadable."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(path, f"it cannot be read ({(error.strerror or str(error)).lower()}); check the path") from error
    except UnicodeDecodeError as error:
        raise Unreadable(path, "it is no text in UTF-8") from error


def lines_of_tables(text: str, name: str) -> list[int]:
    """Gives the line of each `[[name]]`, from 1 on."""
    heading = re.compile(rf"\s*\[\[\s*{re.escape(name)}\s*\]\]\s*(#.*)?")
    return [number for number, line in enumerate(text.splitlines(), 1) if heading.fullmatch(line)]
