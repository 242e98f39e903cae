"""A terminal whose screen can be kept: real commands on a pseudo-terminal, and what they wrote there as SVG."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_PATIENCE = 60.0
"""Seconds after which a command is given up."""

_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_FRAME = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{width}} {{height}}" role="img">
<style>
.{{unique_id}}-matrix {{{{ font: {{char_height}}px {_FONTS}; }}}}
{{styles}}
</style>
<rect width="{{width}}" height="{{height}}" rx="10" fill="#171b21"/>
<g class="{{unique_id}}-matrix" transform="translate(10 23)">
{{backgrounds}}
{{matrix}}
</g>
</svg>
"""
# Black, red, green, yellow, blue, magenta, cyan, white, and the bright ones: all of them can be read on the dark ground.
_COLOURS = TerminalTheme(
    background=(23, 27, 33),
    foreground=(216, 222, 230),
    normal=[
        (92, 99, 112),
        (255, 123, 114),
        (126, 219, 159),
        (255, 198, 92),
        (124, 176, 255),
        (214, 165, 245),
        (110, 211, 224),
        (216, 222, 230),
    ],
    bright=[
        (139, 148, 160),
        (255, 152, 144),
        (152, 232, 179),
        (255, 214, 130),
        (154, 196, 255),
        (226, 188, 250),
        (140, 224, 235),
        (255, 255, 255),
    ],
)


class Terminal:
    """A pseudo-terminal of so many columns; `written` is all that was written to it, colours and all.

    The commands run in `folder`, with `environment` and nothing else of this machine's.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], columns: int) -> None:
        self.columns = columns
        self._folder = folder
        self._environment = dict(environment) | {"TERM": "xterm-256color"}
        self._pieces: list[bytes] = []
        self._screen, self._line = pty.openpty()
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._line)
        self._reader.join(5)
        os.close(self._screen)

    @property
    def written(self) -> str:
        """What is on the screen."""
        return re.sub(r"\r+\n", "\n", b"".join(self._pieces).decode())

    def run(self, typed: str, arguments: Sequence[str]) -> int:
        """Shows the command as `typed`, runs it as `arguments`, and gives its status."""
        self._type(typed)
        done = self._start(arguments)
        try:
            return done.wait(_PATIENCE)
        finally:
            _end(done)
            self._settle()

    @contextmanager
    def background(self, typed: str, arguments: Sequence[str], port: int) -> Iterator[None]:
        """Shows and runs a command that goes on behind, from its listening at `port` to the end of the block."""
        self._type(typed)
        process = self._start(arguments)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{typed} does not listen:\n{self.written}")
                time.sleep(0.05)
            yield
            self._settle()
        finally:
            _end(process)

    def _type(self, typed: str) -> None:
        self._pieces.append(f"{chr(10) if self._pieces else ''}\x1b[1;36m$\x1b[0m \x1b[1m{self._broken(typed)}\x1b[0m\r\n".encode())

    def _broken(self, typed: str) -> str:
        """Breaks a line that is too long as somebody would who wants to read it later."""
        if len(typed) <= self.columns - 2:
            return typed
        first = typed[: self.columns - 4].rpartition(" ")[0]
        if first.rpartition(" ")[2].startswith("--"):
            # An option stays with its value.
            first = first.rpartition(" ")[0]
        return f"{first} \\\r\n    {typed[len(first) + 1 :]}"

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        streams = {"stdin": self._line, "stdout": self._line, "stderr": self._line}
        return subprocess.Popen(arguments, cwd=self._folder, env=self._environment, start_new_session=True, **streams)

    def _read(self) -> None:
        # Linux answers EIO where the last one who could write is gone.
        with suppress(OSError):
            while piece := os.read(self._screen, 65536):
                self._pieces.append(piece)

    def _settle(self) -> None:
        count = -1
        while count != len(self._pieces):
            count = len(self._pieces)
            time.sleep(0.2)


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    process.kill()
    process.wait()


def as_svg(written: str, columns: int, name: str) -> str:
    """Gives what was written to a terminal as a picture; `name` is a word of its own in each picture of one page."""
    console = Console(width=columns, record=True, file=StringIO(), color_system="truecolor", force_terminal=True)
    for line in Text.from_ansi(written.strip("\n")).split("\n", allow_blank=True):
        # A terminal breaks where its last column is, and not between words.
        for piece in line.divide(range(columns, len(line), columns)):
            console.print(piece, highlight=False, no_wrap=True)
    drawn = console.export_svg(title="", theme=_COLOURS, code_format=_FRAME, unique_id=name)
    # Nothing reaches out of its line; and the ends of lines are drawn, too.
    drawn = re.sub(r' clip-path="[^"]*"|<text[^>]*>\n</text>', "", drawn).replace("<text", "\n<text")
    return "".join(f"{line}\n" for line in drawn.splitlines() if line.strip())
