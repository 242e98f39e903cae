"""The memory that projects take: counted as it is, and given back bit by bit."""

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from proxy.core.identity import SHARED, Identity
from proxy.core.parse import parse_page
from proxy.index import projects as projects_module
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Progress, Project, Read
from proxy.index.projects import Projects
from proxy.server.context import GENERATIONS
from proxy.store import open_store
from proxy.upstream import Validators
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.core.files import yes
from tests.mirror import BrokenMirror
from tests.waiting import at_rest
from tests.web.test_known import settings_store

MANY = 2000
ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "gzip"}


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("files", [0, 1, 10])
async def test_what_many_small_projects_hold_is_counted_within_a_quarter(mirror: BrokenMirror, app_client: MakeClient, files: int) -> None:
    client = await app_client(upstream={"kind": "static"})
    names = [f"project-{number}" for number in range(250)]
    for name in names:
        for version in range(files):
            mirror.add(f"{name.replace('-', '_')}-{version}.0-py3-none-any.whl", project=name, requires_python=">=3.8")
        if not files:
            mirror.set_page(name, b'{"meta":{"api-version":"1.1"},"name":"' + name.encode() + b'","files":[]}', ACCEPT["Accept"])
        (await client.get(f"/simple/{name}/", headers=ACCEPT)).close()
    index = next(iter(client.app[GENERATIONS].current.indexes.values()))
    await at_rest(index.tasks)
    assert index.holding.projects == len(names)
    counted = sum(project.weight for project in index._projects)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    index._projects.clear()
    gc.collect()
    held = before - tracemalloc.get_traced_memory()[0]
    assert 0.75 * held < counted < 1.25 * held


def json_of(links: int, of: int, *, rich: bool) -> bytes:
    digest = "0123456789abcdef" * 4
    files = []
    for number in range(links):
        name = f"project_{of}-{number // 4}.{number % 4}.0-py3-none-any.whl"
        entry: dict[str, object] = {"filename": name, "url": f"../../packages/{number:02x}/{name}", "hashes": {"sha256": digest}}
        if rich:
            entry["url"] = f"../../packages/{number:02x}/{of:02x}/{digest[:60]}/{name}"
            entry |= {"requires-python": ">=3.9", "size": 1_000_000 + number, "upload-time": "2024-01-02T03:04:05.678901Z"}
            entry |= {"core-metadata": {"sha256": digest}, "yanked": False}
        files.append(entry)
    return json.dumps({"meta": {"api-version": "1.1"}, "name": f"project-{of}", "files": files}).encode()


def html_of(links: int, of: int) -> bytes:
    names = [f"project_{of}-{number}.0-py3-none-any.whl" for number in range(links)]
    return "".join(["<!DOCTYPE html><html><body>", *(f'<a href="../../p/{name}#sha256={"a" * 64}">{name}</a>' for name in names)]).encode()


SHAPES = {
    "plain": lambda links, of: json_of(links, of, rich=False),
    "rich": lambda links, of: json_of(links, of, rich=True),
    "html": html_of,
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("away", [False, True], ids=["awake", "put-away"])
@pytest.mark.parametrize("links", [30, 300, 3000])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_page_of_any_shape_takes_is_counted_within_a_quarter(shape: str, links: int, away: bool) -> None:
    projects = [Project(f"project-{of}", SHARED) for of in range(max(3, 3000 // links))]
    empty = sum(each.weight for each in projects)
    for of, project in enumerate(projects):
        page = parse_page(SHAPES[shape](links, of), None, f"https://mirror.example.com/simple/{project.name}/", project.name)
        assert len(page.releases) <= len(page.by_key)
        project.known = KnownPage(page, f"{of:064}", Validators(), 0.0, page)
        if away:
            project.put_away(lambda: None)
            assert project.awake == 0
    del page
    counted = sum(each.weight for each in projects) - empty
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for project in projects:
        project.known = None
    gc.collect()
    takes = before - tracemalloc.get_traced_memory()[0]
    # Of what is put away next to nothing is left.
    assert 0.75 * takes < counted < 1.25 * takes or (away and abs(counted - takes) < 1500 * len(projects))


def projects(clock: Clock, later: Callable[[float, Callable[[], None]], None] | None = None) -> Projects:
    return Projects(Keeper(open_store(settings_store()), "mirror", pages_for=1, verdicts_for=1), clock, later=later)


async def test_no_single_use_pays_for_all_that_is_held_and_room_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, weighed = Clock(), 0
    held = projects(clock)
    monkeypatch.setattr(projects_module, "_MEMORY", 100 * Project("a", SHARED).weight)
    weight = Project.weight.fget  # type: ignore[attr-defined]  # a property of the class

    def counted(project: Project) -> int:
        nonlocal weighed
        weighed += 1
        return int(weight(project))

    monkeypatch.setattr(Project, "weight", property(counted))
    most = 0
    for number in range(MANY):
        clock.passes(0.02 if number % 40 else 600)
        weighed = 0
        held.of(SHARED, f"project-{number}")
        most = max(most, weighed)
    assert most <= 600
    assert len(list(held)) <= 100
    assert held.weight == sum(project.weight for project in held)


async def test_what_grows_after_it_was_weighed_makes_room_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    held = projects(clock)
    for number in range(100):
        held.of(SHARED, f"project-{number}")
    monkeypatch.setattr(projects_module, "_MEMORY", 2_000_000)
    for project in held:
        project.read["file"] = Read("file", bytes(100_000), "")
    for _ in range(100):
        clock.passes(0.1)
        held.of(SHARED, "project-0")
    assert held.weight <= 2_000_000
    assert sum(project.weight for project in held) == held.weight
    assert held.known(SHARED, "project-0") is not None


async def test_what_a_clients_own_token_showed_leaves_though_there_is_room() -> None:
    clock = Clock()
    held = projects(clock)
    for number in range(MANY):
        held.of(Identity.of(f"Bearer {number}", b"secret"), "demo")
    clock.passes(700)
    for _ in range(10):
        clock.passes(2)
        held.of(SHARED, "demo")
    assert [project.who.shared for project in held] == [True]


def with_page(held: Projects, name: str) -> Project:
    project = held.of(SHARED, name)
    page = parse_page(json_of(60, 1, rich=True), None, "https://mirror.example.com/simple/a/", name)
    project.renew(KnownPage(page, "d" * 64, Validators(), 0.0, page))
    held.note(project)
    return project


async def test_pages_not_used_for_longest_are_put_away_and_those_that_somebody_waits_for_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects_module, "_AWAKE", 150)
    clock = Clock()
    held = projects(clock)
    awaited = with_page(held, "awaited")
    awaited.refreshing_since = 0.0
    first, second, third = (with_page(held, name) for name in ("first", "second", "third"))
    clock.passes(2)
    for _ in range(2):
        held.of(SHARED, "third")
    assert [each.awake for each in (awaited, first, second, third)] == [60, 0, 0, 60]
    assert first.known is not None
    assert len(first.known.page.files) == 60
    clock.passes(2)
    for _ in range(2):
        held.of(SHARED, "first")
    assert [each.awake for each in (awaited, first, second, third)] == [60, 60, 0, 0]


async def test_pages_are_put_away_once_they_are_verified_and_nobody_uses_them_and_before_that_where_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projects_module, "_AWAKE", 150)
    clock = Clock()
    held = projects(clock)
    used = [with_page(held, f"project-{number}") for number in range(5)]
    assert [each.awake for each in used] == [60] * 5
    used.append(with_page(held, "one-too-many"))
    held.of(SHARED, "one-too-many")
    assert [each.awake for each in used] == [0, *[60] * 5]
    clock.passes(2)
    for each in used:
        each.verification = Progress(began=clock())
        each.verification.first.set()
    held.learned(used[-1])
    assert [each.awake for each in used] == [0, *[60] * 5]
    for each in used:
        each.verification = None
    held.learned(used[-1])
    assert sum(each.awake for each in used) == 120


async def test_pages_are_put_away_after_a_burst_though_nothing_is_used_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects_module, "_AWAKE", 150)
    clock = Clock()
    called_later: list[Callable[[], None]] = []
    held = projects(clock, lambda _, call: called_later.append(call))
    used = [with_page(held, f"project-{number}") for number in range(5)]
    held.of(SHARED, "project-4")
    assert sum(each.awake for each in used) == 300
    clock.passes(2)
    while called_later:
        called_later.pop()()
    assert sum(each.awake for each in used) == 120


async def test_an_answer_for_a_file_does_not_wake_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects_module, "_AWAKE", 0)
    held = projects(Clock())
    project = with_page(held, "first")
    assert project.known is not None
    file = project.known.page.files[7]
    held.of(SHARED, "second")
    assert project.awake == 0
    project.learn(file, yes())
    assert project.awake == 0
    assert project.verdicts == {file.key: yes()}
    # Once it has had another page, what came for the earlier one is looked at.
    other = parse_page(json_of(60, 1, rich=False), None, "https://mirror.example.com/simple/a/", "first")
    project.renew(KnownPage(other, "e" * 64, Validators(), 0.0, other))
    held.note(project)
    held.of(SHARED, "second")
    project.verdicts.clear()
    project.learn(file, yes())
    assert project.verdicts == {}
