"""Mirrors whose HEAD promises what GET denies: that is found out at some files, and then no promise of it counts."""

from pathlib import Path

import pytest
from aiohttp import web

from proxy.audit.findings import Effect, Fault, Report
from tests.audit.conftest import LINUX, MAC, OLD, SDIST, Audit
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Target, artifactory_404, status
from tests.mirror import BrokenMirror
from tests.waiting import eventually

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
OLDER = [f"demo-0.{minor}-cp312-cp312-macosx_11_0_arm64.whl" for minor in range(1, 7)]


@pytest.fixture
def promising(stocked: BrokenMirror) -> BrokenMirror:
    """A mirror of eight releases that has no file for macOS, and whose HEAD says that it has."""
    for name in OLDER:
        stocked.add(name, upload_time="2023-01-01T00:00:00Z")
        stocked.add(name.replace("macosx_11_0_arm64", "manylinux_2_28_x86_64"), upload_time="2023-01-01T00:00:00Z")
    stocked.fault("*macosx*", artifactory_404(), ("GET",))
    return stocked


def denied(report: Report) -> set[str]:
    return {each.filename for each in report.findings if each.fault is Fault.FILE_UNDELIVERABLE}


async def names(client: Client) -> set[str]:
    async with client.get("/simple/demo/", headers=JSON) as response:
        return {each["filename"] for each in (await response.json(content_type=None))["files"]}


async def gone(client: Client, clock: Clock, *dead: str) -> None:
    """Wait until none of these is listed: the mirror might have fetched them since they were asked for first."""

    async def all_gone() -> bool:
        clock.passes(100)
        return not set(dead) & await names(client)

    await eventually(all_gone)


@pytest.mark.parametrize("kind", ["auto", "artifactory", "static"])
async def test_one_broken_promise_has_check_ask_for_every_file_by_get(promising: BrokenMirror, audit: Audit, kind: str) -> None:
    report = await audit("demo", upstream={"kind": kind})
    assert denied(report) == {MAC, *OLDER}
    assert {each.effect for each in report.findings if each.filename == MAC} == {Effect.DROPPED}


async def test_what_was_promised_before_that_is_asked_for_again(promising: BrokenMirror, audit: Audit) -> None:
    # Of an older project only one file of each platform is asked for by GET, and these are there.
    for minor in range(1, 8):
        promising.add(f"other-{minor}.0.tar.gz", upload_time="2023-01-01T00:00:00Z")
    promising.fault("other-2.0.tar.gz", artifactory_404(), ("GET",))
    assert "other-2.0.tar.gz" not in denied(await audit("other"))
    assert "other-2.0.tar.gz" in denied(await audit("demo", "other"))


async def test_a_locked_release_is_asked_for_by_get_file_by_file(stocked: BrokenMirror, audit: Audit) -> None:
    two = MAC.replace("11_0", "12_0")
    stocked.add(two, upload_time="2024-01-01T00:00:00Z")
    stocked.fault(two, artifactory_404(), ("GET",))
    assert denied(await audit("demo==2.0")) == {two}


async def test_a_promise_costs_check_one_request_more(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.add(OLD, core_metadata=True, upload_time="2024-01-01T00:00:00Z")
    stocked.add(MAC, core_metadata=True, upload_time="2024-01-01T00:00:00Z")
    report = await audit("demo")
    asked = [(each.name, each.method, each.range) for each in stocked.asked if each.kind == "file"]
    expected = [(name, *how) for name in (OLD, MAC, LINUX, SDIST) for how in (("HEAD", None), ("GET", "bytes=0-0"))]
    assert sorted(asked, key=str) == sorted(expected, key=str)
    assert report.requests == len(stocked.asked)


async def test_a_get_that_fails_once_drops_nothing(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    transient = stocked.fault(MAC, artifactory_404(), ("GET",), times=1)
    assert denied(await audit("demo")) == set()
    assert transient.times == 0
    transient.times = 1
    assert MAC in await names(await app_client())


async def test_the_proxy_drops_all_that_was_promised_in_vain(promising: BrokenMirror, app_client: MakeClient) -> None:
    clock = Clock()
    client = await app_client(clock, upstream={"fresh": 60})
    await gone(client, clock, MAC, *OLDER)
    assert LINUX in await names(client)


async def test_a_client_that_is_denied_one_file_unveils_the_others(promising: BrokenMirror, app_client: MakeClient) -> None:
    for name in (MAC, *OLDER[:0:-1]):
        promising.add(name.replace("macosx_11_0", "macosx_10_9"), upload_time="2024-01-01T00:00:00Z")
    promising.heal()
    promising.fault(OLDER[0], artifactory_404(), ("GET",))
    promising.fault(OLDER[1], artifactory_404(), ("GET",))
    clock = Clock()
    client = await app_client(clock, upstream={"fresh": 60})
    assert {OLDER[0], OLDER[1]} <= await names(client)
    async with client.get(f"/files/demo/{OLDER[0]}") as response:
        assert response.status == 502
    await gone(client, clock, OLDER[1])


async def test_what_get_denied_does_not_come_back_because_head_promises_it(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault(MAC, artifactory_404(), ("GET",))
    clock = Clock()
    client = await app_client(clock, upstream={"fresh": 60})
    await gone(client, clock, MAC)
    for _ in range(3):
        clock.passes(700)
        await names(client)
        assert MAC not in await names(client)
    stocked.heal()
    clock.passes(700)

    async def back() -> bool:
        return MAC in await names(client)

    await eventually(back)


async def test_after_a_restart_it_comes_back_as_soon_as_get_delivers_it(
    stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    broken = stocked.fault(MAC, artifactory_404(), ("GET",))
    clock, kept = Clock(), {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    first = await app_client(clock, store=kept, upstream={"fresh": 60})
    await gone(first, clock, MAC)
    await first.close()
    stocked.heal(broken)
    clock.passes(700)
    # Nobody knows any more that HEAD lied.
    second = await app_client(clock, store=kept)

    async def back() -> bool:
        return MAC in await names(second)

    await eventually(back)


async def test_a_mirror_that_refuses_ranges_alone_is_sound(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault(lambda name: name.endswith((".whl", ".gz")), refuses_ranges, ("GET",))
    report = await audit("demo")
    assert denied(report) == set()


async def refuses_ranges(target: Target) -> web.StreamResponse | None:
    return await status(404)(target) if "Range" in target.request.headers else None


@pytest.mark.parametrize("code", [401, 429, 503])
async def test_a_head_that_fails_for_all_files_accuses_none(
    promising: BrokenMirror, audit: Audit, app_client: MakeClient, code: int
) -> None:
    promising.heal()
    promising.fault("*", status(code), ("HEAD",))
    report = await audit("demo", upstream={"retries": 0})
    assert (report.findings, report.projects[0].deliverable) == ((), len(OLDER) * 2 + 4)
    client = await app_client(upstream={"retries": 0})
    assert {MAC, SDIST, *OLDER} <= await names(client)
    told = [await (await client.get(f"/explain/demo/{name}")).json(content_type=None) for name in (MAC, SDIST, *OLDER)]
    assert not [each for each in told if each["verdict"] and each["verdict"]["kind"] == "undeliverable"]
