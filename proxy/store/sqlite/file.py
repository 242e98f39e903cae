"""The SQLite file of documents: opening it, reading, writing, holding its bound, setting it aside.

No threads and no asyncio here: `cache` has them. Times are in seconds since the epoch.
"""

import errno
import os
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy.store.memory import ENTRY_COST
from proxy.store.pending import Change
from proxy.store.sqlite.releases import of_schema, remove_old, take_over_documents
from proxy.store.sqlite.schema import OtherSchema, connect, connect_to_read, identity_of, is_refusal, prepare

_PURGE_EVERY = 600.0
_PURGE_AT_ONCE = 256
_VACUUM_PAGES = 2048

_NO_WRITING = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_UPSERT = """INSERT INTO documents (slot, expires, used, size, content) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (slot) DO UPDATE SET expires = excluded.expires, used = excluded.used, size = excluded.size, content = excluded.content"""

_LOCK = """INSERT INTO locks (name, token, expires) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET token = excluded.token, expires = excluded.expires
    WHERE locks.expires NOT BETWEEN ? AND ?"""

_LONGEST_LOCK = 60.0
"""Seconds for which a lock is held at most: one that seems to last longer was taken before the clock went back."""


class Replaced(Exception):
    """The file was removed, or another one stands in its place."""

    def __str__(self) -> str:
        return "the file was removed or replaced"


class ReadOnly(Exception):
    """The file can be read, and not written."""

    def __str__(self) -> str:
        return "the file or its file system is read-only"


class DocumentFile:
    """Documents in one SQLite file, the sum of their sizes bounded by `limit` bytes.

    It holds two connections, so that reading never waits for writing: `read` may be called from one thread, all else from another.
    Other processes may use the same file.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = self._place = path
        self._limit = limit
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._next_purge = 0.0
        self._read_only = False
        self._opened = 0
        self.token = ""

    def open(self) -> None:
        """Open the file, and make it where it is missing: readable for its owner only, like the folders made for it.

        If the file at the path is of another release's schema, which may be at work in it, there is one beside it for ours, with the
        documents that the other one has. Raises NotUsable where it should be set aside, OSError and sqlite3.Error where nothing can be
        had at its path.
        """
        beside = of_schema(self._place)
        self.path = beside if beside.exists() else self._place
        try:
            self._open()
        except OtherSchema:
            self.path = beside
            begun = not beside.exists()
            self._open()
            if begun:
                take_over_documents(_open(self._writer), self._place)
        remove_old(self._place, self.path)

    def _open(self) -> None:
        self.close_writer()
        self._read_only = False
        try:
            _make_folder(self.path.parent)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno not in _NO_WRITING or not self.path.is_file():
                raise
            self._read_only = True
            descriptor = os.open(self.path, os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{self.path} is no regular file")
        self._identity = (status.st_dev, status.st_ino)
        self._opened += 1
        if self._read_only:
            return
        connection = connect(self.path)
        try:
            prepare(connection)
            # Each time that it is opened anew another file may have been put in its place, such as an earlier state of it.
            self.token = f"{identity_of(connection)}-{self._opened}"
        except sqlite3.Error as error:
            connection.close()
            if not is_refusal(error):
                raise
            # The disk is full, or the folder takes no companions of the file.
            self._read_only = True
        except BaseException:
            connection.close()
            raise
        else:
            self._writer = connection

    def open_reader(self) -> None:
        """Opens the connection that `read` uses."""
        self.close_reader()
        self._reader = connect_to_read(self.path) if self._read_only else connect(self.path)
        self._reader.execute("PRAGMA query_only = ON")

    def set_aside(self) -> Path | None:
        """Renames the file and its companions, and gives the new name; None where another process has done so already."""
        self.close_writer()
        if self._moved():
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path.with_name(f"{self.path.name}.set-aside-{stamp}")
        self.path.rename(aside)
        for companion in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{companion}").rename(f"{aside}{companion}")
        return aside

    def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Gives the contents of `slots`, in their order."""
        rows = [_open(self._reader).execute("SELECT content FROM documents WHERE slot = ?", (slot,)).fetchone() for slot in slots]
        return [None if row is None else row[0] for row in rows]

    def write(self, changes: Sequence[Change], used: dict[str, float], now: float) -> None:
        """Writes sealed `changes`, and when documents were last used, all or nothing; then lets the longest unused go, down to the bound.

        Raises Replaced where the file is not the one that was opened, ReadOnly where it cannot be written.
        """
        connection = self._to_write()
        puts: list[tuple[Any, ...]] = []
        gone: list[tuple[str]] = []
        for change in changes:
            size = len(change.slot) + len(change.sealed or b"") + ENTRY_COST
            if change.sealed is None or size > self._limit:
                gone.append((change.slot,))
            else:
                puts.append((change.slot, change.expires, now, size, change.sealed))
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany("UPDATE documents SET used = ? WHERE slot = ?", [(at, slot) for slot, at in used.items()])
            connection.executemany("DELETE FROM documents WHERE slot = ?", gone)
            connection.executemany(_UPSERT, puts)
            self._evict(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if now >= self._next_purge:
            # The changes are written, whether or not expired ones can be removed.
            with suppress(sqlite3.Error):
                self._purge(connection, now)

    def lock(self, name: str, token: str, now: float, seconds: float) -> bool:
        """Take the lock `name` for `seconds` from `now` on, unless it is held; return whether it was taken. Raise as `write` does."""
        return self._to_write().execute(_LOCK, (name, token, now + seconds, now, now + _LONGEST_LOCK)).rowcount > 0

    def renew(self, name: str, token: str, now: float, seconds: float) -> None:
        """Hold the lock `name` for `seconds` from `now` on, where `token` holds it."""
        self._to_write().execute("UPDATE locks SET expires = ? WHERE name = ? AND token = ?", (now + seconds, name, token))

    def unlock(self, name: str, token: str) -> None:
        """Lets go of the lock `name`, where `token` holds it."""
        self._to_write().execute("DELETE FROM locks WHERE name = ? AND token = ?", (name, token))

    def is_sound(self) -> bool:
        """Whether both connections are open, answer, and lead to the file at the path."""
        # One that is read-only may have become writable, and is opened anew for that.
        if self._writer is None or self._reader is None or self._moved():
            return False
        self._writer.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
        return True

    def close_writer(self) -> None:
        """Closes the connection that writes; the last one to close tidies the write-ahead log away."""
        if self._writer is not None:
            connection, self._writer = self._writer, None
            with suppress(sqlite3.Error):
                connection.close()

    def close_reader(self) -> None:
        """Closes the connection that reads, in the thread that reads."""
        if self._reader is not None:
            connection, self._reader = self._reader, None
            with suppress(sqlite3.Error):
                connection.close()

    def _evict(self, connection: sqlite3.Connection) -> None:
        (total,) = connection.execute("SELECT coalesce(sum(size), 0) FROM documents").fetchone()
        if total <= self._limit:
            return
        # A tenth more than needed, so that a full file does not evict in every transaction.
        goal = self._limit * 0.9
        victims: list[tuple[int]] = []
        for rowid, size in connection.execute("SELECT rowid, size FROM documents ORDER BY used"):
            if total <= goal:
                break
            victims.append((rowid,))
            total -= size
        connection.executemany("DELETE FROM documents WHERE rowid = ?", victims)

    def _purge(self, connection: sqlite3.Connection, now: float) -> None:
        expired = "SELECT rowid FROM documents WHERE expires <= ? LIMIT ?"
        done = connection.execute(f"DELETE FROM documents WHERE rowid IN ({expired})", (now, _PURGE_AT_ONCE))  # noqa: S608 - both are constants
        if done.rowcount < _PURGE_AT_ONCE:
            self._next_purge = now + _PURGE_EVERY
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    def _to_write(self) -> sqlite3.Connection:
        if self._moved():
            raise Replaced
        if self._read_only:
            raise ReadOnly
        return _open(self._writer)

    def _moved(self) -> bool:
        try:
            status = self.path.stat()
        except OSError:
            return True
        # One that was cut to nothing, or lost its log, still answers, and all that is written to it is lost in the end.
        lost_log = self._writer is not None and not Path(f"{self.path}-wal").exists()
        return (status.st_dev, status.st_ino) != self._identity or status.st_size == 0 or lost_log


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _open(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise sqlite3.OperationalError("the file is not open")
    return connection
