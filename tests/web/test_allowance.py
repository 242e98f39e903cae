"""What nobody waits for is bounded for a mirror as a whole, however many pages are asked for."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from proxy.core.identity import SHARED
from proxy.core.page import File
from proxy.core.verdict.budget import BUDGETS, MirrorKind
from proxy.index import Index
from proxy.index.drawing import Drawing
from proxy.index.project import Progress
from proxy.server.context import GENERATIONS
from proxy.server.reload import reload
from proxy.upstream import Mirror
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.mirror import BrokenMirror
from tests.waiting import at_rest, eventually
from tests.web.test_reload import app_of, settings

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
    # A page that the budget has enough for is awaited as a whole.
    names = stock(mirror, projects=20, releases=31)
    client = await app_client(probe={"budget": 30, "rate": SLOW, "ahead": False})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest_but_for_the_background(mirror)
    awaited = {f"{name}-31.0-py3-none-any.whl" for name in names}
    assert awaited <= asked_about(mirror)
    assert len(asked_about(mirror) - awaited) <= 30


async def test_pages_that_list_few_files_are_awaited_whole_until_five_budgets_of_files_are_asked_about_within_a_minute(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    clock.stop()
    names = stock(mirror, projects=12, releases=5)
    client = await app_client(clock, probe={"budget": 5, "rate": 1e-6, "ahead": False})
    assert index_of(client).mirror.take(5) == 5
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest_but_for_the_background(mirror)
    whole = [name for name in names if all(f"{name}-{release}.0-py3-none-any.whl" in asked_about(mirror) for release in range(1, 6))]
    assert len(whole) == 5
    clock.passes(3600)
    later = [f"later-{release}.0-py3-none-any.whl" for release in range(1, 6)]
    for wheel in later:
        mirror.add(wheel)
    await client.get("/simple/later/")
    await at_rest_but_for_the_background(mirror)
    assert set(later) <= asked_about(mirror)


async def test_what_pages_that_list_few_files_are_asked_for_is_missing_to_what_nobody_waits_for(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    names = stock(mirror, projects=3, releases=10)
    client = await app_client(probe={"budget": 10, "rate": SLOW, "ahead": False})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest_but_for_the_background(mirror)
    assert len(asked_about(mirror)) == 30
    assert index_of(client).mirror.left() == 0


async def test_what_is_known_of_pages_that_list_few_files_counts_against_no_bound(mirror: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    names = stock(mirror, projects=12, releases=5)
    client = await app_client(clock, upstream={"fresh": 1}, probe={"budget": 5, "rate": 1000, "ahead": False})
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest(index_of(client).tasks)
    clock.passes(61)
    await asyncio.gather(*(client.get(f"/simple/{name}/") for name in names))
    await at_rest(index_of(client).tasks)
    assert index_of(client)._schedule._small.begin(25, 5)


async def test_a_mirror_where_a_probe_is_a_download_has_not_spent_what_is_too_little_for_a_release(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    for platform in ("macosx_11_0_arm64", "manylinux_2_17_x86_64", "win_amd64"):
        mirror.add(f"base-1.0-cp312-cp312-{platform}.whl")
    client = await app_client(upstream={"kind": "nexus"}, probe={"budget": 3, "rate": SLOW, "ahead": False})
    await client.get("/simple/base/")
    await at_rest(index_of(client).tasks)
    allowance = index_of(client).mirror
    allowance.take(allowance.left(keep=1) or 0)
    assert allowance.left() == 1
    project = index_of(client)._projects.known(SHARED, "base")
    assert project is not None
    assert project.known is not None
    project.verdicts.clear()
    index_of(client)._schedule.hurry(project, project.known.page, project.known.page.files[0])
    assert allowance.left() == 1


async def test_the_file_at_which_the_allowance_runs_dry_is_left_for_others_to_ask_about() -> None:
    class OneLeft:
        tokens = 1

        def take(self, files: int, *, keep: int = 0) -> int:
            taken = min(files, self.tokens - keep)
            self.tokens -= taken
            return taken

    progress = Progress(began=0.0)
    files = (SimpleNamespace(key="a"), SimpleNamespace(key="b"), SimpleNamespace(key="c"))
    drawn = Drawing(cast("Mirror", OneLeft()), cast("tuple[File, ...]", files), lambda: 0, progress=progress)
    assert [file.key for file in drawn] == ["a"]
    assert progress.begun == {"a"}


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


async def test_reading_the_settings_again_gives_back_nothing_of_what_was_spent(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.server_header = None
    sections = {"upstream": {"kind": "auto"}, "probe": {"rate": SLOW, "ahead": False}}
    stock(mirror, projects=2, releases=1)
    client = await app_client(**sections)
    await client.get("/simple/demo0/")
    await at_rest(index_of(client).tasks)
    index_of(client).mirror.take(300)
    left = index_of(client).mirror.left()
    assert left
    await reload(app_of(client), lambda: settings(mirror, **sections))
    assert index_of(client).mirror.kind_is_sure
    assert index_of(client).mirror.left() == left
    await client.get("/simple/demo1/")
    assert index_of(client).mirror.left() in {left, left - 1}
