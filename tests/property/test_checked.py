"""A rescued file is passed on whole, or it never comes to its end, however it is cut in pieces."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from proxy.index.checked import NotTheFile, checked

CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.integers(1, 40_000)).map(lambda piece: piece[0] * piece[1]), max_size=12)
SMALL = 256 * 1024


async def passed_on(chunks: list[bytes], digest: str) -> tuple[bytes, bool]:
    """What was passed on, and whether that was said to be all."""

    async def coming() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    given_out = b""
    try:
        async for piece in checked(coming(), digest):
            given_out += piece
    except NotTheFile:
        return given_out, False
    return given_out, True


@given(CHUNKS)
def test_the_right_bytes_are_passed_on_as_they_are(chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    assert asyncio.run(passed_on(chunks, sha256(content).hexdigest())) == (content, True)


@given(CHUNKS)
def test_of_other_bytes_the_last_are_never_passed_on_and_of_small_files_none(chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    given_out, whole = asyncio.run(passed_on(chunks, sha256(content + b"!").hexdigest()))
    assert not whole
    assert content.startswith(given_out)
    assert len(given_out) < max(1, len(content))
    assert len(content) > SMALL or not given_out
