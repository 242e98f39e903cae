"""After the store lost what it had, or took nothing for a while, a new replica serves what the old one does, though the mirror is down."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from proxy.server.operations import WATCH
from proxy.store import BackendState, StoreStats
from tests.conftest import MakeClient
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror
from tests.redis_server import RedisServer
from tests.waiting import until as until_within

PROJECTS = [f"demo{number}" for number in range(6)]
until = partial(until_within, within=20.0)
TINY = 1
"""Bytes of documents in memory, so that only the index itself can give again what the store lost."""


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel of each project which it cannot deliver."""
    for project in PROJECTS:
        mirror.add(f"{project}-1.0-py3-none-any.whl")
        mirror.add(f"{project}-2.0-cp312-cp312-manylinux_2_28_x86_64.whl")
        mirror.add(f"{project}-2.0-cp312-cp312-macosx_11_0_arm64.whl")
        mirror.fault(f"{project}-2.0-cp312-cp312-macosx_11_0_arm64.whl", artifactory_404())
    return mirror


async def names(client: Any, project: str) -> list[str]:
    async with client.get(f"/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}) as response:
        assert response.status == 200, await response.text()
        return [file["filename"] for file in (await response.json(content_type=None))["files"]]


def stats(client: Any) -> StoreStats:
    found: StoreStats = client.app[WATCH]._store.stats
    return found


async def until_new_replica_has_all(make: Callable[[], Awaitable[Any]], stocked: BrokenMirror) -> None:
    """Assert that a replica that starts now, before a mirror that is down, serves each page without the dead file."""
    stocked.fault("*", status(503))
    for project in PROJECTS:
        stocked.fault(f"page:{project}", status(503))
    replica = await make()
    for project in PROJECTS:
        listed = await names(replica, project)
        assert len(listed) == 2, listed
        assert not any("macosx" in name for name in listed)


@pytest.mark.parametrize("memory", [TINY, 64 * 1024 * 1024])
@pytest.mark.parametrize("how", ["emptied", "restarted"])
async def test_redis_is_emptied(stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer, how: str, memory: int) -> None:
    settings: dict[str, Any] = {"store": {"location": redis.url, "memory_limit": memory}, "upstream": {"fresh": 0}}
    old = await app_client(**settings)
    for project in PROJECTS:
        assert len(await names(old, project)) == 2
    await until(lambda: not stats(old).pending)
    if how == "emptied":
        with Redis(port=redis.port) as control:
            control.flushall()
    else:
        redis.stop()
        redis.start()
        await until(lambda: stats(old).backend is BackendState.READY)
    # The pages are refreshed once, and the mirror has no newer ones.
    for project in PROJECTS:
        assert len(await names(old, project)) == 2
    with Redis(port=redis.port) as control:
        for kind in ("page", "verdicts"):
            await until(lambda kind=kind: len(control.keys(f"mirrormend:{kind}/*demo*")) == len(PROJECTS))  # type: ignore[misc]
    await until(lambda: not stats(old).pending)
    await until_new_replica_has_all(lambda: app_client(**settings), stocked)


@pytest.mark.parametrize("memory", [TINY, 64 * 1024 * 1024])
async def test_the_file_is_removed(stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path, memory: int) -> None:
    now = [1_800_000_000.0]
    path = tmp_path / "store.sqlite3"
    settings: dict[str, Any] = {"store": {"location": f"sqlite:{path}", "memory_limit": memory}, "upstream": {"fresh": 60}}
    old = await app_client(lambda: now[0], **settings)
    for project in PROJECTS:
        assert len(await names(old, project)) == 2
    await until(lambda: not stats(old).pending)
    for each in path.parent.glob("store.sqlite3*"):
        each.unlink()
    # Whatever is written next finds that the file is gone.
    stocked.add("other-1.0-py3-none-any.whl")
    await names(old, "other")
    await until(lambda: path.exists() and not stats(old).pending)
    now[0] += 61
    for project in PROJECTS:
        assert len(await names(old, project)) == 2
    await old.close()
    await until_new_replica_has_all(lambda: app_client(lambda: now[0], **settings), stocked)


async def test_what_is_learned_while_redis_is_full_is_there_once_it_takes_it(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer
) -> None:
    settings: dict[str, Any] = {"store": {"location": redis.url}}
    with Redis(port=redis.port) as control:
        control.config_set("maxmemory", "1")
        old = await app_client(**settings)
        for project in PROJECTS:
            assert len(await names(old, project)) == 2
        await until(lambda: stats(old).backend is BackendState.REFUSING)
        assert stats(old).failures == 0
        control.config_set("maxmemory", "0")
        await until(lambda: stats(old).backend is BackendState.READY and not stats(old).pending)
    assert stats(old).lost == 0
    await until_new_replica_has_all(lambda: app_client(**settings), stocked)


async def test_a_page_that_was_withdrawn_does_not_come_back_from_a_replica_that_still_has_it(
    stocked: BrokenMirror, app_client: MakeClient, redis: RedisServer
) -> None:
    now = [1_800_000_000.0]
    settings: dict[str, Any] = {"store": {"location": redis.url}, "upstream": {"fresh": 60}}
    old, other = [await app_client(lambda: now[0], **settings) for _ in range(2)]
    for project in PROJECTS:
        await names(old, project)
        await names(other, project)
    stocked.fault(f"page:{PROJECTS[0]}", status(404))
    for _ in range(2):
        # A denial counts once it is repeated after three minutes, while the mirror has another page.
        now[0] += 200
        async with old.get(f"/simple/{PROJECTS[0]}/") as response:
            answered = response.status
        await names(old, PROJECTS[1])
    assert answered == 404
    await until(lambda: not stats(old).pending)
    with Redis(port=redis.port) as control:
        control.flushall()
        now[0] += 61
        # Each finds that something is missing, and gives what it holds.
        for each in (other, old):
            await names(each, PROJECTS[1])
        await until(lambda: len(control.keys("mirrormend:page/*demo*")) == len(PROJECTS))
        # Both restore it at the same time, and which of them comes first is put right.
        await asyncio.sleep(3.0)
    await until(lambda: not stats(other).pending and not stats(old).pending)
    third = await app_client(lambda: now[0], **settings)
    async with third.get(f"/simple/{PROJECTS[0]}/") as response:
        assert response.status == 404
