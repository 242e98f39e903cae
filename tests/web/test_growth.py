"""A page costs the same however much is held: counted, not timed."""

from collections.abc import Iterator

import pytest

from proxy.core.identity import SHARED, Identity
from proxy.core.page import Page
from proxy.index import doubts as doubts_module
from proxy.index import projects as projects_module
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Progress, Project
from proxy.index.projects import Projects
from proxy.index.serving import Serving
from proxy.server.context import GENERATIONS
from proxy.store import open_store
from proxy.upstream import Validators
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.waiting import at_rest
from tests.web.test_known import settings_store

MANY = 300
LATE = 120.0
ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json"}


class Watched(Project):
    """A project that notes its name whenever anything of it is looked at."""

    touched: set[str] = set()  # noqa: RUF012 - one for all is what is wanted

    def __getattribute__(self, attribute: str) -> object:
        Watched.touched.add(object.__getattribute__(self, "name"))
        return object.__getattribute__(self, attribute)


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of the projects that were looked at; none is weighed on the way."""
    monkeypatch.setattr(projects_module, "Project", Watched)
    monkeypatch.setattr(projects_module, "_LOOKED_AT_MOST", 0)
    Watched.touched = names = set()
    yield names
    Watched.touched = set()


def projects(clock: Clock) -> Projects:
    return Projects(Keeper(open_store(settings_store()), "mirror", pages_for=1, verdicts_for=1), clock)


def page(name: str, digest: str) -> KnownPage:
    empty = Page(name, name, ())
    return KnownPage(empty, digest, Validators(), 0.0, empty)


async def fill(mirror: BrokenMirror, client: Client, clock: Clock) -> None:
    """Have so many projects held, and let the resolver that asked for them be gone for long."""
    for number in range(MANY):
        mirror.add(f"project{number}-1.0-py3-none-any.whl")
        (await client.get(f"/simple/project{number}/", headers=ACCEPT)).close()
    clock.passes(LATE)
    await at_rest(next(iter(client.app[GENERATIONS].current.indexes.values())).tasks)


async def test_a_cold_page_looks_at_no_other_project(mirror: BrokenMirror, app_client: MakeClient, touched: set[str]) -> None:
    clock = Clock()
    client = await app_client(clock=clock)
    await fill(mirror, client, clock)
    mirror.add("fresh-1.0-py3-none-any.whl")
    touched.clear()
    assert (await client.get("/simple/fresh/", headers=ACCEPT)).status == 200
    assert touched == {"fresh"}


async def test_metrics_and_readiness_look_at_no_project(mirror: BrokenMirror, app_client: MakeClient, touched: set[str]) -> None:
    clock = Clock()
    client = await app_client(clock=clock)
    await fill(mirror, client, clock)
    touched.clear()
    for path in ("/metrics", "/readyz"):
        assert (await client.get(path)).status == 200
    assert touched == set()


async def test_a_page_that_is_gone_all_at_once_has_few_others_looked_at(
    mirror: BrokenMirror, app_client: MakeClient, touched: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts_module, "_LOOKED_AT", 10)
    clock = Clock()
    client = await app_client(clock=clock, upstream={"fresh": 60.0})
    await fill(mirror, client, clock)
    mirror.fault("page:project7", artifactory_404())
    touched.clear()
    assert (await client.get("/simple/project7/", headers=ACCEPT)).status == 404
    assert len(touched) <= 1 + 10 + 1


async def test_the_status_page_works_out_only_what_is_missing_somewhere(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await app_client()
    for number in range(20):
        mirror.add(f"project{number}-1.0-py3-none-any.whl")
        mirror.add(f"project{number}-1.0-py2-none-any.whl")
    mirror.remove("project7-1.0-py3-none-any.whl", still_listed=True)
    index = next(iter(client.app[GENERATIONS].current.indexes.values()))
    for number in range(20):
        (await client.get(f"/simple/project{number}/", headers=ACCEPT)).close()
    await at_rest(index.tasks)
    worked_out: list[str] = []
    plain = Serving.mended_now

    def counted(self: Serving, project: Project) -> object:
        worked_out.append(project.name)
        return plain(self, project)

    monkeypatch.setattr(Serving, "mended_now", counted)
    assert [name for name, _ in index.missing] == ["project7"]
    assert worked_out == ["project7"]


async def test_an_identity_gets_the_parsed_page_of_another_without_a_look_at_other_projects(touched: set[str]) -> None:
    clock = Clock()
    held = projects(clock)
    for number in range(MANY):
        project = held.of(SHARED, f"project{number}")
        project.known = page(project.name, "one")
        held.note(project)
    held.of(Identity.of("Bearer mine", b"secret"), "project7")
    touched.clear()
    alike = held.like("project7", "one")
    assert alike is not None
    assert alike.page.project == "project7"
    assert held.like("project7", "another") is None
    assert held.like("absent", "one") is None
    assert touched == {"project7"}


async def test_what_was_busy_makes_room_once_it_is_done_though_nobody_asks_for_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    held = projects(clock)
    monkeypatch.setattr(projects_module, "_MEMORY", 20 * Project("a", SHARED).weight)
    for number in range(100):
        held.of(SHARED, f"project{number}").verification = Progress(began=clock())
    clock.passes(2)
    assert len(held) == 100
    for project in held:
        project.verification = None
        held.learned(project)
    assert len(held) == 20
