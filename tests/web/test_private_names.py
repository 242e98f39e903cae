"""Names of private projects: no second index ever learns one, whichever of the two sections excludes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Settings
from proxy.server.context import GENERATIONS
from proxy.server.reload import reload
from tests.audit.conftest import command, environment
from tests.clients import run_command
from tests.conftest import Client, MakeClient
from tests.faults import artifactory_404, redirects
from tests.mirror import BrokenMirror
from tests.waiting import at_rest, until

PRIVATE, PUBLIC = "acme_tools-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"
STRAY = "acme_tools-2.0-py3-none-any.whl"


@pytest.fixture
async def seconds() -> AsyncIterator[tuple[BrokenMirror, BrokenMirror]]:
    """The index that pages are filled from, and the one that files are rescued from."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(BrokenMirror()) for _ in range(2)]
        for each in found:
            each.add(PUBLIC)
            each.add(PRIVATE)
        yield found[0], found[1]


@pytest.fixture
def lossy(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror whose pages tell nothing of files but their sha256, and which delivers one file of two of each project."""
    for name in (PRIVATE, PUBLIC):
        mirror.add(name, size=None)
        mirror.add(name.replace("1.0", "0.9"), size=None)
        mirror.fault(name, artifactory_404())
    # A file whose name is another project's is nobody else's matter.
    mirror.add(STRAY, project="demo", size=None)
    mirror.fault(STRAY, artifactory_404())
    return mirror


def sections(seconds: tuple[BrokenMirror, BrokenMirror], reference: dict[str, Any], rescue: dict[str, Any]) -> dict[str, Any]:
    return {"reference": {"url": seconds[0].url, **reference}, "rescue": {"enabled": True, "url": seconds[1].url, **rescue}}


def learned(second: BrokenMirror) -> set[str]:
    """Return the names of all that a second index was asked for."""
    return {each.name for each in second.asked}


async def use_all(client: Client) -> None:
    """Ask for everything that a client can, under each spelling."""
    for name in ("acme-tools", "Acme.Tools", "acme_tools"):
        for path in (f"/simple/{name}/", f"/files/{name}/{PRIVATE}", f"/files/{name}/{PRIVATE}.metadata", f"/explain/{name}/{PRIVATE}"):
            for method in ("GET", "HEAD"):
                async with client.request(method, path) as response:
                    await response.read()
    app = client.app
    assert app is not None
    for index in app[GENERATIONS].indexes.values():
        await at_rest(index.tasks)


@pytest.mark.parametrize(
    ("reference", "rescue"),
    [
        ({"exclude": ["acme-*"]}, {}),
        ({"exclude": ["Acme.*"]}, {"exclude": ["other"]}),
        ({}, {"exclude": ["acme_tools"]}),
        ({"projects": ["d*"]}, {}),
        ({"projects": ["d*"]}, {"projects": ["acme-*", "demo"]}),
    ],
    ids=str,
)
async def test_an_excluded_name_reaches_neither_index(
    lossy: BrokenMirror,
    seconds: tuple[BrokenMirror, BrokenMirror],
    app_client: MakeClient,
    reference: dict[str, Any],
    rescue: dict[str, Any],
) -> None:
    client = await app_client(**sections(seconds, reference, rescue))
    await use_all(client)
    for second in seconds:
        assert second.asked == []
    async with client.get("/simple/demo/") as response:
        assert PUBLIC in await response.text()
    assert [learned(each) for each in seconds] == [{"page:demo"}, {"page:demo"}]


async def test_a_list_of_projects_to_rescue_narrows_the_rescue_alone(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], app_client: MakeClient
) -> None:
    client = await app_client(**sections(seconds, {}, {"projects": ["acme-*"]}))
    await client.get("/simple/demo/")
    assert [learned(each) for each in seconds] == [{"page:demo"}, set()]


async def test_the_exclusions_of_a_section_that_is_not_in_use_hold(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], app_client: MakeClient
) -> None:
    await use_all(await app_client(reference={"url": seconds[0].url}, rescue={"exclude": ["acme-*"]}))
    await use_all(await app_client(reference={"exclude": ["acme-*"]}, rescue={"enabled": True, "url": seconds[1].url}))
    assert [each.asked for each in seconds] == [[], []]


async def test_a_reload_that_excludes_a_project_holds_at_once(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], app_client: MakeClient
) -> None:
    client = await app_client(**sections(seconds, {}, {}))
    await client.get("/simple/demo/")
    for second in seconds:
        second.forget()
    upstream, store = {"url": lossy.url}, {"location": "memory"}
    new = Settings.model_validate({"upstream": upstream, "store": store, **sections(seconds, {"exclude": ["acme-*"]}, {})})
    assert client.app is not None
    await reload(client.app, lambda: new)
    await use_all(client)
    assert [each.asked for each in seconds] == [[], []]


async def test_neither_does_where_the_page_is_redirected_to_a_private_one(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], app_client: MakeClient
) -> None:
    client = await app_client(**sections(seconds, {"exclude": ["acme-*"]}, {}))
    lossy.fault("page:demo", redirects(lossy.page_url("acme-tools")))
    await client.get("/simple/demo/")
    await client.get(f"/files/demo/{PRIVATE}")
    assert all(learned(each) <= {"page:demo", PUBLIC} for each in seconds)


@pytest.mark.parametrize("words", [("warm", "Acme.Tools"), ("check", "Acme.Tools"), ("explain", PRIVATE)], ids=lambda each: each[0])
async def test_no_command_tells_one(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], tmp_path: Path, words: tuple[str, ...]
) -> None:
    variables = {
        "MIRRORMEND_UPSTREAM": lossy.url,
        "MIRRORMEND_STORE": f"sqlite:{tmp_path / 'store'}" if words[0] == "warm" else "memory",
        "MIRRORMEND_REFERENCE_URL": seconds[0].url,
        "MIRRORMEND_REFERENCE_EXCLUDE": "acme-*",
        "MIRRORMEND_RESCUE_ENABLED": "true",
        "MIRRORMEND_RESCUE_URL": seconds[1].url,
    }
    done = await run_command(command(*words), environment(tmp_path, **variables), tmp_path)
    assert done.returncode in {0, 1}, done
    await until(lambda: bool(lossy.asked_for(PRIVATE)))
    assert [each.asked for each in seconds] == [[], []]


async def test_many_at_once_tell_nothing_either(
    lossy: BrokenMirror, seconds: tuple[BrokenMirror, BrokenMirror], app_client: MakeClient
) -> None:
    client = await app_client(**sections(seconds, {"exclude": ["acme-*"]}, {}))
    await asyncio.gather(*(use_all(client) for _ in range(4)))
    assert [each.asked for each in seconds] == [[], []]
