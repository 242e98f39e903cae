"""What a key allows and what it is by default, in words: for the reference and for error messages alike.

Only words may live here; the rules themselves are the models in `sections`.
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.config.section import Allowed, Unit

_WORDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "true, false", str: "text", SecretStr: "text", Path: "a path"}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KIB = 1024


def allowed_values(field: FieldInfo) -> str:
    """Gives what may be written for the field, such as `auto, a whole number from 0`."""
    return ", ".join(_words(field.annotation, field.metadata))


def _words(annotation: Any, metadata: Iterable[object]) -> list[str]:
    marks = list(metadata)
    for mark in marks:
        if isinstance(mark, Allowed):
            return [mark.words]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [str(each) for each in arguments]
    if origin in {Union, UnionType}:
        return [word for each in arguments if each is not NoneType for word in _words(each, marks)]
    if origin is Annotated:
        inner = [each for mark in arguments[1:] for each in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
        return _words(arguments[0], [*inner, *marks])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    unit = next((f"{_WORDS[annotation]} of {mark}" for mark in marks if isinstance(mark, Unit)), _WORDS[annotation])
    return [unit + _bounds(marks)]


def _bounds(marks: Iterable[object]) -> str:
    bounds = ""
    for mark in marks:
        if isinstance(mark, annotated_types.Ge):
            bounds = f" from {mark.ge}{bounds}"
        elif isinstance(mark, annotated_types.Gt):
            bounds = f" above {mark.gt}{bounds}"
        elif isinstance(mark, annotated_types.Le):
            bounds = f"{bounds} to {mark.le}"
    return bounds


def default_of(field: FieldInfo) -> str | None:
    """Gives the default as it would be written in TOML; None where there is none to write."""
    default = field.default
    if default is None or default is PydanticUndefined:
        return None
    if isinstance(default, str):
        return f'"{default}"'
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{each}"' for each in default) + "]"
    return str(int(default)) if isinstance(default, float) and default.is_integer() else str(default)


def spoken_default(field: FieldInfo) -> str | None:
    """Gives a default that is easier to read in another unit, such as `7 days` or `64 MiB`; None where it is not."""
    number = field.default
    if not isinstance(number, int | float):
        return None
    if Unit.SECONDS in field.metadata:
        for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
            if number >= size and number % size == 0:
                count = int(number // size)
                return f"{count} {name}" if count == 1 else f"{count} {name}s"
    if Unit.BYTES in field.metadata:
        for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
            if number % _KIB**power == 0:
                return f"{int(number // _KIB**power)} {name}"
    return None
