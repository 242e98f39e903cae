"""What is known of projects: kept as long as it holds, by whoever has the say, and forgotten in time."""

import asyncio
import difflib
import gzip
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.config import Settings
from proxy.core.errors import UpstreamOverLimit
from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.identity import SHARED
from proxy.core.page import File, Page
from proxy.core.verdict.explain import explain
from proxy.core.verdict.judge import Cause, VerdictRules, judge
from proxy.core.verdict.proof import DENIALS
from proxy.core.verdict.settle import Policy, settle
from proxy.index import projects as projects_module
from proxy.index import serving as serving_module
from proxy.index.documents import PageDocument, decode, encode
from proxy.index.flights import Tasks
from proxy.index.keeper import Keeper
from proxy.index.project import Project
from proxy.index.projects import Projects
from proxy.server.context import GENERATIONS
from proxy.server.reload import reload
from proxy.store import Room, open_store
from proxy.upstream import FetchedPage, Packed, Validators
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import artifactory_404, hang, slow
from tests.mirror import BrokenMirror
from tests.waiting import at_rest, eventually
from tests.web.test_pages import names
from tests.web.test_reload import app_of, settings
from tests.wheels import make_wheel

OLD, MAC, LINUX = "demo-1.0-py3-none-any.whl", "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl", "demo-2.0-cp312-cp312-win_amd64.whl"
FILE = File(MAC, f"https://mirror.example.com/{MAC}")


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a wheel which it cannot deliver."""
    for name in (OLD, MAC, LINUX):
        mirror.add(name)
    mirror.fault(MAC, artifactory_404())
    return mirror


def index_of(client: Client) -> Any:
    return app_of(client)[GENERATIONS].current.indexes["default"]


async def test_a_file_that_was_put_in_the_place_of_a_dead_one_is_listed_at_once(stocked: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock)
    assert MAC not in await names(client)
    stocked.heal()
    stocked.add(MAC, make_wheel(MAC, payload=b"another build"))
    clock.passes(130)
    assert MAC in await names(client)


async def test_a_file_that_moved_is_not_denied_for_where_it_was(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(OLD)
    mirror.add(LINUX)
    mirror.add(MAC, path="before/" + MAC)
    gone = mirror.fault(MAC, artifactory_404())
    clock = Clock()
    client = await app_client(clock)
    assert MAC not in await names(client)
    mirror.heal(gone)
    mirror.add(MAC, path="after/" + MAC)
    clock.passes(130)
    assert MAC in await names(client)


async def test_an_answer_about_where_a_file_was_is_none_about_where_it_is(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(OLD)
    mirror.add(LINUX)
    mirror.add(MAC, path="before/" + MAC)
    clock = Clock()
    client = await app_client(clock)
    assert MAC in await names(client)
    index = index_of(client)
    project, before = await index.file("demo", MAC, SHARED)
    mirror.add(MAC, path="after/" + MAC)
    clock.passes(130)
    assert MAC in await names(client)
    verdict = project.verdicts[MAC]
    await index.correct(project, before, verdict.evidence)
    assert project.verdicts[MAC] is verdict


async def test_a_no_that_is_forgotten_does_not_come_back_from_a_replica() -> None:
    async with open_store(settings_store()) as store:
        keeper = Keeper(store, "mirror", pages_for=3600, verdicts_for=3600)
        ours, theirs = Project("demo", SHARED), Project("demo", SHARED)
        denied = Evidence(Asked.RANGE, 404, at=time.time() - 2000.0)
        for each in (ours, theirs):
            each.learn(FILE, judge(Cause.ABSENT, denied, None, proven=True, rules=VerdictRules()))
        ours.forget([MAC])
        keeper.keep(theirs)
        await keeper.catch_up(ours)
        assert ours.verdicts == {}
        again = msgspec.structs.replace(denied, at=time.time() - 1000.0)
        theirs.learn(FILE, judge(Cause.ABSENT, again, None, proven=True, rules=VerdictRules()))
        keeper.keep(theirs)
        await keeper.catch_up(ours)
        assert ours.verdicts == theirs.verdicts, "that is another answer"


@pytest.mark.parametrize(
    ("status", "age", "comes_back"), [(404, 3000.0, True), (404, 4000.0, False), (200, 4000.0, True), (200, 8000.0, False)]
)
async def test_what_the_store_has_longer_than_it_counts_does_not_come_back(status: int, age: float, comes_back: bool) -> None:
    async with open_store(settings_store()) as store:
        keeper = Keeper(store, "mirror", pages_for=3600, verdicts_for=7200, denials_for=3600)
        earlier, later = Project("demo", SHARED), Project("demo", SHARED)
        evidence = Evidence(Asked.RANGE, status, at=time.time() - age)
        cause = Cause.ABSENT if status == 404 else Cause.AVAILABLE
        earlier.learn(FILE, judge(cause, evidence, None, proven=True, rules=VerdictRules()))
        earlier.record(FILE, msgspec.structs.replace(evidence, asked=Asked.GET), Cause.BLOCKED)
        earlier.demand.note("1.0", time.time())
        keeper.keep(earlier)
        await keeper.catch_up(later)
        assert (MAC in later.verdicts) is comes_back
        assert (MAC in later.refusals) is (age < 7200)
        assert later.demand.asked == earlier.demand.asked
        assert later.stored_revision == later.revision, "there is nothing to be written again"


async def test_what_was_denied_weeks_ago_is_listed_again_however_lately_clients_asked_for_the_release(
    mirror: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    for release in range(20):
        for platform in ("macosx_11_0_arm64", "manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64"):
            mirror.add(f"demo-1.{release}-cp312-cp312-{platform}.whl")
    requiring = "names-1.0-py3-none-any.whl"
    mirror.add(requiring, make_wheel(requiring, requires_dist=["demo"]))
    for name in ("other", "another"):
        mirror.add(f"{name}-1.0-py3-none-any.whl")
    mirror.fault("*macosx*", artifactory_404())
    clock, kept = Clock(), {"store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}}
    client = await app_client(clock, **kept)
    await names(client)
    await at_rest(index_of(client).tasks)
    async with client.get("/files/demo/demo-1.19-cp312-cp312-manylinux_2_17_x86_64.whl") as response:
        assert response.status == 200
    assert len(await names(client)) == 60
    await client.close()
    mirror.heal()
    clock.passes(10 * 86400.0)
    clock.stop()
    client = await app_client(clock, **kept)
    # In a burst, a page waits for no more than it has to.
    for name in ("names", "other", "another"):
        async with client.get(f"/simple/{name}/") as response:
            assert response.status == 200
    async with client.get(f"/files/names/{requiring}.metadata") as response:
        assert response.status == 200
    assert len(await names(client)) == 80


@pytest.mark.parametrize("coding", ["gzip", "", "deflate"])
async def test_a_page_that_came_packed_is_kept_as_it_came_and_read_back_as_it_was(coding: str) -> None:
    body = b'{"files":[]}' * 50_000
    content = zlib.compress(body) if coding == "deflate" else gzip.compress(body)
    fetched = FetchedPage(body, "text/html", "https://mirror.example.com/simple/demo/", Validators('"tag"'), {}, Packed(content, coding))
    async with open_store(settings_store()) as store:
        keeper = Keeper(store, "mirror", pages_for=3600, verdicts_for=3600)
        keeper.keep_page("demo", fetched, 1000.0)
        await keeper.confirm_page("demo", 2000.0)
        document = (await keeper.kept(Project("demo", SHARED))).page
        assert document is not None
        assert document.checked == 2000.0
        assert await document.page(len(body)) == fetched
        assert len(await store.get(Room.PAGE, "mirror/demo") or b"") < len(content) + 200


@pytest.mark.parametrize("packed", [True, False])
async def test_a_page_that_was_kept_and_is_larger_than_pages_may_be_by_now_is_not_taken(packed: bool) -> None:
    body = b'{"files":[]}' * 100
    url = "https://mirror.example.com/simple/demo/"
    fetched = FetchedPage(body, "text/html", url, Validators(), {}, Packed(gzip.compress(body), "gzip") if packed else None)
    document = PageDocument.of(fetched, 1000.0)
    assert await document.page(len(body)) == fetched
    with pytest.raises(UpstreamOverLimit):
        await document.page(len(body) - 1)


async def test_a_page_that_an_earlier_release_kept_is_read_and_one_that_it_could_misread_is_as_good_as_absent_to_it() -> None:
    class Earlier(PageDocument, array_like=True):
        body: bytes

    url = "https://mirror.example.com/simple/demo/"
    plain = FetchedPage(b"<html>", "text/html", url, Validators('"tag"'), {})
    earlier = decode(encode(Earlier(b"<html>", "text/html", url, '"tag"', None, 1000.0)), PageDocument)
    assert earlier is not None
    assert await earlier.page(1000) == plain
    assert decode(encode(PageDocument.of(plain, 1000.0)), Earlier) is not None
    assert decode(encode(PageDocument.of(replace(plain, packed=Packed(b"packed", "gzip")), 1000.0)), Earlier) is None


async def test_a_page_that_never_changes_is_kept_as_long_as_the_mirror_confirms_it(
    stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    kept = {"store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}, "upstream": {"fresh": 10, "stale": 1000}}
    clock = Clock()
    first = await app_client(clock, **kept)
    for _ in range(4):
        await names(first)
        clock.passes(400)
    await first.close()
    await stocked.stop()
    second = await app_client(clock, **kept)
    page = await second.get("/simple/demo/")
    assert page.status == 200
    assert "Mirrormend-Stale" in page.headers


async def test_what_an_index_learns_after_another_took_its_place_is_not_kept(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.add("other-1.0-py3-none-any.whl")
    client = await app_client()
    old = app_of(client)[GENERATIONS].current
    with old.used():
        await reload(app_of(client), lambda: settings(stocked, verdict={"empty": "drop"}))
        await old.indexes["default"].page("other", SHARED)
        await at_rest(old.indexes["default"].tasks)
        stocked.forget()
        assert (await client.get("/simple/other/")).status == 200
        assert len(stocked.asked_for("page:other")) == 1


async def test_what_is_left_for_the_background_is_asked_once_and_not_without_end(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for number in range(40):
        mirror.add(f"demo-{number}.0-py3-none-any.whl")
        mirror.add(f"demo-{number}.0-cp312-cp312-macosx_11_0_arm64.whl")
    mirror.fault("*macosx*", artifactory_404())
    # Each no is due again as soon as it came: as where asking about all takes longer than a no counts.
    client = await app_client(probe={"budget": 5, "rate": 1000, "patience": 0.1}, verdict={"no": 0, "no_young": 0})
    assert (await client.get("/simple/demo/")).status == 200
    index = index_of(client)
    await at_rest(index.tasks)
    # HEAD, GET and one repetition; and the first files of a platform are asked for more often, until it is known to be lacking.
    assert len([each for each in mirror.asked if "macosx" in each.name]) <= 3 * 40 + 8 * DENIALS


async def test_nothing_is_held_of_names_that_the_mirror_does_not_have_although_nobody_waited_for_its_answer(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.latency = 0.5
    client = await app_client(probe={"deadline": 0.1})
    answers = await asyncio.gather(*(client.get(f"/simple/nothing-{number}/") for number in range(10)))
    assert {answer.status for answer in answers} == {504}
    index = index_of(client)
    assert index.holding.projects == 10
    await eventually(lambda: _true(index.holding.projects == 0))


async def test_a_project_whose_page_is_on_its_way_does_not_leave_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects_module, "_MEMORY", 0)
    clock = Clock()
    store = open_store(settings_store())
    projects = Projects(Keeper(store, "mirror", pages_for=1, verdicts_for=1), clock)
    one, other = projects.of(SHARED, "one"), projects.of(SHARED, "other")
    one.refreshing_since = clock()
    clock.passes(2)
    projects.of(SHARED, "third")
    assert projects.of(SHARED, "one") is one
    assert not projects.holds(other)
    again = projects.of(SHARED, "other")
    projects.drop(other)
    assert projects.holds(again), "it is another one of the same name"


async def test_to_list_what_is_missing_nothing_is_settled_again(
    stocked: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    client = await app_client(clock)
    assert MAC not in await names(client)
    await stocked.stop()
    clock.passes(130)
    assert "Mirrormend-Stale" in (await client.get("/simple/demo/")).headers
    index = index_of(client)
    await at_rest(index.tasks)
    (await client.get("/simple/demo/")).close()

    def never(*_: object) -> None:
        raise AssertionError("settled again")

    monkeypatch.setattr(serving_module, "settle", never)
    assert [dropped.file.filename for _, dropped in index.missing] == [MAC]


async def test_work_that_a_cancelled_task_leaves_is_done_or_ended_before_all_is_closed() -> None:
    tasks, done = Tasks(), []

    async def last() -> None:
        await asyncio.sleep(0.01)
        done.append("handed over")

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            tasks.start(last(), "hand over")

    tasks.start(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert (done, tasks.count) == (["handed over"], 0)


async def test_a_page_and_metadata_wait_no_longer_than_the_deadline_for_all_together(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault("page:demo", slow(1.8))
    stocked.fault(OLD, hang(60))
    stocked.fault(f"metadata:{OLD}", hang(60))
    client = await app_client(probe={"deadline": 2, "ahead": False})
    began = asyncio.get_running_loop().time()
    assert (await client.get(f"/files/demo/{OLD}.metadata")).status == 504
    assert asyncio.get_running_loop().time() - began < 3.6


async def test_a_page_waits_for_a_second_index_only_as_long_as_its_deadline_allows(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault("page:demo", slow(1.8))
    async with BrokenMirror() as second:
        second.fault("page:*", hang(60))
        client = await app_client(probe={"deadline": 2}, reference={"patience": 5}, rescue={"enabled": True, "url": second.url})
        began = asyncio.get_running_loop().time()
        assert (await client.get("/simple/demo/")).status == 200
        assert asyncio.get_running_loop().time() - began < 5


def test_the_nearest_names_on_a_page_of_thousands_are_found_by_comparing_few(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        File(f"demo-{release}.0-cp3{python}-cp3{python}-{platform}.whl", "https://mirror.example.com/file")
        for release in range(200)
        for python in range(25)
        for platform in ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64")
    ]
    page = Page("demo", "demo", tuple(files))
    compared: list[int] = []
    match = difflib.get_close_matches

    def matches(word: str, possibilities: Sequence[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(possibilities))
        return match(word, possibilities, n=n, cutoff=cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", matches)
    explanation = explain(page, "demo-150.0-cp312-cp312-macosx_11_0_arm46.whl", {}, settle(page, {}, Policy()))
    assert explanation.nearest[0] == "demo-150.0-cp312-cp312-macosx_11_0_arm64.whl"
    assert compared[0] <= 100


async def _true(holds: bool) -> bool:
    return holds


def settings_store() -> Any:
    return Settings.model_validate({"upstream": {"url": "https://mirror.example.com/simple/"}, "store": {"location": "memory"}}).store


async def test_nobody_waits_for_a_page_that_a_thread_renders_but_who_wants_it(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(OLD)
    client = await app_client(Clock())
    await (await client.get("/simple/demo/", headers={"Accept": "text/html"})).read()
    project, _ = await index_of(client).file("demo", OLD, SHARED)
    rendering = project.served.lock
    rendering.acquire()
    at_the_latest = threading.Timer(3.0, rendering.release)
    at_the_latest.start()
    page = asyncio.create_task(names(client))
    await asyncio.sleep(0.05)
    assert (await client.get("/healthz")).status == 200
    assert rendering.locked(), "the event loop waited for it"
    at_the_latest.cancel()
    rendering.release()
    assert await page == [OLD]
