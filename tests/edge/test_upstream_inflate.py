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


def member(flags: int) -> bytes:
    """A gzip member with these optional parts in its header (RFC 1952, 2.3.1)."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    head += b"\x02\x00xx" if flags & 4 else b""
    head += b"name\0" if flags & 8 else b""
    head += b"comment\0" if flags & 16 else b""
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    return head + raw_deflate(BODY) + zlib.crc32(BODY).to_bytes(4, "little") + len(BODY).to_bytes(4, "little")


@pytest.mark.parametrize("flags", range(32))
def test_a_header_with_all_that_it_may_have_can_come_in_pieces(flags: int) -> None:
    whole = member(flags)
    for cut in range(1, 40):
        inflater = Inflater(URL, "gzip", 10**6)
        inflater.feed(whole[:cut])
        inflater.feed(whole[cut:] + whole[: cut % 5])
        if cut % 5 >= 2:
            with pytest.raises(UpstreamBroke, match="too early"):
                inflater.finish()
        else:
            assert inflater.finish() == BODY
    assert inflated(whole + whole, "gzip", step=1) == BODY + BODY
