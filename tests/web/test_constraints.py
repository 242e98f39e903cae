"""What a page waits for follows from the requirements that were read, from what clients asked for, and from nothing known at all."""

import asyncio
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from proxy.core.identity import SHARED
from proxy.index.documents import VerdictsDocument, decode, encode
from proxy.index.project import Project
from proxy.server.context import GENERATIONS
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.mirror import BrokenMirror, artifactory_404
from tests.waiting import at_rest, eventually, until
from tests.wheels import make_wheel

UV = 'uv/0.13.9 {"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}'
WINDOWS = 'uv/0.13.9 {"python":"3.12.1","system":{"name":"Windows"},"cpu":"AMD64"}'
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64")
OLDER = {*(f"0.{number}" for number in range(1, 13)), "1.0", "2.0"}
VERSIONS = (*sorted(OLDER), "3.0", "4.0", "5.0")
REQUIRES = {"names": "base", "constrains": "base<4"}


@pytest.fixture
def base(mirror: BrokenMirror) -> BrokenMirror:
    """A project with more files than a page waits for as a whole, none of macOS delivered, and two projects that require it."""
    for version in VERSIONS:
        for platform in PLATFORMS:
            mirror.add(f"base-{version}-cp312-cp312-{platform}.whl")
    for name, requires in REQUIRES.items():
        filename = f"{name}-1.0-py3-none-any.whl"
        mirror.add(filename, make_wheel(filename, requires_dist=[requires]))
    for name in ("other", "another"):
        mirror.add(f"{name}-1.0-py3-none-any.whl")
    mirror.fault("*macosx*", artifactory_404())
    return mirror


async def dead_on_page(client: Any) -> set[str]:
    """The versions of which the page lists a file that the mirror does not deliver."""
    async with client.get("/simple/base/", headers={"User-Agent": UV, "Accept": "application/vnd.pypi.simple.v1+json"}) as response:
        page = await response.json(content_type=None)
    return {file["filename"].split("-")[1] for file in page["files"] if "macosx" in file["filename"]}


async def read(client: Any, filename: str) -> None:
    async with client.get(f"/files/{filename.split('-', maxsplit=1)[0]}/{filename}.metadata", headers={"User-Agent": UV}) as response:
        assert response.status == 200, await response.text()


async def busy(app_client: MakeClient, *names: str) -> Any:
    """Return a proxy in a burst of pages that does not end, so that it asks about nothing but what a page waits for."""
    clock = Clock()
    clock.stop()
    client = await app_client(clock)
    for name in ("other", "another", *names):
        async with client.get(f"/simple/{name}/", headers={"User-Agent": "curl/8"}) as response:
            assert response.status == 200
    return client


async def test_a_page_waits_for_the_newest_release_that_satisfies_what_was_read(base: BrokenMirror, app_client: MakeClient) -> None:
    client = await busy(app_client, "constrains")
    await read(client, "constrains-1.0-py3-none-any.whl")
    assert await dead_on_page(client) == OLDER | {"4.0"}


async def test_a_requirement_that_is_read_after_a_page_was_given_counts_for_it_when_it_is_asked_for_again(
    base: BrokenMirror, app_client: MakeClient
) -> None:
    client = await busy(app_client, "names")
    await read(client, "names-1.0-py3-none-any.whl")
    before = await dead_on_page(client)
    await read(client, "constrains-1.0-py3-none-any.whl")
    assert "3.0" in before
    assert await dead_on_page(client) <= before - {"3.0"}


async def test_a_page_that_no_metadata_named_waits_for_all_that_it_lists(base: BrokenMirror, app_client: MakeClient) -> None:
    client = await busy(app_client)
    assert await dead_on_page(client) == set()


async def test_an_absence_that_is_proven_after_a_client_read_the_release_is_told_and_counted(
    base: BrokenMirror, app_client: MakeClient
) -> None:
    client = await busy(app_client, "names")
    await read(client, "names-1.0-py3-none-any.whl")
    assert "2.0" in await dead_on_page(client)
    with capture_logs() as log:
        await read(client, "base-2.0-cp312-cp312-manylinux_2_17_x86_64.whl")

        def told() -> list[Any]:
            return [line for line in log if line["event"] == "absence-proven-late"]

        await until(lambda: bool(told()))
    assert told()[0]["files"] == ["base-2.0-cp312-cp312-macosx_11_0_arm64.whl"]
    assert "uv lock --refresh" in told()[0]["advice"]
    async with client.get("/metrics") as response:
        assert 'mirrormend_files_proven_late_total{upstream="default"} 1' in (await response.text()).replace(".0\n", "\n")
    async with client.get("/explain/base/base-2.0-cp312-cp312-macosx_11_0_arm64.whl") as response:
        assert "--refresh" in await response.text()


async def test_an_absence_that_was_proven_too_late_is_forgotten_once_the_file_is_delivered(
    base: BrokenMirror, app_client: MakeClient
) -> None:
    client = await busy(app_client, "names")
    await read(client, "names-1.0-py3-none-any.whl")
    mac = "base-2.0-cp312-cp312-macosx_11_0_arm64.whl"
    assert "2.0" in await dead_on_page(client)
    await read(client, "base-2.0-cp312-cp312-manylinux_2_17_x86_64.whl")

    async def advised() -> bool:
        async with client.get(f"/explain/base/{mac}") as response:
            return "--refresh" in await response.text()

    await eventually(advised)
    base.heal()
    async with client.get(f"/files/base/{mac}") as response:
        assert response.status == 200
    assert not await advised()


async def test_clients_of_two_platforms_that_ask_at_once_each_have_what_they_would_choose(
    base: BrokenMirror, app_client: MakeClient
) -> None:
    """Only the releases before the newest have anything for Windows."""
    base.add("base-6.0-cp312-cp312-manylinux_2_17_x86_64.whl")
    base.fault("*win_amd64*", artifactory_404())
    client = await busy(app_client, "names")
    await read(client, "names-1.0-py3-none-any.whl")
    await dead_on_page(client)
    await read(client, "constrains-1.0-py3-none-any.whl")

    async def page(agent: str) -> set[str]:
        async with client.get("/simple/base/", headers={"User-Agent": agent, "Accept": "application/vnd.pypi.simple.v1+json"}) as response:
            listed = await response.json(content_type=None)
        return {file["filename"].split("-")[1] for file in listed["files"] if "win" in file["filename"]}

    _, on_windows = await asyncio.gather(page(UV), page(WINDOWS))
    assert "5.0" not in on_windows


async def test_what_clients_of_two_platforms_wait_for_is_asked_about_once(base: BrokenMirror, app_client: MakeClient) -> None:
    client = await busy(app_client, "names")
    await read(client, "names-1.0-py3-none-any.whl")
    await dead_on_page(client)
    await read(client, "constrains-1.0-py3-none-any.whl")
    base.asked.clear()
    headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
    await asyncio.gather(*(client.get("/simple/base/", headers={"User-Agent": agent} | headers) for agent in (UV, WINDOWS)))
    heads = [each.name for each in base.asked if each.kind == "file" and each.method == "HEAD" and "macosx" not in each.name]
    assert "base-3.0-cp312-cp312-manylinux_2_17_x86_64.whl" in heads
    assert len(heads) == len(set(heads))


async def test_a_file_whose_page_is_withdrawn_while_its_link_is_renewed_is_given_all_the_same(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = "demo-1.0-py3-none-any.whl"
    mirror.add(wheel)
    mirror.set_page("demo", f'<a href="{mirror.file_url(wheel)}?signed=1">{wheel}</a>'.encode())
    clock = Clock()
    client = await app_client(clock, upstream={"fresh": 60})
    async with client.get("/simple/demo/") as response:
        assert response.status == 200
    assert client.app is not None
    index = next(iter(client.app[GENERATIONS].current.indexes.values()))
    await at_rest(index.tasks)
    clock.passes(100)

    async def withdrawn(project: Project) -> None:
        project.known = None

    async def nothing(_: Project) -> None:
        return

    monkeypatch.setattr(index._pages, "look_again", nothing)
    monkeypatch.setattr(index._pages, "ask_again", withdrawn)
    _, file = await index.file("demo", wheel, SHARED)
    assert file.filename == wheel


async def test_what_clients_asked_for_is_stored_with_the_verdicts_and_documents_without_it_can_be_read() -> None:
    stored = VerdictsDocument("digest", {}, 1, {}, {"1.0": 5.0})
    assert decode(encode(stored), VerdictsDocument) == stored
    assert decode(msgspec.msgpack.encode(["digest", {}]), VerdictsDocument) == VerdictsDocument("digest", {})
