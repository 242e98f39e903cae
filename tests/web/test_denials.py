"""An outage stays an outage: what the mirror denies all at once is not gone, and nothing stored is erased for it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Fault, Target, slow, status, wrong_type
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
EMPTY_JSON = json.dumps({"meta": {"api-version": "1.0"}, "name": "p", "files": []}).encode()
EMPTY_HTML = (
    b'<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"><title>Links for p</title></head>'
    b"<body><h1>Links for p</h1></body></html>"
)
PROJECTS = [f"p{number}" for number in range(6)]
WHEELS = {name: f"{name}-1.0-py3-none-any.whl" for name in PROJECTS}
DENIALS: dict[str, Fault] = {
    "404": status(404),
    "410": status(410),
    "empty HTML": wrong_type(EMPTY_HTML),
    "empty JSON": status(200, {"Content-Type": JSON}, EMPTY_JSON),
}
FRESH = 120
MINUTES = 200


@dataclass
class Site:
    """The proxy before a mirror of some projects; it can be started again, and has its store then."""

    make: Callable[..., Awaitable[Any]]
    mirror: BrokenMirror
    clock: Clock
    client: Any = None

    async def start(self) -> None:
        if self.client is not None:
            await self.client.close()
        self.client = await self.make()

    async def page(self, name: str) -> tuple[int, list[str], bool]:
        """Status, names of the files, and whether it is told to be stale."""
        self.clock.passes(3)
        async with self.client.get(f"/simple/{name}/", headers={"Accept": JSON}) as response:
            names = [file["filename"] for file in (await response.json(content_type=None))["files"]] if response.status == 200 else []
            return response.status, names, "Mirrormend-Stale" in response.headers

    async def pages(self) -> dict[str, tuple[int, list[str], bool]]:
        return {name: await self.page(name) for name in PROJECTS}


GOOD = {name: (200, [WHEELS[name]], False) for name in PROJECTS}
STALE = {name: (200, [WHEELS[name]], True) for name in PROJECTS}
MakeSite = Callable[[], Awaitable[Site]]


@pytest.fixture
def site(mirror: BrokenMirror, app_client: MakeClient, tmp_path: Path) -> MakeSite:
    for wheel in WHEELS.values():
        mirror.add(wheel)

    async def make() -> Site:
        clock = Clock()

        async def start() -> Any:
            return await app_client(clock, store={"location": f"sqlite:{tmp_path / 'store.sqlite3'}"})

        proxied = Site(start, mirror, clock)
        await proxied.start()
        return proxied

    return make


@pytest.mark.parametrize("how", DENIALS)
async def test_after_a_restart_in_an_outage_no_project_turns_into_404_and_none_is_erased(site: MakeSite, how: str) -> None:
    proxied = await site()
    assert await proxied.pages() == GOOD
    denied = proxied.mirror.fault("page:*", DENIALS[how])
    for _ in range(3):
        await proxied.start()
        proxied.clock.passes(FRESH)
        assert await proxied.pages() == STALE
        assert (await proxied.page("never-seen"))[0] == 502 or "empty" in how, "a 404 would send the client to its next index"
        proxied.clock.passes(MINUTES)
        assert await proxied.pages() == STALE
    proxied.mirror.heal(denied)
    await proxied.start()
    assert await proxied.pages() == GOOD


async def test_what_was_never_seen_is_no_404_during_an_outage_though_it_is_asked_for_first(site: MakeSite) -> None:
    proxied = await site()
    await proxied.pages()
    await proxied.start()
    proxied.clock.passes(FRESH)
    denied = proxied.mirror.fault("page:*", status(404))
    assert (await proxied.page("never-seen"))[0] == 502
    proxied.mirror.heal(denied)
    proxied.clock.passes(FRESH)
    assert (await proxied.page("never-seen"))[0] == 404


@pytest.mark.parametrize("how", DENIALS)
async def test_a_page_that_is_the_only_one_stays_until_its_denial_was_repeated_minutes_later(site: MakeSite, how: str) -> None:
    proxied = await site()
    await proxied.page("p0")
    denied = proxied.mirror.fault("page:*", DENIALS[how])
    proxied.clock.passes(FRESH)
    assert await proxied.page("p0") == STALE["p0"]
    proxied.clock.passes(60)
    assert await proxied.page("p0") == STALE["p0"]
    proxied.clock.passes(MINUTES)
    assert await proxied.page("p0") == ((200, [], False) if "empty" in how else (404, [], False))
    proxied.mirror.heal(denied)
    proxied.mirror.fault("page:*", status(500))
    await proxied.start()
    assert await proxied.page("p0") == STALE["p0"], "nobody but the one page said that it is gone, so that the store still has it"


@pytest.mark.parametrize("how", DENIALS)
async def test_a_project_that_is_gone_while_others_are_there_is_gone_at_once_and_from_the_store_once_that_is_sure(
    site: MakeSite, how: str
) -> None:
    proxied = await site()
    await proxied.pages()
    proxied.clock.passes(FRESH)
    denied = proxied.mirror.fault("page:p0", DENIALS[how])
    gone = (200, [], False) if "empty" in how else (404, [], False)
    assert await proxied.page("p0") == gone
    proxied.mirror.heal(denied)
    down = proxied.mirror.fault("page:*", status(500))
    await proxied.start()
    assert (await proxied.page("p0"))[:2] == (200, [WHEELS["p0"]]), "the first denial erases nothing"
    proxied.mirror.heal(down)
    proxied.mirror.fault("page:p0", DENIALS[how])
    for _ in range(3):
        proxied.clock.passes(MINUTES)
        assert await proxied.page("p0") == gone
    await asyncio.sleep(0.05)
    proxied.mirror.fault("page:*", status(500))
    proxied.mirror.rules.reverse()
    await proxied.start()
    proxied.clock.passes(FRESH)
    assert (await proxied.page("p0"))[:2] == ((200, []) if "empty" in how else (502, []))


async def test_a_token_that_has_expired_erases_nothing_and_shows_nothing(site: MakeSite) -> None:
    proxied = await site()
    await proxied.pages()
    proxied.clock.passes(FRESH)
    refused = proxied.mirror.fault("page:*", status(403))
    for _ in range(3):
        assert {code for code, _, _ in (await proxied.pages()).values()} == {403}
        proxied.clock.passes(MINUTES)
    proxied.mirror.heal(refused)
    down = proxied.mirror.fault("page:*", status(500))
    assert (await proxied.page("p0"))[0] == 502, "since the mirror forbade it, it has not said anything else"
    proxied.mirror.heal(down)
    await proxied.start()
    proxied.mirror.fault("page:*", status(500))
    assert await proxied.pages() == STALE


async def test_many_absent_projects_in_health_cost_few_witnesses(site: MakeSite) -> None:
    proxied = await site()
    await proxied.pages()
    proxied.clock.passes(30)
    proxied.mirror.forget()
    answers = await asyncio.gather(*(proxied.client.get(f"/simple/absent{number}/") for number in range(50)))
    assert {answer.status for answer in answers} == {404}
    assert proxied.mirror.count(kind="page") <= 53


# A page that is marked as empty is believed -----------------------------------------------------------------------------------------------

QUARANTINED = {
    "JSON": json.dumps({"meta": {"api-version": "1.4"}, "name": "p0", "project-status": {"status": "quarantined"}, "files": []}).encode(),
    "HTML": (
        b'<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4"><title>Links for p0</title>'
        b'<meta name="pypi:project-status" content="quarantined"></head><body><h1>Links for p0</h1></body></html>'
    ),
}


@pytest.mark.parametrize("form", QUARANTINED)
async def test_a_quarantined_project_is_no_longer_installed_at_once(site: MakeSite, form: str) -> None:
    proxied = await site()
    await proxied.page("p0")
    file = f"/files/p0/{WHEELS['p0']}"
    assert (await proxied.client.get(file)).status == 200
    assert (await proxied.client.get(f"{file}.metadata")).status == 200
    proxied.mirror.set_page("p0", QUARANTINED[form], JSON if form == "JSON" else "text/html")
    proxied.clock.passes(FRESH)
    for path in (file, f"{file}.metadata"):
        # Nobody asked for the page in between.
        assert (await proxied.client.get(path)).status == 404
    assert await proxied.page("p0") == (200, [], False)
    proxied.mirror.fault("page:*", status(500))
    await proxied.start()
    proxied.clock.passes(FRESH)
    assert await proxied.page("p0") == (200, [], True)
    assert (await proxied.client.get(file)).status != 200


@pytest.mark.parametrize("marked", ["archived", "deprecated", "active"])
async def test_any_other_status_changes_nothing(site: MakeSite, marked: str) -> None:
    proxied = await site()
    await proxied.page("p0")
    body = {"meta": {"api-version": "1.4"}, "name": "p0", "project-status": {"status": marked}, "files": []}
    proxied.mirror.set_page("p0", json.dumps(body).encode(), JSON)
    proxied.clock.passes(FRESH)
    assert await proxied.page("p0") == STALE["p0"]
    assert (await proxied.client.get(f"/files/p0/{WHEELS['p0']}")).status == 200


# Files that the newest page lacks ---------------------------------------------------------------------------------------------------------


async def test_a_file_of_the_last_page_that_the_newest_lacks_can_be_had_for_hours(site: MakeSite) -> None:
    proxied = await site()
    newer = "p0-2.0-py3-none-any.whl"
    proxied.mirror.add(newer)
    assert (await proxied.page("p0"))[1] == [WHEELS["p0"], newer]
    listed = proxied.mirror.projects["p0"].remove(newer)
    proxied.clock.passes(FRESH)
    assert (await proxied.page("p0"))[1] == [WHEELS["p0"]]
    for _ in range(3):
        assert (await proxied.client.get(f"/files/p0/{newer}")).status == 200
        assert (await proxied.client.get(f"/files/p0/{newer}.metadata")).status == 200
        proxied.clock.passes(3600)
    proxied.clock.passes(4 * 3600)
    assert (await proxied.client.get(f"/files/p0/{newer}")).status == 404
    proxied.mirror.projects["p0"].add(listed)
    proxied.clock.passes(2)
    assert (await proxied.client.get(f"/files/p0/{newer}")).status == 200, "a file that no page lists makes the page be asked for again"


# When the mirror is back ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["stale", "refused"])
@pytest.mark.parametrize("how", ["500", "login page"])
async def test_pages_recover_when_the_mirror_does_and_not_minutes_after(site: MakeSite, known: bool, how: str) -> None:
    proxied = await site()
    if known:
        await proxied.pages()
        proxied.clock.passes(FRESH)
    down = proxied.mirror.fault("page:*", status(500) if how == "500" else wrong_type(b"<html><title>Log in</title><form></form></html>"))
    for _ in range(12):
        for code, _, stale in (await proxied.pages()).values():
            assert (code, stale) == ((200, True) if known else (502, False))
        proxied.clock.passes(100)
    await proxied.pages()
    proxied.mirror.heal(down)
    assert await proxied.pages() == GOOD


async def test_pages_that_are_all_asked_for_at_once_as_the_mirror_is_back_come_at_once(site: MakeSite) -> None:
    proxied = await site()
    down = proxied.mirror.fault("page:*", status(500))
    for _ in range(4):
        await proxied.pages()
        proxied.clock.passes(20)
    proxied.mirror.heal(down)
    answers = await asyncio.gather(*(proxied.client.get(f"/simple/{name}/") for name in PROJECTS))
    assert [answer.status for answer in answers] == [200] * len(PROJECTS)


async def test_a_slow_page_of_one_project_does_not_make_the_next_ones_stale(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for wheel in WHEELS.values():
        mirror.add(wheel)
    clock = Clock()
    proxied = Site(lambda: app_client(clock, probe={"patience": 0.3, "deadline": 2}), mirror, clock)
    await proxied.start()
    assert await proxied.pages() == GOOD
    mirror.fault("page:p0", slow(1.5))
    clock.passes(FRESH)
    assert await proxied.page("p0") == STALE["p0"]
    for name in PROJECTS[1:]:
        assert await proxied.page(name) == GOOD[name]


# A clock that goes back -------------------------------------------------------------------------------------------------------------------


async def test_a_clock_that_goes_back_freezes_no_page(site: MakeSite) -> None:
    proxied = await site()
    proxied.clock.passes(23 * 3600)
    assert await proxied.pages() == GOOD
    proxied.clock.passes(-23 * 3600)
    proxied.mirror.add("p0-2.0-py3-none-any.whl")
    assert (await proxied.page("p0"))[1] == [WHEELS["p0"], "p0-2.0-py3-none-any.whl"]
    proxied.mirror.add("p0-3.0-py3-none-any.whl")
    proxied.clock.passes(FRESH)
    assert len((await proxied.page("p0"))[1]) == 3


async def test_a_clock_that_goes_back_ends_what_was_refused(site: MakeSite) -> None:
    proxied = await site()
    proxied.clock.passes(23 * 3600)
    down = proxied.mirror.fault("page:*", status(500))
    for _ in range(6):
        assert (await proxied.page("p0"))[0] == 502
    proxied.clock.passes(-23 * 3600)
    proxied.mirror.heal(down)
    assert await proxied.page("p0") == GOOD["p0"]


async def test_after_a_restart_on_a_clock_that_went_back_a_stored_page_is_due(site: MakeSite) -> None:
    proxied = await site()
    proxied.clock.passes(23 * 3600)
    await proxied.pages()
    proxied.clock.passes(-23 * 3600)
    await proxied.start()
    proxied.mirror.forget()
    assert await proxied.pages() == GOOD
    assert proxied.mirror.count(kind="page") == len(PROJECTS)


# A crowd of the proxy's own ------------------------------------------------------------------------------------------------------


async def test_a_page_that_is_refused_for_the_crowd_of_probes_is_asked_for_again_alone(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    """A limit on simultaneous requests, told as 403; who asks for pages at the mirror itself never meets it."""
    for number in range(60):
        mirror.add(f"crowd-{number}.0-py3-none-any.whl")
    mirror.add(WHEELS["p0"])
    under_way = 0

    async def limited(target: Target) -> web.StreamResponse | None:
        nonlocal under_way
        if under_way >= 4:
            return web.Response(status=403)
        under_way += 1
        try:
            await asyncio.sleep(0.1)
        finally:
            under_way -= 1
        return None

    client = await app_client(probe={"patience": 0})
    mirror.fault(lambda _: True, limited)
    crowd = asyncio.create_task(client.get("/simple/crowd/"))
    await asyncio.sleep(0.25)
    async with client.get("/simple/p0/") as response:
        assert response.status == 200
    assert (await crowd).status == 200
