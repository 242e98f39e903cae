"""The body of a page out of its content coding (RFC 9110, section 8.4), never more of it than the limit allows.

Rules for this file: no I/O; bytes go in as they come.
"""

from proxy.core.deflate import GZIP, GZIP_FLAGS_END, IN_AT_ONCE, RAW_BITS, ZLIB_BITS, InflateError, Inflating, inflating, inflating_gzip
from proxy.core.errors import UpstreamBroke, UpstreamOverLimit

ACCEPT_ENCODING = "gzip, deflate"


class Inflater:
    """Collects the body at `url` whose Content-Encoding is `coding`.

    The bytes are believed more than the header: mirrors send plain pages labelled gzip, gzipped ones without a label, and
    `deflate` without the zlib wrapper that the RFC wants. The `limit`, in bytes, holds while inflating, so that a bomb of a
    few kilobytes costs no more than a page of the largest size.

    Raises UpstreamOverLimit above the limit, UpstreamBroke where the coding is broken or none that was offered.
    """

    def __init__(self, url: str, coding: str, limit: int) -> None:
        self._url = url
        self._coding = coding.strip().lower()
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._begun = False
        self._inflater: Inflating | None = None

    @property
    def plain(self) -> bool:
        """Whether what came so far is in no content coding."""
        return self._begun and self._inflater is None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if not self._begun:
            self._head += chunk
            if len(self._head) < (GZIP_FLAGS_END if self._head.startswith(GZIP) else len(GZIP)):
                return
            chunk, self._head = self._head, b""
            self._begin(chunk)
        if self._inflater is None:
            self._add(chunk)
            return
        try:
            for at in range(0, len(chunk), IN_AT_ONCE):
                self._inflate(chunk[at : at + IN_AT_ONCE])
        except InflateError as error:
            raise UpstreamBroke(self._url, f"its {self._coding or 'gzip'} coding is broken ({error})") from None

    def finish(self) -> bytes:
        """Gives the whole body, after its last byte."""
        whole = self._inflater is None or self._inflater.eof
        if self._head.startswith(GZIP) or not whole:
            raise UpstreamBroke(self._url, f"its {self._coding or 'gzip'} coding ends too early")
        if not self._begun:
            self._add(self._head)
        return b"".join(self._parts)

    def _begin(self, start: bytes) -> None:
        self._begun = True
        if start.startswith(GZIP):
            self._inflater = inflating_gzip(start)
        elif self._coding == "deflate":
            wrapped = start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
            self._inflater = inflating(ZLIB_BITS if wrapped else RAW_BITS)
        elif self._coding not in {"", "identity", "gzip", "x-gzip"}:
            raise UpstreamBroke(self._url, f"it sent the content coding {self._coding!r}, which was not offered")

    def _inflate(self, data: bytes) -> None:
        while data and self._inflater is not None:
            if self._inflater.eof:
                data, self._head = self._head + data, b""
                if not data.startswith(GZIP[: len(data)]):
                    # What follows the last member is padding.
                    return
                if len(data) < GZIP_FLAGS_END:
                    self._head = data
                    return
                # RFC 1952, 2.2: a gzip file is a series of members.
                self._inflater = inflating_gzip(data)
            self._add(self._inflater.decompress(data, self._limit + 1 - self._size))
            data = self._inflater.unused_data

    def _add(self, inflated: bytes) -> None:
        self._parts.append(inflated)
        self._size += len(inflated)
        if self._size > self._limit:
            raise UpstreamOverLimit(self._url, self._limit, "bytes")
