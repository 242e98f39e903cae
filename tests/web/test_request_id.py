"""A request has one name from the edge to the log, and nobody can write into the log, or into a header, by choosing it."""

import json
import re
from io import StringIO
from typing import Any

import pytest
import structlog

from proxy.config import LogSection
from proxy.telemetry import configure_logging
from tests.conftest import MakeClient
from tests.faults import ANYTHING, artifactory_404, status
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.web.test_warm import connected, running, warmed

WHEEL = "demo-1.0-py3-none-any.whl"
MADE = r"[0-9a-f]{16,}"


@pytest.fixture
def log() -> StringIO:
    return logging_to_text("json")


def logging_to_text(form: str) -> StringIO:
    stream = StringIO()
    configure_logging(LogSection.model_validate({"format": form}), stream)
    # The next test must not find the loggers as they are now.
    structlog.configure(cache_logger_on_first_use=False)
    return stream


def lines(log: StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


async def test_the_id_of_the_edge_is_on_the_response_on_every_line_and_in_problems(
    log: StringIO, mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(WHEEL)
    mirror.add("demo-1.0-cp312-cp312-macosx_11_0_arm64.whl")
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    page = await client.get("/simple/demo/", headers={"X-Request-ID": "edge-1"})
    assert page.headers["X-Request-ID"] == "edge-1"
    file = await client.get(f"/files/demo/{WHEEL}", headers={"X-Request-ID": "edge-2"})
    assert file.headers["X-Request-ID"] == "edge-2"
    moved = await client.get("/simple/Demo/", headers={"X-Request-ID": "edge-3"}, allow_redirects=False)
    assert moved.headers["X-Request-ID"] == "edge-3"
    absent = await client.get("/simple/absent/", headers={"X-Request-ID": "edge-4"})
    assert absent.headers["X-Request-ID"] == "edge-4"
    assert (await absent.json())["request_id"] == "edge-4"
    refused = await client.get("/simple/demo/", headers={"X-Request-ID": "edge-5", "Accept": "image/png"})
    assert (await refused.json())["request_id"] == "edge-5"
    assert [line["request_id"] for line in lines(log, "request")] == [f"edge-{number}" for number in range(1, 6)]
    assert lines(log, "verified")[0]["request_id"] == "edge-1", "what the request began in the background carries its name"


async def test_a_request_without_an_id_gets_one_of_its_own(log: StringIO, app_client: MakeClient) -> None:
    client = await app_client()
    ids = [(await client.get("/nothing")).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(MADE, each) for each in ids)
    assert [line["request_id"] for line in lines(log, "request")] == ids


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", 'a"b', "a;b", "<script>", "a@b"])
async def test_what_is_no_plain_word_is_not_taken_over(log: StringIO, app_client: MakeClient, given: str) -> None:
    client = await app_client()
    answer = await client.get("/nothing", headers={"X-Request-ID": given})
    assert re.fullmatch(MADE, answer.headers["X-Request-ID"])
    assert (await answer.json())["request_id"] == answer.headers["X-Request-ID"]
    assert len(lines(log, "request")) == 1


async def test_the_next_request_on_a_connection_does_not_inherit_the_id(
    log: StringIO, mirror: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    await client.get("/nothing", headers={"X-Request-ID": "first"})
    assert (await client.get("/nothing")).headers["X-Request-ID"] != "first"
    assert lines(log, "request")[1]["request_id"] != "first"


async def test_what_concerns_the_mirror_is_not_told_as_if_it_were_one_request(
    log: StringIO, mirror: BrokenMirror, app_client: MakeClient
) -> None:
    names = [f"demo-{number}.0-py3-none-any.whl" for number in range(40)]
    for name in names:
        mirror.add(name)
    client = await app_client(upstream={"kind": "static", "retries": 0}, verdict={"yes": 0})
    await client.get("/simple/demo/", headers={"X-Request-ID": "innocent"})
    mirror.fault(ANYTHING, status(502))
    for name in names[:12]:
        await client.get(f"/files/demo/{name}.metadata", headers={"X-Request-ID": f"other-{name}"})

    async def told() -> bool:
        return bool(lines(log, "breaker-open"))

    # A page is asked for before files that fail are taken for the whole mirror.
    await eventually(told)
    opened = lines(log, "breaker-open")
    assert all(line.get("request_id") != "innocent" for line in opened)


@pytest.mark.parametrize("name", ["X-Request-ID", "x-request-id", "X-Request-Id"])
async def test_a_page_at_hand_carries_the_id_of_its_own_request(
    log: StringIO, mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        status_, headers, body = await warmed(server, connection)
        before = server.ordinary
        for number in range(3):
            found = await connection.get(f"{name}: edge-{number}")
            assert found[1]["x-request-id"] == f"edge-{number}"
            assert found[2] == body
        made = [(await connection.get())[1]["x-request-id"] for _ in range(2)]
        assert server.ordinary == before, "an id does not keep a page from being at hand"
    assert status_ == 200
    assert headers["x-request-id"] not in made
    assert made[0] != made[1]
    told = [line["request_id"] for line in lines(log, "request")]
    assert told[-5:] == ["edge-0", "edge-1", "edge-2", *made]


async def test_an_id_that_is_refused_is_refused_for_a_page_at_hand_too(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        await warmed(server, connection)
        for line in ("X-Request-ID: a b", "X-Request-ID: a\r\nX-Request-ID: b", "X-REQUEST-ID: shout"):
            before = server.ordinary
            for _ in range(3):
                found = await connection.get(line)
                assert found[0] == 200
                assert found[1]["x-request-id"] not in {"a b", "b"}
            assert server.ordinary == before + 3, "such a request is not remembered"


async def test_an_id_is_made_for_people_who_read_the_log_too(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = logging_to_text("console")
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        await warmed(server, connection)
        await connection.get("X-Request-ID: edge-1")
    assert re.search(r"request_id=edge-1\b", stream.getvalue().splitlines()[-1])
    assert "id-of-the-request" not in stream.getvalue()
