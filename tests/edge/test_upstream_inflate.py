"""A page comes out of its content coding whole, and never larger than allowed."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import UpstreamBroke, UpstreamOverLimit
from proxy.upstream.inflate import Inflater

URL = "http://mirror.example/simple/demo/"
BODY = b'{"files": []}' * 1000


def inflated(data: bytes, coding: str, limit: int = 10**6, step: int = 10**9) -> bytes:
    inflater = Inflater(URL, coding, limit)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.finish()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODED = {
    "plain": (BODY, ""),
    "identity": (BODY, "identity"),
    "gzip": (gzip.compress(BODY), "gzip"),
    "x-gzip": (gzip.compress(BODY), " X-GZIP "),
    "gzip-in-members": (gzip.compress(BODY[:5000]) + gzip.compress(BODY[5000:]) + bytes(8), "gzip"),
    "gzip-without-label": (gzip.compress(BODY), ""),
    "plain-labelled-gzip": (BODY, "gzip"),
    "deflate": (zlib.compress(BODY), "deflate"),
    "deflate-without-wrapper": (raw_deflate(BODY), "deflate"),
}


@pytest.mark.parametrize("step", [1, 7, 10**9])
@pytest.mark.parametrize("form", CODED)
def test_every_form_that_mirrors_send_is_read_in_whatever_pieces_it_comes(form: str, step: int) -> None:
    data, coding = CODED[form]
    assert inflated(data, coding, step=step) == BODY


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", ""]), st.integers(1, 50))
def test_any_bytes_come_out_as_they_went_in(data: bytes, coding: str, step: int) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "": lambda body: b"-" + body}[coding](data)
    assert inflated(packed, coding, step=step) == (data if coding else b"-" + data)


@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_body_too_short_for_any_mark_is_plain(body: bytes) -> None:
    assert inflated(body, "gzip") == body


@pytest.mark.parametrize("form", CODED)
def test_the_limit_is_exact(form: str) -> None:
    data, coding = CODED[form]
    assert inflated(data, coding, limit=len(BODY)) == BODY
    with pytest.raises(UpstreamOverLimit) as caught:
        inflated(data, coding, limit=len(BODY) - 1)
    assert caught.value.limit == len(BODY) - 1


def test_a_bomb_is_noticed_while_it_goes_off() -> None:
    """A quarter of a gigabyte in 256 kilobytes costs no more memory than the limit."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    inflater = Inflater(URL, "gzip", 1 << 20)
    with pytest.raises(UpstreamOverLimit):
        inflater.feed(bomb)
    assert sum(map(len, inflater._parts)) <= (1 << 20) + 1


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_coding_that_ends_too_early_is_no_page(coding: str) -> None:
    data, _ = CODED[coding]
    with pytest.raises(UpstreamBroke, match="too early"):
        inflated(data[:-10], coding)


def test_a_broken_coding_is_no_page() -> None:
    data = bytearray(CODED["gzip"][0])
    data[20] ^= 0xFF
    with pytest.raises(UpstreamBroke):
        inflated(bytes(data), "gzip")


def test_a_coding_that_was_not_offered_is_named() -> None:
    with pytest.raises(UpstreamBroke, match="'br'"):
        inflated(b"\x0b\x02\x80", "br")
