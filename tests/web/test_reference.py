"""Pages filled from a second index: what it is asked, what comes of it, and that nobody depends on it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import hang, status
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.wheels import make_wheel

JSON = "application/vnd.pypi.simple.v1+json"
OLD, NEW = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"
THEN, NOW = "2024-01-02T03:04:05.678901Z", "2026-01-02T03:04:05Z"


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index, which says everything of two releases."""
    async with BrokenMirror() as running:
        running.add(OLD, upload_time=THEN, requires_python=">=3.9", yanked="broken")
        running.add(NEW, upload_time=NOW)
        yield running


@pytest.fixture
def bare(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists the same files in HTML, and has lost all the rest."""
    mirror.forms = {"html"}
    for name in (OLD, NEW):
        mirror.add(name)
    return mirror


async def page(client: Any, project: str = "demo", **headers: str) -> dict[str, dict[str, Any]]:
    """The entries of the page by file name."""
    async with client.get(f"/simple/{project}/", headers={"Accept": JSON, **headers}) as response:
        assert response.status == 200, await response.text()
        return {entry["filename"]: entry for entry in json.loads(await response.read())["files"]}


async def test_what_the_mirror_lost_is_on_the_first_page(bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    files = await page(await app_client(reference={"url": whole.url}))
    assert list(files) == [OLD, NEW]
    assert files[OLD]["upload-time"] == THEN
    assert files[OLD]["yanked"] == "broken"
    assert files[OLD]["requires-python"] == ">=3.9"
    assert files[OLD]["size"] == len(make_wheel(OLD))
    assert files[NEW]["upload-time"] == NOW
    assert "yanked" not in files[NEW]


async def test_without_a_second_index_nothing_is_invented(bare: BrokenMirror, app_client: MakeClient) -> None:
    assert not {"upload-time", "size", "yanked", "requires-python"} & set((await page(await app_client()))[OLD])


async def test_a_file_of_other_bytes_gets_nothing_and_no_file_is_added(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    bare.add(OLD, make_wheel(OLD, payload=b"patched by the company"))
    whole.add("demo-3.0-py3-none-any.whl")
    files = await page(await app_client(reference={"url": whole.url}))
    assert list(files) == [OLD, NEW]
    assert set(files[OLD]) == {"filename", "url", "hashes", "core-metadata"}


async def test_it_is_asked_once_and_only_about_what_the_mirror_lists_and_leaves_open(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    bare.forms = {"json"}
    bare.add("full-1.0.tar.gz", upload_time=THEN, requires_python=">=3.9", extra={"yanked": False})
    client = await app_client(reference={"url": whole.url}, upstream={"fresh": 0.0})
    for _ in range(3):
        await page(client)
        await page(client, "full")
    assert (await client.get("/simple/absent/")).status == 404
    assert [each.name for each in whole.asked] == ["page:demo"]


async def test_a_project_that_it_does_not_have_is_remembered(bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    bare.add("private-1.0-py3-none-any.whl")
    client = await app_client(reference={"url": whole.url}, upstream={"fresh": 0.0})
    for _ in range(3):
        assert list(await page(client, "private")) == ["private-1.0-py3-none-any.whl"]
    assert len(whole.asked_for("page:private")) == 1


@pytest.mark.parametrize(
    "names", [{"exclude": ["acme_*"]}, {"projects": ["demo"]}, {"projects": ["d*", "acme*"], "exclude": ["Acme.Tools"]}], ids=str
)
async def test_the_names_of_private_projects_are_kept_from_it(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, names: dict[str, Any]
) -> None:
    bare.add("acme_tools-1.0-py3-none-any.whl")
    client = await app_client(reference={"url": whole.url, **names})
    assert (await page(client))[OLD]["upload-time"] == THEN
    await page(client, "acme-tools")
    assert {each.name for each in whole.asked} == {"page:demo"}


async def test_neither_credentials_of_the_client_nor_those_of_the_mirror_go_to_it(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(reference={"url": whole.url}, upstream={"username": "reader", "password": "s3cret"})
    await page(client)
    await page(client, Authorization="Basic bWU6bXktb3du")
    assert whole.asked
    assert [each.authorization for each in whole.asked] == [None] * len(whole.asked)


async def test_it_gets_the_credentials_that_are_configured_for_it(bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    whole.credentials = ("reader", "s3cret")
    client = await app_client(reference={"url": whole.url, "username": "reader", "password": "s3cret"})
    assert (await page(client, Authorization="Basic bWU6bXktb3du"))[OLD]["upload-time"] == THEN
    assert {each.authorization for each in bare.asked} == {"Basic bWU6bXktb3du"}


@pytest.mark.parametrize("fault", [status(500), status(403), status(401), hang(30)], ids=["500", "403", "401", "hangs"])
async def test_a_page_neither_fails_nor_waits_for_long_because_of_it(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, fault: Any
) -> None:
    whole.fault("page:*", fault)
    client = await app_client(reference={"url": whole.url, "patience": 0.2})
    async with asyncio.timeout(8):
        assert "upload-time" not in (await page(client))[OLD]


async def test_it_may_be_out_of_reach(bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    await whole.stop()
    assert list(await page(await app_client(reference={"url": whole.url}))) == [OLD, NEW]


async def test_what_comes_late_is_on_the_page_when_it_is_asked_for_again_under_another_etag(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    release = asyncio.Event()

    async def held_back(_: Any) -> None:
        await release.wait()

    whole.fault("page:demo", held_back)
    client = await app_client(reference={"url": whole.url, "patience": 0.1})
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as first:
        assert b"upload-time" not in await first.read()
    release.set()
    headers = {"Accept": JSON, "If-None-Match": first.headers["ETag"]}

    async def is_filled() -> bool:
        async with client.get("/simple/demo/", headers=headers) as response:
            return response.status == 200 and THEN.encode() in await response.read()

    await eventually(is_filled)


async def test_once_it_was_late_nobody_else_waits_for_it(bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient) -> None:
    names = [f"other{number}-1.0-py3-none-any.whl" for number in range(8)]
    for name in names:
        bare.add(name)
    whole.fault("page:*", hang(60))
    client = await app_client(reference={"url": whole.url, "patience": 2.0}, probe={"patience": 0})
    await page(client)
    async with asyncio.timeout(10):
        for name in names:
            await page(client, name.partition("-")[0])


async def test_what_it_said_outlives_a_restart_and_its_own_end(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    settings = {"reference": {"url": whole.url}, "store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}}
    client = await app_client(**settings)
    before = await page(client)
    await client.close()
    await whole.stop()
    assert await page(await app_client(**settings)) == before


async def test_what_it_said_of_every_project_is_used_while_it_is_left_alone(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    projects, clock = ("demo", "other", "third"), Clock()
    for name in projects[1:]:
        bare.add(f"{name}-1.0-py3-none-any.whl")
        whole.add(f"{name}-1.0-py3-none-any.whl", upload_time=NOW)
    settings = {"reference": {"url": whole.url}, "store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}}

    async def all_filled(client: Client) -> bool:
        entries = [entry for name in projects for entry in (await page(client, name)).values()]
        return all("upload-time" in entry for entry in entries)

    client = await app_client(clock, **settings)
    await eventually(lambda: all_filled(client))
    await client.close()
    await whole.stop()
    # Its pages are due to be asked for again; the first one that is finds it down, and so it is left alone.
    clock.passes(200_000)
    again = await app_client(clock, **settings)
    await eventually(lambda: all_filled(again))


async def test_what_it_says_anew_is_taken_over_when_the_mirrors_page_is_asked_for_again(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(reference={"url": whole.url, "fresh": 0.0}, upstream={"fresh": 0.0})
    assert (await page(client))[OLD]["yanked"] == "broken"
    whole.add(OLD, upload_time=THEN, yanked="worse than we thought")
    whole.add(NEW, upload_time=NOW, yanked="found broken")

    async def is_yanked() -> bool:
        files = await page(client)
        return [files[name].get("yanked") for name in (OLD, NEW)] == ["worse than we thought", "found broken"]

    await eventually(is_yanked)


async def test_identities_whose_pages_are_the_same_share_what_was_filled(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client(reference={"url": whole.url})
    first = await page(client)
    assert await page(client, Authorization="Basic bWU6bXktb3du") == first
    assert len(whole.asked) == 1


async def test_a_size_that_is_filled_in_tells_a_short_file_from_a_whole_one(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient
) -> None:
    async def short(target: Any) -> Any:
        return await status(200, {"Content-Type": "application/zip"}, target.data[:10])(target)

    bare.fault(NEW, short)
    client = await app_client(reference={"url": whole.url})
    async with client.head(f"/files/demo/{NEW}") as response:
        assert response.status == 502
    async with (await app_client()).head(f"/files/demo/{NEW}") as response:
        assert response.status == 200


async def test_no_secret_of_the_second_index_is_logged(
    bare: BrokenMirror, whole: BrokenMirror, app_client: MakeClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    whole.credentials = ("reader", "another")
    client = await app_client(reference={"url": whole.url.replace("://", "://reader:s3cret@")})
    await page(client)
    assert "second-index-failed" in (told := caplog.text + "".join(capsys.readouterr()))
    assert "s3cret" not in told
