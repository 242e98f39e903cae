"""Servers that are started in a terminal."""

import os
import pty
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

from tests.clients import clean_environment


def log_of_one_whose_terminal_closes(tmp_path: Path, *options: str, servers: int = 1) -> str:
    """Return the log of a server that ended with status 0 as its terminal was closed, once so many of its processes listened."""
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    words = ["--upstream", "http://127.0.0.1:9/simple/", "--listen", "127.0.0.1:0", *options]
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", *words],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=lines,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - so a terminal becomes a process's own
            env=clean_environment(tmp_path / "home") | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            cwd=tmp_path,
        )
    os.close(theirs)
    try:
        until = time.monotonic() + 20
        while log.read_text(encoding="utf-8").count("listening") < servers and time.monotonic() < until:
            time.sleep(0.05)
        os.close(ours)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    return log.read_text(encoding="utf-8")
