"""The oracle of replicas sees each promise that is broken: the store, or the proxy over it, is made to break it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from proxy.index import Index
from proxy.index.keeper import Keeper
from proxy.store.store import Room, Store
from tests.simulation.history import Drawn
from tests.simulation.replica_history import run_replicas
from tests.simulation.replica_stage import ReplicaBehaviour, ReplicaStage
from tests.simulation.shared_backend import BackendClient, SharedBackend

SEEDS = range(6)


def kinds(behaviours: Sequence[Drawn] = (), *, seeds: Sequence[int] = SEEDS, replicas: int | None = None) -> set[str]:
    """Return the kinds of promises that are broken in some histories."""
    return set().union(*(run_replicas(seed, behaviours, replicas=replicas).tally.kinds for seed in seeds))


def losing(room: str) -> Callable[[ReplicaStage], ReplicaBehaviour]:
    """Return a store that keeps nothing of this kind, and says that it does."""

    def made(stage: ReplicaStage) -> ReplicaBehaviour:
        keep = stage.place.set

        def forgetful(slot: str, content: bytes | None, seconds: float) -> None:
            if not slot.startswith(room):
                keep(slot, content, seconds)

        stage.place.set = forgetful  # type: ignore[method-assign]
        return ReplicaBehaviour(stage)

    return made


def test_replicas_over_a_sound_store_break_no_promise() -> None:
    assert kinds(seeds=range(12)) == set()


@pytest.mark.parametrize(("room", "kind"), [("page/", "page-lost"), ("metadata/", "metadata-lost")])
def test_it_sees_that_the_store_lacks_what_replicas_know(room: str, kind: str) -> None:
    assert kind in kinds([losing(room)])


def test_it_sees_that_the_store_lacks_verdicts() -> None:
    assert "verdict-lost" in kinds([losing("verdicts/"), "dead"])


def test_it_sees_that_the_store_has_an_older_page(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Store.put

    def once(self: Store, room: Room, key: str, document: bytes, keep: float) -> None:
        backend = self._reach._backend  # type: ignore[union-attr]
        if room is not Room.PAGE or f"{room}/{key}" not in backend._place.documents:
            put(self, room, key, document, keep)

    monkeypatch.setattr(Store, "put", once)
    assert "listing-lost" in kinds(["new-release"], seeds=range(12))


def test_it_sees_that_a_withdrawn_project_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    forget = Store.forget

    def unwilling(self: Store, room: Room, *arguments: Any) -> None:
        if room is not Room.PAGE:
            forget(self, room, *arguments)

    monkeypatch.setattr(Store, "forget", unwilling)
    assert "undead" in kinds(["withdrawn"], seeds=range(12))


@pytest.mark.parametrize(("behaviours", "seconds", "kind"), [([], 3.0, "store-waits"), (["replicas-killed"], 12.0, "lease-waits")])
def test_it_sees_that_a_page_waits(behaviours: list[str], seconds: float, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Index.page

    async def slow(self: Index, *arguments: Any) -> Any:
        await asyncio.sleep(seconds)
        return await page(self, *arguments)

    monkeypatch.setattr(Index, "page", slow)
    assert kind in kinds(behaviours, replicas=2)


def test_it_sees_that_leases_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    take = SharedBackend.take

    def for_long(self: SharedBackend, name: str, token: str, seconds: float, owner: BackendClient) -> bool:
        return take(self, name, token, seconds * 100, owner)

    monkeypatch.setattr(SharedBackend, "take", for_long)
    monkeypatch.setattr(SharedBackend, "release", lambda *_: None)
    assert "lease-left" in kinds(replicas=2)


@pytest.mark.parametrize(("behaviour", "kind"), [("store-blips", "blip"), ("store-refuses", "refusing"), ("store-away", "not-ready")])
def test_it_sees_that_a_store_is_left_alone_for_too_long(behaviour: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackendClient, "connect", BackendClient._never)
    assert kind in kinds([behaviour], seeds=range(12))


def test_it_sees_that_replicas_learn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Keeper, *_: Any) -> None:
        return None

    monkeypatch.setattr(Keeper, "take_over", nothing)
    assert "learned-twice" in kinds(replicas=2)


def test_it_sees_that_writing_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Store.open

    async def restless(self: Store) -> None:
        await opened(self)
        loop = asyncio.get_running_loop()

        def write() -> None:
            self.put(Room.PAGE, "again", b"and again", 1000.0)
            loop.call_later(10.0, write)

        write()

    monkeypatch.setattr(Store, "open", restless)
    assert "writes-on" in kinds()
