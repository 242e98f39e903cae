"""Byte ranges of requests (RFC 9110, section 14).

A single range is honoured; several at once are answered with the whole, as is allowed.
"""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """What a client asked for: from `first` to `last` inclusive, from `first` on (`last` None), or the last `suffix` bytes."""

    first: int = 0
    last: int | None = None
    suffix: int | None = None

    def within(self, length: int) -> tuple[int, int] | None:
        """Gives the first and the last byte of the range in a file of `length` bytes; None where it cannot be satisfied."""
        if self.suffix is not None:
            return (max(0, length - self.suffix), length - 1) if self.suffix and length else None
        if self.first >= length:
            return None
        return self.first, length - 1 if self.last is None else min(self.last, length - 1)


def parse_range(value: str | None) -> ByteRange | None:
    """Gives the range that a Range header asks for; None for no header and for one that is to be ignored."""
    if value is None:
        return None
    found = _RANGE.fullmatch(value.strip())
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        return ByteRange(suffix=int(last)) if last else None
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)
