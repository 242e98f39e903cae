"""Zstandard frames (RFC 8878), made by one compressor for each thread: making one takes longer than compressing a small document.

Rules for this file: bytes in, bytes out.
"""

import threading

try:
    from compression import zstd
except ImportError:
    from backports import zstd

FrameError = zstd.ZstdError


class _OfThread(threading.local):
    """The compressor of a thread: two threads at one would wait for each other."""

    def __init__(self) -> None:
        self.compressor = zstd.ZstdCompressor(level=1)


_own = _OfThread()


def compressed(content: bytes) -> bytes:
    """Return `content` as a frame, which tells its length."""
    frame: bytes = _own.compressor.compress(content, mode=zstd.ZstdCompressor.FLUSH_FRAME)
    return frame


def decompressed(frame: bytes) -> bytes:
    """Return the content of `frame`; raise FrameError where it is damaged."""
    content: bytes = zstd.decompress(frame)
    return content
