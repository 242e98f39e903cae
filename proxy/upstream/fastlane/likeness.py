"""Heads that are alike: a server says nearly the same of every file, so that one pattern reads what is else read line by line.

Rules for this file: what a pattern reads is what `answers` would have read, and where that is not certain nothing is read by it.
"""

import re
from collections.abc import Mapping, Sequence

_MEMORY = 256
_LONGEST = 2048
_TRIES = 8

_VALUE = r"((?:[!-~]++(?: [!-~]++)*+)?+)"
"""A value that needs no care: words of ASCII with one space in between."""

_OF_ONE_FILE = frozenset({"content-length", "date", "etag", "last-modified"})
_OF_THE_CONNECTION = frozenset({"connection", "transfer-encoding"})


class Likeness:
    """What heads with the same status line and the same names in the same order have in common, learned from those that come.

    `status` is that of all of them, and `reusable` says whether the connection may carry another request after them.
    """

    __slots__ = ("_common", "_differing", "_lines", "_match", "_names", "_tries", "reusable", "status")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.status = 0
        self.reusable = False
        self._lines = lines
        self._differing: set[int] = set()
        self._match: re.Pattern[str] | None = None
        self._common: dict[str, str] = {}
        self._names: list[str] = []
        self._tries = 0

    def read(self, data: bytes) -> dict[str, str] | None:
        """Gives the headers, where `data` is such a head from its first byte to its last; else None."""
        match = None if self._match is None else self._match.fullmatch(data.decode("latin-1"))
        if match is None:
            return None
        headers = self._common.copy()
        headers.update(zip(self._names, match.groups(), strict=False))
        return headers

    def learn(self, lines: Sequence[bytes], status: int, headers: Mapping[str, str], *, reusable: bool) -> None:
        """Learns from another one, of these lines, that was read line by line."""
        if self._tries == _TRIES:
            return
        names = [*headers]
        pairs = zip(self._lines, lines, strict=True)
        differing = self._differing.union(number for number, (before, line) in enumerate(pairs) if before != line)
        self._lines = lines
        if self._match is not None and differing == self._differing:
            return
        differing.update(number for number, name in enumerate(names, 1) if name in _OF_ONE_FILE)
        self._tries += 1
        self._differing = differing
        self._names = [names[number - 1] for number in sorted(differing)]
        self._common = {name: value for name, value in headers.items() if name not in self._names}
        self.status, self.reusable = status, reusable
        if not _OF_THE_CONNECTION.isdisjoint(self._names):
            # What becomes of the connection is read anew for each of them.
            self._match, self._tries = None, _TRIES
            return
        patterns = [_pattern(line.decode("latin-1"), differs=number in differing) for number, line in enumerate(lines)]
        self._match = re.compile("\r\n".join(patterns) + "\r\n\r\n")


def _pattern(line: str, *, differs: bool) -> str:
    return f"{re.escape(line.partition(':')[0])}: {_VALUE}" if differs else re.escape(line)


_known: dict[tuple[bytes, ...], Likeness] = {}


def likeness(head: bytes, status: int, headers: Mapping[str, str], *, reusable: bool) -> Likeness | None:
    """Gives what heads such as this one have in common, None where it is too odd; `head` was read line by line, and is learned from."""
    if len(head) > _LONGEST:
        return None
    lines = head.split(b"\r\n")
    if len(headers) != len(lines) - 1:
        return None
    key = (lines[0], *[line.partition(b":")[0] for line in lines[1:]])
    known = _known.get(key)
    if known is not None:
        known.learn(lines, status, headers, reusable=reusable)
    else:
        if len(_known) >= _MEMORY:
            _known.clear()
        known = _known[key] = Likeness(lines)
    return known
