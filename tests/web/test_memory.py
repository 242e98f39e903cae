"""The memory that projects take: counted as it is, and given back bit by bit."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from proxy.core.identity import SHARED, Identity
from proxy.index import projects as projects_module
from proxy.index.keeper import Keeper
from proxy.index.project import Project, Read
from proxy.index.projects import Projects
from proxy.server.context import GENERATIONS
from proxy.store import open_store
from tests.clock import Clock
from tests.conftest import MakeClient
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


def projects(clock: Clock) -> Projects:
    return Projects(Keeper(open_store(settings_store()), "mirror", pages_for=1, verdicts_for=1), clock)


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
