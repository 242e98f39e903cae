"""A failure behind the requests is told: nobody would see it otherwise."""

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy.core.errors import PageUnreadable, UpstreamTimeout
from proxy.index.flights import SingleFlight, Tasks

EVENT = "background-task-failed"


async def fails(error: BaseException) -> None:
    raise error


async def ended(tasks: Tasks) -> None:
    while tasks.count:  # noqa: ASYNC110 - there is nothing to wait for but the end
        await asyncio.sleep(0)


async def test_a_defect_in_a_task_that_nobody_waits_for_is_logged_with_its_place_and_without_what_it_quotes() -> None:
    tasks = Tasks()
    with capture_logs() as logs:
        tasks.start(fails(KeyError("https://somebody:geheim@mirror.example.com/?token=geheim")), "verify demo")
        await ended(tasks)
    (told,) = logs
    assert (told["event"], told["log_level"], told["task"], told["error"]) == (EVENT, "error", "verify demo", "KeyError")
    assert "in fails" in told["exception"]
    assert "geheim" not in str(told)


async def test_a_defect_is_logged_once_however_many_wait_for_the_outcome() -> None:
    tasks = Tasks()
    flights: SingleFlight[str, None] = SingleFlight(tasks, "metadata")
    with capture_logs() as logs:
        outcomes = await asyncio.gather(*(flights.do("demo", lambda: fails(ValueError())) for _ in range(3)), return_exceptions=True)
        await ended(tasks)
    assert all(isinstance(outcome, ValueError) for outcome in outcomes)
    assert [(told["event"], told["log_level"]) for told in logs] == [(EVENT, "error")]


@pytest.mark.parametrize("error", [UpstreamTimeout("https://mirror.example.com/", 1.0), PageUnreadable("demo", "", "no page")])
async def test_what_the_mirror_does_wrong_is_no_defect_of_a_task(error: Exception) -> None:
    tasks = Tasks()
    with capture_logs() as logs:
        tasks.start(fails(error), "fetch ahead demo")
        await ended(tasks)
    assert [(told["event"], told["log_level"]) for told in logs] == [(EVENT, "debug")]


async def test_a_task_that_is_cancelled_has_not_failed() -> None:
    tasks = Tasks()
    with capture_logs() as logs:
        tasks.start(asyncio.sleep(60), "verify demo")
        await tasks.close()
    assert not logs
