"""What a page waits for follows from the requirements that were read, from what clients asked for, and from nothing known at all."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from proxy.index.documents import VerdictsDocument, decode, encode
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.mirror import BrokenMirror, artifactory_404
from tests.waiting import until
from tests.wheels import make_wheel

UV = 'uv/0.13.9 {"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}'
ELSEWHERE = ("manylinux_2_17_aarch64", "manylinux_2_17_s390x", "musllinux_1_2_x86_64", "musllinux_1_2_aarch64", "win_amd64", "win32")
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_17_x86_64", *ELSEWHERE)
OLDER = {"0.1", "0.2", "0.3", "0.4", "1.0", "2.0"}
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


async def test_what_clients_asked_for_is_stored_with_the_verdicts_and_documents_without_it_can_be_read() -> None:
    stored = VerdictsDocument("digest", {}, 1, {}, {"1.0": 5.0})
    assert decode(encode(stored), VerdictsDocument) == stored
    assert decode(msgspec.msgpack.encode(["digest", {}]), VerdictsDocument) == VerdictsDocument("digest", {})
