"""What is remembered of the requirements that were read."""

import asyncio
import tracemalloc

from proxy.core.identity import SHARED, Identity
from proxy.core.requirements import Requirement
from proxy.index.requirements_seen import RequirementsSeen
from tests.clock import Clock

ALICE = Identity("alice", "Basic YWxpY2U6")


def metadata(*requires: str) -> bytes:
    return "".join(f"Requires-Dist: {each}\n" for each in requires).encode()


def test_what_metadata_requires_is_known_by_the_project_that_is_required_until_it_is_long_ago() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    seen.note(SHARED, "a", "digest", metadata("b<4", "c; extra == 'x'"))
    assert seen.on(SHARED, "b") == (Requirement("b", "<4", ""),)
    assert seen.on(SHARED, "c") == (Requirement("c", "", "extra == 'x'"),)
    assert seen.on(SHARED, "a") == ()
    clock.passes(15 * 86400.0)
    assert seen.on(SHARED, "b") == ()


def test_nothing_crosses_from_one_identity_to_another() -> None:
    seen = RequirementsSeen(Clock())
    seen.note(ALICE, "a", "digest", metadata("b<4"))
    seen.note(SHARED, "a", "digest", metadata("c<4"))
    assert seen.on(SHARED, "b") == ()
    assert seen.on(ALICE, "c") == ()
    assert seen.revision(SHARED, "b") == 0
    assert seen.on(ALICE, "b") == (Requirement("b", "<4", ""),)


def test_only_a_new_requirement_is_news() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    seen.note(SHARED, "a", "1", metadata("b<4"))
    before = seen.revision(SHARED, "b")
    clock.passes(3600.0)
    seen.note(SHARED, "a", "1", metadata("b<4"))
    seen.note(SHARED, "c", "2", metadata("b<4"))
    assert seen.revision(SHARED, "b") == before
    seen.note(SHARED, "c", "3", metadata("b<3"))
    assert seen.revision(SHARED, "b") > before


def test_what_a_project_requires_of_itself_says_nothing_of_it() -> None:
    seen = RequirementsSeen(Clock())
    seen.note(SHARED, "a", "digest", metadata("a[more]<9; extra == 'all'"))
    assert seen.on(SHARED, "a") == ()


def test_what_is_remembered_is_bounded_in_requirements_on_a_project_in_projects_and_in_identities() -> None:
    seen = RequirementsSeen(Clock())
    seen.note(SHARED, "a", "0", metadata(*(f"b<{number}" for number in range(500))))
    assert [each.specifier for each in seen.on(SHARED, "b")] == [f"<{number}" for number in range(460, 500)]
    for number in range(20):
        seen.note(SHARED, "a", f"many {number}", metadata(*(f"p{number}-{each}<{each}" for each in range(1900))))
    assert seen.on(SHARED, "b") == ()
    assert seen.on(SHARED, "p19-1899") != ()
    for number in range(400):
        seen.note(Identity(str(number), "Basic x"), "a", "0", metadata("b"))
    assert seen.on(Identity("0", "Basic x"), "b") == ()
    assert seen.on(SHARED, "p19-1899") != ()


def test_a_requirement_that_others_pushed_out_is_known_again_once_its_metadata_is_asked_for() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    seen.note(SHARED, "a", "1", metadata("b<4"))
    for number in range(40):
        seen.note(SHARED, f"other-{number}", "2", metadata(f"b!={number}"))
    assert Requirement("b", "<4", "") not in seen.on(SHARED, "b")
    clock.passes(1.0)
    seen.note(SHARED, "a", "1", metadata("b<4"))
    assert seen.on(SHARED, "b")[-1] == Requirement("b", "<4", "")


def test_the_requirement_whose_metadata_was_asked_for_last_is_the_last() -> None:
    seen = RequirementsSeen(Clock())
    for project, requirement in (("a", "b<4"), ("c", "b<3"), ("a", "b<4")):
        seen.note(SHARED, project, "1", metadata(requirement))
    assert [each.specifier for each in seen.on(SHARED, "b")] == ["<3", "<4"]


def test_no_revision_comes_again_for_a_project_that_was_forgotten() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    revisions = set()
    for number in range(4):
        seen.note(SHARED, "a", str(number), metadata(f"b<{number}"))
        revisions.add(seen.revision(SHARED, "b"))
        clock.passes(15 * 86400.0)
    assert len(revisions) == 4


def test_the_requirements_of_all_private_identities_together_are_bounded_and_gone_after_minutes() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    shown = [metadata(*(f"lib-{page}-{each}[x,y]>={each}.0; python_version >= '3.{each}'" for each in range(100))) for page in range(20)]
    seen.note(SHARED, "a", "1", metadata("b<4"))
    tracemalloc.start()
    try:
        for number in range(16):
            for page, content in enumerate(shown):
                seen.note(Identity(str(number), "Basic x"), "a", str(page), content)
        assert seen.on(Identity("15", "Basic x"), "lib-19-99") != ()
        assert seen.on(Identity("0", "Basic x"), "lib-19-99") == ()
        assert tracemalloc.get_traced_memory()[0] < 7_000_000
        clock.passes(700.0)
        assert seen.on(SHARED, "b") != ()
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_what_all_share_is_bounded_in_bytes_and_gone_after_weeks() -> None:
    clock = Clock()
    seen = RequirementsSeen(clock)
    long = "python_version >= '3.8' and " * 13 + "python_version >= '3.8'"
    tracemalloc.start()
    try:
        for number in range(15):
            seen.note(SHARED, "a", str(number), metadata(*(f"p{number}-{each}<4; {long}" for each in range(1000))))
        assert seen.on(SHARED, "p14-999") != ()
        assert tracemalloc.get_traced_memory()[0] < 15_000_000
        clock.passes(15 * 86400.0)
        seen.note(SHARED, "a", "last", metadata("b<4"))
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


async def test_a_page_waits_for_metadata_that_is_being_read_and_for_none_that_begins_later() -> None:
    seen = RequirementsSeen(Clock())
    over, later = asyncio.Event(), asyncio.Event()

    async def read(until: asyncio.Event) -> None:
        with seen.reading(SHARED):
            await until.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(over))
        await asyncio.sleep(0)
        heard = tasks.create_task(seen.heard(SHARED, 60.0))
        await asyncio.sleep(0)
        tasks.create_task(read(later))
        await asyncio.sleep(0)
        assert not heard.done()
        over.set()
        await heard
        later.set()


async def test_nobody_waits_for_metadata_of_another_identity_or_longer_than_it_may_take() -> None:
    seen = RequirementsSeen(Clock())
    with seen.reading(ALICE):
        await seen.heard(SHARED, 60.0)
        await seen.heard(ALICE, 0.01)
