"""Faults of mirrors that are in trouble: outages that look like answers, and trouble that is one path's alone."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.clients import Uv, write_project
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Fault, slow, status, wrong_type
from tests.matrix.names import ALL, JSON, LINUX, OLD, SDIST, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror

FRESH = 121
EMPTY = {
    "HTML": wrong_type(b"<!DOCTYPE html><html><head><title>Links for demo</title></head><body><h1>Links for demo</h1></body></html>"),
    "JSON": status(200, {"Content-Type": JSON}, json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": []}).encode()),
}
MakeFront = Callable[..., Awaitable[Any]]


class Front:
    """The proxy, which can be started again and has its store then, and the time that passes there."""

    def __init__(self, make: Callable[[], Awaitable[Any]], clock: Clock) -> None:
        self._make = make
        self.clock = clock
        self.client: Any = None

    async def start(self) -> None:
        if self.client is not None:
            await self.client.close()
        self.client = await self._make()

    async def names(self, project: str = "demo", **headers: str) -> tuple[int, list[str]]:
        """Status, and names of the files on the page."""
        async with self.client.get(f"/simple/{project}/", headers={"Accept": JSON, **headers}) as response:
            files = (await response.json(content_type=None))["files"] if response.status == 200 else []
            return response.status, [file["filename"] for file in files]


@pytest.fixture
def front(app_client: MakeClient, tmp_path: Any) -> MakeFront:
    """Return `make(**sections)`: the proxy with these settings, a store on disk, and a clock."""

    async def make(**sections: Any) -> Front:
        clock = Clock()
        made = Front(lambda: app_client(clock, store={"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}, **sections), clock)
        await made.start()
        return made

    return make


@row(1, "an outage or an expired token answers 404 for all pages, and the proxy restarts", "serves what is stored, and erases nothing")
async def test_01_an_outage_that_denies_all_pages(stocked: BrokenMirror, front: MakeFront) -> None:
    stocked.add("other-1.0-py3-none-any.whl")
    proxied = await front()
    await proxied.names()
    await proxied.names("other")
    stocked.fault("page:*", status(404))
    for _ in range(3):
        await proxied.start()
        proxied.clock.passes(FRESH)
        assert await proxied.names() == (200, ALL)
        assert await proxied.names("other") == (200, ["other-1.0-py3-none-any.whl"])
        assert (await proxied.names("never-seen"))[0] == 502
        proxied.clock.passes(300)
    stocked.heal()
    assert await proxied.names() == (200, ALL)


@row(30, "a project becomes quarantined: an empty page that says so (PEP 792)", "believes it at once: neither page nor files are served")
async def test_30_a_quarantined_project(stocked: BrokenMirror, front: MakeFront) -> None:
    proxied = await front()
    await proxied.names()
    body = {"meta": {"api-version": "1.4"}, "name": "demo", "project-status": {"status": "quarantined"}, "files": []}
    stocked.set_page("demo", json.dumps(body).encode(), JSON)
    proxied.clock.passes(FRESH)
    for path in (f"/files/demo/{LINUX}", f"/files/demo/{LINUX}.metadata"):
        assert (await proxied.client.get(path)).status == 404
    assert await proxied.names() == (200, [])


@pytest.mark.parametrize("form", EMPTY)
@row(31, "the page of a known project is empty all at once, with status 200", "serves the page that it knows, marked as stale")
async def test_31_an_empty_page_all_at_once(stocked: BrokenMirror, front: MakeFront, form: str) -> None:
    proxied = await front()
    await proxied.names()
    stocked.fault("page:*", EMPTY[form])
    proxied.clock.passes(FRESH)
    assert await proxied.names() == (200, ALL)


@row(31, "a page for people in the place of all pages, for a while", "is an error, and the pages are there again as soon as the mirror is")
async def test_31_a_login_page_is_forgotten_with_the_outage(stocked: BrokenMirror, front: MakeFront) -> None:
    proxied = await front()
    page = stocked.fault("page:*", wrong_type(b"<html><title>Log in</title><form></form></html>"))
    for _ in range(6):
        assert (await proxied.names())[0] == 502
        proxied.clock.passes(20)
    stocked.heal(page)
    assert await proxied.names() == (200, ALL)


@pytest.mark.parametrize("wish", ["no-cache", "max-age=0"])
@row(
    32,
    "a release was published just now, and the client says `no-cache` or `max-age=0`",
    "asks the mirror, conditionally, and once for all",
)
async def test_32_a_release_just_published(stocked: BrokenMirror, front: MakeFront, wish: str) -> None:
    proxied = await front()
    await proxied.names()
    stocked.add("demo-3.0-py3-none-any.whl")
    proxied.clock.passes(3)
    found = await asyncio.gather(*(proxied.names(**{"Cache-Control": wish}) for _ in range(10)))
    assert found == [(200, [*ALL, "demo-3.0-py3-none-any.whl"])] * 10
    assert len(stocked.asked_for("page:demo")) == 2


@row(18, "two nodes, one of them with an older page", "a file of the page before can be had for hours")
async def test_18_a_file_that_the_newest_page_lacks(stocked: BrokenMirror, front: MakeFront) -> None:
    proxied = await front()
    await proxied.names()
    stocked.projects["demo"].remove(LINUX)
    proxied.clock.passes(FRESH)
    assert LINUX not in (await proxied.names())[1]
    assert (await proxied.client.get(f"/files/demo/{LINUX}")).status == 200
    assert (await proxied.client.get(f"/files/demo/{LINUX}.metadata")).status == 200


@pytest.mark.parametrize("fault", [status(502), status(503), status(503, {"Retry-After": "60"})], ids=["502", "503", "Retry-After"])
@row(40, "`.metadata` is answered by 502 or 503 for all projects, files are well", "reads the wheels; pages and files come as ever")
async def test_40_the_mirrors_metadata_is_out_of_service(
    mirror: BrokenMirror, app_client: MakeClient, uv: Uv, tmp_path: Any, fault: Fault
) -> None:
    projects = [f"p{number:02}" for number in range(80)]
    for name in projects:
        mirror.add(f"{name}-1.0-py3-none-any.whl", core_metadata="hash")
    mirror.latency = 0.02
    mirror.fault("metadata:*", fault)
    client = await app_client()
    began = time.monotonic()
    locked = await uv.lock(write_project(tmp_path / "project", projects), str(client.make_url("/simple/")))
    assert locked.ok, locked.stderr
    assert locked.packages == dict.fromkeys(projects, "1.0")
    assert time.monotonic() - began < 8


@row(40, "one file is answered by 503 with `Retry-After: 60`", "leaves that file alone, and nothing else waits for it")
async def test_40_one_file_wants_a_pause(stocked: BrokenMirror, site: MakeSite) -> None:
    for number in range(10):
        stocked.add(f"other{number}-1.0-py3-none-any.whl")
    stocked.fault(LINUX, status(503, {"Retry-After": "60"}))
    proxied = await site()
    began = time.monotonic()
    assert await proxied.names() == ALL
    for number in range(10):
        assert await proxied.names(f"other{number}") == [f"other{number}-1.0-py3-none-any.whl"]
        assert (await proxied.get(f"/files/other{number}/other{number}-1.0-py3-none-any.whl.metadata"))[0] == 200
    for name in (OLD, SDIST):
        assert (await proxied.get(f"/files/demo/{name}"))[0] == 200
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("fault", [slow(1.2)], ids=["slow"])
@row(40, "the page of one project is slow", "that one is served stale meanwhile, all others as ever")
async def test_40_one_page_is_slow(stocked: BrokenMirror, front: MakeFront, fault: Fault) -> None:
    for number in range(4):
        stocked.add(f"other{number}-1.0-py3-none-any.whl")
    proxied = await front(probe={"patience": 0.3})
    for name in ("demo", *(f"other{number}" for number in range(4))):
        await proxied.names(name)
    stocked.fault("page:demo", fault)
    proxied.clock.passes(FRESH)
    for name, stale in (("demo", True), *((f"other{number}", False) for number in range(4))):
        async with proxied.client.get(f"/simple/{name}/") as response:
            assert (response.status, "Mirrormend-Stale" in response.headers) == (200, stale)
