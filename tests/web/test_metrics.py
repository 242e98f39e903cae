"""What `/metrics` promises: what happened is counted, once, by words of our own, and each application counts for itself."""

import asyncio
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from proxy import __version__
from proxy.telemetry.counts import Durations
from proxy.telemetry.lag import LoopLag
from tests.conftest import MakeClient
from tests.faults import artifactory_404, quota, reset, status
from tests.mirror import ANYTHING, BrokenMirror
from tests.numbers import numbers, parsed
from tests.web.test_warm import connected, running, warmed

WHEEL = "demo-1.0-py3-none-any.whl"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"


async def test_a_mended_page_is_counted_from_the_request_to_the_verdict(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.add(MAC)
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    before = await numbers(client)
    assert not before.has("mirrormend_upstream_up"), "nobody asked the mirror yet"
    for _ in range(2):
        assert (await client.get("/simple/demo/")).status == 200
    found = await numbers(client)
    page = {"route": "page", "upstream": "default", "status": "200", "outcome": "mended"}
    assert found.of("mirrormend_requests_total", **page) == 2
    assert found.of("mirrormend_request_duration_seconds_count", route="page") == 2
    assert found.of("mirrormend_request_duration_seconds_bucket", route="page", le="+Inf") == 2
    assert found.of("mirrormend_page_fetches_total", outcome="fetched") == 1
    assert found.of("mirrormend_probes_total", cause="absent") >= 1
    assert found.of("mirrormend_probes_total", cause="available", asked="HEAD") >= 1
    assert found.of("mirrormend_verdicts_total", verdict="undeliverable", cause="absent") == 1
    assert found.of("mirrormend_verdicts_total", verdict="deliverable", cause="available") == 1
    assert found.of("mirrormend_files_dropped_total", cause="absent") == 1
    assert found.of("mirrormend_dropped_files", upstream="default") == 1
    assert found.of("mirrormend_upstream_up", upstream="default") == 1
    assert found.of("mirrormend_upstream_requests_total", outcome="404") >= 1
    assert found.of("mirrormend_upstream_duration_seconds_count", about="page") == 1
    assert found.of("mirrormend_upstream_duration_seconds_count", about="probe") >= 2
    assert found.of("mirrormend_projects") == 1
    assert found.of("mirrormend_requests_in_flight") == 1, "the one that asks"


async def test_a_file_that_comes_back_is_counted_as_restored(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.add(MAC)
    rule = mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.heal(rule)
    assert (await client.get(f"/files/demo/{MAC}")).status == 200
    await client.get("/simple/demo/")
    found = await numbers(client)
    assert found.of("mirrormend_files_restored_total") == 1
    assert found.of("mirrormend_files_dropped_total") == 1
    assert found.of("mirrormend_dropped_files") == 0
    assert found.of("mirrormend_sent_bytes_total", upstream="default") > 0


async def test_a_release_that_leaves_wholly_is_counted(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.add("demo-2.0-py3-none-any.whl")
    mirror.fault("demo-2.0*", artifactory_404())
    client = await app_client(verdict={"confirm": 0})
    await client.get("/simple/demo/")
    found = await numbers(client)
    assert found.of("mirrormend_releases_lost_total") == 1
    assert found.of("mirrormend_lost_releases") == 1


@pytest.mark.parametrize(
    ("name", "core_metadata", "source"), [(WHEEL, "hash", "copy"), (WHEEL, False, "wheel"), (MAC, False, "another-file")]
)
async def test_metadata_is_counted_by_where_it_came_from(
    mirror: BrokenMirror, app_client: MakeClient, name: str, core_metadata: bool, source: str
) -> None:
    mirror.add(WHEEL, core_metadata=core_metadata)
    if name == MAC:
        mirror.add(MAC)
        mirror.fault("*macosx*", artifactory_404())
    client = await app_client(probe={"budget": 0})
    assert (await client.get(f"/files/demo/{name}.metadata")).status == 200
    assert (await numbers(client)).of("mirrormend_metadata_total", source=source) == 1


async def test_metadata_that_is_nowhere_is_counted_as_none(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.fault("*", artifactory_404())
    client = await app_client(probe={"budget": 0})
    assert (await client.get(f"/files/demo/{WHEEL}.metadata")).status == 502
    found = await numbers(client)
    assert found.of("mirrormend_metadata_total", source="none") >= 1
    assert found.of("mirrormend_requests_total", route="metadata", status="502", outcome="no-metadata") == 1


async def test_a_mirror_that_fails_shows_in_its_health_and_in_stale_pages(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client(upstream={"fresh": 0, "retries": 0})
    await client.get("/simple/demo/")
    await client.get("/simple/demo/")
    mirror.fault(ANYTHING, reset())
    await client.get("/simple/demo/")
    for number in range(8):
        await client.get(f"/simple/other-{number}/")
    found = await numbers(client)
    assert found.of("mirrormend_upstream_up", upstream="default") == 0
    assert found.of("mirrormend_breaker_open", upstream="default") == 1
    assert found.of("mirrormend_requests_total", route="page", outcome="stale", status="200") == 1
    assert found.of("mirrormend_page_fetches_total", outcome="not-modified") >= 1
    assert found.of("mirrormend_page_fetches_total", outcome="failed") >= 1
    assert found.of("mirrormend_upstream_requests_total", outcome="reset") >= 8


async def test_a_storm_is_seen_while_it_lasts_and_counted(mirror: BrokenMirror, app_client: MakeClient) -> None:
    names = [f"demo-{number}.0-py3-none-any.whl" for number in range(6)]
    for name in names:
        mirror.add(name)
    client = await app_client(upstream={"kind": "static"})
    await client.get("/simple/demo/")
    assert (await numbers(client)).of("mirrormend_storm") == 0
    mirror.fault("*", artifactory_404())
    for name in names[:4]:
        await client.get(f"/files/demo/{name}")
    found = await numbers(client)
    assert found.of("mirrormend_storm", upstream="default") == 1
    assert found.of("mirrormend_storms_total", upstream="default") == 1


async def test_no_label_holds_what_a_client_or_a_mirror_made_up(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add("made-up-1.0-py3-none-any.whl")
    mirror.fault("page:odd", status(777))
    mirror.fault("page:full", quota(0))
    client = await app_client(upstream={"name": "team-a", "retries": 0})
    for path in ("/simple/made-up/", "/files/made-up/made-up-1.0-py3-none-any.whl", "/simple/odd/", "/simple/full/", "/made-up/simple/x/"):
        await client.get(path, headers={"User-Agent": "made-up", "X-Request-ID": "made-up"})
    await client.request("MADEUP", "/simple/made-up/")
    await client.get("/made-up", headers={"Authorization": "Bearer made-up"})
    found = await numbers(client)
    values = {value for name, labels, _ in found.samples if name.startswith("mirrormend_") for value in labels.values()}
    assert "team-a" in values
    assert not {value for value in values if "made-up" in value or "MADEUP" in value or "777" in value}
    assert found.of("mirrormend_upstream_requests_total", outcome="7xx") == 1
    assert found.of("mirrormend_requests_total", route="other", status="404") == 1


async def test_two_applications_count_apart(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    one, other = await app_client(), await app_client()
    await one.get("/simple/demo/")
    assert (await numbers(one)).of("mirrormend_requests_total", route="page") == 1
    assert not (await numbers(other)).has("mirrormend_requests_total", route="page")


async def test_a_page_at_hand_is_counted_like_any_other(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        await warmed(server, connection)
        for _ in range(5):
            await connection.get()
        _, _, body = await connection.get("X: y")
        assert body
        ordinary = server.ordinary
        await connection.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = parsed((await connection.answer())[2].decode())
    at_hand = found.of("mirrormend_requests_at_hand_total", route="page")
    assert at_hand >= 6
    assert found.of("mirrormend_requests_total", route="page", status="200", outcome="as-is") == at_hand + ordinary
    assert found.of("mirrormend_request_duration_seconds_count", route="page") == at_hand + ordinary
    assert found.of("mirrormend_request_duration_seconds_bucket", route="page", le="0.001") >= at_hand


async def test_who_asks_for_openmetrics_gets_it(app_client: MakeClient) -> None:
    client = await app_client()
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "mirrormend_build" in {family.name for family in parse_openmetrics(await answer.text())}


async def test_process_build_and_store_are_told(app_client: MakeClient) -> None:
    client = await app_client()
    found = await numbers(client)
    assert found.of("mirrormend_build_info", version=__version__) == 1
    assert found.of("process_resident_memory_bytes") > 1e6
    assert found.has("python_gc_collections_total")
    assert found.of("mirrormend_store_backend", state="absent") == 1
    assert found.of("mirrormend_tasks") >= 1


async def test_a_store_that_is_away_is_told(app_client: MakeClient) -> None:
    client = await app_client(store={"location": "redis://127.0.0.1:9/0"})
    found = await numbers(client)
    assert found.of("mirrormend_store_backend", state="away") == 1
    assert found.of("mirrormend_store_backend") == 1, "it is in one state alone"
    assert found.of("mirrormend_store_failures_total") >= 1


async def test_a_blocked_loop_is_noticed() -> None:
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    time.sleep(0.6)  # noqa: ASYNC251 - that is the point
    await asyncio.sleep(0.05)
    watching.cancel()
    now = asyncio.get_running_loop().time()
    assert lag.worst(now) > 0.25
    assert lag.worst(now + 61) == 0.0
    assert sum(lag.durations.counts) == 1


def test_a_duration_counts_in_the_first_bucket_that_is_not_smaller() -> None:
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.2, 5.0):
        durations.add(seconds)
    assert durations.counts == [2, 1, 1]
    assert durations.seconds == pytest.approx(5.35)
