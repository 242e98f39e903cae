"""The proxy's own process is held up while a page waits (a pause of the container, a busy machine): no page lists more for it."""

import time
from collections.abc import Iterator
from itertools import count

import pytest
from aiohttp import web

from tests.conftest import MakeClient
from tests.faults import ANYTHING, Fault, Target, artifactory_404
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
PATIENCE = 0.3


def holding_up(nth: int, held_up: list[int]) -> Fault:
    """Hold up the whole process, proxy and mirror, for longer than a page is patient, when the mirror is asked for the `nth` time."""
    numbers: Iterator[int] = count()

    async def fault(_: Target) -> web.StreamResponse | None:
        if next(numbers) == nth:
            held_up.append(nth)
            time.sleep(2 * PATIENCE)  # noqa: ASYNC251 - it is to hold up the loop
        return None

    return fault


@pytest.mark.parametrize("nth", range(8))
async def test_a_page_lists_no_dead_file_because_the_process_was_held_up(mirror: BrokenMirror, app_client: MakeClient, nth: int) -> None:
    for version in ("1.0", "2.0"):
        for platform in ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64"):
            mirror.add(f"alpha-{version}-cp312-cp312-{platform}.whl")
    mirror.fault("*macosx*", artifactory_404())
    held_up: list[int] = []
    mirror.fault(ANYTHING, holding_up(nth, held_up))
    client = await app_client(probe={"patience": PATIENCE})
    async with client.get("/simple/alpha/", headers={"Accept": JSON}) as response:
        names = [file["filename"] for file in (await response.json())["files"]]
    assert held_up == [nth]
    assert len(names) == 4
    assert not [name for name in names if "macosx" in name]
