"""Restore lock files, also after the process that changed them was killed.

Run as a script, this is a process of its own that outlives `mirrormend lock`: it reads from its standard input which files to restore,
and restores them when that ends before it was told that all is done. Rules for this file: it imports the standard library alone, so that
it starts within milliseconds.
"""

import base64
import json
import os
import select
import signal
import stat
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PATIENCE = 10.0
_TEMPORARY = "-mirrormend-"


def replace(path: Path, content: bytes) -> None:
    """Replace the file as a whole, keeping its mode. Raise OSError, and then it is as before."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}{_TEMPORARY}", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode(path))
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def restore(path: Path, before: bytes | None, proxies: Iterable[str], *, cut_short: bool) -> None:
    """Make the file what it was `before`, if it names one of the `proxies`: anything else was written by somebody else, and stays.

    `cut_short` tells that its writer may have been killed: half a file is restored too. Raise OSError.
    """
    try:
        now = path.read_bytes()
    except FileNotFoundError:
        return
    if now == before or not (any(proxy.encode() in now for proxy in proxies) or (cut_short and _is_half(now))):
        return
    if before is None:
        path.unlink(missing_ok=True)
    else:
        replace(path, before)


def remove_temporaries(path: Path) -> None:
    """Remove what a killed process left beside the file; nobody may be replacing it meanwhile."""
    with suppress(OSError):
        for left in path.parent.iterdir():
            if left.name.startswith(f".{path.name}{_TEMPORARY}"):
                left.unlink(missing_ok=True)


def order_to_restore(files: Mapping[Path, bytes | None], proxies: Iterable[str]) -> bytes:
    """Return the line that tells a guard what these files were before, and which addresses are to be in none of them."""
    before = {str(path): None if content is None else base64.b64encode(content).decode() for path, content in files.items()}
    return _line({"files": before, "proxies": list(proxies)})


def news_of_uv(process: int | None) -> bytes:
    """Return the line that tells a guard which process of uv runs, or that none does."""
    return _line({"uv": process})


def all_done() -> bytes:
    """Return the line that tells a guard that there is nothing to restore any more."""
    return _line({"done": True})


def _line(told: Mapping[str, object]) -> bytes:
    return f"{json.dumps(told)}\n".encode()


def _is_half(content: bytes) -> bool:
    try:
        return not tomllib.loads(content.decode()).get("version")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # A merge leaves no TOML either, and on purpose.
        return b"<<<<<<<" not in content


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _main(uv_runs: int) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    told: dict[str, Any] = {}
    for line in sys.stdin.buffer:
        # The last one is cut off where its writer was killed.
        with suppress(ValueError):
            told |= json.loads(line)
    if told.get("done") or "files" not in told:
        return
    _restore_all(told)
    if not _ended(uv_runs, 0):
        _end(told.get("uv"), signal.SIGTERM)
        if not _ended(uv_runs, _PATIENCE):
            _end(told.get("uv"), signal.SIGKILL)
            _ended(uv_runs, _PATIENCE)
    _restore_all(told)


def _restore_all(told: Mapping[str, Any]) -> None:
    for name, before in told["files"].items():
        with suppress(OSError):
            remove_temporaries(Path(name))
            restore(Path(name), None if before is None else base64.b64decode(before), told["proxies"], cut_short=True)


def _ended(uv_runs: int, within: float) -> bool:
    """Wait until no process holds the other end of the pipe that uv inherits, for so many seconds; return whether none does."""
    until = time.monotonic() + within
    return bool(select.select([uv_runs], [], [], max(0.0, until - time.monotonic()))[0])


def _end(process: int | None, how: int) -> None:
    if process is not None:
        with suppress(OSError):
            os.kill(process, how)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
