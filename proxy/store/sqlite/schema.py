"""Whose file it is, and whether it is sound: connecting, the schema, and what SQLite's errors mean."""

import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path

APPLICATION_ID = 0x4D4D4E44
SCHEMA = 1
_BUSY_SECONDS = 1.0
_PREPARE_SECONDS = 4.0
_LOG_BYTES = 16 * 1024 * 1024

_TABLES = (
    """CREATE TABLE documents (
        slot TEXT PRIMARY KEY,
        expires REAL NOT NULL,
        used REAL NOT NULL,
        size INTEGER NOT NULL,
        content BLOB NOT NULL
    )""",
    # Covers the sum of the sizes, which is taken in every transaction and must not walk the documents themselves.
    "CREATE INDEX documents_by_use ON documents (used, size)",
    "CREATE INDEX documents_by_expiry ON documents (expires)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
)


class NotUsable(Exception):
    """The file at the path is damaged, another program's, or of another schema, because of `why`."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        return self.why


class OtherSchema(NotUsable):
    """The file belongs to a release with another schema, which may be at work in it."""


def connect(path: Path) -> sqlite3.Connection:
    """Connects to the file at `path`, which exists; nothing is read of it yet."""
    # mode=rw: a file that vanished since is not made anew, with whatever rights.
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Connect to a file that cannot be written, nor anything beside it: what its write-ahead log has is left out then."""
    address = path.absolute().as_uri()
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{address}?{mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
        except sqlite3.Error:
            connection.close()
        else:
            return connection
    raise sqlite3.OperationalError("the file can neither be written nor read")


def prepare(connection: sqlite3.Connection) -> None:
    """Makes sure that the file is ours, with our schema. Raises NotUsable where it is not, sqlite3.Error where that cannot be told."""
    deadline = time.monotonic() + _PREPARE_SECONDS
    while True:
        try:
            _prepare(connection)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise NotUsable(str(error)) from error
            # SQLite waits for others in most things, but not with a file that several begin at the same moment.
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


_BESIDE = (
    "CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY, token TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS identity (token TEXT NOT NULL)",
)
"""Tables beside the schema, which releases share that do not have them."""

_IDENTIFY = "INSERT INTO identity (token) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)"


def _prepare(connection: sqlite3.Connection) -> None:
    if _is_new(connection):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        _create(connection)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise NotUsable("it belongs to another program")
    if schema != SCHEMA:
        raise OtherSchema(f"its schema is {schema}, and only {SCHEMA} is known here")
    with closing(connection.execute("SELECT slot, expires, used, size, content FROM documents LIMIT 1")) as rows:
        rows.fetchone()
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    for statement in _BESIDE:
        connection.execute(statement)
    connection.execute(_IDENTIFY, (secrets.token_hex(16),))
    # With a write-ahead log a killed process loses nothing by it, and a power cut only the last transactions, whole.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


def _is_new(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return (application, tables) == (0, 0)


def identity_of(connection: sqlite3.Connection) -> str:
    """Return the name of the file's content: each file that is begun has another one."""
    (token,) = connection.execute("SELECT token FROM identity LIMIT 1").fetchone() or ("",)
    return str(token)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        if _is_new(connection):
            for statement in _TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds what is needed."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


_NOT_WRITABLE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_WRITING_FAILED = frozenset(
    {
        *(sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE),
        *(sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP),
    }
)


def is_refusal(error: sqlite3.Error) -> bool:
    """Return whether nothing can be written, although reading may go on: the disk or a row is full, or the file is read-only."""
    code = _code(error)
    return code & 0xFF in _NOT_WRITABLE or code in _WRITING_FAILED


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault. SQLITE_ERROR is a table or a column that should be there and is not."""
    code = _code(error)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
