"""What a coverage-guided run feeds: bytes become the arguments of a promise. The first bytes choose, the others are what was sent.

Each target comes with seeds: inputs that hold what is promised of them and reach far, from which a run starts.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.core.flows.exchange import Method
from tests.fuzz import promises
from tests.wheels import make_sdist, make_wheel

_JSON = "application/vnd.pypi.simple.v1+json"
_CONTENT_TYPES = (None, _JSON, "text/html; charset=utf-8", "application/octet-stream")
_CODINGS = ("", "gzip", "deflate", "zstd")
_READS = (0, 1, 5, 10_000)


def pages(data: bytes) -> object:
    """Byte 1 chooses content type, content coding and the size of pieces, the others are a page."""
    how = data[0] if data else 0
    pieces = (1, 7, 4096, 65536)[how >> 4 & 3]
    return promises.a_page_or_a_clear_error(data[1:], _CONTENT_TYPES[how & 3], _CODINGS[how >> 2 & 3], pieces)


def answers(data: bytes) -> object:
    """Byte 1 chooses method, wanted bytes and the size of pieces, the others are what a mirror says on a connection."""
    how, sent = data[0] if data else 0, data[1:]
    method, read = (Method.HEAD, 0) if how & 1 else (Method.GET, _READS[how >> 1 & 3])
    promises.alike_in_pieces(sent, method=method, read=read, pieces=1 + (how >> 3 & 7))
    promises.nothing_is_taken_for_the_next_answer(sent, read=read)
    return promises.an_answer_or_none(sent, method=method, read=read)


def wheels(data: bytes) -> object:
    """Byte 1 chooses whether the mirror takes ranges, byte 2 the size that the page claims, the others are a wheel."""
    ranges, claimed = (data[0] & 1 if data else 1), (data[1] if len(data) > 1 else 0)
    return promises.metadata_or_a_reason(data[2:], ranges=bool(ranges), claimed=claimed or None).content


def sdists(data: bytes) -> object:
    """Byte 1 chooses whether the others are an sdist, or the tar file inside of one."""
    content = data[1:]
    return promises.sdist_metadata_or_a_reason(content if data[:1] == b"z" else gzip.compress(content, 1)).content


def metadata(data: bytes) -> object:
    """A mirror's own copy of core metadata."""
    return promises.metadata_copy_or_a_reason(data).content


def headers(data: bytes) -> object:
    """Any header of a client."""
    promises.any_header_is_read(data.decode("utf-8", "surrogateescape"))
    return data


@dataclass(frozen=True)
class Target:
    """`run` is fed; `words` are what inputs are likely to hold, so that a run need not guess them."""

    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    words: Sequence[bytes]


_ENTRY = {
    "filename": "demo-1.0-py3-none-any.whl",
    "url": "../../packages/demo-1.0-py3-none-any.whl",
    "hashes": {"sha256": "a" * 64},
    "size": 5,
    "requires-python": ">=3.8",
    "upload-time": "2024-01-02T03:04:05.678901Z",
    "yanked": "why <&>",
    "core-metadata": {"sha256": "b" * 64},
}
_PAGE = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "versions": ["1.0"], "files": [_ENTRY]}).encode()
_ODD = json.dumps({"files": [{**_ENTRY, "size": None, "x": [1e300]}], "project-status": {"status": "active"}, "x": {}}).encode()
_ANCHOR = (
    b'<base href="/x/"><a href="demo-1.0.tar.gz#sha256=' + b"a" * 64 + b'" data-requires-python="&gt;=3" data-yanked="">demo-1.0.tar.gz</a>'
)
_METADATA = b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Dist: other>=1; python_version<'3'\n"
_WHEEL, _SDIST = make_wheel("demo-1.0-py3-none-any.whl"), make_sdist("demo-1.0.tar.gz")
_HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\nContent-Type: application/octet-stream\r\n"
_AGENT = b'uv/0.13.9 {"implementation":{"version":"3.12.1"},"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}'

TARGETS = {
    "pages": Target(
        pages,
        [
            b"\x21" + _PAGE,
            b"\x21" + _ODD,
            b"\x22" + _ANCHOR,
            b"\x25" + gzip.compress(_PAGE),
            b"\x28" + zlib.compress(_ANCHOR),
            b"\x15" + gzip.compress(_PAGE[:9]) + gzip.compress(_PAGE[9:]),
        ],
        [
            *(json.dumps(key).encode() for key in _ENTRY),
            b"<a href=",
            b"data-yanked",
            b"sha256=",
            b"null",
            b"1e999",
            b'"\\ud800"',
            b"&amp;gt;",
        ],
    ),
    "answers": Target(
        answers,
        [
            b"\x04" + _HEAD + b"Content-Length: 5\r\n\r\nhello",
            b"\x04" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"\x02HTTP/1.1 503 X\r\nRetry-After: Tue, 24 Nov 2026 22:53:26 GMT\r\nConnection: close\r\n\r\n",
            b"\x01HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n",
        ],
        [
            b"HTTP/1.1 ",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked\r\n",
            b"\r\n\r\n",
            b"Content-Range: bytes ",
            b"Retry-After: ",
            b"0\r\n\r\n",
        ],
    ),
    "wheels": Target(
        wheels, [b"\x01\x00" + _WHEEL, b"\x00\x00" + _WHEEL], [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b".dist-info/METADATA"]
    ),
    "sdists": Target(
        sdists, [b"z" + _SDIST, b"t" + gzip.decompress(_SDIST)], [b"ustar\x0000", b"PKG-INFO", b"17 size=-123456\n", b"GNU.sparse"]
    ),
    "metadata": Target(
        metadata,
        [_METADATA, gzip.compress(_METADATA)],
        [b"Name: ", b"Version: ", b"Requires-Dist: ", b"Metadata-Version: ", b"extra ==", b"\r\n "],
    ),
    "headers": Target(
        headers,
        [_AGENT, b"bytes=0-99", b"bytes=-5", b"application/vnd.pypi.simple.v1+json, text/html;q=0.01", b"gzip;q=0.5, zstd", b'W/"tag", *'],
        [b";q=", b"nan", b"bytes=", b"zstd", b"gzip", b"identity", b"*/*", b'{"python":', b'"system":{"name":'],
    ),
}
