"""Replicas that share a store: what one learned the others need not ask, and none waits for one that is gone."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from proxy.index.keeper import Keeper, Kept
from proxy.index.project import Project
from proxy.index.replicas import Work
from proxy.server.context import GENERATIONS
from proxy.store.redis import RedisBackend
from tests.conftest import MakeClient
from tests.faults import artifactory_404, slow, status
from tests.mirror import BrokenMirror
from tests.redis_server import RedisServer
from tests.waiting import until

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
NAMES = ["demo-1.0-py3-none-any.whl", MAC, LINUX, "demo-2.0.tar.gz"]


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver, and takes its time."""
    for name in NAMES:
        mirror.add(name)
    mirror.fault("*", slow(0.02))
    mirror.fault(MAC, artifactory_404())
    return mirror


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A store that several processes share."""
    if request.param == "redis":
        return {"store": {"location": request.getfixturevalue("redis").url}}
    return {"store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}, "server": {"workers": 2}}


async def names(client: Any) -> list[str]:
    async with client.get("/simple/demo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}) as response:
        assert response.status == 200
        return [file["filename"] for file in (await response.json(content_type=None))["files"]]


async def metadata(client: Any, name: str) -> bytes:
    async with client.get(f"/files/demo/{name}.metadata") as response:
        assert response.status == 200, await response.text()
        content: bytes = await response.read()
        return content


async def test_a_cold_page_that_all_replicas_are_asked_for_costs_the_mirror_what_it_costs_one(
    stocked: BrokenMirror, app_client: MakeClient, store: dict[str, Any]
) -> None:
    replicas = [await app_client(**store) for _ in range(3)]
    pages = await asyncio.gather(*(names(replica) for replica in replicas for _ in range(5)))
    assert all(MAC not in page and LINUX in page for page in pages)
    assert len(stocked.asked_for("page:demo")) == 1
    # Each file once, and what a witness is looked for in while its own probe is under way: which one that is, the order of answers decides.
    heads = [each for each in stocked.asked if each.kind == "file" and each.method == "HEAD"]
    assert len(NAMES) <= len(heads) <= len(NAMES) + 3


async def test_metadata_is_read_once_among_the_replicas(stocked: BrokenMirror, app_client: MakeClient, store: dict[str, Any]) -> None:
    replicas = [await app_client(**store, probe={"ahead": False}) for _ in range(3)]
    await asyncio.gather(*(names(replica) for replica in replicas))
    read = await asyncio.gather(*(metadata(replica, NAMES[0]) for replica in replicas for _ in range(3)))
    assert len(set(read)) == 1
    ranged = [each for each in stocked.asked_for(NAMES[0]) if each.method == "GET" and each.range not in {None, "bytes=0-0"}]
    copies = stocked.asked_for(f"metadata:{NAMES[0]}")
    assert len(ranged) + len(copies) <= 2


async def test_what_a_replica_learned_another_one_serves_without_asking(
    stocked: BrokenMirror, app_client: MakeClient, store: dict[str, Any]
) -> None:
    first = await app_client(**store)
    assert MAC not in await names(first)
    await metadata(first, LINUX)
    await first.close()
    stocked.forget()
    second = await app_client(**store)
    assert MAC not in await names(second)
    await metadata(second, LINUX)
    assert stocked.asked == []


async def test_a_page_that_a_replica_had_confirmed_is_not_confirmed_again(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer
) -> None:
    now = [1_800_000_000.0]
    settings: dict[str, Any] = {"store": {"location": redis.url}, "upstream": {"fresh": 60}}
    one, other = [await app_client(lambda: now[0], **settings) for _ in range(2)]
    await names(one)
    await names(other)
    now[0] += 61
    stocked.forget()
    await names(one)
    assert len(stocked.asked_for("page:demo")) == 1
    await until(lambda: _pending(one) == 0)
    await names(other)
    assert len(stocked.asked_for("page:demo")) == 1


def _pending(client: Any) -> int:
    from proxy.server.operations import WATCH  # noqa: PLC0415 - as the application itself, late

    pending: int = client.app[WATCH]._store.stats.pending
    return pending


async def test_a_replica_that_died_in_the_middle_holds_up_the_others_only_until_its_turn_is_over(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = await app_client(store={"location": redis.url})
    await names(alive)
    with Redis(port=redis.port) as held:
        (page,) = [key for key in held.keys("*page*demo*") if b"lease" not in key]
        name = page.decode().partition("page/")[2]
        for work in (Work.PAGE, Work.FIRST, Work.REST):
            held.set(f"mirrormend:lease/{work.value}/{name}", "of one that died", px=600)
        held.delete(*[key for key in held.keys("*") if b"lease" not in key])
    other = await app_client(store={"location": redis.url})
    started = asyncio.get_running_loop().time()
    assert MAC not in await names(other)
    assert asyncio.get_running_loop().time() - started >= 0.4, "the turn of the one that died was waited for"


@pytest.mark.parametrize("ended_by", ["a reload", "the end of the server", "clients that leave"])
async def test_no_turn_outlives_the_work_it_was_for(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, ended_by: str
) -> None:
    for number in range(5):
        stocked.add(f"other{number}-1.0-py3-none-any.whl")
    stocked.fault("*", slow(0.5))
    stocked.fault("page:other0", slow(0.5))
    client = await app_client(store={"location": redis.url})

    async def ask(project: str) -> None:
        async with client.get(f"/simple/{project}/") as response:
            await response.read()

    asking = [asyncio.create_task(ask(name)) for name in ("demo", *(f"other{number}" for number in range(5)))]
    with Redis(port=redis.port) as control:
        await until(lambda: len(control.keys("*lease*")) >= 3)
        if ended_by == "a reload":
            generations = client.app[GENERATIONS]
            for _ in range(3):
                await generations.change(generations.current.settings)
            await asyncio.gather(*asking)
            stocked.fault("*", slow(0.0))
        elif ended_by == "the end of the server":
            for task in asking:
                task.cancel()
            await client.close()
        else:
            for task in asking:
                task.cancel()
        # One that is left ends by itself after one and a half seconds; what was in work is done within the one.
        started = asyncio.get_running_loop().time()
        while control.keys("*lease*"):
            await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - started < (1.2 if ended_by != "clients that leave" else 4.0)
    await asyncio.gather(*asking, return_exceptions=True)


async def test_a_turn_that_was_waited_for_is_given_back_if_nothing_can_be_read_then(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await app_client(store={"location": redis.url})
    assert MAC not in await names(client)
    with Redis(port=redis.port) as control:
        await until(lambda: not control.keys("*lease*"))
        (page,) = control.keys("*page/*demo*")
        turn = "mirrormend:lease/page/" + page.decode().partition("page/")[2].replace("demo", "other")
        control.set(turn, "of one that died", px=300)
        kept = Keeper.kept

        async def failing(self: Keeper, project: Project, *, patient: bool = False, anew: bool = False, whole: bool = True) -> Kept:
            if anew and waited():
                raise RuntimeError("as a task that is cancelled")
            return await kept(self, project, patient=patient, anew=anew, whole=whole)

        def waited() -> bool:
            return control.get(turn) not in {None, b"of one that died"}

        monkeypatch.setattr(Keeper, "kept", failing)
        async with client.get("/simple/other/") as response:
            assert response.status == 500
        await until(lambda: not control.keys("*lease*"), within=1.2)


async def test_a_cold_page_asks_a_distant_store_three_times_and_no_more(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(name: str) -> None:
        method = getattr(RedisBackend, name)

        async def counting(self: RedisBackend, *arguments: Any) -> Any:
            asked.append(name)
            return await method(self, *arguments)

        monkeypatch.setattr(RedisBackend, name, counting)

    client = await app_client(store={"location": redis.url})
    stocked.add("other-1.0-py3-none-any.whl")
    async with client.get("/simple/other/") as response:
        assert response.status == 200
    await until(lambda: _pending(client) == 0)
    await asyncio.sleep(0.2)
    for name in ("read", "lock"):
        counted(name)
    assert MAC not in await names(client)
    # The turn for the page with all that is kept of it, and that for the first probes with what others learned meanwhile; what is left
    # over goes on behind the page.
    assert asked[:2] == ["lock", "lock"]
    assert len(asked) <= 6


@pytest.mark.parametrize("how", ["stopped", "hung"])
async def test_without_the_store_each_goes_on_alone_and_comes_back_by_itself(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, how: str
) -> None:
    one, other = [await app_client(store={"location": redis.url}, upstream={"fresh": 0}) for _ in range(2)]
    await names(one)
    if how == "stopped":
        redis.stop()
    else:
        redis.signal(signal.SIGSTOP)
    assert MAC not in await names(one)
    assert MAC not in await names(other)
    if how == "stopped":
        redis.start()
    else:
        redis.signal(signal.SIGCONT)
    with Redis(port=redis.port) as back:
        async with asyncio.timeout(40):
            while not back.keys("*page*demo*"):
                await names(one)
                await asyncio.sleep(0.1)


async def test_a_token_of_a_client_is_not_shared_with_replicas(stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer) -> None:
    client = await app_client(store={"location": redis.url})
    async with client.get("/simple/demo/", headers={"Authorization": "Bearer of-one-client"}) as response:
        assert response.status == 200
    with Redis(port=redis.port) as kept:
        stored = b"".join(kept.get(key) or b"" for key in kept.keys("*") if kept.type(key) == b"string")
        assert b"of-one-client" not in stored
        assert not [key for key in kept.keys("*") if b"page/" in key and b"lease" not in key]


async def test_a_replica_of_another_release_takes_nothing_that_it_does_not_understand(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer
) -> None:
    one = await app_client(store={"location": redis.url})
    await names(one)
    await until(lambda: _pending(one) == 0)
    with Redis(port=redis.port) as kept:
        for key in kept.keys("*"):
            sealed = kept.get(key)
            if sealed is not None and sealed.startswith(b"mend"):
                kept.set(key, sealed[:4] + bytes([99]) + sealed[5:])
    other = await app_client(store={"location": redis.url})
    stocked.forget()
    assert MAC not in await names(other)
    assert len(stocked.asked_for("page:demo")) == 1


async def test_a_failure_is_no_replicas_page(stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer) -> None:
    stocked.fault("page:demo", status(404))
    replicas = [await app_client(store={"location": redis.url}) for _ in range(2)]
    for replica in replicas:
        async with replica.get("/simple/demo/") as response:
            assert response.status == 404
