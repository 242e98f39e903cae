"""Writing log lines to a stream, those of a turn of the event loop at once, as far as a pipe takes them in one piece.

Each write is a system call and wakes up whoever reads, which costs as much as answering a request for a page at hand. So lines that can
wait do so until the turn of the event loop ends; nothing is awaited meanwhile. Whatever ends the process in an orderly way writes them
first: the end of the interpreter here, `flush_within` before `os._exit`. Only a signal that kills at once takes those of one turn with it.
"""

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

_MOST_WAITING = 1000
_PIECE = 4096
"""Bytes that a pipe takes in one piece (Linux's PIPE_BUF): workers share one, and a longer write may be torn by another's lines."""


class Output:
    """Writer of lines to `stream`, each whole and in order, from any thread. A stream that is gone must not take a request with it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._waiting: deque[str] = deque()
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        # A finaliser may log while its thread writes.
        self._lock = threading.RLock()

    def write(self, line: str) -> None:
        """Write `line` now, after those that wait."""
        self._waiting.append(line)
        self.flush()

    def write_soon(self, line: str) -> None:
        """Write `line` at the end of this turn of the event loop; now where none runs in this thread."""
        # Its own order, so that nothing is locked: what another thread flushes in between is written by it.
        self._waiting.append(line)
        loop = self._flushed_by
        if loop is not None and loop.is_running() and len(self._waiting) < _MOST_WAITING:
            # That loop flushes, whatever thread it runs in.
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if len(self._waiting) < _MOST_WAITING:
            self._flushed_by = loop
            loop.call_soon(self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """Write all lines that wait."""
        with self._lock:
            # Before the lines are taken, so that one that comes now is flushed later on.
            self._flushed_by = None
            lines = []
            with suppress(IndexError):
                while True:
                    lines.append(self._waiting.popleft())
            if not lines:
                return
            for piece in _pieces(lines):
                try:
                    self._put("\n".join(piece))
                except ValueError:
                    # One of them cannot be encoded, or the stream is closed.
                    for line in piece:
                        with suppress(ValueError):
                            self._put(line)

    def _put(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text + "\n")
            self.stream.flush()

    def begin_in_child(self) -> None:
        """Go on in a process that was forked: what waits is its parent's to write."""
        self._waiting.clear()
        self._flushed_by = None
        self._lock = threading.RLock()


def _pieces(lines: list[str]) -> Iterator[list[str]]:
    """Yield `lines` in groups that a pipe takes in one piece each; a line that is longer than that comes alone."""
    piece: list[str] = []
    size = 0
    for line in lines:
        length = (len(line) if line.isascii() else len(line.encode("utf-8", "replace"))) + 1
        if piece and size + length > _PIECE:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += length
    if piece:
        yield piece


_outputs: list[Output] = []


def opened(stream: TextIO) -> Output:
    """Return an output to `stream`, in the place of the one before."""
    flush()
    output = Output(stream)
    _outputs[:] = [output]
    return output


def flush() -> None:
    """Write all lines that wait."""
    for output in _outputs:
        output.flush()


def flush_within(seconds: float) -> None:
    """Write all lines that wait, unless that takes longer: nobody may read what is written."""
    flushing = threading.Thread(target=flush, name="mirrormend-log", daemon=True)
    flushing.start()
    flushing.join(seconds)


def _begin_in_child() -> None:
    for output in _outputs:
        output.begin_in_child()


atexit.register(flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
