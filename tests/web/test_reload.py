"""A reload takes place as a whole or not at all, and no request notices that it happened."""

import asyncio
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from proxy.config import LogSection, Settings
from proxy.config.load import SettingsError, load_settings
from proxy.core.identity import SHARED
from proxy.server.context import GENERATIONS
from proxy.server.reload import changeable, differing, reload
from proxy.telemetry import change_logging, configure_logging
from tests.conftest import Client, MakeClient
from tests.faults import artifactory_404, slow
from tests.mirror import BrokenMirror
from tests.numbers import numbers
from tests.waiting import at_rest
from tests.web.test_head_trust import index_of
from tests.web.test_request_id import lines, logging_to_text
from tests.web.test_warm import connected, running, warmed
from tests.wheels import make_wheel

WHEEL = "demo-1.0-py3-none-any.whl"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
def log() -> StringIO:
    return logging_to_text("json")


def settings(mirror: BrokenMirror, **sections: Any) -> Settings:
    upstream = {"url": mirror.url} | sections.pop("upstream", {})
    store = {"location": "memory"} | sections.pop("store", {})
    return Settings.model_validate({"upstream": upstream, "store": store, **sections})


def app_of(client: Client) -> web.Application:
    app = client.app
    assert app is not None
    return app


async def file_url(client: Client) -> str:
    answer = await client.get("/simple/demo/", headers=JSON)
    url: str = (await answer.json(content_type=None))["files"][0]["url"]
    return url


async def test_new_requests_have_the_new_settings_on_the_same_connection(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    assert (await file_url(client)).startswith("../../files/")
    await reload(app_of(client), lambda: settings(mirror, links={"mode": "direct"}))
    assert await file_url(client) == mirror.file_url(WHEEL)
    assert (await numbers(client)).of("mirrormend_reloads_total", outcome="done") == 1


async def test_another_mirror_takes_the_place_of_the_old_one(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    async with BrokenMirror() as other:
        other.add("demo-2.0-py3-none-any.whl")
        client = await app_client()
        assert WHEEL in await file_url(client)
        await reload(app_of(client), lambda: settings(other))
        assert "demo-2.0" in await file_url(client)
        asked = len(mirror.asked)
        two = [{"url": other.url, "name": "one"}, {"url": mirror.url, "name": "two"}]
        both = Settings.model_validate({"upstream": two, "store": {"location": "memory"}})
        await reload(app_of(client), lambda: both)
        assert (await client.get("/two/simple/demo/")).status == 200
        assert (await client.get("/default/simple/demo/")).status == 400
        assert len(mirror.asked) > asked


async def test_a_request_under_way_ends_as_it_began_and_then_the_old_indexes_close(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(WHEEL, slow(0.6), methods=("GET",))
    old = app_of(client)[GENERATIONS].current
    download = asyncio.create_task(client.get(f"/files/demo/{WHEEL}"))
    await asyncio.sleep(0.2)
    await reload(app_of(client), lambda: settings(mirror, links={"mode": "redirect"}))
    assert app_of(client)[GENERATIONS].leaving == 1, "it waits for the download"
    answer = await download
    assert answer.status == 200
    assert len(await answer.read()) > 100
    async with asyncio.timeout(5):
        while app_of(client)[GENERATIONS].leaving:  # noqa: ASYNC110 - there is nothing to wait for but its end
            await asyncio.sleep(0.01)
    assert old.indexes["default"].holding.projects == 0, "nothing of it is held any more"
    moved = await client.get(f"/files/demo/{WHEEL}", allow_redirects=False)
    assert moved.status == 307


async def test_what_was_learned_is_not_asked_again(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.add(MAC)
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    assert (await client.get("/simple/demo/")).headers["Mirrormend-Dropped"].startswith("1;")
    await at_rest(app_of(client)[GENERATIONS].current.indexes["default"].tasks)
    asked = [each for each in mirror.asked if each.kind == "file"]
    await reload(app_of(client), lambda: settings(mirror, verdict={"empty": "drop"}))
    page = await client.get("/simple/demo/")
    assert page.headers["Mirrormend-Dropped"].startswith("1;")
    assert (await numbers(client)).of("mirrormend_files_dropped_total") == 1, "what was known is not counted again"
    assert [each for each in mirror.asked if each.kind == "file"] == asked


async def test_how_the_mirror_does_is_known_from_the_start(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.server_header = "Artifactory/7.90"
    mirror.add(WHEEL)
    client = await app_client(upstream={"kind": "auto"})
    await client.get("/simple/demo/")
    before = app_of(client)[GENERATIONS].current.indexes["default"].mirror
    asked = len(mirror.asked)
    await reload(app_of(client), lambda: settings(mirror, probe={"patience": 1}))
    assert (await client.get("/readyz")).status == 200
    assert len(mirror.asked) == asked, "it need not be asked again"
    assert (await numbers(client)).of("mirrormend_upstream_up", upstream="default") == 1
    after = app_of(client)[GENERATIONS].current.indexes["default"].mirror
    assert after is not before
    assert after.kind is before.kind
    async with BrokenMirror() as other:
        await reload(app_of(client), lambda: settings(other))
        assert not (await numbers(client)).has("mirrormend_upstream_up"), "of another mirror nothing is known"


async def test_counts_go_on(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    before = (await numbers(client)).of("mirrormend_page_fetches_total")
    await reload(app_of(client), lambda: settings(mirror, upstream={"fresh": 0}))
    await client.get("/simple/demo/")
    assert (await numbers(client)).of("mirrormend_page_fetches_total") == before + 1


def refused() -> Settings:
    raise SettingsError("[probe] pacience in mend.toml", "there is no such key; did you mean patience?")


def broken_file(path: Path) -> Callable[[], Settings]:
    path.write_text("[probe\n", encoding="utf-8")
    return lambda: load_settings(file=path, environ={}, options={})


def surprising() -> Settings:
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["refused", "broken file", "certificate", "surprising"])
async def test_broken_settings_leave_the_old_ones_in_force(
    log: StringIO, mirror: BrokenMirror, app_client: MakeClient, tmp_path: Path, kind: str
) -> None:
    mirror.add(WHEEL)
    (tmp_path / "ca.pem").write_text("this is no certificate", encoding="ascii")
    loads: dict[str, Callable[[], Settings]] = {
        "refused": refused,
        "broken file": broken_file(tmp_path / "mend.toml"),
        "certificate": lambda: settings(mirror, upstream={"ca_bundle": str(tmp_path / "ca.pem")}),
        "surprising": surprising,
    }
    client = await app_client()
    url = await file_url(client)
    current = app_of(client)[GENERATIONS].current
    await reload(app_of(client), loads[kind])
    assert await file_url(client) == url
    assert app_of(client)[GENERATIONS].current is current
    (line,) = lines(log, "reload-failed")
    assert line["level"] == "error"
    assert line["in_force"] == "the settings as they were"
    if kind != "surprising":
        assert "\n" not in line["why"]
        assert "exception" not in line
    assert (await numbers(client)).of("mirrormend_reloads_total", outcome="failed") == 1


async def test_what_cannot_change_is_kept_and_said_and_the_rest_takes_place(
    log: StringIO, mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(WHEEL)
    json_lines = {"format": "json"}
    client = await app_client(log=json_lines)
    wanted = settings(
        mirror, log=json_lines, server={"listen": "127.0.0.1:9"}, store={"location": "sqlite:other.sqlite3"}, links={"mode": "direct"}
    )
    await reload(app_of(client), lambda: wanted)
    assert await file_url(client) == mirror.file_url(WHEEL)
    (line,) = lines(log, "restart-needed")
    assert line["settings"] == ["[server] listen", "[store] location"]
    assert "restart" in line["meaning"]
    in_force = app_of(client)[GENERATIONS].current.settings
    assert in_force.store.location == "memory"
    (done,) = lines(log, "reloaded")
    assert done["changed"] == ["[links] mode"]
    assert (await numbers(client)).of("mirrormend_reloads_total", outcome="restart-needed") == 1


def test_every_section_is_either_changeable_or_kept(mirror: BrokenMirror) -> None:
    one = settings(mirror, upstream={"token": "geheim"})
    other = settings(mirror, upstream={"token": "anders"}, probe={"patience": 1}, log={"level": "error"}, server={"drain": 1})
    in_force, left = changeable(one, other)
    assert left == ["[server] drain"]
    assert in_force.server == one.server
    assert in_force.probe.patience == 1
    assert differing(one, other) == ["[server] drain", "[upstream]", "[probe] patience", "[log] level"]
    assert "geheim" not in str(differing(one, other))


async def test_a_page_at_hand_is_not_that_of_the_old_settings(mirror: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.add(WHEEL)
    async with running(mirror, monkeypatch) as server, connected(server) as connection:
        _, _, body = await warmed(server, connection)
        assert b"../../files/" in body
        # Some other request goes on for long, so that the old indexes are not closed.
        with server.runner.app[GENERATIONS].current.used():
            await reload(server.runner.app, lambda: settings(mirror, links={"mode": "direct"}))
            _, _, body = await connection.get()
            assert mirror.file_url(WHEEL).encode() in body
        _, _, body = await warmed(server, connection)
        assert mirror.file_url(WHEEL).encode() in body


def test_loggers_in_use_change_their_level_and_their_form() -> None:
    stream = StringIO()
    configure_logging(LogSection.model_validate({"format": "console", "level": "warning"}), stream)
    log = structlog.get_logger("mirrormend.reloaded")
    bound = log.bind(a=1)
    log.info("unseen")
    bound.info("unseen")
    change_logging(LogSection.model_validate({"format": "json", "level": "debug"}))
    log.debug("seen")
    bound.info("seen-too")
    change_logging(LogSection.model_validate({"format": "json", "level": "error"}))
    log.warning("unseen")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in told] == [("seen", "debug"), ("seen-too", "info")]


def test_another_configuration_of_logging_keeps_its_level() -> None:
    first, second = StringIO(), StringIO()
    configure_logging(LogSection.model_validate({"format": "json", "level": "warning"}), first)
    change_logging(LogSection.model_validate({"format": "json", "level": "debug"}))
    configure_logging(LogSection.model_validate({"format": "json", "level": "warning"}), second)
    structlog.get_logger("mirrormend.second").info("unseen")
    assert second.getvalue() == ""


async def test_the_requirements_that_were_read_outlast_a_reload_of_the_same_mirror_and_no_other(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    constrains = "constrains-1.0-py3-none-any.whl"
    mirror.add(constrains, make_wheel(constrains, requires_dist=["base<4"]))
    async with BrokenMirror() as other:
        client = await app_client()
        await client.get("/simple/constrains/", headers=JSON)
        assert (await client.get(f"/files/constrains/{constrains}.metadata")).status == 200
        await reload(app_of(client), lambda: settings(mirror, probe={"ahead": False}))
        assert [each.specifier for each in index_of(client).requirements.on(SHARED, "base")] == ["<4"]
        await reload(app_of(client), lambda: settings(other))
        assert index_of(client).requirements.on(SHARED, "base") == ()
