"""A chunked body to its bytes (RFC 9112, 7.1), as strict as `answers` and as far as anybody wants it."""

import re

from proxy.upstream.fastlane.words import Malformed

_LINE_LIMIT = 512
_TRAILER_LIMIT = 8 * 1024
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[\t ]*(?:;[\t -~\x80-\xff]*+)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+")

_SIZE, _DATA, _END, _TRAILERS = range(4)


class ChunkedBody:
    """Reads a chunked body of at most `room` bytes into `body`.

    Once it is whole, `clean` says that it ended where it said, without a byte too many.
    """

    __slots__ = ("_expected", "_held", "_left", "_stage", "_trailers", "body", "clean")

    def __init__(self, room: int) -> None:
        self.body = bytearray()
        self.clean = False
        self._held = bytearray()
        self._left = room
        self._expected = 0
        self._stage = _SIZE
        self._trailers = 0

    def feed(self, data: bytes | memoryview) -> bool:
        """Takes the next bytes, gives whether the body is whole or larger than the room; raises Malformed."""
        self._held += data
        while True:
            if self._stage == _DATA:
                if not self._held:
                    return False
                if self._overflows():
                    return True
            else:
                line = self._line()
                if line is None:
                    return False
                if self._stage == _TRAILERS and not line:
                    self.clean = not self._held
                    return True
                self._take(line)

    def _overflows(self) -> bool:
        """Takes what there is of a chunk, gives whether it is more than there is room for."""
        part = self._held[: self._expected]
        del self._held[: len(part)]
        self.body += part[: self._left]
        self._left -= len(part)
        self._expected -= len(part)
        if self._expected == 0:
            self._stage = _END
        return self._left < 0

    def _take(self, line: bytes) -> None:
        if self._stage == _SIZE:
            size = _SIZE_LINE.fullmatch(line)
            if size is None:
                raise Malformed("the size of a chunk is malformed")
            self._expected = int(size[1], 16)
            self._stage = _DATA if self._expected else _TRAILERS
        elif self._stage == _END:
            if line:
                raise Malformed("a chunk is longer than its size")
            self._stage = _SIZE
        else:
            self._trailers += len(line)
            if self._trailers > _TRAILER_LIMIT or _TRAILER_LINE.fullmatch(line) is None:
                raise Malformed("a trailer is malformed, or there are too many")

    def _line(self) -> bytes | None:
        end = self._held.find(b"\r\n")
        if end > _LINE_LIMIT or (end < 0 and len(self._held) > _LINE_LIMIT + 1):
            raise Malformed("a line of a chunked body is too long")
        if end < 0:
            return None
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line
