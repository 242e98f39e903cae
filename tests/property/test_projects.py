"""The projects that are held, and what is known of them all: kept at each change, and the same as a walk over all would find."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.config.sections import StoreSection
from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.identity import SHARED, Identity
from proxy.core.page import File, Page
from proxy.core.verdict.judge import Cause, Verdict, VerdictRules, judge
from proxy.core.verdict.settle import Dropped, Mended
from proxy.index import projects as projects_module
from proxy.index.keeper import Keeper
from proxy.index.project import KnownPage, Progress, Project
from proxy.index.projects import Projects
from proxy.index.served import ServedPage
from proxy.store import open_store
from proxy.upstream import Validators
from tests.core.files import file

NAMES = ("a", "b", "c", "d", "e", "f")
DIGESTS = ("one", "two", "three")
EVERYBODY = (SHARED, Identity("alice", "Basic alice"), Identity("bob", "Basic bob"))
ROOM_FOR = 8

names, identities, digests = st.sampled_from(NAMES), st.sampled_from(EVERYBODY), st.sampled_from(DIGESTS)


def denied(listed: File) -> Verdict:
    return judge(Cause.ABSENT, Evidence(Asked.RANGE, 404, at=1000.0), None, proven=True, rules=VerdictRules())


def served(page: Page, dropped: int, lost: int) -> ServedPage:
    gone = tuple(Dropped(each, denied(each)) for each in page.files[:dropped])
    mended = Mended(page, gone, {}, 0, lost=tuple(str(number) for number in range(lost)))
    return ServedPage(
        mended=mended, links=lambda _: [], metadata=lambda _: [], revision=(0, 0, "", False, 0), complete=True, private=False, storm=False
    )


class Held(RuleBasedStateMachine):
    """Projects are used, renewed, served, dropped and forgotten in any order, also such as are not held any more."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(projects_module, "_MEMORY", ROOM_FOR * Project("a", SHARED).weight)
        keeper = Keeper(open_store(StoreSection(location="memory")), "mirror", pages_for=1, verdicts_for=1)
        self.held = Projects(keeper, lambda: self.now)
        self.seen: list[Project] = []

    def teardown(self) -> None:
        self.patch.undo()

    def any_of(self, number: int) -> Project | None:
        return self.seen[number % len(self.seen)] if self.seen else None

    @rule(name=names, who=identities)
    def use(self, name: str, who: Identity) -> None:
        project = self.held.of(who, name)
        if not any(each is project for each in self.seen):
            self.seen.append(project)

    @rule(number=st.integers(0, 100), digest=digests, count=st.integers(0, 3))
    def renew(self, number: int, digest: str, count: int) -> None:
        project = self.any_of(number)
        if project is not None:
            page = Page(project.name, project.name, tuple(file(f"{project.name}-{version}.0.tar.gz") for version in range(count)))
            project.renew(KnownPage(page, digest, Validators(), self.now, page))
            self.held.note(project)

    @rule(number=st.integers(0, 100), dropped=st.integers(0, 3), lost=st.integers(0, 2))
    def serve(self, number: int, dropped: int, lost: int) -> None:
        project = self.any_of(number)
        if project is not None and project.known is not None:
            project.served = served(project.known.page, dropped, lost)
            self.held.note(project)

    @rule(number=st.integers(0, 100))
    def forget_page(self, number: int) -> None:
        project = self.any_of(number)
        if project is not None:
            project.known = project.served = None
            self.held.note(project)

    @rule(number=st.integers(0, 100))
    def drop(self, number: int) -> None:
        project = self.any_of(number)
        if project is not None:
            self.held.drop(project)

    @rule(number=st.integers(0, 100), busy=st.booleans())
    def verify(self, number: int, *, busy: bool) -> None:
        project = self.any_of(number)
        if project is not None:
            project.verification = Progress(began=self.now) if busy else None
            self.held.learned(project)

    @rule(seconds=st.sampled_from([0.5, 2.0, 700.0, -50.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def clear(self) -> None:
        self.held.clear()

    @invariant()
    def the_index_agrees_with_a_walk_over_all(self) -> None:
        walked = list(self.held)
        for name, digest in itertools.product(NAMES, DIGESTS):
            alike = [each.known for each in walked if each.name == name and each.known is not None and each.known.digest == digest]
            found = self.held.like(name, digest)
            assert (found is None) is (not alike)
            assert found is None or any(found is each for each in alike)

    @invariant()
    def the_figures_agree_with_a_walk_over_all(self) -> None:
        walked = list(self.held)
        pages = [each.served.mended for each in walked if each.who.shared and each.served is not None]
        assert len(self.held) == len(walked)
        assert self.held.pages == sum(each.known is not None for each in walked)
        assert self.held.dropped == sum(len(each.dropped) for each in pages)
        assert self.held.lost == sum(len(each.lost) for each in pages)

    @invariant()
    def the_last_used_come_first(self) -> None:
        assert [id(each) for each in self.held.lately_used()] == [id(each) for each in reversed(list(self.held))]


TestHeld = Held.TestCase
TestHeld.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
