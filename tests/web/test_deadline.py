"""A page waits for a mirror that hangs as long as the settings say and no longer, whatever the clock does meanwhile."""

import asyncio

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import hang
from tests.mirror import BrokenMirror
from tests.waiting import until
from tests.web.test_pages import names

NEWEST, OLDER = "demo-2.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"
FOR_EVER = 600
SOON = 30


async def test_a_page_waits_no_longer_because_the_clock_goes_back_meanwhile(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NEWEST)
    mirror.fault(NEWEST, hang(FOR_EVER))
    clock = Clock()
    client = await app_client(clock, upstream={"read_timeout": FOR_EVER}, probe={"patience": 1, "deadline": 1})
    asking = asyncio.create_task(names(client))
    await until(lambda: bool(mirror.asked_for(NEWEST)))
    clock.passes(-3600)
    assert await asyncio.wait_for(asking, SOON) == [NEWEST]


async def test_a_page_waits_for_all_that_it_lists_no_longer_than_its_deadline_however_patient_it_is(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(NEWEST)
    mirror.add(OLDER)
    mirror.fault(OLDER, hang(FOR_EVER))
    client = await app_client(upstream={"read_timeout": FOR_EVER}, probe={"patience": FOR_EVER, "deadline": 0.5})
    assert await asyncio.wait_for(names(client), SOON) == [NEWEST, OLDER]
