"""One run at a time for the lock files of a folder, whoever runs it and whichever link leads there.

The folder of the lock file is what is locked (flock): it is there already, may be read-only, is the same for all users,
and the kernel lets go of it when a process is killed. If the system cannot lock a folder (Windows, some network file systems),
a file of the user's temporary folder stands for it: then runs of other users and of other machines are not seen.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.locking.errors import LockFailed

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_BETWEEN_TRIES = 0.1


@asynccontextmanager
async def only_run(lock: Path, say: Callable[[str], None]) -> AsyncIterator[int]:
    """Keep other runs for lock files of the same folder waiting until the block ends; wait for one that is under way, and say so.

    Yield the descriptor that holds them off: it does so until every process that inherited it has closed it. Raise LockFailed.
    """
    descriptor = _open(lock)
    try:
        waiting = False
        while not _taken(descriptor):
            if not waiting:
                say(f"another mirrormend lock works in {lock.parent}; waiting until it has ended (Ctrl-C to give up)")
            waiting = True
            await asyncio.sleep(_BETWEEN_TRIES)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(lock: Path) -> int:
    try:
        folder = lock.resolve().parent
        if sys.platform != "win32":
            descriptor = _open_folder(folder)
            if descriptor is not None:
                return descriptor
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        user = "" if sys.platform == "win32" else f"-{os.getuid()}"
        file = Path(tempfile.gettempdir()) / f"mirrormend{user}-{name}.lock"
        # Anybody may have put a link under this name.
        return os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except RuntimeError:
        # So Path.resolve tells of a loop.
        raise LockFailed(f"{lock} is a link to itself", "remove it") from None
    except OSError as error:
        raise LockFailed(
            f"{lock.parent} cannot be kept for one run at a time ({error.strerror})", "see that you may read this folder"
        ) from error


if sys.platform == "win32":

    def _taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _open_folder(folder: Path) -> int | None:
        """Return a descriptor of the folder, None where it cannot be locked."""
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except PermissionError:
            return None
        try:
            _taken(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
