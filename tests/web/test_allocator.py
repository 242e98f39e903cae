"""Large blocks go back to the system, unless the environment has a say in it."""

import platform
import subprocess
import sys

import pytest

from proxy.server import allocator

_GROW = """
import sys
from pathlib import Path
from proxy.server.allocator import settle_allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

told = settle_allocator()
# A large block that was freed: from then on glibc keeps what is smaller, if it is not told otherwise.
del (large := bytearray(24 * 2**20))[:], large
before = resident()
pages = [bytes(b"x" * (2 * 2**20)) for _ in range(32)]
last = bytes(b"y" * 200_000)
pages.clear()
print(told, resident() - before < 16 * 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_memory_of_large_blocks_goes_back_once_they_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator._SAID:
        monkeypatch.delenv(name, raising=False)
    told = subprocess.run([sys.executable, "-c", _GROW], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("name", allocator._SAID)
def test_what_the_environment_says_goes_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert not allocator.settle_allocator()
