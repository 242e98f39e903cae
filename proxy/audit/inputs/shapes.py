"""The shapes of locks, held by msgspec: a document of another shape is refused, and the place is named where it differs.

Rules for this file: pure, but for the errors that name the file.
"""

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from proxy.audit.wanted import Unreadable

Shape = TypeVar("Shape")

_PLACE = re.compile(r".* - at `\$\.?(.{1,100}).*`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([a-z-]+)`.*", re.DOTALL)


def in_shape(path: Path, content: Any, shape: type[Shape], expected: str) -> Shape:
    """Return `content` as a `shape`; raises Unreadable. `expected` says how it should be, such as `as uv writes it`."""
    try:
        return msgspec.convert(content, shape, strict=True)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise Unreadable(path, f"{_difference(str(error))} {expected}; lock anew with a current version") from error


def _difference(said: str) -> str:
    place = _PLACE.fullmatch(said)
    where = f"`{place[1]}`" if place is not None else "the document"
    missing = _MISSING.fullmatch(said)
    return f"{where} is not" if missing is None else f"{where} has no `{missing[1]}` and so is not"
