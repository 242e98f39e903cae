"""The store over a Redis that is slow, full, gone, and comes back; the servers are real."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from proxy.config.sections import StoreSection
from proxy.store import BackendState, Room, Store, StoreMisconfigured, open_store
from proxy.store.circuit import Circuit
from proxy.store.memory import BoundedMemory
from proxy.store.redis import RedisBackend
from tests.redis_server import RedisServer

HOUR = 3600.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def store_on(server: RedisServer, *, first_pause: float = 0.1) -> Store:
    return Store(BoundedMemory(1_000_000), RedisBackend(server.url), circuit=Circuit(first_pause=first_pause, longest_pause=0.4))


async def eventually(store: Store, state: BackendState, *, written: bool = True) -> None:
    async with asyncio.timeout(10):
        while store.stats.backend is not state or (written and store.stats.pending):  # noqa: ASYNC110 - the store has no event for it, and needs none
            await asyncio.sleep(0.01)


async def test_without_its_redis_the_store_works_alone_with_one_warning_and_joins_it_when_it_comes(server: RedisServer) -> None:
    with capture_logs() as logs:
        async with store_on(server) as store:
            store.put(Room.PAGE, "default/tornado", b"page", HOUR)
            await asyncio.sleep(0.5)
            assert await store.get(Room.PAGE, "default/tornado") == b"page"
            assert await store.get(Room.PAGE, "default/absent") is None
            assert not await store.ready()
            assert store.stats.backend is BackendState.AWAY
            server.start()
            await eventually(store, BackendState.READY)
            assert await store.ready()
        async with store_on(server) as other:
            assert await other.get(Room.PAGE, "default/tornado") == b"page"
    assert [(log["event"], log["log_level"]) for log in logs if log["log_level"] != "debug"] == [
        ("store-away", "warning"),
        ("store-back", "info"),
    ]


async def test_a_redis_that_is_stopped_and_started_again_is_used_again_and_gets_what_was_put_meanwhile(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as store:
        store.put(Room.PAGE, "default/before", b"before", HOUR)
        await eventually(store, BackendState.READY)
        server.stop()
        store.put(Room.PAGE, "default/during", b"during", HOUR)
        store.put(Room.PAGE, "default/forgotten", b"forgotten", HOUR)
        await eventually(store, BackendState.AWAY, written=False)
        store.forget(Room.PAGE, "default/forgotten")
        assert await store.get(Room.PAGE, "default/before") == b"before"
        assert await store.get(Room.PAGE, "default/during") == b"during"
        assert await store.get(Room.PAGE, "default/forgotten") is None
        server.start()
        await eventually(store, BackendState.READY)
        async with store_on(server) as other:
            assert await other.get(Room.PAGE, "default/during") == b"during"
            assert await other.get(Room.PAGE, "default/forgotten") is None


async def test_a_redis_that_hangs_holds_up_one_answer_for_a_moment_and_the_next_ones_not_at_all(server: RedisServer) -> None:
    server.start()
    async with store_on(server, first_pause=5.0) as store:
        server.signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            assert await asyncio.gather(*(store.get(Room.PAGE, f"default/{number}") for number in range(200))) == [None] * 200
            assert time.monotonic() - start < 1.0
            assert store.stats.backend is BackendState.SLOW
            assert len([task for task in asyncio.all_tasks() if task.get_name() == "store-quick"]) == 1
            start = time.monotonic()
            for number in range(200):
                store.put(Room.PAGE, f"default/{number}", b"page", HOUR)
                assert await store.get(Room.PAGE, f"default/{number}") == b"page"
                assert (await store.acquire(f"{number}", 5))[0] is not None
            assert await store.get(Room.VERDICTS, "default/absent") is None
            assert time.monotonic() - start < 0.5
        finally:
            server.signal(signal.SIGCONT)


async def test_closing_while_redis_hangs_takes_a_bounded_time_and_says_what_was_not_written(server: RedisServer) -> None:
    server.start()
    store = Store(BoundedMemory(1_000_000), RedisBackend(server.url), close_within=0.5)
    await store.open()
    server.signal(signal.SIGSTOP)
    try:
        store.put(Room.PAGE, "default/tornado", b"page", HOUR)
        start = time.monotonic()
        with capture_logs() as logs:
            await store.close()
        assert time.monotonic() - start < 2.0
        assert [log["unwritten"] for log in logs if log["event"] == "store-closed-early"] == [1]
    finally:
        server.signal(signal.SIGCONT)


async def test_a_redis_that_is_back_just_when_the_store_closes_still_gets_what_waits(server: RedisServer) -> None:
    store = store_on(server, first_pause=60.0)
    await store.open()
    store.put(Room.PAGE, "default/tornado", b"page", HOUR)
    server.start()
    await store.close()
    async with store_on(server) as other:
        assert await other.get(Room.PAGE, "default/tornado") == b"page"


async def test_a_full_redis_is_read_is_warned_of_once_and_holds_nothing_outdated(server: RedisServer) -> None:
    server.start()
    backend = RedisBackend(server.url)
    backend.trust = -1.0  # so that it is asked each time
    with Redis(port=server.port) as control, capture_logs() as logs:
        async with Store(BoundedMemory(1_000_000), backend) as store:
            store.put(Room.PAGE, "default/kept", b"kept", HOUR)
            store.put(Room.PAGE, "default/renewed", b"old", HOUR)
            await eventually(store, BackendState.READY)
            control.config_set("maxmemory", "1")
            store.put(Room.PAGE, "default/renewed", b"new", HOUR)
            await eventually(store, BackendState.REFUSING, written=False)
            store.put(Room.PAGE, "default/another", b"another", HOUR)
            await asyncio.sleep(0.1)
            assert await store.get(Room.PAGE, "default/kept") == b"kept"
            assert await store.get(Room.PAGE, "default/renewed") == b"new"
            assert (store.stats.lost, store.stats.pending) == (0, 2)
            async with store_on(server) as other:
                assert await other.get(Room.PAGE, "default/kept") == b"kept"
                assert await other.get(Room.PAGE, "default/renewed") is None
            control.config_set("maxmemory", "0")
            # Nobody needs to put anything: what was refused is tried again.
            await eventually(store, BackendState.READY)
        async with store_on(server) as other:
            assert await other.get(Room.PAGE, "default/renewed") == b"new"
            assert await other.get(Room.PAGE, "default/another") == b"another"
    assert [log["event"] for log in logs] == ["store-refuses", "store-accepts-again"]


async def test_many_answers_at_once_share_the_connections(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as store:
        for number in range(150):
            store.put(Room.PAGE, f"default/{number}", str(number).encode(), HOUR)
        await eventually(store, BackendState.READY)
    async with store_on(server) as other:
        found = await asyncio.gather(*(other.get(Room.PAGE, f"default/{number}") for number in range(150)))
        assert found == [str(number).encode() for number in range(150)]
        assert other.stats.backend is BackendState.READY


async def test_an_answer_that_is_given_up_leaves_no_connection_in_disorder(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as store:
        for number in range(50):
            store.put(Room.PAGE, f"default/{number}", str(number).encode(), HOUR)
        await eventually(store, BackendState.READY)
    async with store_on(server) as other:
        tasks = [asyncio.create_task(other.get(Room.PAGE, f"default/{number}")) for number in range(50)]
        await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in range(50):
            assert await other.get(Room.PAGE, f"default/{number}") == str(number).encode()


async def test_documents_leave_redis_by_themselves_when_their_time_is_over(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as store:
        store.put(Room.PAGE, "default/tornado", b"page", 100.0)
        await eventually(store, BackendState.READY)
    with Redis(port=server.port) as control:
        assert sorted(control.keys()) == [b"mirrormend:identity", b"mirrormend:page/default/tornado", b"mirrormend:writes"]
        assert 90_000 < control.pttl("mirrormend:page/default/tornado") <= 100_000


async def test_a_lease_is_held_by_one_replica_until_it_is_released_or_its_time_is_over(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as one, store_on(server) as two:
        lease, _ = await one.acquire("refresh/default/tornado", 60)
        assert lease is not None
        assert (await two.acquire("refresh/default/tornado", 60))[0] is None
        assert (await two.acquire("refresh/default/numpy", 60))[0] is not None
        await lease.release()
        brief, _ = await two.acquire("refresh/default/tornado", 0.05)
        assert brief is not None
        await asyncio.sleep(0.1)
        taken_over, _ = await one.acquire("refresh/default/tornado", 60)
        assert taken_over is not None
        # Released too late: it must not take the lease from who has it now.
        await brief.release()
        assert (await two.acquire("refresh/default/tornado", 60))[0] is None


async def test_a_lease_is_granted_while_redis_is_away_and_releasing_it_never_fails(server: RedisServer) -> None:
    server.start()
    async with store_on(server) as store:
        held, _ = await store.acquire("refresh/default/tornado", 60)
        assert held is not None
        server.stop()
        again, _ = await store.acquire("refresh/default/tornado", 60)
        assert again is not None
        await again.release()
        await held.release()


async def test_a_password_from_the_address_is_used_and_never_logged(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--requirepass", "geheim/+%").start()
    try:
        with capture_logs() as logs:
            right = f"redis://:geheim%2F%2B%25@127.0.0.1:{server.port}/0"
            async with open_store(StoreSection(location=right)) as store:
                assert await store.ready()
            wrong = f"redis://:falsch@127.0.0.1:{server.port}/0"
            async with open_store(StoreSection(location=wrong)) as store:
                assert not await store.ready()
                store.put(Room.PAGE, "default/tornado", b"page", HOUR)
                assert await store.get(Room.PAGE, "default/tornado") == b"page"
        assert "store-away" in [log["event"] for log in logs]
        assert "geheim" not in str(logs)
        assert "falsch" not in str(logs)
    finally:
        server.stop()


def test_an_address_that_cannot_be_understood_is_said_without_its_password() -> None:
    with pytest.raises(StoreMisconfigured) as refusal:
        open_store(StoreSection(location="redis://:geheim@cache.example.com:notaport/0"))
    assert "geheim" not in str(refusal.value)


def test_without_redis_py_the_refusal_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "proxy.store.redis", None)
    with pytest.raises(StoreMisconfigured, match=r"mirrormend\[redis\]"):
        open_store(StoreSection(location="redis://127.0.0.1:6379/0"))
