"""Whatever decides which releases a page waits for counts as soon as it changes."""

from collections.abc import Collection

import pytest

from proxy.core.identity import SHARED
from proxy.core.page import Page
from proxy.core.verdict.client import client_platform
from proxy.index.awaited import Awaited
from proxy.index.project import KnownPage, Project
from proxy.index.requirements_seen import RequirementsSeen
from proxy.upstream import Validators
from tests.clock import Clock
from tests.core.files import file, no, page, yes

WHEEL = "demo-{}-py3-none-any.whl"
LINUX = client_platform('uv/0.13.9 {"python":"3.12.1","system":{"name":"Linux"},"cpu":"x86_64"}')
WINDOWS = client_platform('uv/0.13.9 {"python":"3.12.1","system":{"name":"Windows"},"cpu":"AMD64"}')


class Waiting:
    """A page of three releases, the newest for Windows alone, and what it waits for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.requirements = RequirementsSeen(self.clock)
        self.awaited = Awaited(self.requirements, self.clock)
        self.project = Project("demo", SHARED)
        self.lists(page(WHEEL.format("1.0"), WHEEL.format("2.0"), "demo-3.0-cp312-cp312-win_amd64.whl"), "first")

    def lists(self, listed: Page, digest: str, filled: str = "") -> None:
        """The mirror gives this page."""
        self.project.known = KnownPage(listed, digest, Validators(), self.clock(), listed, filled=filled)

    def releases(self, system: object = WINDOWS) -> Collection[str]:
        """The releases that it waits for, for a client of this platform."""
        assert self.project.known is not None
        return list(self.awaited.of(self.project, self.project.known.page, system))  # type: ignore[arg-type]


@pytest.fixture
def waiting() -> Waiting:
    found = Waiting()
    assert found.releases() == ["3.0"]
    return found


def test_a_requirement_that_is_read_counts_at_once(waiting: Waiting) -> None:
    waiting.requirements.note(SHARED, "other", "digest", b"Requires-Dist: demo<2\n")
    assert "1.0" in waiting.releases()


def test_a_requirement_that_is_long_ago_counts_no_more(waiting: Waiting) -> None:
    waiting.requirements.note(SHARED, "other", "digest", b"Requires-Dist: demo<2\n")
    assert "1.0" in waiting.releases()
    waiting.clock.passes(15 * 86400.0)
    assert waiting.releases() == ["3.0"]


def test_what_a_client_asks_for_counts_at_once(waiting: Waiting) -> None:
    waiting.project.demand.note("1.0", waiting.clock())
    assert waiting.releases() == ["3.0", "1.0"]


def test_each_client_waits_for_what_it_may_choose(waiting: Waiting) -> None:
    assert waiting.releases(LINUX) == ["2.0", "3.0"]
    assert waiting.releases() == ["3.0"]


@pytest.mark.parametrize("filled", ["", "other"])
def test_a_newer_page_counts_at_once_and_so_does_one_that_was_filled(waiting: Waiting, filled: str) -> None:
    listed = page(WHEEL.format("1.0"), WHEEL.format("4.0"))
    waiting.lists(listed, "first" if filled else "second", filled)
    assert waiting.releases() == ["4.0"]


def test_a_release_that_is_denied_leaves_its_place_at_once_and_has_it_again_once_it_is_delivered(waiting: Waiting) -> None:
    newest = file("demo-3.0-cp312-cp312-win_amd64.whl")
    waiting.project.learn(newest, no(1.0))
    assert waiting.releases() == ["3.0", "2.0"]
    waiting.project.learn(newest, yes(2.0))
    assert waiting.releases() == ["3.0"]
    waiting.project.take_over({newest.key: no(3.0)}, waiting.clock())
    assert waiting.releases() == ["3.0", "2.0"]
    waiting.project.forget([newest.key])
    assert waiting.releases() == ["3.0"]


def test_what_changes_no_choice_is_not_worked_out_again(waiting: Waiting) -> None:
    before, known = waiting.project.awaited, waiting.project.known
    waiting.project.learn(file(WHEEL.format("2.0")), yes(1.0))
    assert waiting.releases() == ["3.0"]
    assert known is not None
    assert waiting.awaited.of(waiting.project, known.page, WINDOWS) is before
