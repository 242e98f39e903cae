"""Settings of the C library's allocator, made at the start, where it is glibc's: large blocks go back to the system once they are free.

Left alone, glibc raises the size from which on it does so to that of the largest block that was ever freed, and gives each thread that
renders pages a heap of its own; so the pages of a burst leave tens of megabytes of gaps. What the environment says of it goes before.
"""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""

_LARGE = 1024 * 1024
"""Bytes of a block that goes back as soon as it is free: more than what a download is read by, which would pay for it each time."""

_HEAPS = 2

_SAID = ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def settle_allocator() -> bool:
    """Tell glibc's allocator so, and return whether it listened."""
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _SAID):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    chosen = ((_ARENA_MAX, _HEAPS), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE))
    return [mallopt(parameter, value) for parameter, value in chosen] == [1] * len(chosen)
