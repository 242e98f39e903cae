"""Bytes of a mirror to the status, the headers and the first bytes of a body: a strict HTTP/1.1 reader (RFC 9110, RFC 9112).

Rules for this file: no I/O and no clock; what comes in pieces is read as what comes whole; and where two readers could understand
the same bytes differently, this one understands nothing (`Malformed`), since a misread length would hand the rest of one answer
to the next request.
"""

import io
import re

from proxy.upstream.fastlane.chunks import ChunkedBody
from proxy.upstream.fastlane.likeness import Likeness, likeness
from proxy.upstream.fastlane.words import Malformed

HEAD_LIMIT = 16 * 1024
"""Bytes of a head that are read before it is given up."""

LEFTOVER_LIMIT = 8 * 1024
"""Bytes beyond the wanted ones that are read, and thrown away, to keep a connection in use."""

_BEGINNING = b"HTTP/"
_NO_HTTP = "this is no HTTP"
_MEMORY = 1024
_MEMORISED = 256
_OF_ONE_FILE = frozenset({"content-length", "content-range", "etag", "last-modified"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*+)?")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[\t ]*([\t -~\x80-\xff]*+)")


class _Fields(dict[bytes, tuple[str, str]]):
    """Header lines to names and values. A mirror says the same ones again and again, so each is checked and taken apart once."""

    def __missing__(self, line: bytes) -> tuple[str, str]:
        raw, colon, value = line.partition(b":")
        name, text = _names.get(raw), value.decode("latin-1").strip("\t ")
        # What can be printed is a part of what a value may hold, and what is mostly there.
        if name is None or not colon or not text.isprintable():
            match = _FIELD_LINE.fullmatch(line)
            if match is None:
                # RFC 9112, 5.1 and 5.2: neither white space before the colon nor folded lines.
                raise Malformed("a header line is malformed")
            name, text = raw.decode("ascii").lower(), match[2].decode("latin-1").rstrip("\t ")
            if len(raw) <= _MEMORISED and len(_names) < _MEMORY:
                _names[raw] = name
        field = (name, text)
        if name not in _OF_ONE_FILE and len(line) <= _MEMORISED:
            if len(self) >= _MEMORY:
                self.clear()
            self[line] = field
        return field


class _Statuses(dict[bytes, int]):
    """Status lines to statuses, likewise."""

    def __missing__(self, line: bytes) -> int:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise Malformed("the status line is malformed, or not of HTTP/1.1" if line.startswith(_BEGINNING) else _NO_HTTP)
        status = int(match[1])
        if status < 200:
            raise Malformed("an interim answer that nobody asked for")
        if len(line) <= _MEMORISED:
            if len(self) >= _MEMORY:
                self.clear()
            self[line] = status
        return status


_names: dict[bytes, str] = {}
_fields = _Fields()
_statuses = _Statuses()


def parsed_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Gives status and headers of a head, without the empty line that ends it; raises Malformed.

    Names are in lower case, the values of repeated ones joined (RFC 9110, 5.3).
    """
    lines = head.split(b"\r\n")
    status = _statuses[lines.pop(0)]
    headers = dict(map(_fields.__getitem__, lines))
    if len(headers) != len(lines):
        headers.clear()
        for name, value in map(_fields.__getitem__, lines):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status, headers


# What the next byte belongs to. Plain numbers: they are looked at for each answer.
_HEAD, _COUNTED, _UNTIL_CLOSE, _CHUNKED = range(4)


class AnswerReader:
    """Reads one answer after another from a connection: `expect()` the next one, then `feed()` until it is whole.

    Afterwards `status`, `headers` and `kept` (of the body, never more than what was wanted) hold it, and `reusable` says whether
    the connection may carry another request. `begun` says whether any byte of the answer came, `parsed` whether its head
    was understood, and `excess` whether a body followed where none may be.
    """

    __slots__ = (
        "_bare",
        "_body",
        "_chunks",
        "_held",
        "_left",
        "_like",
        "_missing",
        "_read",
        "_stage",
        "begun",
        "excess",
        "headers",
        "kept",
        "parsed",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reusable = True
        self.begun = False
        self.parsed = False
        self.excess = False
        self.kept = b""
        self._held = bytearray()
        self._body = io.BytesIO()
        self._bare = True
        self._read = 0
        self._missing = 0
        self._left = 0
        self._chunks = ChunkedBody(0)
        self._stage = _HEAD
        self._like: Likeness | None = None

    def expect(self, bare: bool, read: int) -> None:
        """Prepares for the next answer: `bare` where it has no body (to HEAD), else at most `read` bytes of the body are kept."""
        self._bare = bare
        self._read = read
        self.begun = self.parsed = False
        self._stage = _HEAD
        if self.kept:
            self.forget()

    def forget(self) -> None:
        """Lets go of what was kept of the body: a page takes megabytes, and the connection may be idle for long."""
        self.kept = b""
        self._body = io.BytesIO()

    def feed(self, data: memoryview) -> bool:
        """Takes the next bytes, gives whether the answer is whole; raises Malformed."""
        self.begun = True
        if self._stage != _HEAD:
            return self._in_body(data)
        head = bytes(data)
        return self._reads_alike(head) or self._in_head(head)

    def _in_head(self, data: bytes) -> bool:
        if self._held:
            searched = max(0, len(self._held) - 3)
            self._held += data
            end = self._held.find(b"\r\n\r\n", searched)
            if 0 <= end <= HEAD_LIMIT:
                data = bytes(self._held)
                self._held.clear()
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._held += data
        if end > HEAD_LIMIT or len(self._held) > HEAD_LIMIT + 3:
            raise Malformed("the head is too long")
        if end < 0:
            if not self._held.startswith(_BEGINNING[: len(self._held)]):
                # What speaks another protocol may wait for us to go on.
                raise Malformed(_NO_HTTP)
            return False
        self.status, self.headers = parsed_head(data[:end])
        self.parsed = True
        connection = self.headers.get("connection")
        self.reusable = connection is None or connection == "keep-alive" or "close" not in connection.lower()
        if self._bare:
            self._like = likeness(data[:end], self.status, self.headers, reusable=self.reusable)
            if len(data) > end + 4:
                # A body where none may be: whatever follows cannot be told from the next answer.
                self.excess, self.reusable = True, False
            return True
        self._frame()
        return self._in_body(memoryview(data)[end + 4 :])

    def _reads_alike(self, data: bytes) -> bool:
        """Reads a head that is like the one before, and says whether it is."""
        like = self._like
        if like is None or not self._bare or self._held or len(data) > HEAD_LIMIT:
            return False
        headers = like.read(data)
        if headers is None:
            return False
        self.status, self.headers, self.reusable, self.parsed = like.status, headers, like.reusable, True
        return True

    def ends(self) -> bool:
        """Takes the end of the connection, gives whether the answer is whole by it, or what was wanted of it is here.

        RFC 9112, 6.3, rule 8: only an answer without any length ends with its connection.
        """
        self.reusable = False
        if self._stage == _HEAD:
            return False
        if self._stage == _CHUNKED:
            self._keep(memoryview(self._chunks.body))
        self.kept = self._body.getvalue()
        return self._stage == _UNTIL_CLOSE or len(self.kept) >= self._read > 0

    def _frame(self) -> None:
        """Decides how the body is delimited (RFC 9112, 6.3)."""
        length, coding = self.headers.get("content-length"), self.headers.get("transfer-encoding")
        if coding is not None and (length is not None or coding.lower() != "chunked"):
            raise Malformed("the length of the body is told in two ways, or in an unknown one")
        if length is not None and (not length.isdecimal() or len(length) > 15):
            raise Malformed("the content length is no number")
        self._body, self._missing = io.BytesIO(), self._read
        if self.status in {204, 304}:
            self._left, self._stage = 0, _COUNTED
        elif coding is not None:
            self._chunks, self._stage = ChunkedBody(self._read + LEFTOVER_LIMIT), _CHUNKED
        elif length is not None:
            self._left, self._stage = int(length), _COUNTED
            if self._left > self._read + LEFTOVER_LIMIT:
                self._left, self.reusable = self._read, False
        else:
            self._stage, self.reusable = _UNTIL_CLOSE, False

    def _in_body(self, data: memoryview) -> bool:
        if self._stage == _CHUNKED:
            whole = self._chunks.feed(data)
            if whole:
                self.kept = bytes(memoryview(self._chunks.body)[: self._read])
                self.reusable = self.reusable and self._chunks.clean
            return whole
        if self._stage == _COUNTED:
            self._keep(data[: self._left])
            self._left -= len(data)
            if self._left < 0:
                self.reusable = False
            whole = self._left <= 0
        else:
            self._keep(data)
            whole = self._missing <= 0
        if whole:
            self.kept = self._body.getvalue()
        return whole

    def _keep(self, data: memoryview) -> None:
        if self._missing > 0:
            self._missing -= self._body.write(data[: self._missing])
