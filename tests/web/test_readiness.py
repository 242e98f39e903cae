"""`/readyz` is true, says what hinders, and costs the mirror next to nothing."""

import asyncio
from typing import Any

import pytest

from proxy.server.operations import WATCH
from tests.conftest import Client, MakeClient
from tests.faults import hang, reset, slow, status
from tests.mirror import ANYTHING, BrokenMirror
from tests.web.test_reload import app_of, reload, settings

WHEEL = "demo-1.0-py3-none-any.whl"
NOBODY = "http://127.0.0.1:9/simple/"


async def ready(client: Client, query: str = "") -> tuple[int, dict[str, Any]]:
    answer = await client.get(f"/readyz{query}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == ("application/json" if answer.status == 200 else "application/problem+json")
    return answer.status, await answer.json()


async def test_a_proxy_that_nobody_used_asks_the_mirror_once_however_often_it_is_asked(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    assert not mirror.asked
    for _ in range(5):
        code, said = await ready(client)
        assert code == 200
        assert said["status"] == "ready"
        assert said["checks"]["mirrors"]["default"] == {"state": "answers", "serves": True, "well": True}
        assert said["checks"]["store"]["well"] is True
    assert [(each.method, each.kind) for each in mirror.asked] == [("HEAD", "list")]


async def test_a_mirror_that_is_in_use_is_not_asked_at_all(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    asked = len(mirror.asked)
    assert (await ready(client))[0] == 200
    assert len(mirror.asked) == asked


@pytest.mark.parametrize("code", [401, 403, 404, 405, 500])
async def test_whatever_a_mirror_answers_it_answers(mirror: BrokenMirror, app_client: MakeClient, code: int) -> None:
    mirror.fault(ANYTHING, status(code))
    assert (await ready(await app_client()))[0] == 200


async def test_a_mirror_that_cannot_be_reached_is_named_and_not_tried_all_the_time(app_client: MakeClient) -> None:
    client = await app_client(upstream={"url": NOBODY, "name": "team-a"})
    answer = await client.get("/readyz", headers={"X-Request-ID": "edge-1"})
    assert answer.status == 503
    said = await answer.json()
    assert said["title"] == "mirrormend is not ready to serve"
    assert said["detail"] == "The mirror team-a does not answer."
    assert said["checks"]["mirrors"]["team-a"] == {"state": "fails", "serves": False, "well": False}
    assert said["request_id"] == "edge-1"
    assert "127.0.0.1" not in await answer.text(), "who asks here need not know where the mirror is"
    metrics = await (await client.get("/metrics")).text()
    assert (await ready(client))[0] == 503
    again = await (await client.get("/metrics")).text()
    refused = [line for line in metrics.splitlines() if line.startswith("mirrormend_upstream_requests_total")]
    assert refused == [line for line in again.splitlines() if line.startswith("mirrormend_upstream_requests_total")]


async def test_a_mirror_that_comes_back_makes_it_ready_although_no_client_asks(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.status.readiness._ASK_AGAIN", 0.0)
    rule = mirror.fault(ANYTHING, reset())
    client = await app_client()
    assert (await ready(client))[0] == 503
    mirror.heal(rule)
    assert (await ready(client))[0] == 200


async def test_pages_at_hand_are_something_to_serve_while_the_mirror_is_down(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client(upstream={"fresh": 0, "retries": 0})
    await client.get("/simple/demo/")
    mirror.fault(ANYTHING, reset())
    for number in range(9):
        await client.get(f"/simple/other-{number}/")
    code, said = await ready(client)
    assert code == 200
    assert said["complaints"] == ["the mirror default did not answer lately and is left alone for a moment"]
    assert said["checks"]["mirrors"]["default"] == {"state": "rests", "serves": True, "well": False}
    assert (await client.get("/simple/demo/")).status == 200
    strict, said = await ready(client, "?strict")
    assert strict == 503
    assert "the mirror default" in said["detail"].lower()


async def test_one_failure_among_good_answers_is_nothing(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client(upstream={"retries": 0})
    await client.get("/simple/demo/")
    mirror.fault("page:other", status(503))
    await client.get("/simple/other/")
    asked = len(mirror.asked)
    code, said = await ready(client, "?strict")
    assert code == 200
    assert len(mirror.asked) == asked, "the good answer is recent enough"
    assert said["complaints"] == []


async def test_one_mirror_of_several_that_is_down_is_said_and_hinders_nobody(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    wanted = settings(mirror).model_validate(
        {"upstream": [{"url": mirror.url, "name": "good"}, {"url": NOBODY, "name": "bad"}], "store": {"location": "memory"}}
    )
    await reload(app_of(client), lambda: wanted)
    code, said = await ready(client)
    assert code == 200
    assert said["complaints"] == ["the mirror bad does not answer"]
    assert said["checks"]["mirrors"]["good"]["well"] is True
    assert (await ready(client, "?strict"))[0] == 503


async def test_a_store_that_is_away_is_said_and_hinders_nobody(app_client: MakeClient) -> None:
    client = await app_client(store={"location": "redis://127.0.0.1:9/0"})
    code, said = await ready(client)
    assert code == 200
    assert said["complaints"] == ["the store cannot be reached"]
    assert said["checks"]["store"] == {"state": "away", "serves": True, "well": False}
    strict, said = await ready(client, "?strict")
    assert strict == 503
    assert said["detail"] == "The store cannot be reached."


async def test_a_slow_mirror_is_waited_for_only_a_moment_and_its_answer_counts_later(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.status.readiness._PATIENCE", 0.05)
    mirror.fault("list", slow(0.6))
    client = await app_client()
    code, said = await ready(client)
    assert code == 503
    assert said["detail"] == "The mirror default has not answered yet."
    assert (await ready(client))[0] == 503
    await asyncio.sleep(0.8)
    assert (await ready(client))[0] == 200
    assert len(mirror.asked) == 1


async def test_a_question_under_way_does_not_hold_up_the_end(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.status.readiness._PATIENCE", 0.05)
    mirror.fault("list", hang(30))
    client = await app_client()
    assert (await ready(client))[0] == 503
    async with asyncio.timeout(5):
        await client.close()


async def test_a_proxy_that_was_told_to_end_says_so(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    assert (await ready(client))[0] == 200
    app_of(client)[WATCH].ending = True
    code, said = await ready(client)
    assert code == 503
    assert said["detail"] == "It was told to end."
    assert (await client.get("/healthz")).status == 200, "it lives"
