"""The file of a lock: changed as a whole or not at all, and put back where something goes wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proxy.locking.crash_guard import keep_spare, remove_temporaries, replace, restore
from proxy.locking.errors import LockFailed


class LockOnDisk:
    """A lock file: `before` are its bytes at the beginning, None where there was none. Raise LockFailed where it cannot be read.

    A content that names one of the `proxies` was written for this run: it is never left there, and anything else is never undone.
    """

    def __init__(self, path: Path, proxies: Sequence[str] = ()) -> None:
        # A link stays one: what it leads to is replaced.
        self.path = path.resolve()
        self.before = self.content()
        self._proxies = proxies

    @property
    def is_detoured(self) -> bool:
        """True if it names one of the proxies, and did not name it at the beginning."""
        content = self.content()
        return content is not None and content != self.before and any(proxy.encode() in content for proxy in self._proxies)

    def content(self) -> bytes | None:
        """Return the bytes that it has now, None where there is no file; raise LockFailed."""
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LockFailed(f"{self.path} cannot be read ({error.strerror})", "make it readable for you") from error

    def write(self, content: bytes) -> None:
        """Put these bytes into its place, unless they are there already; raise LockFailed, and then it is as before."""
        if self.content() == content:
            return
        try:
            replace(self.path, content)
        except OSError as error:
            raise LockFailed(
                f"{self.path} cannot be written ({error.strerror})", "it is as before; see who owns it and its folder"
            ) from error

    def exchange(self, known: bytes | None, content: bytes) -> None:
        """Put these bytes into the place of the `known` ones; raise LockFailed, also where it has other ones by now."""
        if self.content() != known:
            raise LockFailed(f"{self.path.name} was changed by something else meanwhile, and is left as it is now", "run this again")
        self.write(content)

    def undo(self, made: bytes) -> None:
        """Put what was there at the beginning into the place of what uv `made`; raise LockFailed as `exchange` does."""
        if self.before is not None:
            self.exchange(made, self.before)
        elif self.content() == made:
            self.path.unlink(missing_ok=True)

    def restore(self, *, cut_short: bool = False) -> None:
        """Make it what it was at the beginning, if it was changed for this run. `cut_short`: a writer may have been killed."""
        try:
            restore(self.path, self.before, self._proxies, cut_short=cut_short)
        except OSError as error:
            raise LockFailed(
                f"{self.path} cannot be restored ({error.strerror})", "restore it from version control, or run mirrormend lock again"
            ) from error

    @contextmanager
    def put_back_unless_done(self) -> Iterator[None]:
        """Restore it at the end of the block, if it names a proxy, or is half a file after an exception."""
        remove_temporaries(self.path)
        if self.before is not None:
            keep_spare(self.path)
        try:
            yield
        except BaseException:
            self.restore(cut_short=True)
            remove_temporaries(self.path)
            raise
        self.restore()
        remove_temporaries(self.path)
