"""What a mirror says of its own failure, in one short line."""

import html
import re
from typing import Any

import msgspec

_LONGEST = 200
_HEADING = re.compile(r"<(title|h1|h2)\b[^>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
"""The elements in which a page for people, such as a firewall's, says in a few words what it is."""


_REMEDIES = {
    "No required SSL certificate was sent": "it wants a client certificate: name one in client_cert, and its key in client_key",
    "The SSL certificate error": "it refuses the client certificate of client_cert: ask its admin for one that it accepts",
    "The plain HTTP request was sent to HTTPS port": "write https:// in the upstream URL",
}
"""By what nginx says with status 400 when TLS is not as it wants it."""


def remedy_in(said: str) -> str:
    """Return what to do about a failure of which the mirror says this, nothing if that is not known."""
    return next((remedy for words, remedy in _REMEDIES.items() if words in said), "")


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
