"""Upload times as clients accept them (PEP 700): a wrong one would make uv refuse the whole page."""

import re
from calendar import isleap
from collections.abc import Sequence
from datetime import datetime, timedelta

_DAY = (
    r"(?:(?!9999)[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?:2000|[0-9]{2}(?:0[48]|[2468][048]|[13579][26]))-02-29)"
)
_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = r":[0-5][0-9]"
_PLAIN = re.compile(rf"(?:{_DAY}T{_MINUTE}{_SECOND}(?:\.[0-9]{{1,9}})?Z\n)*+")
_LENIENT = re.compile(rf"{_DAY}[Tt ]{_MINUTE}(?:{_SECOND}(?:[.,][0-9]{{1,9}})?)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)")

_DATE = r"([0-9]{4}|[+][0-9]{6}|-(?!0{6})[0-9]{6})(-?)([0-9]{2})\2([0-9]{2})"
_TIME = r"([01][0-9]|2[0-3])(?:(:?)([0-5][0-9])(?:\6([0-5][0-9]|60)(?:[.,]([0-9]{1,9}))?)?)?"
_OFFSET = r"(?:[Zz]|([+-])([01][0-9]|2[0-5])(?:(:?)([0-5][0-9])(?:\12([0-5][0-9])(?:[.,][0-9]{1,9})?)?)?)"
_ZONE = r"(?:\[!?[A-Za-z_.][A-Za-z0-9_.+-]*(?:/[A-Za-z_.][A-Za-z0-9_.+-]*)*\])?(?:\[[a-z_][a-z0-9_-]*=[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\])*"
_INSTANT = re.compile(rf"{_DATE}[Tt ]{_TIME}{_OFFSET}{_ZONE}")
"""A moment in any of the forms of ISO 8601, RFC 3339 and RFC 9557 that uv reads: with a time of day, and with an offset."""
_EARLIEST, _LATEST = -377_705_023_201, 253_402_207_200
"""Seconds since 1970 of the first and the last moment that uv knows."""
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_TO_1970 = 719_528
"""Days from the first of the year 0 on."""


def are_moments(texts: Sequence[str]) -> bool:
    """Whether all of the `texts` are times in the format of PEP 700, told for thousands at one go."""
    return not texts or _PLAIN.fullmatch("\n".join(texts) + "\n") is not None


def is_moment(text: str) -> bool:
    """Tell whether uv takes `text` for an upload time."""
    return _instant(text) is not None


def sound_moment(given: object) -> str | None:
    """Return the moment that is `given` as an upload time, None if it says none: a time without a zone does not.

    An unusual form is written anew in that of PEP 700, for clients that read fewer of them than uv.
    """
    if not isinstance(given, str):
        return None
    if _LENIENT.fullmatch(given):
        return given
    found = _instant(given)
    if found is None:
        return None
    seconds, fraction = found
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001 - UTC, and no zone is to be written
    except OverflowError:
        return None
    return f"{moment.isoformat()}{'.' if fraction else ''}{fraction}Z"


def _instant(text: str) -> tuple[int, str] | None:
    """Return the seconds since 1970 that `text` says, and the digits of their fraction."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    year_text, _, month_text, day_text, hour, _, minute, second, fraction, sign, *offset = found.groups()
    year, month, day = int(year_text), int(month_text), int(day_text)
    if not -9999 <= year <= 9999 or not 1 <= month <= 12 or not 1 <= day <= _days_in(year, month):
        return None
    days = 365 * year + (year + 3) // 4 - (year + 99) // 100 + (year + 399) // 400 - _TO_1970
    days += _DAYS_BEFORE[month - 1] + (month > 2 and isleap(year)) + day - 1
    ahead = 3600 * int(offset[0] or 0) + 60 * int(offset[2] or 0) + int(offset[3] or 0)
    seconds = 86400 * days + 3600 * int(hour) + 60 * int(minute or 0) + min(int(second or 0), 59) + (ahead if sign == "-" else -ahead)
    in_milliseconds = seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))
    return (seconds, fraction or "") if seconds >= _EARLIEST and in_milliseconds <= _LATEST * 1000 else None


def _days_in(year: int, month: int) -> int:
    if month == 2 and isleap(year):
        return 29
    return (*_DAYS_BEFORE, 365)[month] - _DAYS_BEFORE[month - 1]
