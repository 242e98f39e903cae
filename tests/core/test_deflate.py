"""What is deflated inflates again, with ISA-L and without it."""

import gzip
import subprocess
import sys
import zlib

import pytest

from proxy.core.deflate import GZIP_BITS, RAW_BITS, ZLIB_BITS, InflateError, gzipped, inflating

CONTENT = b'{"files": []}' * 1000


def test_a_member_is_one_that_every_client_reads_and_is_small() -> None:
    assert gzip.decompress(gzipped(CONTENT)) == CONTENT
    assert len(gzipped(CONTENT)) < len(CONTENT) / 10


@pytest.mark.parametrize("bits", [GZIP_BITS, ZLIB_BITS, RAW_BITS])
def test_each_wrapper_is_read_to_its_end_and_no_further_than_wanted(bits: int) -> None:
    packer = zlib.compressobj(wbits=bits)
    packed = packer.compress(CONTENT) + packer.flush()
    stream = inflating(bits)
    assert stream.decompress(packed + b"beyond", len(CONTENT)) == CONTENT
    assert stream.eof
    assert stream.unused_data == b"beyond"
    assert inflating(bits).decompress(packed, 10) == CONTENT[:10]


@pytest.mark.parametrize("damaged", [b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20, gzipped(CONTENT)[:-8] + bytes(8)])
def test_what_is_damaged_is_an_error(damaged: bytes) -> None:
    with pytest.raises(InflateError):
        inflating(GZIP_BITS).decompress(damaged, 10**6)


def test_without_isa_l_it_is_zlib_that_does_it() -> None:
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from proxy.core import deflate\n"
        "import zlib\n"
        "assert deflate.InflateError is zlib.error\n"
        "assert deflate.inflating(31).decompress(deflate.gzipped(b'demo'), 10) == b'demo'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
