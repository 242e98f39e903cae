"""What a request leaves behind: nothing, also where it failed."""

import gc
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.conftest import MakeClient
from tests.faults import Fault, artifactory_404, reset, status, wrong_type
from tests.mirror import BrokenMirror

FAULTS = {"404": artifactory_404(), "401": status(401), "503": status(503), "reset": reset(), "HTML with 200": wrong_type()}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("projects", [1, 20])
async def test_failed_requests_are_let_go_without_the_collectors_help(
    mirror: BrokenMirror, app_client: MakeClient, fault: Fault, projects: int
) -> None:
    mirror.fault("page:*", fault)
    client = await app_client(upstream={"retries": 0})
    for number in range(40):
        async with client.get(f"/simple/project{number % projects}/") as response:
            assert response.status >= 400
    held = sum(isinstance(each, web.Request) for each in gc.get_objects())
    assert held < 5


@pytest.mark.parametrize("fault", [artifactory_404(), status(403), status(503)], ids=["404", "403", "503"])
async def test_requests_for_pages_that_were_known_are_let_go_too(mirror: BrokenMirror, app_client: MakeClient, fault: Fault) -> None:
    for number in range(10):
        mirror.add(f"project{number}-1.0-py3-none-any.whl")
    client = await app_client(upstream={"retries": 0, "fresh": 0.01})
    for faulty in (False, True):
        if faulty:
            mirror.fault("page:*", fault)
        for number in range(40):
            async with client.get(f"/simple/project{number % 10}/", headers={"Cache-Control": "no-cache"}) as response:
                await response.read()
            async with client.get(f"/simple/absent{number % 10}/") as response:
                await response.read()
    held = sum(isinstance(each, web.Request) for each in gc.get_objects())
    assert held < 5
