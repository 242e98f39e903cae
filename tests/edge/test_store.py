"""What the store promises, over memory, a SQLite file and a real Redis alike."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from proxy.config.sections import StoreSection
from proxy.store import BackendState, Room, Store, open_store
from proxy.store.backend import Backend
from proxy.store.envelope import seal
from proxy.store.memory import BoundedMemory
from proxy.store.pending import Change
from proxy.store.redis import RedisBackend
from proxy.store.sqlite.backend import SqliteBackend
from tests.redis_server import RedisServer

HOUR = 3600.0


class Now:
    """A clock that goes where it is told; it starts at the time that it is, since Redis has a clock of its own, by which all go."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds


@dataclass
class World:
    """A place for documents; every store opened on it finds what an earlier one left there, if the place outlives it."""

    name: str
    make: Callable[[Now], Backend] | None
    now: Now = field(default_factory=Now)

    def store(self, memory: int = 10_000_000) -> Store:
        return Store(BoundedMemory(memory, clock=self.now), self.backend(), clock=self.now, linger=0.0, linger_alone=0.0)

    def backend(self) -> Backend | None:
        return None if self.make is None else self.make(self.now)

    @property
    def outlives(self) -> bool:
        return self.make is not None


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


def world_called(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if name == "memory":
        return World("memory", None)
    if name == "sqlite":
        return World("sqlite", lambda now: SqliteBackend(tmp_path / "store.sqlite3", 100_000_000, clock=now))
    server: RedisServer = request.getfixturevalue("redis_server")
    with Redis(port=server.port) as control:
        control.flushall()
    return World("redis", lambda now: RedisBackend(server.url, clock=now))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return world_called(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A place that outlives the process."""
    return world_called(request.param, request, tmp_path)


async def written(store: Store) -> None:
    async with asyncio.timeout(10):
        while store.stats.pending:  # noqa: ASYNC110 - the store has no event for it, and needs none
            await asyncio.sleep(0.002)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311 - it only has to be incompressible


DOCUMENTS = {
    "empty": b"",
    "short": b"page",
    "text": b"numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.whl\n" * 10_000,
    "noise": noise(3_000_000),
    "zeros": bytes(5_000_000),
    "looks-like-ours": seal(b"a document in a document", written=1.0, expires=2.0),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_a_document_can_be_got_at_once_and_after_it_was_written(world: World, kind: str) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", DOCUMENTS[kind], HOUR)
        assert await store.get(Room.PAGE, "default/tornado") == DOCUMENTS[kind]
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") == DOCUMENTS[kind]


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_documents_survive_a_restart_where_the_place_does(world: World, kind: str) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", DOCUMENTS[kind], HOUR)
    async with world.store() as store:
        assert await store.get(Room.PAGE, "default/tornado") == (DOCUMENTS[kind] if world.outlives else None)


@pytest.mark.parametrize(
    "key", ["default/über", "default/日本語", "default/🐍", "default/nul\0byte", "default/lone\udc80", "", " ", "x" * 5000]
)
async def test_any_text_is_a_key(world: World, key: str) -> None:
    async with world.store() as store:
        store.put(Room.VERDICTS, key, key.encode("utf-8", "replace"), HOUR)
        await written(store)
        assert await store.get(Room.VERDICTS, key) == key.encode("utf-8", "replace")
        assert await store.get(Room.VERDICTS, key + "x") is None
    async with world.store() as store:
        assert (await store.get(Room.VERDICTS, key) is not None) == world.outlives


async def test_rooms_and_keys_do_not_mix(world: World) -> None:
    async with world.store() as store:
        for room in Room:
            for key in ("default/a", "default/ab", "Default/a"):
                store.put(room, key, f"{room} {key}".encode(), HOUR)
        await written(store)
        for room in Room:
            for key in ("default/a", "default/ab", "Default/a"):
                assert await store.get(room, key) == f"{room} {key}".encode()


async def test_the_last_put_wins_at_once_and_for_good(world: World) -> None:
    async with world.store() as store:
        for number in range(200):
            store.put(Room.VERDICTS, "default/tornado", str(number).encode(), HOUR)
            assert await store.get(Room.VERDICTS, "default/tornado") == str(number).encode()
            if number % 10 == 0:
                await asyncio.sleep(0)
        await written(store)
        assert await store.get(Room.VERDICTS, "default/tornado") == b"199"
    if world.outlives:
        async with world.store() as store:
            assert await store.get(Room.VERDICTS, "default/tornado") == b"199"


async def test_what_is_forgotten_is_gone_at_once_and_for_good(world: World) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        store.put(Room.VERDICTS, "default/tornado", b"verdicts", HOUR)
        await written(store)
        store.forget(Room.PAGE, "default/tornado")
        store.forget(Room.PAGE, "default/never-there")
        assert await store.get(Room.PAGE, "default/tornado") is None
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") is None
        assert await store.get(Room.VERDICTS, "default/tornado") == b"verdicts"
    async with world.store() as store:
        assert await store.get(Room.PAGE, "default/tornado") is None


async def test_what_was_forgotten_can_be_put_again(world: World) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", b"one", HOUR)
        store.forget(Room.PAGE, "default/tornado")
        store.put(Room.PAGE, "default/tornado", b"two", HOUR)
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") == b"two"


async def test_a_document_is_gone_when_its_time_is_over_wherever_it_lies(world: World) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/in-memory", b"page", 100.0)
        await written(store)
        store.put(Room.PAGE, "default/waiting", b"page", 100.0)
        world.now.seconds += 99.0
        assert await store.get(Room.PAGE, "default/in-memory") == b"page"
        assert await store.get(Room.PAGE, "default/waiting") == b"page"
        world.now.seconds += 1.0
        assert await store.get(Room.PAGE, "default/in-memory") is None
        assert await store.get(Room.PAGE, "default/waiting") is None
    if world.name == "redis":
        # By its clock, which is the one that counts, no time has passed.
        return
    async with world.store() as store:
        assert await store.get(Room.PAGE, "default/in-memory") is None


@pytest.mark.parametrize("keep", [0.0, -1.0, float("nan")])
async def test_a_document_to_keep_for_no_time_is_forgotten(world: World, keep: float) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", b"old", HOUR)
        await written(store)
        store.put(Room.PAGE, "default/tornado", b"new", keep)
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") is None


async def test_a_document_may_be_kept_for_ever(world: World) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", b"page", float("inf"))
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") == b"page"


async def test_a_document_larger_than_the_memory_is_still_kept_behind_it(world: World) -> None:
    async with world.store(memory=1000) as store:
        store.put(Room.PAGE, "default/small", b"small", HOUR)
        store.put(Room.PAGE, "default/large", noise(5000), HOUR)
        assert await store.get(Room.PAGE, "default/large") == noise(5000)
        await written(store)
        assert await store.get(Room.PAGE, "default/small") == b"small"
        assert await store.get(Room.PAGE, "default/large") == (noise(5000) if world.outlives else None)
        assert store.stats.memory_bytes <= 1000


async def test_the_memory_bound_holds_under_ten_thousand_documents(world: World) -> None:
    async with world.store(memory=200_000) as store:
        for number in range(10_000):
            store.put(Room.PAGE, f"default/project-{number}", b"%d" % number, HOUR)
            if number % 500 == 0:
                await asyncio.sleep(0)
                assert store.stats.memory_bytes <= 200_000
        await written(store)
        assert 0 < store.stats.memory_bytes <= 200_000
        assert store.stats.lost == 0
        assert await store.get(Room.PAGE, "default/project-9999") == b"9999"
        assert await store.get(Room.PAGE, "default/project-0") == (b"0" if world.outlives else None)


async def test_changing_what_was_put_afterwards_changes_nothing(world: World) -> None:
    async with world.store() as store:
        document = bytearray(b"page")
        store.put(Room.PAGE, "default/tornado", document, HOUR)  # type: ignore[arg-type]  # what a careless caller may do
        document[:] = b"eggs"
        assert await store.get(Room.PAGE, "default/tornado") == b"page"


async def test_a_closed_store_gives_and_takes_nothing_and_closes_again_quietly(world: World) -> None:
    store = world.store()
    async with store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        assert await store.ready()
    assert await store.get(Room.PAGE, "default/tornado") is None
    store.put(Room.PAGE, "default/tornado", b"later", HOUR)
    assert store.stats.pending == 0
    assert not await store.ready()
    await store.close()


async def test_before_it_is_opened_it_works_from_memory_and_nothing_is_lost(world: World) -> None:
    store = world.store()
    store.put(Room.PAGE, "default/tornado", b"page", HOUR)
    assert await store.get(Room.PAGE, "default/tornado") == b"page"
    assert not await store.ready()
    async with store:
        await written(store)
        assert await store.get(Room.PAGE, "default/tornado") == b"page"


async def test_it_counts_what_it_does(world: World) -> None:
    async with world.store() as store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        assert (store.stats.pending, store.stats.pending_bytes > 4) == (1, True)
        await store.get(Room.PAGE, "default/tornado")
        await store.get(Room.PAGE, "default/absent")
        await written(store)
        stats = store.stats
        assert (stats.documents, stats.hits, stats.misses, stats.pending, stats.pending_bytes, stats.lost) == (1, 1, 1, 0, 0, 0)
        assert stats.backend is (BackendState.READY if world.outlives else BackendState.ABSENT)


async def test_a_lease_is_granted(world: World) -> None:
    async with world.store() as store:
        lease, _ = await store.acquire("refresh/default/tornado", 5.0)
        assert lease is not None
        await lease.release()
        await lease.release()
        assert (await store.acquire("refresh/default/tornado", 5.0))[0] is not None


async def test_nothing_is_logged_where_nothing_is_wrong(world: World) -> None:
    with capture_logs() as logs:
        async with world.store() as store:
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
            await written(store)
    assert logs == []


# What only a place that outlives the process can do


class Counting:
    """A backend that works as the one in it, and counts."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.batches: list[list[str]] = []
        self.reads = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        self.reads += 1
        return await self._backend.read(slots)

    async def write(self, changes: Sequence[Change]) -> None:
        self.batches.append([change.slot for change in changes])
        await self._backend.write(changes)


def counting(world: World, *, linger: float = 0.02) -> tuple[Store, Counting]:
    backend = world.backend()
    assert backend is not None
    counts = Counting(backend)
    return Store(BoundedMemory(10_000_000, clock=world.now), counts, clock=world.now, linger=linger, linger_alone=linger), counts  # type: ignore[arg-type]  # by __getattr__


async def test_a_lease_is_held_by_one_among_those_that_share_the_place(lasting: World) -> None:
    async with lasting.store() as one, lasting.store() as other:
        lease, _ = await one.acquire("page/default/tornado", 60.0)
        assert lease is not None
        assert (await other.acquire("page/default/tornado", 60.0))[0] is None
        assert (await other.acquire("page/default/jupyter", 60.0))[0] is not None
        await lease.release()
        brief, _ = await other.acquire("page/default/tornado", 0.05)
        assert brief is not None
        await asyncio.sleep(0.1)
        lasting.now.seconds += 0.1
        assert (await one.acquire("page/default/tornado", 60.0))[0] is not None, "the time of the other one is over"
        await brief.release()
        assert (await other.acquire("page/default/tornado", 60.0))[0] is None, "what is released too late takes nothing away"


async def test_a_thousand_puts_of_one_document_are_one_write(lasting: World) -> None:
    store, counts = counting(lasting, linger=0.3)
    async with store:
        for number in range(1000):
            store.put(Room.VERDICTS, "default/tornado", str(number).encode(), HOUR)
            await asyncio.sleep(0)
        store.put(Room.VERDICTS, "default/numpy", b"numpy", HOUR)
        await written(store)
    assert counts.batches == [["verdicts/default/tornado", "verdicts/default/numpy"]]
    async with lasting.store() as store:
        assert await store.get(Room.VERDICTS, "default/tornado") == b"999"


async def test_where_no_replica_could_read_it_a_document_waits_for_others_but_neither_for_the_end_nor_while_there_are_many(
    lasting: World,
) -> None:
    backend = lasting.backend()
    assert backend is not None
    counts = Counting(backend)
    memory = BoundedMemory(100_000_000, clock=lasting.now)
    store = Store(memory, counts, clock=lasting.now, linger=0.0, linger_alone=60.0)  # type: ignore[arg-type]  # by __getattr__
    async with store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        if store.shared:
            await written(store)
            return
        await asyncio.sleep(0.1)
        assert counts.batches == []
        store.put(Room.PAGE, "default/large", bytes(17 * 1024 * 1024), HOUR)
        await written(store)
        store.put(Room.PAGE, "default/numpy", b"page", HOUR)
        await asyncio.sleep(0.1)
        assert store.stats.pending == 1
    assert [slot for batch in counts.batches for slot in batch] == ["page/default/tornado", "page/default/large", "page/default/numpy"]


async def test_the_memory_is_asked_first(lasting: World) -> None:
    store, counts = counting(lasting)
    async with store:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        await written(store)
        for _ in range(100):
            assert await store.get(Room.PAGE, "default/tornado") == b"page"
        assert counts.reads == 0
    store, counts = counting(lasting)
    async with store:
        for _ in range(100):
            assert await store.get(Room.PAGE, "default/tornado") == b"page"
        assert counts.reads == 1


async def test_what_another_replica_wrote_is_seen_after_a_while_and_what_it_forgot_too(lasting: World) -> None:
    async with lasting.store() as one, lasting.store() as two:
        one.put(Room.PAGE, "default/tornado", b"one", HOUR)
        await written(one)
        assert await two.get(Room.PAGE, "default/tornado") == b"one"
        lasting.now.seconds += 1.0
        one.put(Room.PAGE, "default/tornado", b"two", HOUR)
        await written(one)
        lasting.now.seconds += 100.0
        assert await two.get(Room.PAGE, "default/tornado") == b"two"
        one.forget(Room.PAGE, "default/tornado")
        await written(one)
        lasting.now.seconds += 100.0
        assert await two.get(Room.PAGE, "default/tornado") is None


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(b"mend\x02" + seal(b"page", written=1.0, expires=9e9)[5:], id="of another version"),
        pytest.param(b"\x80\x04\x95pickle", id="of another program"),
        pytest.param(seal(b"page" * 1000, written=1.0, expires=9e9)[:-3], id="cut off"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_what_is_not_understood_is_absent_and_can_be_replaced(lasting: World, foreign: bytes) -> None:
    backend = lasting.backend()
    assert backend is not None
    await backend.connect()
    await backend.write([Change("page/default/tornado", lasting.now(), lasting.now() + HOUR, sealed=foreign)])
    await backend.close()
    with capture_logs() as logs:
        async with lasting.store() as store:
            assert await store.get(Room.PAGE, "default/tornado") is None
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
    assert logs == []
    async with lasting.store() as store:
        assert await store.get(Room.PAGE, "default/tornado") == b"page"


async def test_what_is_put_or_forgotten_while_it_is_read_is_not_undone_by_the_read(lasting: World) -> None:
    async with lasting.store() as store:
        for number in range(100):
            store.put(Room.PAGE, f"default/{number}", b"old", HOUR)
    async with lasting.store() as store:
        reads = [asyncio.create_task(store.get(Room.PAGE, f"default/{number}")) for number in range(100)]
        await asyncio.sleep(0)
        for number in range(0, 100, 2):
            store.put(Room.PAGE, f"default/{number}", b"new", HOUR)
            store.forget(Room.PAGE, f"default/{number + 1}")
        assert await asyncio.gather(*reads) == [b"new", None] * 50
        await written(store)
        assert [await store.get(Room.PAGE, f"default/{number}") for number in range(100)] == [b"new", None] * 50


class Failing(Counting):
    """A backend that fails at one document in a way that nobody foresaw."""

    async def write(self, changes: Sequence[Change]) -> None:
        if any("poison" in change.slot for change in changes):
            raise RuntimeError("nobody foresaw this")
        await super().write(changes)


async def test_a_document_that_cannot_be_written_does_not_hold_up_the_others_for_ever(lasting: World) -> None:
    backend = lasting.backend()
    assert backend is not None
    failing = Failing(backend)
    with capture_logs() as logs:
        async with Store(BoundedMemory(10_000_000, clock=lasting.now), failing, clock=lasting.now) as store:  # type: ignore[arg-type]  # by __getattr__
            store.put(Room.PAGE, "default/poison", b"page", HOUR)
            await written(store)
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
            await written(store)
            assert (store.stats.lost, failing.batches) == (1, [["page/default/tornado"]])
    assert [log["event"] for log in logs] == ["store-batch-failed"]


async def test_what_comes_faster_than_it_can_be_written_is_bounded_and_the_newest_stays(world: World) -> None:
    with capture_logs() as logs:
        async with Store(BoundedMemory(10_000_000), world.backend(), pending_limit=100_000) as store:
            for number in range(100):
                store.put(Room.PAGE, f"default/{number}", noise(10_000), HOUR)
                assert store.stats.pending_bytes <= 100_000
            assert await store.get(Room.PAGE, "default/99") == noise(10_000)
            assert store.stats.lost == 100 - store.stats.pending
    assert [log["event"] for log in logs] == ["store-behind"]


@pytest.mark.parametrize("location", ["memory", "sqlite", "redis"])
async def test_the_settings_open_the_store_they_name(location: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if location == "sqlite":
        location = f"sqlite:{tmp_path}/deep/store.sqlite3"
    elif location == "redis":
        location = request.getfixturevalue("redis_server").url
    async with open_store(StoreSection(location=location)) as store:
        assert await store.ready()
        store.put(Room.PAGE, "default/opened", b"page", HOUR)
        await written(store)
        assert await store.get(Room.PAGE, "default/opened") == b"page"
