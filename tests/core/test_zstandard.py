"""A frame is one that every client reads, whichever thread made it, and whatever was compressed before it."""

import threading

import pytest

from proxy.core.zstandard import FrameError, compressed, decompressed

try:
    from compression import zstd
except ImportError:
    from backports import zstd

CONTENTS = [b"", b"a", b'{"files": []}' * 1000, bytes(range(256)) * 10_000]


def test_a_frame_is_the_same_as_one_made_by_itself() -> None:
    for content in [*CONTENTS, *reversed(CONTENTS)]:
        assert compressed(content) == zstd.compress(content, level=1)
        assert decompressed(compressed(content)) == content
        assert zstd.get_frame_info(compressed(content)).decompressed_size == len(content)


def test_threads_do_not_mix_their_frames() -> None:
    wrong = []

    def make(number: int) -> None:
        contents = [f"{number} {each}".encode() * 5000 for each in range(50)]
        wrong.extend([content for content in contents if decompressed(compressed(content)) != content])

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_damaged_is_told() -> None:
    frame = compressed(CONTENTS[2])
    for damaged in (frame[:-1], b"no frame"):
        with pytest.raises(FrameError):
            decompressed(damaged)
