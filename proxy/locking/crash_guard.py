"""Restore lock files, also after the process that changed them was killed.

Run as a script, this is a process of its own that outlives `mirrormend lock`: it reads from its standard input which files to restore,
and when that ends before it was told that all is done, it restores them and ends what is left of uv. Rules for this file: it imports the
standard library alone, so that it starts within milliseconds.
"""

import base64
import json
import os
import select
import shutil
import signal
import stat
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_BETWEEN_SIGNALS = 10.0
_LONGEST_BUILD = 600.0
"""Seconds that are waited for what is left of uv where its processes cannot be found: it may build something before it writes the lock."""

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
        return
    try:
        replace(path, before)
    except OSError:
        spare = _spare(path)
        if not spare.is_file() or spare.read_bytes() != before:
            raise
        spare.replace(path)


def keep_spare(path: Path) -> None:
    """Keep a copy beside the file, so that it can be restored when the disk is full."""
    with suppress(OSError):
        shutil.copy2(path, _spare(path))


def _spare(path: Path) -> Path:
    return path.with_name(f".{path.name}{_TEMPORARY}before")


def remove_temporaries(path: Path) -> None:
    """Remove what this run or a killed one keeps beside the file; nobody may be replacing it meanwhile."""
    with suppress(OSError):
        for left in path.parent.iterdir():
            if left.name.startswith(f".{path.name}{_TEMPORARY}"):
                left.unlink(missing_ok=True)


def order_to_restore(files: Mapping[Path, bytes | None], proxies: Iterable[str]) -> bytes:
    """Return the line that tells a guard what these files were before, and which addresses are to be in none of them."""
    before = {str(path): None if content is None else base64.b64encode(content).decode() for path, content in files.items()}
    return _line({"files": before, "proxies": list(proxies)})


def news_of_uv(process: int | None) -> bytes:
    """Return the line that tells a guard which process of uv runs, or that it ended by itself."""
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
    # The lock is right at once, and not only when a uv has ended that takes its time.
    _restore_all(told)
    if told.get("uv") is not None:
        _end_uv(uv_runs, told["uv"])
        _restore_all(told)
    for name in told["files"]:
        remove_temporaries(Path(name))


def _restore_all(told: Mapping[str, Any]) -> None:
    for name, before in told["files"].items():
        with suppress(OSError):
            restore(Path(name), None if before is None else base64.b64decode(before), told["proxies"], cut_short=True)


def _end_uv(uv_runs: int, process: int) -> None:
    """End what holds the other end of the pipe: uv, and also one whose wrapper was killed and left it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if _ended(uv_runs, 0):
            return
        # The number of a process that has ended may be another one's by now.
        for each in _holders(uv_runs) if Path("/proc/self/fd").is_dir() else [process]:
            with suppress(OSError):
                os.kill(each, how)
        if _ended(uv_runs, _BETWEEN_SIGNALS):
            return
    _ended(uv_runs, _LONGEST_BUILD)


def _holders(pipe: int) -> list[int]:
    """Return the other processes that have the pipe open for writing, as Linux tells."""
    this = Path(f"pipe:[{os.fstat(pipe).st_ino}]")
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if entry.readlink() == this and entry.lstat().st_mode & stat.S_IWUSR:
                found.add(int(entry.parts[2]))
    return sorted(found - {os.getpid()})


def _ended(uv_runs: int, within: float) -> bool:
    """Wait until no process holds the other end of the pipe that uv inherits, for so many seconds; return whether none does."""
    return bool(select.select([uv_runs], [], [], within)[0])


if __name__ == "__main__":
    _main(int(sys.argv[1]))
