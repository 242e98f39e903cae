"""The file of a lock: changed as a whole or not at all, and put back where something goes wrong."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.locking.errors import LockFailed


class LockOnDisk:
    """A uv.lock on disk: `before` are its bytes at the beginning, None where there was none. Raises LockFailed where it cannot be read."""

    def __init__(self, path: Path) -> None:
        # A link stays one: what it leads to is replaced.
        self._path = path.resolve()
        self.before = self.content()

    def content(self) -> bytes | None:
        """Gives the bytes that it has now, None where there is no file; raises LockFailed."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LockFailed(f"{self._path} cannot be read ({error.strerror})", "make it readable for you") from error

    def write(self, content: bytes) -> None:
        """Puts these bytes into its place, unless they are there already; raises LockFailed, and then it is as before."""
        if self.content() == content:
            return
        try:
            self._replace(content)
        except OSError as error:
            raise LockFailed(
                f"{self._path} cannot be written ({error.strerror})", "it is as before; see who owns it and its folder"
            ) from error

    def _replace(self, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=self._path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(_mode(self._path))
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def restore(self) -> None:
        """Makes it what it was at the beginning."""
        if self.before is None:
            self._path.unlink(missing_ok=True)
        else:
            self.write(self.before)

    @contextmanager
    def put_back_unless_done(self) -> Iterator[None]:
        """Restores it where the block is left by an exception."""
        try:
            yield
        except BaseException:
            self.restore()
            raise


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
