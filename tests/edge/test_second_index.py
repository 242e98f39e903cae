"""The pages of a second index: asked for once, remembered within bounds."""

from collections.abc import AsyncIterator

import pytest

from proxy.config import ProbeSection, ReferenceSection, StoreSection
from proxy.core.errors import UpstreamError, UpstreamStatus
from proxy.index import second as module
from proxy.index.second import SecondIndex, second_mirror
from proxy.store import open_store
from tests.faults import status
from tests.mirror import BrokenMirror

DAY = 86400.0


class Clock:
    """Seconds since the epoch, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def second(mirror: BrokenMirror, clock: Clock) -> AsyncIterator[SecondIndex]:
    """A second index that lists two projects."""
    for name in ("one", "two"):
        mirror.add(f"{name}-1.0-py3-none-any.whl", upload_time="2024-01-02T03:04:05Z")
    section = ReferenceSection(url=mirror.url, exclude=("secret-*",))
    store = open_store(StoreSection(location="memory"))
    await store.open()
    index = SecondIndex(second_mirror(section, "reference", ProbeSection()), section, section, store, clock=clock)
    await index.mirror.open()
    yield index
    await index.close()
    await index.mirror.close()
    await store.close()


async def test_a_page_is_asked_for_again_when_it_is_old_and_at_little_cost(mirror: BrokenMirror, second: SecondIndex, clock: Clock) -> None:
    told = await second.page("one")
    assert [file.filename for file in told.page.files] == ["one-1.0-py3-none-any.whl"]
    clock.now += 3599
    assert await second.page("one") is told
    assert second.is_current("one", told.digest)
    clock.now += 2
    assert not second.is_current("one", told.digest)
    assert (await second.page("one")).digest == told.digest
    assert [each.headers.get("If-None-Match") is not None for each in mirror.asked] == [False, True]
    assert second.is_current("one", told.digest)


async def test_a_clock_that_goes_back_freezes_no_page(mirror: BrokenMirror, second: SecondIndex, clock: Clock) -> None:
    clock.now += 23 * 3600
    await second.page("one")
    clock.now -= 23 * 3600
    for _ in range(3):
        await second.page("one")
    assert len(mirror.asked_for("page:one")) == 2


async def test_that_there_is_no_such_project_is_remembered_for_a_day(mirror: BrokenMirror, second: SecondIndex, clock: Clock) -> None:
    for passed in (0.0, DAY - 10, 20.0):
        clock.now += passed
        assert (await second.page("absent")).page.files == ()
    assert len(mirror.asked) == 2


async def test_a_failure_is_remembered_for_a_minute_and_what_was_known_is_used_meanwhile(
    mirror: BrokenMirror, second: SecondIndex, clock: Clock
) -> None:
    told = await second.page("one")
    mirror.forget()
    mirror.fault("page:*", status(403))
    clock.now += 2 * DAY
    for _ in range(3):
        assert await second.page("one") is told
        with pytest.raises(UpstreamError):
            await second.page("two")
    assert [each.name for each in mirror.asked] == ["page:one", "page:two"]
    mirror.heal()
    clock.now += 61
    assert (await second.page("two")).page.files


async def test_what_left_the_memory_is_read_from_the_store_and_not_asked_for(
    mirror: BrokenMirror, second: SecondIndex, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINKS_HELD", 1)
    first = await second.page("one")
    clock.now += 3601
    # It is confirmed, which the store is not told.
    await second.page("one")
    await second.page("two")
    mirror.forget()
    assert second.is_current("one", first.digest)
    again = await second.page("one")
    assert again is not first
    assert again == first
    assert mirror.asked == []


async def test_excluded_names_are_known_however_they_are_spelled(second: SecondIndex) -> None:
    assert second.asked_about("one")
    assert not second.asked_about("secret-tool")


async def test_a_failure_that_is_told_to_many_is_an_error_of_its_own_for_each(mirror: BrokenMirror, second: SecondIndex) -> None:
    mirror.fault("page:*", status(500))
    raised = []
    for _ in range(3):
        with pytest.raises(UpstreamStatus) as failed:
            await second.page("one")
        raised.append(failed.value)
    assert len({id(error) for error in raised}) == 3
    assert {str(error) for error in raised} == {str(raised[0])}
