"""Whatever bytes come, from a mirror or from a client: a page, an answer, a reason; never another exception, never memory without bounds.

The promises themselves are in `tests/fuzz`, where a coverage-guided run asks the same.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flows.exchange import Answer, Method, NoAnswer, Reply, Trouble
from proxy.index.served import compress
from tests import hostile
from tests.fuzz.promises import (
    PAGE_LIMIT,
    a_page_or_a_clear_error,
    alike_in_pieces,
    an_answer_or_none,
    an_answer_that_is_understood,
    any_header_is_read,
    metadata_copy_or_a_reason,
    metadata_of_any_answers,
    metadata_or_a_reason,
    nothing_is_taken_for_the_next_answer,
    sdist_metadata_or_a_reason,
)
from tests.property.strategies import as_bytes, damaged, json_pages, odd_html, odd_pages, texts
from tests.wheels import make_sdist, make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
content_types = st.sampled_from([None, "", JSON, "text/html", "text/html; charset=utf-16", "application/octet-stream"]) | texts
codings = st.sampled_from(["", "identity", "gzip", "x-gzip", "deflate", "zstd", "br", "gzip, gzip", " GZIP "])
real_pages = st.one_of(odd_pages(), odd_html(), json_pages().map(as_bytes))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "zstd": lambda data: compress(data, "zstd"),
    "two members": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "twice": lambda data: gzip.compress(gzip.compress(data)),
}


@given(st.binary(max_size=400), content_types, codings)
def test_arbitrary_bytes_of_any_type_and_coding_are_a_page_or_a_clear_error(body: bytes, content_type: str | None, coding: str) -> None:
    a_page_or_a_clear_error(body, content_type, coding)


@given(odd_pages(), content_types)
def test_a_json_page_with_wrong_values_is_served_so_that_uv_accepts_it_or_refused(body: bytes, content_type: str | None) -> None:
    a_page_or_a_clear_error(body, content_type, "")


@given(odd_html(), content_types)
def test_an_html_page_with_wrong_values_is_served_so_that_it_leads_to_the_same_files(body: bytes, content_type: str | None) -> None:
    a_page_or_a_clear_error(body, content_type, "")


@given(damaged(real_pages), content_types)
def test_a_damaged_page_is_a_page_or_a_clear_error(body: bytes, content_type: str | None) -> None:
    a_page_or_a_clear_error(body, content_type, "")


@given(real_pages, st.sampled_from(list(PACKED)), codings, st.integers(1, 64), st.data())
def test_a_damaged_coding_is_a_page_or_a_clear_error(body: bytes, how: str, coding: str, pieces: int, data: st.DataObject) -> None:
    packed = data.draw(damaged(st.just(PACKED[how](body))))
    a_page_or_a_clear_error(packed, JSON, coding, pieces)


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("coding", ["gzip", "deflate", ""])
def test_a_bomb_is_never_unpacked_beyond_the_limit(how: str, coding: str) -> None:
    assert a_page_or_a_clear_error(PACKED[how](b" " * (20 * PAGE_LIMIT)), JSON, coding) is None


# What a mirror answers

names = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"Retry-After", b"Content-Range", b"Content-Type", b"X-A"])
values = st.one_of(
    st.sampled_from(
        [b"0", b"5", b"9000", b"+5", b"5, 5", b"chunked", b"gzip, chunked", b"close", b"bytes 0-0/5", b"bytes */0", b"", b"\xff"]
    ),
    st.sampled_from(
        [b"Tue, 24 Nov 2026 22:53:26 GMT", b"Mon, 99 Foo 99999 99:99:99 +9999", b"1e3", b"9" * 20, b"bytes 5-1/3", b"text/html"]
    ),
    st.binary(max_size=10),
)
answers = st.builds(
    lambda status, fields, body: b"HTTP/1.1 %d X\r\n" % status + b"".join(b"%s: %s\r\n" % each for each in fields) + b"\r\n" + body,
    st.sampled_from([100, 200, 204, 206, 302, 304, 401, 404, 416, 503]),
    st.lists(st.tuples(names, values), max_size=4),
    st.binary(max_size=30) | st.sampled_from([b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n\r\n", b'{"errors":[{"message":"no"}]}']),
)
streams = st.binary(max_size=300) | damaged(answers)


@given(streams, st.sampled_from(Method), st.sampled_from([0, 1, 5, 10_000]), st.integers(1, 7))
def test_a_connection_makes_of_any_bytes_an_answer_or_none_however_they_come(sent: bytes, method: Method, read: int, pieces: int) -> None:
    alike_in_pieces(sent, method=method, read=0 if method is Method.HEAD else read, pieces=pieces)


@given(streams, st.sampled_from([0, 1, 5]))
def test_a_connection_that_serves_again_has_nothing_left_of_the_answer_before(sent: bytes, read: int) -> None:
    nothing_is_taken_for_the_next_answer(sent, read=read)


ENDLESS = {
    "head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000,
    "status line": b"HTTP/1.1 200 " + b"x" * 500_000,
    "until it closes": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000,
    "counted": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 500_000,
    "one chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"x" * 500_000,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 90_000,
    "a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 500_000,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 90_000,
}


@pytest.mark.parametrize("sent", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("pieces", [None, 777])
def test_an_answer_without_end_is_never_held(sent: bytes, pieces: int | None) -> None:
    an_answer_or_none(sent, read=5, pieces=pieces)


@given(st.integers(200, 599), st.dictionaries(names.map(lambda name: name.decode().lower()), texts, max_size=5), st.binary(max_size=60))
def test_whatever_an_answer_says_it_is_evidence(status: int, headers: dict[str, str], body: bytes) -> None:
    an_answer_that_is_understood(Answer(status, headers, body))


# What files hold

WHEEL = make_wheel("demo-1.0-py3-none-any.whl", payload=bytes(range(256)) * 200)
SDIST = make_sdist("demo-1.0.tar.gz")
METADATA = b"Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Dist: other>=1; python_version<'3'\n\nabout\n"


def zipped(method: int, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, METADATA)
        archive.writestr("demo/__init__.py", b"")
    return out.getvalue()


zips = st.builds(
    zipped,
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.sampled_from(["demo-1.0.dist-info/METADATA", "Demo-1.0.dist-info/METADATA", "x/METADATA", "é.dist-info/METADATA"]),
)
wheels = damaged(st.one_of(st.just(WHEEL[-2000:]), zips)) | st.builds(bytes.__add__, st.just(WHEEL[:-700]), damaged(st.just(WHEEL[-700:])))


@given(wheels | st.binary(max_size=300), st.booleans(), st.none() | st.integers(0, 10**6))
def test_any_wheel_gives_the_metadata_of_this_release_or_a_reason(content: bytes, ranges: bool, claimed: int | None) -> None:
    metadata_or_a_reason(content, ranges=ranges, claimed=claimed)


replies: st.SearchStrategy[Reply] = st.one_of(
    st.builds(
        Answer,
        st.sampled_from([200, 206, 206, 404, 416, 503]),
        st.fixed_dictionaries(
            {},
            optional={
                "content-length": st.sampled_from(["0", "1", "700", str(len(WHEEL)), "x"]),
                "content-range": st.sampled_from(
                    ["bytes 0-0/1", f"bytes 0-0/{len(WHEEL)}", "bytes 5-9/10", "bytes */7", "bytes 0-0/0", "x"]
                ),
            },
        ),
        wheels,
    ),
    st.builds(NoAnswer, st.sampled_from(Trouble)),
)


@given(st.lists(replies, max_size=6))
def test_a_mirror_that_answers_ranges_in_any_way_gives_metadata_or_a_reason(said: list[Reply]) -> None:
    metadata_of_any_answers(said)


@given(st.binary(max_size=200) | damaged(st.just(SDIST)) | damaged(st.just(gzip.decompress(SDIST))).map(gzip.compress))
def test_any_sdist_gives_static_metadata_or_a_reason(content: bytes) -> None:
    sdist_metadata_or_a_reason(content)


@given(damaged(st.sampled_from([METADATA, METADATA.replace(b"\n", b"\r\n"), gzip.compress(METADATA)])))
def test_any_copy_of_metadata_is_right_or_refused(content: bytes) -> None:
    metadata_copy_or_a_reason(content)


@pytest.mark.parametrize("make", [*hostile.WHEELS.values()], ids=[*hostile.WHEELS])
def test_a_wheel_that_claims_what_nobody_can_read_gives_metadata_or_a_reason(make: Callable[[], bytes]) -> None:
    metadata_or_a_reason(make()[-PAGE_LIMIT:])


# What clients send

_AGENT = (
    '{"implementation":{"version":"3.12.1"},"python":"3.12.1","system":{"name":"Linux"},"distro":{"libc":{"lib":"musl"}},"cpu":"x86_64"}'
)
headers = st.one_of(
    st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(max_size=80),
    damaged(st.just(f"uv/0.13.9 {_AGENT}".encode())).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    damaged(st.sampled_from([b"bytes=0-99", b"bytes=-5", b"bytes=99999999999999999-"])).map(lambda raw: raw.decode("latin-1")),
    st.lists(
        st.builds(
            lambda name, weight: f"{name};q={weight}",
            st.sampled_from(["gzip", "zstd", "*", "identity", JSON, "text/html", "*/*", "text/*"]),
            st.sampled_from(["0", "1", "0.5", "nan", "-nan", "inf", "-1", "1e9", "2", "", "x", "0_1"]) | st.floats().map(str),
        ),
        max_size=4,
    ).map(", ".join),
)


@given(headers)
def test_any_header_of_a_client_is_read(value: str) -> None:
    any_header_is_read(value)
