"""The pages that a resolver will ask for next are fetched before it does."""

import asyncio
import time
from typing import Any

import pytest

from tests.conftest import MakeClient
from tests.faults import status
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

UV = 'uv/0.13.9 {"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}'
REQUIRED = {"first": ["second>=1", "old; python_version < '3.8'", "extra ; extra == 'x'"], "second": ["third"], "third": ["absent"]}


@pytest.fixture
def chain(mirror: BrokenMirror) -> BrokenMirror:
    """Projects that require each other."""
    for name, requires in REQUIRED.items():
        filename = f"{name}-1.0-py3-none-any.whl"
        mirror.add(filename, make_wheel(filename, requires_dist=requires))
    return mirror


def pages(mirror: BrokenMirror) -> list[str]:
    """The projects whose pages the mirror was asked for."""
    return [each.path.rstrip("/").rpartition("/")[2] for each in mirror.asked if each.kind == "page"]


def probed(mirror: BrokenMirror) -> set[str]:
    """The files that the mirror was asked about."""
    return {each.path.rpartition("/")[2] for each in mirror.asked if each.method == "HEAD"}


async def settled(mirror: BrokenMirror) -> list[str]:
    """The same, once nothing more is asked."""
    seen, until = -1, time.monotonic() + 5
    while seen != len(mirror.asked) and time.monotonic() < until:
        seen = len(mirror.asked)
        await asyncio.sleep(0.3)
    return pages(mirror)


async def get(client: Any, project: str, agent: str = UV) -> None:
    async with client.get(f"/simple/{project}/", headers={"User-Agent": agent}) as response:
        await response.read()


async def test_one_step_ahead_of_a_resolver_and_no_further(chain: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await get(client, "first")
    assert await settled(chain) == ["first", "second"]
    await get(client, "second")
    assert await settled(chain) == ["first", "second", "third"]


async def test_a_required_project_that_the_mirror_has_not_harms_nobody(chain: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await get(client, "third")
    assert await settled(chain) == ["third", "absent"]
    async with client.get("/simple/absent/") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("agent", "settings"),
    [
        ("Mozilla/5.0", {}),
        (UV, {"probe": {"ahead": False}}),
        (UV, {"upstream": {"kind": "nexus"}}),
    ],
    ids=["a browser", "switched off", "a mirror where a probe is a download"],
)
async def test_nothing_is_fetched_ahead_where_it_would_not_be_used_or_not_be_liked(
    chain: BrokenMirror, app_client: MakeClient, agent: str, settings: dict[str, Any]
) -> None:
    await get(await app_client(**settings), "first", agent)
    assert await settled(chain) == ["first"]


async def test_what_was_fetched_ahead_is_verified_no_further_until_somebody_asks(chain: BrokenMirror, app_client: MakeClient) -> None:
    for version in range(2, 9):
        chain.add(f"second-0.{version}-py3-none-any.whl")
    client = await app_client()
    await get(client, "first")
    await settled(chain)
    assert "second-1.0-py3-none-any.whl" in probed(chain)
    assert "second-0.2-py3-none-any.whl" not in probed(chain)
    await get(client, "second")
    await settled(chain)
    assert "second-0.2-py3-none-any.whl" in probed(chain)


async def test_of_a_platform_that_the_mirror_lacks_no_metadata_is_read_ahead(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for number in range(5):
        for tag in ("macosx_11_0_arm64", "manylinux_2_28_x86_64"):
            filename = f"demo{number}-1.0-cp312-cp312-{tag}.whl"
            mirror.add(filename, make_wheel(filename))
            if "macosx" in filename:
                mirror.fault(filename, status(404))
    client = await app_client()
    for number in range(5):
        await get(client, f"demo{number}")
        await settled(mirror)

    def read_of(filename: str) -> list[str]:
        """The ranges of it that were asked for to read it, not to find out whether it is there."""
        return [each.headers["Range"] for each in mirror.asked_for(filename) if each.headers.get("Range", "bytes=0-0") != "bytes=0-0"]

    assert read_of("demo0-1.0-cp312-cp312-macosx_11_0_arm64.whl")
    assert not read_of("demo4-1.0-cp312-cp312-macosx_11_0_arm64.whl")
    assert read_of("demo4-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"), "what is left has its metadata read instead"


async def test_during_a_burst_what_is_denied_when_it_is_read_ahead_is_asked_for_alone_only_if_a_client_wants_it(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    dead, first, fits = (f"demo-1.0-{tag}.whl" for tag in ("cp312-cp312-macosx_11_0_arm64", "cp38-cp38-linux_x86_64", "cp312-cp312-win32"))
    for filename in (dead, first, fits):
        mirror.add(filename, make_wheel(filename))
    mirror.fault(dead, status(404))
    client = await app_client()

    def times_read(filename: str) -> int:
        return sum(each.headers.get("Range", "bytes=0-0") != "bytes=0-0" for each in mirror.asked_for(filename))

    for other in ("one", "two", "three"):
        mirror.add(f"{other}-1.0-py3-none-any.whl")
        await get(client, other)
    await get(client, "demo")
    await settled(mirror)
    assert [times_read(dead), times_read(first), times_read(fits)] == [1, 0, 1], "the wheel is read that the client will read instead"
