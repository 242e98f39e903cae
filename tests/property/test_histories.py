"""Whatever happens to the mirror, and whoever asks in between: no harm is done.

A random mirror (files deleted and restored, rights, outages that begin and end, time that passes) and random clients.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.config import Settings
from proxy.core.errors import FileNotListed, MetadataUnavailable, PageUnreadable, UpstreamError, UpstreamStatus
from proxy.core.identity import SHARED, Identity
from proxy.index import Index, ServedPage
from proxy.store import open_store
from tests.property.scripted_mirror import ScriptedMirror, content
from tests.wheels import metadata_of

NO, NO_KEEP, PRIVATE_FOR = 600.0, 86400.0, 600.0
ALICE = Identity("alice", "Basic alice")
BOB = Identity("bob", "Basic bob")
EVERYBODY = (SHARED, ALICE, BOB)
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64")
FILES = {
    "demo": [
        *(f"demo-{version}-cp312-cp312-{platform}.whl" for version in ("1.0", "2.0") for platform in PLATFORMS),
        "demo-2.0.tar.gz",
        "demo-3.0-py3-none-any.whl",
    ],
    "private": ["private-1.0-py3-none-any.whl", "private-1.0.tar.gz"],
}
NAMES = [name for names in FILES.values() for name in names]
WHEELS = [name for name in NAMES if name.endswith(".whl")]

identities = st.sampled_from(EVERYBODY)
names = st.sampled_from(NAMES)


class Histories(RuleBasedStateMachine):
    """Every page that is served is looked at as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.index: Any = None
        self.mirror = ScriptedMirror()
        self.mirror.files = {project: list(listed) for project, listed in FILES.items()}
        self.mirror.private = {"private": ALICE.key}
        chosen = Settings.model_validate({"upstream": {"url": self.mirror.url}, "store": {"location": "memory"}})
        self.store = open_store(chosen.store)
        self.missing: dict[tuple[str, str], tuple[set[str], float]] = {}

        self.settings = chosen
        self.do(self.store.open())
        self.index = self.do(self.begin())

    async def begin(self) -> Index:
        return Index(self.mirror, self.store, self.settings, clock=lambda: self.mirror.now)  # type: ignore[arg-type]

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs the work, and what it left to the background, to the end."""

        async def done() -> Any:
            try:
                return await asyncio.wait_for(work, 20)
            finally:
                for _ in range(1000):
                    if self.index is None or not self.index.tasks.count:
                        break
                    await asyncio.sleep(0.001)

        return self.loop.run_until_complete(done())

    def teardown(self) -> None:
        async def end() -> None:
            await self.index.close()
            await self.store.close()

        self.do(end())
        self.loop.close()

    # What happens to the mirror -------------------------------------------------------------------------------------------------------

    @initialize(gone=st.sets(st.sampled_from([name for name in NAMES if "macosx" in name or "win" in name])))
    def some_platforms_were_never_there(self, gone: set[str]) -> None:
        self.mirror.absent |= gone

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 61.0, 125.0, 190.0, 610.0, 3700.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.mirror.now += seconds

    @rule(name=names)
    def a_file_is_deleted(self, name: str) -> None:
        self.mirror.absent.add(name)

    @rule(name=names)
    def a_file_is_restored(self, name: str) -> None:
        self.mirror.absent.discard(name)

    @rule(name=names)
    def a_file_begins_to_fail(self, name: str) -> None:
        self.mirror.failing.add(name)

    @rule()
    def what_is_not_there_fails_in_another_way(self) -> None:
        self.mirror.failing |= self.mirror.absent

    @rule(project=st.sampled_from(list(FILES)))
    def all_files_of_a_project_are_deleted(self, project: str) -> None:
        self.mirror.absent |= set(FILES[project])

    @rule()
    def all_files_are_restored(self) -> None:
        self.mirror.absent.clear()

    @rule()
    def no_file_fails_any_more(self) -> None:
        self.mirror.failing.clear()

    @rule(name=names, who=identities)
    def a_right_is_taken(self, name: str, who: Identity) -> None:
        self.mirror.forbidden.add((who.key, name))

    @rule()
    def all_rights_are_given_back(self) -> None:
        self.mirror.forbidden.clear()

    @precondition(lambda self: self.mirror.outage is None)
    @rule(how=st.sampled_from(["404", "404", "403", "500", "html", "silence", "reset"]), pages=st.booleans())
    def an_outage_begins(self, how: str, pages: bool) -> None:
        self.mirror.outage, self.mirror.pages_fail = how, pages

    @precondition(lambda self: self.mirror.outage is not None)
    @rule()
    def the_outage_ends(self) -> None:
        self.mirror.outage = self.mirror.coming = None

    @rule(how=st.sampled_from(["404", "404", "404", "403", "html", None]), answers=st.integers(0, 12))
    def an_outage_will_begin_or_end_in_the_middle(self, how: str | None, answers: int) -> None:
        self.mirror.coming = (answers, how)

    @rule()
    def the_proxy_restarts(self) -> None:
        """What it learned is in the store, but for what belongs to a client's own token."""
        self.do(self.index.close())
        self.index = self.do(self.begin())
        self.missing = {key: each for key, each in self.missing.items() if not key[0]}

    # What clients do ------------------------------------------------------------------------------------------------------------------

    @rule(project=st.sampled_from([*FILES, "absent"]), who=identities)
    def a_page_is_asked_for(self, project: str, who: Identity) -> None:
        # Pages asked for within the same moments would be taken for a resolver at work.
        self.mirror.now += 2.1
        served, refused = None, None
        try:
            served = self.do(self.index.page(project, who))
        except (UpstreamError, PageUnreadable) as error:
            refused = error
        if served is not None:
            self.look_at(project, who, served)
        elif isinstance(refused, UpstreamStatus) and refused.status == 404:
            assert not self.mirror.shows(project, who.key) or self.mirror.outage == "404", "a project was turned into 404"
        else:
            assert self.mirror.outage is not None, f"a page is refused without need: {refused}"

    @rule(name=st.sampled_from(WHEELS), who=identities)
    def metadata_is_asked_for(self, name: str, who: Identity) -> None:
        project, version, *_ = name.split("-")
        try:
            found = self.do(self.index.metadata(project, name, who))
        except (UpstreamError, PageUnreadable, MetadataUnavailable, FileNotListed):
            return
        assert found.source.endswith(".tar.gz") or found.content == metadata_of(content(found.source))
        assert found.source.split("-")[1].removesuffix(".tar.gz") == version
        assert self.mirror.shows(project, who.key) or self.mirror.outage is not None or self.was_shown(project, who)

    # What must hold -------------------------------------------------------------------------------------------------------------------

    def look_at(self, project: str, who: Identity, served: ServedPage) -> None:
        listed = [file.filename for file in served.mended.page.files]
        assert self.was_shown(project, who), "what another identity sees is shown"
        assert listed, "a page is empty"
        assert listed == [name for name in FILES[project] if name in listed], "a file is added, or the order changed"
        gone = set(FILES[project]) - set(listed)
        for name in gone:
            self.is_missing_for_a_reason(name, who)
        before, asked = self.missing.get((who.key, project), (set(), 0.0))
        # What a client's own token showed is forgotten some minutes after its last use.
        if who.shared or self.mirror.now - asked < PRIVATE_FOR:
            for name in before - gone:
                self.came_back_for_a_reason(name, who, served, asked)
        self.missing[who.key, project] = gone, self.mirror.now

    def is_missing_for_a_reason(self, name: str, who: Identity) -> None:
        said = self.mirror.said.get((who.key, name), [])
        denials = [each for each in said if not each.good]
        assert denials, f"{name} is missing though it was never denied to this identity"
        assert any(each.true for each in denials), f"{name} is missing for an outage"
        healthy = self.mirror.outage is None and not self.mirror.failing
        if healthy and self.mirror.delivers(name, who.key):
            assert self.mirror.now - denials[-1].at <= NO, f"{name} is missing for longer than a no is remembered"

    def came_back_for_a_reason(self, name: str, who: Identity, served: ServedPage, asked: float) -> None:
        said = self.mirror.said.get((who.key, name), [])
        last_no = max((each.at for each in said if not each.good and each.at <= asked), default=float("-inf"))
        good_since = any(each.good and each.at >= last_no for each in said) or self.shared_yes(name, last_no)
        long_ago = self.mirror.now - last_no >= NO_KEEP
        waits = name in {file.filename for file in served.mended.awaiting}
        assert good_since or long_ago or waits or served.mended.held or served.storm, f"{name} came back without an answer"

    def shared_yes(self, name: str, since: float) -> bool:
        """A yes of any identity is shared among those whose pages are the same."""
        return any(each.good and each.at >= since for who in EVERYBODY for each in self.mirror.said.get((who.key, name), []))

    def was_shown(self, project: str, who: Identity) -> bool:
        return project in FILES and self.mirror.private.get(project, who.key) == who.key

    @invariant()
    def nothing_is_left_running(self) -> None:
        assert self.index.tasks.count == 0

    @invariant()
    def what_is_told_of_all_projects_agrees_with_a_walk_over_them(self) -> None:
        held, told = self.index._projects, self.index.holding
        projects = list(held)
        pages = [project.served.mended for project in projects if project.who.shared and project.served is not None]
        assert told.projects == len(projects)
        assert told.pages == sum(project.known is not None for project in projects)
        assert told.dropped == sum(len(mended.dropped) for mended in pages)
        assert told.lost == sum(len(mended.lost) for mended in pages)
        for project in projects:
            assert project.known is None or held.like(project.name, project.known.digest) is not None


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=400,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
