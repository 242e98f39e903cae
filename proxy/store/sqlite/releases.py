"""One file for each schema, so that two releases can work side by side, and what an upgrade leaves behind goes after a while.

The documents themselves name the version of their form, so that any release takes over those of another one as they are.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from proxy.store.sqlite.schema import APPLICATION_ID, SCHEMA

_OLD = 30 * 86400.0
"""Seconds without a change after which a file of another release, or one that was set aside, is removed."""

_HEADER = 100
_APPLICATION = slice(68, 72)
_COMPANIONS = ("", "-wal", "-shm")


def of_schema(path: Path) -> Path:
    """Return the path of our schema's own file, for when the one at `path` is of another schema."""
    return path.with_name(f"{path.name}.schema-{SCHEMA}")


def take_over_documents(connection: sqlite3.Connection, other: Path) -> None:
    """Copy the documents of another release's file into the one behind `connection`, if that one keeps them as ours does."""
    with suppress(sqlite3.Error):
        connection.execute("ATTACH DATABASE ? AS other", (f"{other.absolute().as_uri()}?mode=rw",))
        try:
            connection.execute(
                "INSERT OR IGNORE INTO documents (slot, expires, used, size, content)"
                " SELECT slot, expires, used, size, content FROM other.documents"
            )
        finally:
            connection.execute("DETACH DATABASE other")


def remove_old(path: Path, ours: Path) -> None:
    """Remove our files that were set aside, or belong to other releases, and that nobody has changed for a month."""
    with suppress(OSError):
        for old in _left_behind(path, ours):
            for companion in _COMPANIONS:
                Path(f"{old}{companion}").unlink(missing_ok=True)


def _left_behind(path: Path, ours: Path) -> Iterator[Path]:
    before = time.time() - _OLD
    for each in (path, *path.parent.glob(f"{path.name}.schema-*"), *path.parent.glob(f"{path.name}.set-aside-*")):
        if each == ours or each.name.endswith(_COMPANIONS[1:]) or not each.is_file() or not _was_ours(each):
            continue
        parts = [part for name in _COMPANIONS if (part := Path(f"{each}{name}")).exists()]
        if max(part.stat().st_mtime for part in parts) < before:
            yield each


def _was_ours(path: Path) -> bool:
    """Return whether this program made the file, by its header (SQLite file format, section 1.3): also where it is damaged further on."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
    return header.startswith(b"SQLite format 3\x00") and header[_APPLICATION] == APPLICATION_ID.to_bytes(4, "big")
