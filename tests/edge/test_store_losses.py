"""A store that loses what it was given, refuses to write, or goes away for a moment: what the proxy holds gets there in the end."""

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from proxy.store import BackendState, Room, Store, reach, restoring
from proxy.store.backend import BackendBusy
from proxy.store.circuit import Circuit
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change
from proxy.store.redis import RedisBackend
from proxy.store.sqlite.backend import SqliteBackend
from tests.clients import free_port
from tests.edge.distant import Distant
from tests.redis_server import RedisServer
from tests.waiting import until

HOUR = 3600.0
PATIENCE = RedisBackend.patience
KEYS = [f"default/{number}" for number in range(150)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def control(server: RedisServer) -> Iterator["Redis"]:
    with Redis(port=server.port) as control:
        yield control


@asynccontextmanager
async def on(
    server: RedisServer, *, clock: Callable[[], float] = time.time, url: str = "", memory: int = 10_000_000, patience: float = 3.0
) -> AsyncIterator[Store]:
    backend = RedisBackend(url or server.url, clock=clock)
    backend.patience = patience
    async with Store(BoundedMemory(memory, clock=clock), backend, clock=clock, linger=0.0) as store:
        yield store


@asynccontextmanager
async def at(path: Path) -> AsyncIterator[Store]:
    circuit = Circuit(first_pause=0.02, longest_pause=0.1)
    async with Store(BoundedMemory(10_000_000), SqliteBackend(path, 100_000_000), circuit=circuit, linger_alone=0.0) as store:
        yield store


async def filled(store: Store) -> None:
    for key in KEYS:
        store.put(Room.PAGE, key, key.encode() * 50, HOUR)
    await until(lambda: not store.stats.pending)


async def until_redis_has_all(control: "Redis") -> None:
    await until(lambda: len(control.keys("mirrormend:page/*")) == len(KEYS))


async def assert_has_all(store: Store) -> None:
    assert await store.get_many([(Room.PAGE, key) for key in KEYS]) == [key.encode() * 50 for key in KEYS]


@pytest.mark.parametrize("noticed_by", ["reading", "writing", "locking", "looking"])
async def test_what_an_emptied_redis_lost_is_written_again(
    server: RedisServer, control: "Redis", noticed_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if noticed_by == "looking":
        monkeypatch.setattr(reach, "_LOOK_AFTER", 0.05)
    async with on(server) as store:
        await filled(store)
        control.flushall()
        if noticed_by == "reading":
            assert await store.get(Room.VERDICTS, "default/0") is None
        elif noticed_by == "writing":
            store.put(Room.VERDICTS, "default/0", b"verdicts", HOUR)
        elif noticed_by == "locking":
            await store.acquire("page/default/0", 5.0)
        await until_redis_has_all(control)
        assert store.stats.restored == len(KEYS)
    async with on(server) as other:
        await assert_has_all(other)


async def test_a_redis_that_comes_back_empty_gets_what_the_proxy_holds(server: RedisServer) -> None:
    async with on(server) as store:
        await filled(store)
        server.stop()
        assert await store.get(Room.VERDICTS, "default/0") is None
        server.start()
        with Redis(port=server.port) as restarted:
            await until_redis_has_all(restarted)


async def test_a_document_that_redis_let_go_of_is_written_again_by_who_reads_it_and_once_only(
    server: RedisServer, control: "Redis"
) -> None:
    async with on(server) as store:
        await filled(store)
        for times in (1, 0):
            control.delete(f"mirrormend:page/{KEYS[0]}")
            assert await store.get(Room.PAGE, KEYS[0], anew=True) == KEYS[0].encode() * 50
            await until(lambda: not store.stats.pending)
            assert control.exists(f"mirrormend:page/{KEYS[0]}") == times, "a Redis that is too small is not written to without end"


async def test_what_others_wrote_later_is_not_undone_by_who_has_an_earlier_copy(server: RedisServer, control: "Redis") -> None:
    async with on(server) as one, on(server) as other:
        await filled(one)
        await assert_has_all(other)
        control.flushall()
        other.put(Room.PAGE, KEYS[0], b"later", HOUR)
        await until_redis_has_all(control)
        assert await one.get(Room.PAGE, KEYS[0], anew=True) == b"later"
        await asyncio.sleep(0.5)
        assert await one.get(Room.PAGE, KEYS[0], anew=True) == b"later"
        assert await other.get(Room.PAGE, KEYS[0], anew=True) == b"later"


async def test_of_two_that_restore_a_document_at_the_same_time_the_later_one_stays_whoever_is_slower(
    server: RedisServer, control: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "_AGAIN_AFTER", 0.5)
    write = RedisBackend.write
    async with on(server) as one, on(server) as other:
        await filled(one)
        await assert_has_all(other)
        other.put(Room.PAGE, KEYS[0], b"later", HOUR)
        await until(lambda: not other.stats.pending)

        async def slowly(self: RedisBackend, changes: Sequence[Change]) -> None:
            await asyncio.sleep(0.3 if self is one._reach._backend else 0.0)  # type: ignore[union-attr]
            await write(self, changes)

        monkeypatch.setattr(RedisBackend, "write", slowly)
        # Those used last are restored first.
        for each in (one, other):
            await each.get(Room.PAGE, KEYS[0])
        control.flushall()
        await asyncio.gather(*(each.get(Room.VERDICTS, "default/0") for each in (one, other)))
        await asyncio.sleep(2.0)
        async with on(server) as third:
            assert await third.get(Room.PAGE, KEYS[0]) == b"later"


@pytest.mark.parametrize("skew", [3600.0, -3600.0])
async def test_a_change_is_later_than_what_was_read_before_it_whatever_the_clocks_say(tmp_path: Path, skew: float) -> None:
    def store(clock: Callable[[], float]) -> Store:
        backend = SqliteBackend(tmp_path / "store.sqlite3", 100_000_000, clock=clock)
        return Store(BoundedMemory(10_000_000, clock=clock), backend, clock=clock, linger_alone=0.0)

    async with store(lambda: time.time() + skew) as one, store(time.time) as other:
        for number in range(3):
            for mine, theirs in ((one, other), (other, one)):
                document = f"{number} {mine is one}".encode()
                mine.put(Room.PAGE, "default/0", document, 10 * HOUR)
                await until(lambda mine=mine: not mine.stats.pending)  # type: ignore[misc]
                assert await theirs.get(Room.PAGE, "default/0", anew=True) == document


async def test_a_document_that_was_forgotten_on_purpose_stays_so_although_a_replica_has_a_copy(
    server: RedisServer, control: "Redis"
) -> None:
    async with on(server) as one, on(server) as other:
        await filled(one)
        await assert_has_all(other)
        one.forget(Room.PAGE, KEYS[0], HOUR)
        await until(lambda: not one.stats.pending)
        assert await other.get(Room.PAGE, KEYS[0], anew=True) is None
        # The knowledge of it outlives the store, too.
        control.flushall()
        assert await one.get(Room.VERDICTS, "default/0") is None
        await until_redis_has_all(control)
        async with on(server) as third:
            assert await third.get(Room.PAGE, KEYS[0]) is None
            assert await third.get(Room.PAGE, KEYS[1]) is not None


async def test_who_holds_more_than_the_memory_has_is_told_of_a_loss(server: RedisServer, control: "Redis") -> None:
    told = []
    async with on(server, memory=1) as store:
        stop = store.watch_losses(lambda: told.append(True))
        await filled(store)
        assert told == []
        control.flushall()
        assert await store.get(Room.PAGE, KEYS[0]) is None
        assert told == [True]
        stop()
        stop()


async def test_what_a_redis_with_an_earlier_state_lacks_is_written_again(server: RedisServer, control: "Redis") -> None:
    async with on(server) as store:
        for key in KEYS[:20]:
            store.put(Room.PAGE, key, key.encode() * 50, HOUR)
        await until(lambda: not store.stats.pending)
        control.save()
        await filled(store)
        server.stop()
        assert await store.get(Room.VERDICTS, "default/0") is None
        server.start()
        with Redis(port=server.port) as restarted:
            await until_redis_has_all(restarted)


async def test_a_redis_that_goes_back_to_an_earlier_state_unseen_is_noticed_by_what_it_counts(
    server: RedisServer, control: "Redis"
) -> None:
    async with on(server) as store:
        await filled(store)
        control.set("mirrormend:writes", "1")
        control.delete(*control.keys("mirrormend:page/*"))
        assert await store.get(Room.VERDICTS, "default/0") is None
        await until_redis_has_all(control)


async def test_two_redis_that_take_turns_at_one_address_are_not_given_everything_each_time(server: RedisServer, control: "Redis") -> None:
    async with on(server) as store:
        told = []
        store.watch_losses(lambda: told.append(True))
        await filled(store)
        for number in range(40):
            control.set("mirrormend:identity", f"the {number % 2}th")
            await store.get(Room.VERDICTS, f"default/{number}")
        await asyncio.sleep(0.1)
        assert told == [True]


@pytest.mark.parametrize("options", [("--rename-command", "TIME", ""), ("--rename-command", "EVAL", "")], ids=["TIME", "EVAL"])
async def test_a_redis_that_lacks_a_command_is_used_without_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    server = RedisServer(tmp_path, *options).start()
    try:
        async with on(server) as store:
            await filled(store)
            assert store.stats.backend is BackendState.READY
            lease, _ = await store.acquire("page/default/0", 5.0)
            assert lease is not None
            assert (await store.acquire("page/default/0", 5.0))[0] is None
            await lease.release()
            with Redis(port=server.port) as control:
                control.flushall()
                assert await store.get(Room.VERDICTS, "default/0") is None
                await until_redis_has_all(control)
            assert store.stats.failures == 0
    finally:
        server.stop()


async def test_a_redis_with_slots_of_a_cluster_is_used(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()
    try:
        with Redis(port=server.port) as control:
            control.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            await until(lambda: b"cluster_state:ok" in control.execute_command("CLUSTER", "INFO"))
        async with on(server) as store:
            await filled(store)
            lease, documents = await store.acquire("page/default/0", 5.0, [(Room.PAGE, key) for key in KEYS[:3]])
            assert lease is not None
            assert documents.answered
            assert store.stats.failures == 0
        async with on(server) as other:
            await assert_has_all(other)
    finally:
        server.stop()


@pytest.mark.parametrize("what", ["file", "folder", "replaced", "cut to nothing", "an earlier one", "its log"])
async def test_what_was_in_a_file_that_is_removed_or_replaced_is_written_again(tmp_path: Path, what: str) -> None:
    path = tmp_path / "folder" / "store.sqlite3"
    earlier = tmp_path / "earlier"
    async with at(path) as store:
        store.put(Room.PAGE, KEYS[0], KEYS[0].encode() * 50, HOUR)
    shutil.copy(path, earlier)
    async with at(path) as store:
        await filled(store)
        if what == "folder":
            shutil.rmtree(path.parent)
        elif what == "its log":
            for each in path.parent.glob("*-*"):
                each.unlink()
        elif what == "cut to nothing":
            with path.open("r+b") as file:
                file.truncate(0)
        else:
            for each in path.parent.iterdir():
                each.unlink()
        if what == "replaced":
            path.write_bytes(b"")
        elif what == "an earlier one":
            shutil.copy(earlier, path)
        store.put(Room.VERDICTS, "default/0", b"verdicts", HOUR)
        # SQLite writes a log that it has lost to the file, so that nothing is missing there.
        missing = 0 if what == "its log" else len(KEYS) - 1
        await until(lambda: store.stats.restored >= missing and not store.stats.pending and store.stats.backend is BackendState.READY)
    async with at(path) as other:
        await assert_has_all(other)


@pytest.mark.parametrize("how", ["full", "read-only", "forbidden"])
async def test_a_redis_that_only_refuses_to_write_is_read_and_gets_all_of_it_when_it_takes_it_again(
    server: RedisServer, control: "Redis", how: str
) -> None:
    def refuse(refuses: bool) -> None:
        if how == "full":
            control.config_set("maxmemory", "1" if refuses else "0")
        elif how == "read-only":
            control.execute_command("replicaof", *(("127.0.0.1", "1") if refuses else ("no", "one")))
        else:
            control.acl_setuser("default", enabled=True, nopass=True, categories=["+@all", "-@write" if refuses else "+@write"])

    async with on(server) as store:
        await filled(store)
        refuse(True)
        for number in range(90):
            store.put(Room.VERDICTS, f"default/{number}", b"%d" % number, HOUR)
        await until(lambda: store.stats.backend is BackendState.REFUSING)
        async with on(server, memory=0) as other:
            # A replica that starts now reads, and works alone where it would take a lease.
            await assert_has_all(other)
            lease, documents = await other.acquire("page/default/0", 5.0, [(Room.PAGE, KEYS[0])])
            assert lease is not None
            assert documents == [KEYS[0].encode() * 50]
            assert other.stats.backend is BackendState.READY
        assert store.stats.lost == 0
        refuse(False)
        await until(lambda: store.stats.backend is BackendState.READY and not store.stats.pending, within=20.0)
    async with on(server) as other:
        assert await other.get_many([(Room.VERDICTS, f"default/{number}") for number in range(90)]) == [b"%d" % n for n in range(90)]


async def test_a_file_that_cannot_be_written_is_read_and_a_lease_in_it_is_work_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    backend = SqliteBackend(path, 100_000_000, shared=True)
    async with Store(BoundedMemory(0), backend, linger=0.0) as store:
        await filled(store)
        writer = backend._cache._file._writer
        assert writer is not None
        writer.execute("PRAGMA query_only = ON")
        store.put(Room.VERDICTS, "default/0", b"verdicts", HOUR)
        await until(lambda: store.stats.backend is BackendState.REFUSING)
        await assert_has_all(store)
        lease, documents = await store.acquire("page/default/0", 5.0, [(Room.PAGE, KEYS[0])])
        assert lease is not None
        assert documents == [KEYS[0].encode() * 50]
        assert store.stats.failures == 0
        writer.execute("PRAGMA query_only = OFF")
        await until(lambda: store.stats.backend is BackendState.READY and not store.stats.pending)


async def test_a_blip_of_redis_is_over_in_two_seconds_however_many_calls_fail_in_it(server: RedisServer) -> None:
    async with on(server) as store:
        await filled(store)
        server.stop()
        with capture_logs() as logs:
            calls = [asyncio.create_task(store.get(Room.VERDICTS, f"default/{number}")) for number in range(200)]
            await until(lambda: store.stats.backend is BackendState.AWAY)
            await asyncio.sleep(0.5)
            server.start()
            await until(lambda: store.stats.backend is BackendState.READY, within=2.0)
            await asyncio.gather(*calls)
            assert await store.get(Room.VERDICTS, "default/absent") is None
            assert store.stats.backend is BackendState.READY
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["store-away"]


async def test_a_redis_that_is_frozen_for_half_a_second_is_used_again_within_two(server: RedisServer) -> None:
    async with on(server, patience=PATIENCE) as store:
        await filled(store)
        server.signal(signal.SIGSTOP)
        calls = [asyncio.create_task(store.get(Room.VERDICTS, f"default/{number}")) for number in range(200)]
        await asyncio.sleep(0.5)
        server.signal(signal.SIGCONT)
        await until(lambda: store.stats.backend is BackendState.READY, within=2.0)
        await asyncio.gather(*calls)
        assert store.stats.failures == 0


async def test_a_distant_redis_is_asked_once_for_all_that_is_wanted_and_one_that_is_too_far_not_waited_for(server: RedisServer) -> None:
    async with on(server) as store:
        await filled(store)
    async with Distant(server.port, delay=0.1) as distant, on(server, url=distant.url, patience=PATIENCE) as store:
        started = time.monotonic()
        await assert_has_all(store)
        lease, _ = await store.acquire("page/default/0", 5.0, [(Room.PAGE, key) for key in KEYS])
        assert lease is not None
        assert time.monotonic() - started < 0.35, "one round trip each"
        assert store.stats.backend is BackendState.READY
        distant.delay = 0.8
        started = time.monotonic()
        for number in range(20):
            await store.get(Room.VERDICTS, f"default/{number}")
            assert (await store.acquire(f"page/default/{number}", 5.0))[0] is not None
        assert time.monotonic() - started < 0.9, "only the first one waited, and for a moment"
        assert store.stats.backend is BackendState.SLOW
        assert await store.get_many([(Room.PAGE, KEYS[0])], anew=True, patient=True) == [KEYS[0].encode() * 50]
        distant.delay = 0.0
        await until(lambda: store.stats.backend is BackendState.READY, within=4.0)


async def test_a_document_of_the_same_time_that_is_damaged_does_not_take_the_place_of_ours(server: RedisServer, control: "Redis") -> None:
    async with on(server) as store:
        await filled(store)
        name = f"mirrormend:page/{KEYS[0]}"
        control.set(name, (control.get(name) or b"")[:-3])
        assert await store.get(Room.PAGE, KEYS[0], anew=True) == KEYS[0].encode() * 50


async def test_a_redis_whose_short_answers_are_quick_and_long_ones_late_is_not_tried_every_second(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = RedisBackend.read

    async def late(self: RedisBackend, slots: Sequence[str]) -> list[bytes | None]:
        await asyncio.sleep(0.3)
        return await read(self, slots)

    monkeypatch.setattr(RedisBackend, "read", late)
    async with on(server, patience=0.1) as store:
        with capture_logs() as logs:
            for _ in range(60):
                await store.get(Room.PAGE, "default/0", anew=True)
                await asyncio.sleep(0.1)
    assert 2 <= [log["event"] for log in logs].count("store-slow") <= 3, "after one second, two, four and so on"


async def test_a_read_that_failed_is_told_from_one_that_found_nothing(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on(server) as store:
        assert (await store.get_many([(Room.PAGE, "default/0")])).answered

        async def busy(self: RedisBackend, slots: Sequence[str]) -> list[bytes | None]:
            raise BackendBusy("somebody else is")

        monkeypatch.setattr(RedisBackend, "read", busy)
        assert not (await store.get_many([(Room.PAGE, "default/1")])).answered
        assert store.stats.backend is BackendState.READY


async def test_a_lease_ends_with_whoever_had_it(server: RedisServer, control: "Redis") -> None:
    async with on(server) as dead, on(server) as other:
        assert (await dead.acquire("page/default/0", 60.0))[0] is not None
        assert control.pttl("mirrormend:lease/page/default/0") <= 1500
        await asyncio.sleep(1.7)
        assert (await other.acquire("page/default/0", 60.0))[0] is None, "it is held for as long as it is wanted"
        for task in asyncio.all_tasks():
            if task.get_name() == "store-renew":
                task.cancel()
        await until(lambda: control.exists("mirrormend:lease/page/default/0") == 0, within=2.0)


async def test_a_lease_whose_taking_is_cancelled_is_given_back(server: RedisServer, control: "Redis") -> None:
    async with Distant(server.port, delay=0.2) as distant, on(server, url=distant.url) as store:
        taking = asyncio.create_task(store.acquire("page/default/0", 60.0))
        await until(lambda: control.exists("mirrormend:lease/page/default/0") == 1)
        taking.cancel()
        await until(lambda: control.exists("mirrormend:lease/page/default/0") == 0, within=1.0)


async def test_a_key_in_the_place_of_a_lease_that_would_never_end_is_none(server: RedisServer, control: "Redis") -> None:
    control.set("mirrormend:lease/page/default/0", "left by hand")
    control.rpush("mirrormend:lease/page/default/1", "of another type")
    async with on(server) as store:
        for number in range(2):
            assert (await store.acquire(f"page/default/{number}", 5.0))[0] is not None
            assert (await store.acquire(f"page/default/{number}", 5.0))[0] is None


async def test_a_key_of_another_type_is_no_document_and_does_not_turn_the_store_away(server: RedisServer, control: "Redis") -> None:
    control.rpush("mirrormend:page/default/0", "a", "list")
    control.rpush("mirrormend:identity", "a", "list")
    async with on(server) as store:
        assert await store.get(Room.PAGE, "default/0") is None
        store.put(Room.PAGE, "default/0", b"page", HOUR)
        await until(lambda: not store.stats.pending)
        assert store.stats.backend is BackendState.READY
    async with on(server) as other:
        assert await other.get(Room.PAGE, "default/0") == b"page"


@pytest.mark.parametrize("skew", [3600.0, -3600.0])
async def test_replicas_go_by_the_clock_of_redis(server: RedisServer, skew: float) -> None:
    async with on(server, clock=lambda: time.time() + skew) as wrong, on(server) as right:
        assert abs(wrong.now() - right.now()) < 1.0
        wrong.put(Room.PAGE, "default/0", b"first", 600.0)
        await until(lambda: not wrong.stats.pending)
        assert await right.get(Room.PAGE, "default/0") == b"first"
        right.put(Room.PAGE, "default/0", b"second", 600.0)
        await until(lambda: not right.stats.pending)
        assert await wrong.get(Room.PAGE, "default/0", anew=True) == b"second"
        right.forget(Room.PAGE, "default/0")
        await until(lambda: not right.stats.pending)
        assert await wrong.get(Room.PAGE, "default/0", anew=True) is None
