"""`requires-python` as uv reads it: it passes over a file whose specifiers it cannot read, and mends a few slips itself.

Sources: version specifiers of the PyPA specifications (PEP 440), and what uv does (docs/uv-pages.md).
"""

import html
import re
from collections.abc import Iterable
from functools import lru_cache

_RELEASE = r"v?(?:[0-9]+!)?([0-9]+(?:\.[0-9]+)*)"
_PRE = r"(?:[-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?[0-9]*)?"
_POST = r"(?:-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?"
_DEV = r"(?:[-_.]?dev[-_.]?[0-9]*)?"
_LOCAL = r"(\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?"
_SPECIFIER = re.compile(rf"\s*(===|[=!~<>]=|[<>])\s*{_RELEASE}(?:(\.\*)|{_PRE}{_POST}{_DEV}{_LOCAL})\s*", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"[0-9]{20,}")
_TOO_LARGE = 2**64 - 1
_SHORT = 500

_MENDED_BY_UV = (
    (re.compile(r"(?<=\d)(?=[<>=~^!])"), ","),
    (re.compile(r"!=~(\d(?:\.\d)*)"), r"!=\1.*"),
    (re.compile(r"([<>]=?\s*\d+(?:\.\d+)*)\.\*"), r"\1"),
    (re.compile(r"(?<=\d\.\d)\*"), ".*"),
    (re.compile(r",\s*\Z"), ""),
    (re.compile(r">dev"), ">0.0.0dev"),
    (re.compile(r"(\d(?:\.\d)*(?:a|b|rc|post|dev)\d+)\.0"), r"\1"),
    (re.compile(r"['\"]"), ""),
)
"""Slips that uv mends one after the other, until it can read the specifiers: a missing comma, a star too many, quotes."""


def are_specifiers(texts: Iterable[str | None]) -> bool:
    """Tell whether uv can read each of the `texts`; None says nothing, and is read."""
    return all(is_specifiers(text) for text in set(texts) if text is not None)


def is_specifiers(text: str) -> bool:
    """Tell whether uv can read `text` as a list of version specifiers."""
    return _is_short(text) if len(text) <= _SHORT else _is_strict(text)


@lru_cache(maxsize=4096)
def _is_short(text: str) -> bool:
    """Tell the same of a text that is short enough to be kept in mind, and to be looked through for slips."""
    if _is_strict(text):
        return True
    for slip, better in _MENDED_BY_UV:
        text, times = slip.subn(better, text)
        if times and _is_strict(text):
            return True
    return False


def unescaped_specifiers(text: str) -> str:
    """Return `text` without the escapes of HTML, which a mirror may have left there, if uv can read it only so.

    A text that makes no sense stays as it is: every client passes over the file, or over the text, as it does at the mirror.
    """
    unescaped = html.unescape(text) if "&" in text else text
    return unescaped if unescaped is not text and not is_specifiers(text) and is_specifiers(unescaped) else text


def _is_strict(text: str) -> bool:
    return not text or all(map(_is_specifier, text.split(",")))


def _is_specifier(text: str) -> bool:
    found = _SPECIFIER.fullmatch(text)
    if found is None or any(map(_is_too_large, _LONG_NUMBER.findall(text.partition("+")[0]))):
        return False
    operator, release, star, local = found.groups()
    if star:
        return operator in {"==", "!="}
    if local:
        return operator in {"==", "!=", "==="}
    return operator != "~=" or "." in release


def _is_too_large(digits: str) -> bool:
    significant = digits.lstrip("0")
    return len(significant) > 20 or int(significant or "0") >= _TOO_LARGE
