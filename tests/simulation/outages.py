"""Outages, and what happens to the proxy meanwhile: restarts, clocks that jump; pages that are slow or old."""

from typing import ClassVar

from proxy.core.flows.exchange import Method
from tests.simulation.behaviour import Behaviour, Spell, Stage
from tests.simulation.simulated_mirror import Incoming, Outcome, Sketch, Told, refusal
from tests.simulation.world import JSON_TYPE, SimProject


class Outage(Spell):
    """For a while the mirror refuses everything, all pages, or all files."""

    before_all = True
    ways: ClassVar[tuple[Told, ...]] = (404, 404, 403, 401, 503, "page", "silence", "reset", "empty page")

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.told = rng.choice(self.ways)
        self.scope = "pages" if self.told == "empty page" else rng.choice(("all", "all", "pages", "files"))
        self.since = stage.moment()
        self.until = stage.moment() if rng.random() < 0.4 else self.since + rng.choice((0.5, 3.0, 12.0, 100.0, 700.0, 5000.0, 90_000.0))
        if self.until < self.since:
            self.since, self.until = self.until, self.since
        self.control = 4

    def before(self, request: Incoming) -> Outcome | None:
        within = self.scope == "all" or (request.kind == "page") == (self.scope == "pages")
        if not within or not self.since <= request.at < self.until:
            return None
        if self.told == "empty page":
            project = self.stage.world.projects.get(request.project)
            if project is None or not project.shows(request.who):
                return None
            body, kind = project.empty_page(), JSON_TYPE if project.form == "json" else "text/html"
            return Sketch(200, {"content-type": kind, "content-length": str(len(body))}, body)
        return refusal(self.told, head=request.ask.method is Method.HEAD)

    def pages_may_fail(self, since: float, until: float) -> set[Told]:
        return {self.told} if self.scope != "files" and since < self.until and until >= self.since else set()


class DenyingOutage(Outage):
    """As Outage, by 404 for everything."""

    ways = (404,)


class Down(Outage):
    """A mirror that is down for good, and answers 503."""

    def __init__(self) -> None:
        self.told, self.scope, self.since, self.until = 503, "all", 0.0, float("inf")


class Restarts(Behaviour):
    """The proxy restarts, with its store."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.moments = sorted(stage.moment() for _ in range(stage.rng.choice((1, 1, 2))))
        for moment in self.moments:
            stage.at(moment, "the proxy restarts", lambda: stage.restart())  # noqa: PLW0108 - it is set later


class ClockJumps(Behaviour):
    """The proxy's wall clock is set forward or back."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.jumps = sorted(
            (stage.moment(), rng.choice((-86400.0, -86400.0, -3600.0, -300.0, -60.0, 300.0, 86400.0))) for _ in range(rng.randint(1, 2))
        )
        for moment, seconds in self.jumps:
            stage.at(moment, f"the clock jumps by {seconds:g} s", lambda seconds=seconds: self._jump(seconds))

    def _jump(self, seconds: float) -> None:
        self.stage.clock.offset += seconds


class SlowPage(Behaviour):
    """The page of one project takes seconds each time; all others come as ever."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.project = stage.rng.choice(list(stage.world.projects))
        self.seconds = stage.rng.choice((2.0, 4.0, 6.0))
        self.slow_pages = frozenset({self.project})

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind == "page" and request.project == self.project and isinstance(outcome, Sketch):
            return Sketch(outcome.status, outcome.headers | {"x-seconds": str(self.seconds)}, outcome.body)
        return outcome


class OlderPage(Behaviour):
    """One of two nodes has an older page, which lacks the newest release; both deliver all files."""

    before_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.project = rng.choice(list(stage.world.projects))
        project = stage.world.projects[self.project]
        newest = project.files[-1].version
        self.by_turn = rng.random() < 0.5
        self._older = SimProject(self.project, project.form, [file for file in project.files if file.version != newest])
        for file in project.files:
            file.patchy = file.version == newest
        self._rng = rng
        self._turn = 0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind != "page" or request.project != self.project or not self._older.files:
            return None
        self._turn += 1
        older = self._turn % 2 == 0 if self.by_turn else self._rng.random() < 0.5
        if (
            not older
            or not self.stage.world.projects[self.project].shows(request.who)
            or request.at >= self.stage.world.projects[self.project].quarantined_from
        ):
            return None
        body, etag = self._older.page(request.who, request.at)
        kind = JSON_TYPE if self._older.form == "json" else "text/html"
        return Sketch(200, {"content-type": kind, "content-length": str(len(body)), "etag": etag}, body)


class PageForms(Behaviour):
    """Pages come in JSON and in HTML by turns, or with other links to the same files, as from nodes of two releases."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.how = stage.rng.choice(("forms", "links", "both"))
        self._turn = 0

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        project = self.stage.world.projects.get(request.project)
        if request.kind != "page" or project is None or not isinstance(outcome, Sketch) or outcome.status not in {200, 304}:
            return outcome
        self._turn += 1
        if self._turn % 2:
            return outcome
        form = "html" if self.how != "links" and project.form == "json" else project.form
        other = SimProject(project.name, form, project.files, project.quarantined_from)
        body, etag = other.page(request.who, request.at)
        if self.how != "forms":
            body = body.replace(b"../../files/", b"/files/")
        kind = JSON_TYPE if form == "json" else "text/html"
        return Sketch(200, {"content-type": kind, "content-length": str(len(body)), "etag": etag[:-1] + self.how + '"'}, body)
