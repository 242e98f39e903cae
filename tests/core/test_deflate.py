"""What is deflated inflates again, with ISA-L and without it."""

import gzip
import subprocess
import sys
import zlib

import pytest

from proxy.core.deflate import RAW_BITS, ZLIB_BITS, InflateError, Inflating, gzipped, inflating, inflating_gzip

CONTENT = b'{"files": []}' * 1000


def test_a_member_is_one_that_every_client_reads_and_is_small() -> None:
    assert gzip.decompress(gzipped(CONTENT)) == CONTENT
    assert len(gzipped(CONTENT)) < len(CONTENT) / 10


@pytest.mark.parametrize("bits", [31, ZLIB_BITS, RAW_BITS])
def test_each_wrapper_is_read_to_its_end_and_no_further_than_wanted(bits: int) -> None:
    packer = zlib.compressobj(wbits=bits)
    packed = packer.compress(CONTENT) + packer.flush()

    def begun() -> Inflating:
        return inflating_gzip(packed) if bits == 31 else inflating(bits)

    stream = begun()
    assert stream.decompress(packed + b"beyond", len(CONTENT)) == CONTENT
    assert stream.eof
    assert stream.unused_data == b"beyond"
    assert begun().decompress(packed, 10) == CONTENT[:10]


@pytest.mark.parametrize("damaged", [b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20, gzipped(CONTENT)[:-8] + bytes(8)])
def test_what_is_damaged_is_an_error(damaged: bytes) -> None:
    with pytest.raises(InflateError):
        inflating_gzip(damaged).decompress(damaged, 10**6)


def test_without_isa_l_it_is_zlib_that_does_it() -> None:
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from proxy.core import deflate\n"
        "import zlib\n"
        "assert set(deflate.InflateError) == {zlib.error} and not deflate.QUICK\n"
        "packed = deflate.gzipped(b'demo')\n"
        "assert deflate.inflating_gzip(packed).decompress(packed, 10) == b'demo'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
