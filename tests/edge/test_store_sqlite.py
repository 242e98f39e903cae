"""The SQLite file behind the store: what it survives, what it sets aside, and how it keeps out of the way."""

# ruff: noqa: ASYNC240 - nobody else waits while a test looks at its files

import asyncio
import errno
import hashlib
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.config.sections import StoreSection
from proxy.store import BackendState, Room, Store, open_store, reach
from proxy.store.circuit import Circuit
from proxy.store.memory import BoundedMemory
from proxy.store.sqlite import file as sqlite_file
from proxy.store.sqlite.backend import SqliteBackend
from proxy.store.sqlite.cache import SqliteCache
from proxy.store.sqlite.file import DocumentFile
from proxy.store.sqlite.schema import APPLICATION_ID, SCHEMA

HOUR = 3600.0
LARGE = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


def store_at(path: Path, *, disk_limit: int = LARGE, memory: int = 0) -> Store:
    """A store that keeps nothing in memory, unless it is told to, so that it must look into the file."""
    return Store(
        BoundedMemory(memory), SqliteBackend(path, disk_limit), circuit=Circuit(first_pause=0.02, longest_pause=0.1), linger_alone=0.0
    )


@asynccontextmanager
async def working(path: Path) -> AsyncIterator[Store]:
    """A store that at the end has been seen to write and to read its file."""
    async with store_at(path) as store:
        yield store
        await eventually(store)
        store.put(Room.PAGE, "default/afterwards", b"afterwards", HOUR)
        await eventually(store)
        assert await store.get(Room.PAGE, "default/afterwards") == b"afterwards"
        assert await store.ready()
    async with store_at(path) as store:
        assert await store.get(Room.PAGE, "default/afterwards") == b"afterwards"


async def eventually(store: Store, state: BackendState = BackendState.READY) -> None:
    async with asyncio.timeout(10):
        while store.stats.backend is not state or (state is BackendState.READY and store.stats.pending):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def fill(path: Path, count: int, size: int = 3000) -> None:
    async with store_at(path) as store:
        for number in range(count):
            store.put(Room.PAGE, f"default/{number}", os.urandom(size), HOUR)
        await eventually(store)


def aside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if "set-aside" in each.name)


def events(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [log["event"] for log in logs if log["log_level"] != "debug"]


# Where it lies, and for whom


async def test_plain_sqlite_means_a_file_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    async with open_store(StoreSection(location="sqlite")) as store:
        assert await store.ready()
    assert (tmp_path / "cache/mirrormend/store.sqlite3").exists()


async def test_a_user_without_a_home_has_the_memory_and_no_folder_called_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as for a container's made-up user
    with capture_logs() as logs:
        async with open_store(StoreSection(location="sqlite")) as store:
            assert store.stats.backend is BackendState.ABSENT
    assert events(logs) == ["store-has-no-home"]
    assert list(tmp_path.iterdir()) == []


async def test_file_and_folders_are_for_their_owner_only_and_existing_folders_stay_as_they_are(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "one/two/store.sqlite3"
    async with store_at(path) as store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        await eventually(store)
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
        assert modes == {"store.sqlite3": 0o600, "store.sqlite3-wal": 0o600, "store.sqlite3-shm": 0o600}
    assert [folder.stat().st_mode & 0o777 for folder in (tmp_path, path.parent.parent, path.parent)] == [0o755, 0o700, 0o700]


async def test_after_closing_one_file_is_left_and_it_says_whose_it_is(path: Path) -> None:
    async with store_at(path) as store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
    assert [each.name for each in path.parent.iterdir()] == ["store.sqlite3"]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert file.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_cache_speaks_aiocaches_verbs(path: Path) -> None:
    cache = SqliteCache(path, LARGE)
    await cache.connect()
    await cache.connect()
    async with cache:
        await cache.set("a", b"1")
        await cache.multi_set([("b", b"2"), ("c", b"3")], ttl=100)
        assert await cache.multi_get(["a", "x", "c"]) == [b"1", None, b"3"]
        assert await cache.multi_get([]) == []
        assert await cache.exists("b")
        assert [await cache.delete("b"), await cache.delete("b")] == [1, 0]
        assert await cache.get("b") is None


# What cannot be used is set aside


def text_file(path: Path) -> str:
    path.write_text("Remember the milk.\n" * 100)
    return "file is not a database"


def database_of_another_program(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        file.executescript("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('mirror.example.com');")
    return "another program"


def database_with_another_id(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        file.executescript("PRAGMA application_id = 42; CREATE TABLE documents (slot TEXT);")
    return "another program"


def without_its_table(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA}; CREATE TABLE other (a);")
    return "no such table"


def half_a_header(path: Path) -> str:
    path.write_bytes(b"SQLite format 3\x00\x10\x00")
    return "file is not a database"


@pytest.mark.parametrize("make", [text_file, database_of_another_program, database_with_another_id, without_its_table, half_a_header])
async def test_a_file_that_is_not_ours_is_set_aside_whole_and_a_new_one_begun(path: Path, make: Callable[[Path], str]) -> None:
    why = make(path)
    before = path.read_bytes()
    with capture_logs() as logs:
        async with working(path):
            pass
    assert events(logs) == ["store-set-aside"]
    assert why in logs[0]["why"]
    (name,) = aside(path)
    assert path.with_name(name).read_bytes() == before
    assert logs[0]["renamed_to"] == str(path.with_name(name))


def make_of_another_release(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA + 1}")


async def test_a_release_with_another_schema_keeps_its_file_and_ours_begins_with_its_documents(path: Path) -> None:
    await fill(path, 20)
    make_of_another_release(path)
    before = path.read_bytes()
    beside = path.with_name(f"{path.name}.schema-{SCHEMA}")
    with capture_logs() as logs:
        for _ in range(3):
            async with working(path) as store:
                assert all([await store.get(Room.PAGE, f"default/{number}") is not None for number in range(20)])
    assert events(logs) == []
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, beside.name]
    assert beside.stat().st_mode & 0o777 == 0o600


async def test_a_release_whose_file_keeps_no_documents_as_ours_does_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA + 1}; CREATE TABLE new (a);")
    before = path.read_bytes()
    with capture_logs() as logs:
        async with working(path):
            pass
    assert events(logs) == []
    assert path.read_bytes() == before
    assert aside(path) == []


async def test_files_of_ours_that_nobody_has_changed_for_a_month_are_removed_and_no_other(path: Path) -> None:
    await fill(path, 1)
    make_of_another_release(path)
    old, young, foreign = (path.with_name(f"{path.name}.set-aside-{name}") for name in ("old", "young", "foreign"))
    for each in (old, young):
        each.write_bytes(path.read_bytes())
    Path(f"{old}-wal").write_bytes(b"of the old one")
    database_with_another_id(foreign)
    month_ago = time.time() - 31 * 86400
    for each in (path, old, Path(f"{old}-wal"), foreign):
        os.utime(each, (month_ago, month_ago))
    async with working(path):
        pass
    assert sorted(each.name for each in path.parent.iterdir()) == sorted([f"{path.name}.schema-{SCHEMA}", young.name, foreign.name])


async def test_an_empty_file_is_simply_used(path: Path) -> None:
    path.touch()
    with capture_logs() as logs:
        async with working(path):
            pass
    assert events(logs) == []
    assert aside(path) == []


async def test_the_companions_of_a_file_that_is_set_aside_go_with_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as in_use:
        in_use.executescript("PRAGMA journal_mode = WAL; CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('a');")
        async with working(path):
            pass
        names = aside(path)
        assert [name.rpartition("Z")[2] for name in names] == ["", "-shm", "-wal"]
        with closing(sqlite3.connect(path.with_name(names[0]))) as file:
            assert file.execute("SELECT url FROM bookmarks").fetchall() == [("a",)]


def smash(path: Path, first: int, size: int) -> None:
    """Overwrites the middle of the file, and takes away the log that would hide it."""
    with path.open("r+b") as file:
        file.seek(first)
        file.write(os.urandom(size))
        file.flush()


@pytest.mark.parametrize("sound", [0.01, 0.95])
async def test_a_file_damaged_further_on_never_gives_wrong_documents_and_is_set_aside_when_it_shows(path: Path, sound: float) -> None:
    await fill(path, 300)
    size = path.stat().st_size
    smash(path, int(size * sound), size)
    with capture_logs() as logs:
        async with working(path) as store:
            for number in range(300):
                found = await store.get(Room.PAGE, f"default/{number}")
                assert found is None or len(found) == 3000
            store.put(Room.PAGE, "default/5", b"again", HOUR)
    assert "store-set-aside" in events(logs)
    assert len(aside(path)) == 1


@pytest.mark.parametrize("doing", ["get", "put"])
async def test_damage_in_the_middle_of_work_costs_what_was_kept_but_nothing_fails(path: Path, doing: str) -> None:
    await fill(path, 300)
    with capture_logs() as logs:
        async with working(path) as store:
            assert await store.get(Room.PAGE, "default/299") is not None
            smash(path, 0, path.stat().st_size)
            if doing == "get":
                for number in range(300):
                    await store.get(Room.PAGE, f"default/{number}")
            else:
                for number in range(300):
                    store.put(Room.PAGE, f"default/{number}", b"new", HOUR)
                await eventually(store)
                assert await store.get(Room.PAGE, "default/7") == b"new"
    assert "store-set-aside" in events(logs)
    assert len([name for name in aside(path) if name.endswith("Z")]) == 1


async def test_a_file_cut_off_in_the_middle_of_work_is_set_aside(path: Path) -> None:
    await fill(path, 300)
    with capture_logs() as logs:
        async with working(path) as store:
            os.truncate(path, 4096 * 3)
            for number in range(300):
                await store.get(Room.PAGE, f"default/{number}")
            store.put(Room.PAGE, "default/7", b"new", HOUR)
    assert "store-set-aside" in events(logs)


@pytest.mark.parametrize("replace", [False, True])
async def test_a_file_removed_or_replaced_under_a_running_store_is_opened_anew(path: Path, replace: bool) -> None:
    with capture_logs() as logs:
        async with working(path) as store:
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
            await eventually(store)
            for each in path.parent.iterdir():
                each.unlink()
            if replace:
                await fill(path, 3)
            store.put(Room.PAGE, "default/numpy", b"numpy", HOUR)
            await eventually(store)
            assert (await store.get(Room.PAGE, "default/1") is not None) == replace
        async with store_at(path) as store:
            assert await store.get(Room.PAGE, "default/numpy") == b"numpy"
    assert events(logs) == ["store-away", "store-back"]
    assert aside(path) == []


async def test_where_files_are_damaged_again_and_again_no_more_are_set_aside_before_the_folder_fills(path: Path) -> None:
    async with SqliteCache(path, LARGE) as cache:
        await cache.connect()
        for _ in range(5):
            await cache.set_aside("it is damaged")
        with pytest.raises(OSError, match="5 files were set aside"):
            await cache.set_aside("it is damaged")
    assert len([name for name in aside(path) if name.endswith("Z")]) == 5


# Where nothing can be written, the memory is all


@pytest.fixture
def folder_without_rights() -> Iterator[Path]:
    """A folder in which this process may not write; to root everything is allowed, so root steps down for it."""
    folder = Path(tempfile.mkdtemp(prefix="mirrormend-test-"))
    (folder / "store.sqlite3").write_text("somebody's notes")
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def works_from_memory(path: Path) -> list[object]:
    with capture_logs() as logs:
        async with store_at(path, memory=1_000_000) as store:
            assert store.stats.backend is BackendState.AWAY
            assert not await store.ready()
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
            await asyncio.sleep(0.3)
            assert await store.get(Room.PAGE, "default/tornado") == b"page"
    return events(logs)


async def test_where_a_foreign_file_cannot_be_set_aside_it_stays_and_the_memory_is_all(folder_without_rights: Path) -> None:
    path = folder_without_rights / "store.sqlite3"
    assert await works_from_memory(path) == ["store-away", "store-closed-early"]
    assert path.read_text() == "somebody's notes"


async def test_where_no_file_can_be_made_the_memory_is_all_with_one_warning(folder_without_rights: Path) -> None:
    assert await works_from_memory(folder_without_rights / "deeper/store.sqlite3") == ["store-away", "store-closed-early"]


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/store.sqlite3", "/proc/mirrormend/store.sqlite3"])
async def test_what_can_hold_no_file_is_left_alone(place: str) -> None:
    assert await works_from_memory(Path(place)) == ["store-away", "store-closed-early"]


async def test_a_folder_in_the_place_of_the_file_is_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("all of it")
    assert await works_from_memory(path) == ["store-away", "store-closed-early"]
    assert (path / "thesis.txt").read_text() == "all of it"


async def test_a_place_that_becomes_usable_is_used_from_then_on(path: Path) -> None:
    path.mkdir()
    async with working(path) as store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        await asyncio.sleep(0.1)
        path.rmdir()
    async with store_at(path) as store:
        assert await store.get(Room.PAGE, "default/tornado") == b"page"


# The bound on the disk


async def test_the_disk_bound_holds_and_the_longest_unused_documents_leave_first(path: Path) -> None:
    async with store_at(path, disk_limit=1_000_000) as store:
        for number in range(90):
            store.put(Room.PAGE, f"default/{number}", os.urandom(10_000), HOUR)
        await eventually(store)
        for number in range(10):
            assert await store.get(Room.PAGE, f"default/{number}") is not None
        for number in range(90, 130):
            store.put(Room.PAGE, f"default/{number}", os.urandom(10_000), HOUR)
            await eventually(store)
        there = {number for number in range(130) if await store.get(Room.PAGE, f"default/{number}") is not None}
        with closing(sqlite3.connect(path)) as file:
            (kept,) = file.execute("SELECT sum(length(content)) FROM documents").fetchone()
    assert kept <= 1_000_000
    assert set(range(10)) <= there
    assert set(range(100, 130)) <= there
    assert not set(range(10, 30)) & there
    assert path.stat().st_size < 2_000_000


async def test_a_document_larger_than_the_disk_bound_is_not_kept_and_leaves_no_older_one_behind(path: Path) -> None:
    async with store_at(path, disk_limit=100_000) as store:
        store.put(Room.PAGE, "default/small", b"small", HOUR)
        store.put(Room.PAGE, "default/large", b"still small", HOUR)
        await eventually(store)
        store.put(Room.PAGE, "default/large", os.urandom(200_000), HOUR)
        await eventually(store)
        assert await store.get(Room.PAGE, "default/small") == b"small"
        assert await store.get(Room.PAGE, "default/large") is None


async def test_expired_documents_leave_the_file(path: Path) -> None:
    now = 1_000_000.0
    backend = SqliteBackend(path, LARGE, clock=lambda: now)
    async with Store(BoundedMemory(0), backend, clock=lambda: now) as store:
        for number in range(600):
            store.put(Room.PAGE, f"default/{number}", b"page", 100.0)
        store.put(Room.PAGE, "default/stays", b"page", 1_000_000.0)
        await eventually(store)
        now += 10_000.0
        for number in range(5):
            store.put(Room.PAGE, "default/other", b"%d" % number, 1_000_000.0)
            await eventually(store)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT slot FROM documents ORDER BY slot").fetchall() == [("page/default/other",), ("page/default/stays",)]


async def test_a_full_disk_refuses_and_nothing_fails(path: Path) -> None:
    backend = SqliteBackend(path, LARGE)
    async with Store(BoundedMemory(10_000_000), backend, linger_alone=0.0) as store:
        store.put(Room.PAGE, "default/renewed", b"old", HOUR)
        await eventually(store)
        # SQLite's own bound on the file fails as a full disk does.
        writer = backend._cache._file._writer
        assert writer is not None
        writer.execute("PRAGMA max_page_count = 12")
        with capture_logs() as logs:
            for key in ("default/1", "default/2", "default/renewed"):
                store.put(Room.PAGE, key, os.urandom(100_000), HOUR)
                await asyncio.sleep(0.1)
            assert (store.stats.backend, store.stats.lost, store.stats.pending) == (BackendState.REFUSING, 0, 3)
            assert len(await store.get(Room.PAGE, "default/1") or b"") == 100_000
            async with store_at(path) as other:
                assert await other.get(Room.PAGE, "default/renewed") is None
            writer.execute("PRAGMA max_page_count = 1000000")
            # Nobody needs to put anything: what was refused is tried again.
            await eventually(store)
            async with store_at(path) as other:
                for key in ("default/1", "default/2", "default/renewed"):
                    assert len(await other.get(Room.PAGE, key) or b"") == 100_000
    assert events(logs) == ["store-refuses", "store-accepts-again"]


async def test_a_file_that_is_read_only_from_the_start_is_read_and_written_once_it_can_be(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path, 20)
    monkeypatch.setattr(reach, "_LOOK_AFTER", 0.05)
    opened = os.open

    def read_only(at: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(at, flags, *mode)

    # A file system that is read-only, as far as root can have one.
    monkeypatch.setattr(os, "open", read_only)
    async with store_at(path, memory=10_000_000) as store:
        assert all([await store.get(Room.PAGE, f"default/{number}") is not None for number in range(20)])
        store.put(Room.PAGE, "default/new", b"new", HOUR)
        await eventually(store, BackendState.REFUSING)
        lease, _ = await store.acquire("page/default/0", 5.0)
        assert lease is not None
        assert store.stats.failures == 0
        monkeypatch.setattr(os, "open", opened)
        await eventually(store)
    async with store_at(path) as store:
        assert await store.get(Room.PAGE, "default/new") == b"new"


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_READONLY_DIRECTORY])
async def test_a_disk_that_is_full_at_the_start_or_a_folder_that_takes_nothing_leaves_the_file_readable(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path, 20)
    monkeypatch.setattr(reach, "_LOOK_AFTER", 0.05)

    def refused(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("as it would be")
        error.sqlite_errorcode = code
        raise error

    with monkeypatch.context() as full:
        full.setattr(sqlite_file, "prepare", refused)
        store = store_at(path, memory=10_000_000)
        await store.open()
        assert all([await store.get(Room.PAGE, f"default/{number}") is not None for number in range(20)])
        store.put(Room.PAGE, "default/new", b"new", HOUR)
        await eventually(store, BackendState.REFUSING)
    await eventually(store)
    await store.close()


# Several at once


async def test_reading_does_not_wait_for_a_writer_of_another_process(path: Path) -> None:
    await fill(path, 20)
    with capture_logs() as logs:
        async with store_at(path) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                store.put(Room.PAGE, "default/tornado", b"page", HOUR)
                await asyncio.sleep(0.1)
                start = time.monotonic()
                for number in range(20):
                    assert await store.get(Room.PAGE, f"default/{number}") is not None
                assert await store.get(Room.PAGE, "default/tornado") == b"page"
                assert time.monotonic() - start < 0.5
                await asyncio.sleep(1.5)
                assert (store.stats.backend, store.stats.pending) == (BackendState.READY, 1)
                other.execute("ROLLBACK")
            await eventually(store)
    assert events(logs) == []


async def test_closing_while_another_process_holds_the_file_takes_a_bounded_time(path: Path) -> None:
    await fill(path, 1)
    store = Store(BoundedMemory(0), SqliteBackend(path, LARGE), close_within=0.3)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        start = time.monotonic()
        with capture_logs() as logs:
            await store.close()
        assert time.monotonic() - start < 2.0
    assert events(logs) == ["store-closed-early"]
    await asyncio.sleep(1.2)


PROCESS = """
import asyncio, hashlib, sys
from pathlib import Path
from proxy.config.sections import StoreSection
from proxy.store import Room, open_store

async def main(path, name, count):
    async with open_store(StoreSection(location=f"sqlite:{path}"), shared=True) as store:
        print("ready" if await store.ready() else "away", flush=True)
        number = 0
        while number < count:
            content = hashlib.sha512(f"{name} {number}".encode()).digest() * 800
            document = hashlib.sha256(content).digest() + content
            store.put(Room.PAGE, f"{name}/{number % 50}", document, 3600.0)
            number += 1
            if number % 5 == 0:
                await asyncio.sleep(0.001)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
"""


def started(path: Path, name: str, count: float) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-W", "error", "-c", PROCESS, str(path), name, str(count)], stdout=subprocess.PIPE, text=True)


async def whole(path: Path, names: list[str]) -> int:
    """Counts the documents that are there, and asserts that each one is whole."""
    found = 0
    async with store_at(path) as store:
        for name in names:
            for number in range(50):
                document = await store.get(Room.PAGE, f"{name}/{number}")
                if document is not None:
                    assert document[:32] == hashlib.sha256(document[32:]).digest()
                    found += 1
    return found


async def test_killed_in_the_middle_of_writing_it_leaves_a_sound_file_with_whole_documents(path: Path) -> None:
    for attempt in range(3):
        process = started(path, "killed", float("inf"))
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            await asyncio.sleep(0.2 + attempt * 0.07)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with capture_logs() as logs:
            assert await whole(path, ["killed"]) > 0
        assert events(logs) == []
        with closing(sqlite3.connect(path)) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert aside(path) == []


def test_connections_that_begin_a_new_file_at_the_same_moment_do_not_fail_each_other(tmp_path: Path) -> None:
    def begin(folder: Path) -> None:
        file = DocumentFile(folder / "store.sqlite3", LARGE)
        gate.wait()
        file.open()
        file.close_writer()

    gate = threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        for attempt in range(8):
            for outcome in [threads.submit(begin, tmp_path / str(attempt)) for _ in range(8)]:
                outcome.result()


async def test_processes_that_start_at_once_share_one_new_file(path: Path) -> None:
    names = ["one", "two", "three", "four"]
    processes = [started(path, name, 200) for name in names]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert outputs == ["ready\n"] * 4
    assert await whole(path, names) == 200
    assert aside(path) == []
