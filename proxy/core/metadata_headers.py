"""Read headers of core metadata within bounds, whatever the bytes are.

Core metadata has the form of RFC 822 messages (PyPA specifications, core metadata). `email.parser` makes an object of every line:
8 KB of a wheel can inflate to millions of lines, which take it half a minute.
Here the bytes are searched for the few fields that the proxy reads.

Rules for this file: no step takes longer than a few milliseconds, for content of any size.
"""

from collections.abc import Iterator
from itertools import islice

HEADERS_LIMIT = 512 * 1024
"""Bytes of headers that are looked at. The largest real ones hold a description or a licence, and have some hundred kilobytes."""

_VALUE_LIMIT = 4096
_FIELDS_LIMIT = 5000
"""Fields of one name that are looked at: `apache-airflow`, with every extra, has less than two thousand."""


class MetadataHeaders:
    """The headers of `content`: everything before the first empty line, at most HEADERS_LIMIT bytes.

    `complete` is False where there are more than that. Of a field's value at most 4,096 characters are kept.
    """

    def __init__(self, content: bytes) -> None:
        block = content[:HEADERS_LIMIT]
        end = _end_of(block)
        self.complete = end is not None or len(content) <= HEADERS_LIMIT
        if end is not None:
            block = block[:end]
        elif not self.complete:
            # A line that is cut off could be misread.
            block = block[: max(block.rfind(b"\n"), block.rfind(b"\r"), 0)]
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._block = b"\n" + block + b"\n"
        self._lowered = self._block.lower()

    def get(self, name: str) -> str | None:
        """Return the value, stripped, of the first field called `name` in any case of letters; None if there is none."""
        return next(self._values(name), None)

    def get_all(self, name: str, most: int = _FIELDS_LIMIT) -> list[str]:
        """Return the values of the first fields called `name`, of all of them if there are at most so many."""
        return list(islice(self._values(name), most))

    def _values(self, name: str) -> Iterator[str]:
        field = b"\n%s:" % name.lower().encode("ascii")
        at = self._lowered.find(field)
        while at >= 0:
            start = at + len(field)
            end = self._end_of_value(start)
            yield self._block[start : min(end, start + _VALUE_LIMIT)].decode("utf-8", "replace").strip()
            at = self._lowered.find(field, end)

    def _end_of_value(self, start: int) -> int:
        """Return where the value ends that begins at `start`: lines that begin with a blank belong to it (RFC 822, folding)."""
        end = self._block.index(b"\n", start)
        while end - start < _VALUE_LIMIT and self._block[end + 1 : end + 2] in {b" ", b"\t"}:
            end = self._block.index(b"\n", end + 1)
        return end


def _end_of(block: bytes) -> int | None:
    """Return where the first empty line begins, None if there is none."""
    if block.startswith((b"\n", b"\r")):
        return 0
    ends = (block.find(empty) for empty in (b"\n\n", b"\n\r\n", b"\r\r"))
    return min((end for end in ends if end >= 0), default=None)
