"""Everything fails: whatever a mirror in trouble answers, and whenever that begins, no page that is served gets worse for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import ANYTHING, Fault, Target, artifactory_404, hang, status, wrong_type
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64")
PROJECTS = ("alpha", "beta", "gamma")
FILES = {
    name: [f"{name}-{version}-cp312-cp312-{platform}.whl" for version in ("1.0", "2.0") for platform in PLATFORMS] + [f"{name}-2.0.tar.gz"]
    for name in PROJECTS
}
DELIVERED = {name: [each for each in files if "macosx" not in each] for name, files in FILES.items()}
LATE = [f"alpha-3.0-cp312-cp312-{platform}.whl" for platform in PLATFORMS]

OUTAGES: dict[str, Fault] = {
    "404": artifactory_404(),
    "403": status(403),
    "500": status(500),
    "html": wrong_type(),
    "hang": hang(60),
}
REFUSALS = {"404": {404}, "403": {403}, "500": {502}, "html": {502}, "hang": {503, 504}}
outages = pytest.mark.parametrize("how", list(OUTAGES))


@dataclass
class Served:
    """What a client got for a page."""

    status: int
    names: list[str]
    headers: Any

    @property
    def stale(self) -> bool:
        """Whether it says, in every way there is, that it is stale."""
        marks = ["Mirrormend-Stale" in self.headers, "Age" in self.headers, self.headers.get("Warning", "").startswith("110 ")]
        assert all(marks) or not any(marks)
        return all(marks)


@dataclass
class Site:
    """The proxy before a mirror that lacks the wheels of one platform, and the time that passes there."""

    client: Any
    mirror: BrokenMirror
    clock: Clock
    slow: bool = False

    async def page(self, project: str = "alpha") -> Served:
        # Pages asked for within the same moments would be taken for a resolver at work.
        self.clock.passes(3)
        async with self.client.get(f"/simple/{project}/", headers={"Accept": JSON}) as response:
            names = [file["filename"] for file in (await response.json(content_type=None))["files"]] if response.status == 200 else []
            return Served(response.status, names, response.headers)

    async def all_pages(self) -> dict[str, Served]:
        return {name: await self.page(name) for name in PROJECTS}

    def begins(self, how: str, *, files_only: bool = False) -> None:
        """Begins an outage; of the files alone, or of the pages as well."""
        self.slow = how in {"500", "hang"}
        self.mirror.rules.insert(0, self.mirror.fault("*" if files_only else ANYTHING, OUTAGES[how]))

    async def ends(self) -> None:
        """Ends the outage; what the mirror lacks, it still lacks."""
        # What was asked before is answered, or given up, by then.
        await asyncio.sleep(1.0 if self.slow else 0.05)
        self.mirror.heal()
        self.mirror.fault("*macosx*", artifactory_404())

    async def recovers(self) -> None:
        """Asserts that after some minutes of use all pages are as from a mirror in health."""
        for _ in range(8):
            self.clock.passes(130)
            await self.all_pages()
            await asyncio.sleep(0.05)
        await self.is_well()

    async def is_well(self) -> None:
        """Asserts that all pages are as from a mirror in health."""
        for name, served in (await self.all_pages()).items():
            assert (served.status, served.stale) == (200, False), name
            assert [each for each in served.names if each not in LATE] == DELIVERED[name]
            assert "Mirrormend-Storm" not in served.headers


MakeOutage = Callable[..., Awaitable[Site]]


@pytest.fixture
def site(mirror: BrokenMirror, app_client: MakeClient) -> MakeOutage:
    for files in FILES.values():
        for name in files:
            mirror.add(name)
    mirror.fault("*macosx*", artifactory_404())

    async def make() -> Site:
        clock = Clock()
        client = await app_client(
            clock, upstream={"read_timeout": 0.4, "connect_timeout": 0.4}, probe={"patience": 0.4, "deadline": 1.5}, verdict={"yes": 600}
        )
        return Site(client, mirror, clock)

    return make


# From the start -------------------------------------------------------------------------------------------------------------------------


@outages
async def test_from_the_start_the_mirrors_own_answer_is_passed_on_and_never_an_empty_page_and_recovery_is_noticed(
    site: MakeOutage, how: str
) -> None:
    proxied = await site()
    proxied.begins(how)
    for _ in range(3):
        assert {served.status for served in (await proxied.all_pages()).values()} <= REFUSALS[how]
    await proxied.ends()
    proxied.clock.passes(130)
    await proxied.is_well()


@outages
async def test_files_that_all_fail_from_the_start_stay_listed_and_those_that_are_not_there_go_after_it(site: MakeOutage, how: str) -> None:
    proxied = await site()
    proxied.begins(how, files_only=True)
    for _ in range(4):
        for name, served in (await proxied.all_pages()).items():
            assert served.names == FILES[name]
            assert served.headers["Mirrormend-Dropped"] == "0"
        proxied.clock.passes(130)
    await proxied.ends()
    await proxied.recovers()


# Suddenly in the middle -----------------------------------------------------------------------------------------------------------------


@outages
async def test_suddenly_in_the_middle_the_last_good_page_is_served_and_marked_unless_the_mirror_forbids_it(
    site: MakeOutage, how: str
) -> None:
    proxied = await site()
    await proxied.is_well()
    proxied.begins(how)
    proxied.clock.passes(130)
    for _ in range(3):
        for name, served in (await proxied.all_pages()).items():
            if how == "403":
                assert served.status == 403
            else:
                assert (served.status, served.names, served.stale) == (200, DELIVERED[name], True)
        proxied.clock.passes(30)
    await proxied.ends()
    await proxied.recovers()


@outages
@pytest.mark.parametrize("known_for", [5, 700])
async def test_files_that_all_fail_suddenly_stay_listed_whether_they_were_known_or_not(site: MakeOutage, how: str, known_for: int) -> None:
    proxied = await site()
    await proxied.is_well()
    # After ten minutes, here, a good file is asked about again; files that nobody knows come up just as the outage begins.
    proxied.clock.passes(known_for)
    for name in LATE:
        proxied.mirror.add(name)
    proxied.begins(how, files_only=True)
    for _ in range(4):
        proxied.clock.passes(125)
        for name, served in (await proxied.all_pages()).items():
            assert served.names == DELIVERED[name] + (LATE if name == "alpha" else [])
    await proxied.ends()
    await proxied.recovers()
    assert (await proxied.page()).names == DELIVERED["alpha"] + LATE[1:]


@pytest.mark.parametrize("how", ["404", "403", "html"])
@pytest.mark.parametrize("after", [0, 1, 3, 6, 10])
async def test_an_outage_that_begins_between_two_answers_drops_nothing_that_is_there(site: MakeOutage, how: str, after: int) -> None:
    proxied = await site()
    turned = turning(OUTAGES[how], begins=after)
    proxied.mirror.rules.insert(0, proxied.mirror.fault("*", turned))
    for name, served in (await proxied.all_pages()).items():
        assert [each for each in FILES[name] if each not in served.names and "macosx" not in each] == []


@pytest.mark.parametrize("how", ["404", "403", "html"])
@pytest.mark.parametrize("after", [1, 3, 6, 9, 12])
async def test_an_outage_that_ends_between_two_answers_drops_nothing_that_is_there(site: MakeOutage, how: str, after: int) -> None:
    proxied = await site()
    turned = turning(OUTAGES[how], begins=0, ends=after)
    proxied.mirror.rules.insert(0, proxied.mirror.fault("*", turned))
    for name, served in (await proxied.all_pages()).items():
        assert [each for each in FILES[name] if each not in served.names and "macosx" not in each] == []


def turning(fault: Fault, begins: int, ends: int = 10**6) -> Fault:
    """A fault that sets in after so many requests, and is over after so many."""
    asked = 0

    async def turned(target: Target) -> web.StreamResponse | None:
        nonlocal asked
        asked += 1
        return await fault(target) if begins < asked <= ends else None

    return turned


# For one minute -------------------------------------------------------------------------------------------------------------------------


@outages
@pytest.mark.parametrize("files_only", [False, True], ids=["everything", "files"])
async def test_a_minute_of_it_leaves_no_trace(site: MakeOutage, how: str, files_only: bool) -> None:
    proxied = await site()
    await proxied.is_well()
    proxied.clock.passes(605)
    proxied.begins(how, files_only=files_only)
    for _ in range(6):
        await proxied.page()
        async with proxied.client.get(f"/files/alpha/{DELIVERED['alpha'][0]}") as response:
            assert response.status not in {200, 404}
        proxied.clock.passes(4)
    await proxied.ends()
    await proxied.recovers()


async def test_when_the_pages_of_all_projects_are_denied_no_project_turns_into_404_and_one_that_is_gone_does(site: MakeOutage) -> None:
    proxied = await site()
    await proxied.is_well()
    proxied.clock.passes(130)
    gone = proxied.mirror.fault("page:beta", status(404))
    assert (await proxied.page("beta")).status == 404
    proxied.mirror.heal(gone)
    denial = proxied.mirror.fault("page:*", status(404))
    proxied.clock.passes(130)
    assert (await proxied.page("alpha")).status == 200
    assert (await proxied.page("gamma")).status == 200
    assert (await proxied.page("never-seen")).status == 502, "a 404 would send the client to its next index"
    proxied.mirror.heal(denial)
    proxied.clock.passes(130)
    assert not (await proxied.page("alpha")).stale
    assert (await proxied.page("never-seen")).status == 404


async def test_many_pages_that_are_denied_at_once_cost_few_witnesses(site: MakeOutage) -> None:
    proxied = await site()
    for number in range(20):
        proxied.mirror.add(f"p{number}-1.0-py3-none-any.whl")
    paths = [f"/simple/p{number}/" for number in range(20)]
    for path in paths:
        assert (await proxied.client.get(path)).status == 200
    proxied.clock.passes(130)
    proxied.mirror.fault("page:*", status(404))
    proxied.mirror.forget()
    answers = await asyncio.gather(*(proxied.client.get(path) for path in paths))
    assert {answer.status for answer in answers} == {200}
    assert proxied.mirror.count(kind="page") <= len(paths) + 2


@pytest.mark.parametrize("body", [b"", b"<html><body><h1>Down for maintenance</h1></body></html>"])
async def test_pages_that_are_all_empty_at_once_are_not_believed(site: MakeOutage, body: bytes) -> None:
    proxied = await site()
    await proxied.is_well()
    proxied.clock.passes(130)
    proxied.mirror.fault("page:*", wrong_type(body))
    for name, served in (await proxied.all_pages()).items():
        assert (served.names, served.stale) == (DELIVERED[name], True)


async def test_what_a_clients_own_token_showed_is_not_shown_when_everything_is_denied_to_it(site: MakeOutage) -> None:
    proxied = await site()
    mine = {"Accept": JSON, "Authorization": "Basic YWxpY2U6cHc="}
    for name in PROJECTS:
        async with proxied.client.get(f"/simple/{name}/", headers=mine) as response:
            assert response.status == 200
    proxied.begins("404")
    proxied.clock.passes(130)
    async with proxied.client.get("/simple/alpha/", headers=mine) as response:
        assert response.status == 502
        assert "credentials" in await response.text()


# What it costs --------------------------------------------------------------------------------------------------------------------------


async def polled(proxied: Site, minutes: int) -> int:
    """How often the mirror is asked while a client asks for all pages every half a minute; confirmations by GET are not counted."""
    proxied.mirror.forget()
    for _ in range(minutes * 2):
        await asyncio.gather(*(proxied.client.get(f"/simple/{name}/", headers={"Accept": JSON}) for name in PROJECTS))
        proxied.clock.passes(30)
    await asyncio.sleep(0.1)
    return sum(each.kind == "page" or each.method == "HEAD" for each in proxied.mirror.asked)


@outages
@pytest.mark.parametrize("files_only", [False, True], ids=["everything", "files"])
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_a_mirror_in_trouble_is_asked_no_more_than_one_in_health(site: MakeOutage, how: str, files_only: bool, cold: bool) -> None:
    healthy = await site()
    in_health = await polled(healthy, minutes=40)
    proxied = await site()
    if not cold:
        await proxied.all_pages()
    proxied.begins(how, files_only=files_only)
    in_trouble = await polled(proxied, minutes=40)
    # A witness is looked for now and then; asking about all files again at each refresh would be several hundred requests more.
    assert in_trouble <= in_health + 2.5 * 40


async def test_a_mirror_that_hangs_delays_a_page_at_hand_once_at_most(site: MakeOutage) -> None:
    proxied = await site()
    await proxied.is_well()
    proxied.begins("hang")
    proxied.clock.passes(130)
    loop = asyncio.get_running_loop()
    await proxied.page()
    began = loop.time()
    for _ in range(10):
        assert all(served.stale for served in (await proxied.all_pages()).values())
        proxied.clock.passes(5)
    # Thirty pages, of which each one that waited would have taken 0.4 s.
    assert loop.time() - began < 6


async def test_what_the_budget_left_for_the_background_is_left_alone_while_nothing_is_delivered(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    for number in range(200):
        mirror.add(f"demo-{number}.0-py3-none-any.whl")
    mirror.fault("*", artifactory_404())
    client = await app_client(probe={"budget": 40, "rate": 1000, "patience": 0.2})
    assert (await client.get("/simple/demo/")).status == 200
    await asyncio.sleep(0.5)
    asked, began = len(mirror.asked), asyncio.get_running_loop().time()
    await asyncio.sleep(0.2)
    assert len(mirror.asked) == asked
    # A loop that never waits would starve everybody else.
    assert (await client.get("/healthz")).status == 200
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_where_nothing_may_be_probed_a_no_is_forgotten_after_a_day_and_not_before(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    names = ["demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl", "demo-2.0.tar.gz"]
    for name in names:
        mirror.add(name)
    gone = mirror.fault(names[1], artifactory_404())
    clock = Clock()
    client = await app_client(clock, probe={"budget": 0})
    proxied = Site(client, mirror, clock)
    await proxied.page("demo")
    for name in names:
        await (await client.get(f"/files/demo/{name}")).read()
    assert (await proxied.page("demo")).names == [names[0], names[2]]
    mirror.heal(gone)
    clock.passes(80_000)
    for _ in range(2):
        assert (await proxied.page("demo")).names == [names[0], names[2]]
        await asyncio.sleep(0.05)
    clock.passes(7_000)
    await proxied.page("demo")
    await asyncio.sleep(0.05)
    assert (await proxied.page("demo")).names == names
