"""What a mirror says of its own failure, in one short line."""

import html
import re
from typing import Any

import msgspec

_LONGEST = 200
_HEADING = re.compile(r"<(title|h1|h2)\b[^>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
"""The elements in which a page for people, such as a firewall's, says in a few words what it is."""


def said_in(body: bytes) -> str:
    """Return the reason that the body of a failure tells: problem details, messages in JSON, the title of a page, else the first text."""
    text = _message(body) or body.decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        headings = (html.unescape(found[2]).strip() for found in _HEADING.finditer(text))
        text = next(filter(None, headings), "")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_LONGEST]


def _message(body: bytes) -> str:
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    errors = said.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        said = errors[0]
    for key in ("detail", "message", "error", "title"):
        if isinstance(said.get(key), str):
            return str(said[key])
    return ""
