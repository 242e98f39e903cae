"""The shapes of locks, held by msgspec: a document of another shape is refused, and the place is named where it differs.

Rules for this file: pure, but for the errors that name the file.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from proxy.audit.wanted import Unreadable

Shape = TypeVar("Shape")


def in_shape(path: Path, content: Any, shape: type[Shape], program: str) -> Shape:
    """Return `content` as a `shape`, as `program` writes it; raises Unreadable."""
    try:
        return msgspec.convert(content, shape, strict=True)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise Unreadable(path, f"{_place(error)} is not as {program} writes it; lock anew with a current {program}") from error


def _place(error: Exception) -> str:
    _, mark, place = str(error).rpartition(" - at `$")
    return f"`{place.rstrip('`').lstrip('.')[:100]}`" if mark else "the document"
