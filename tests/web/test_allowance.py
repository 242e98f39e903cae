"""What nobody waits for is bounded for a mirror as a whole, however many pages are asked for."""

import asyncio

import pytest

from proxy.core.verdict.budget import BUDGETS, MirrorKind
from proxy.index import Index
from proxy.server.context import GENERATIONS
from tests.conftest import Client, MakeClient
from tests.mirror import BrokenMirror
from tests.waiting import at_rest, eventually

SLOW = 0.001
"""A rate at which nothing comes back while a test runs."""


def index_of(client: Client) -> Index:
    assert client.app is not None
    return next(iter(client.app[GENERATIONS].current.indexes.values()))


def stock(mirror: BrokenMirror, projects: int, releases: int) -> list[str]:
    names = [f"demo{number}" for number in range(projects)]
    for name in names:
        for release in range(releases):
            mirror.add(f"{name}-{release + 1}.0-py3-none-any.whl")
    return names


def asked_about(mirror: BrokenMirror) -> set[str]:
    return {each.name.removeprefix("metadata:") for each in mirror.asked if each.kind in {"file", "metadata"}}


async def at_rest_but_for_the_background(mirror: BrokenMirror) -> None:
    """Wait until the mirror is asked nothing for a while: what is left waits for the allowance."""
    seen = -1

    async def quiet() -> bool:
        nonlocal seen
        before, seen = seen, len(mirror.asked)
        await asyncio.sleep(0.7)
        return before == len(mirror.asked)

    await eventually(quiet, within=30)


async def test_pages_in_a_burst_share_one_budget_and_leave_half_of_it(mirror: BrokenMirror, app_client: MakeClient) -> None:
    names = stock(mirror, projects=20, releases=12)
    client = await app_client(probe={"budget": 30, "rate": SLOW, "ahead": False})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest_but_for_the_background(mirror)
    awaited = {f"{name}-12.0-py3-none-any.whl" for name in names}
    assert awaited <= asked_about(mirror)
    assert len(asked_about(mirror) - awaited) <= 30


async def test_a_page_that_is_asked_for_alone_has_the_whole_budget(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, projects=1, releases=25)
    client = await app_client(probe={"budget": 25, "rate": SLOW, "patience": 5})
    page = await client.get("/simple/demo0/")
    assert page.status == 200
    assert len(asked_about(mirror)) == 25


async def test_the_rest_comes_later_as_the_budget_comes_back_and_each_file_once(mirror: BrokenMirror, app_client: MakeClient) -> None:
    names = stock(mirror, projects=8, releases=10)
    client = await app_client(probe={"budget": 10, "rate": 200, "ahead": False})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest(index_of(client).tasks)
    heads = [each.name for each in mirror.asked if each.kind == "file" and each.method == "HEAD"]
    assert len(asked_about(mirror)) == 80
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize(("server", "most"), [("Nexus/3.70", 2), ("Artifactory/7.90", 61), (None, 61)])
async def test_a_product_that_says_what_it_is_is_asked_as_its_kind_bears_whatever_its_address(
    mirror: BrokenMirror, app_client: MakeClient, server: str | None, most: int
) -> None:
    mirror.server_header = server
    stock(mirror, projects=1, releases=60)
    client = await app_client(upstream={"kind": "auto"}, probe={"patience": 5})
    assert "/artifactory/" in mirror.url
    assert (await client.get("/simple/demo0/")).status == 200
    await at_rest(index_of(client).tasks)
    assert 0 < len(asked_about(mirror)) <= most
    assert (len(asked_about(mirror)) >= 60) is (most >= 60)


async def test_a_lock_at_a_costly_mirror_costs_what_all_pages_share(mirror: BrokenMirror, app_client: MakeClient) -> None:
    names = stock(mirror, projects=20, releases=3)
    client = await app_client(upstream={"kind": "nexus"}, probe={"budget": 4})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest(index_of(client).tasks)
    read = {each.name.removeprefix("metadata:") for each in mirror.asked if each.kind == "metadata" or each.method == "GET"}
    probed = {each.name for each in mirror.asked if each.kind == "file" and each.method == "HEAD"}
    assert len(probed - read) <= 4
    shared = BUDGETS[MirrorKind.NEXUS].shared
    assert shared is not None
    assert shared <= 10
