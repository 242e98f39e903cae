"""The ways in which a simulated mirror misbehaves, each an object of its own, drawn from a seed and combined with others.

A behaviour says what it means for the oracle: `exact`, that a healthy file may never leave a page for it (else chance decides, and the
rate of wrong drops is counted); `control`, within how many views a dead file leaves the page in spite of it (None: no promise);
`pages_may_fail` and `trouble`, when pages may be refused, and when the mirror is not well.
"""

from collections.abc import Callable
from random import Random
from typing import ClassVar

from proxy.core.flows.exchange import Method
from tests.simulation.simulated_mirror import Incoming, Outcome, Sketch, Told, delivery, refusal
from tests.simulation.virtual_loop import VirtualLoop, WallClock
from tests.simulation.world import ALWAYS, JSON_TYPE, NEVER, SimProject, World, content_of, release

DENIALS: tuple[Told, ...] = (403, 404, 429, 503, "page")


class Stage:
    """What a behaviour may use as it is drawn: `moments` are when clients act, `end` when they stop (the loop's seconds)."""

    def __init__(self, rng: Random, world: World, loop: VirtualLoop, clock: WallClock, moments: list[float], end: float) -> None:
        self.rng = rng
        self.world = world
        self.loop = loop
        self.clock = clock
        self.moments = moments
        self.end = end
        self.restart: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = lambda _: None

    def moment(self) -> float:
        """Draw a moment in which something may begin or end: often in the middle of what a client has just set off."""
        if self.rng.random() < 0.6:
            return self.rng.choice(self.moments) + self.rng.random() * self.rng.choice((0.05, 0.3, 2.0))
        return self.rng.random() * self.end

    def at(self, moment: float, words: str, do: Callable[[], None]) -> None:
        """Have `do` done then."""

        def happen() -> None:
            self.note(words)
            do()

        self.loop.call_at(moment, happen)


class Behaviour:
    """None of its own."""

    exact: ClassVar[bool] = True
    control: int | None = 3
    slack: int = 0
    """So many more views may pass before a file that was restored is back."""
    slow_pages: frozenset[str] = frozenset()
    """Projects whose pages may be served stale while a newer one is on its way."""
    before_all: ClassVar[bool] = False
    after_all: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __str__(self) -> str:
        facts = {
            name: value for name, value in vars(self).items() if not name.startswith("_") and name not in {"stage", "control", "slack"}
        }
        return f"{type(self).__name__}({', '.join(f'{name}={_short(value)}' for name, value in facts.items())})"

    def before(self, request: Incoming) -> Outcome | None:
        del request
        return None

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        del request
        return outcome

    def left(self, request: Incoming) -> None:
        del request

    def pages_may_fail(self, since: float, until: float) -> set[Told]:
        """Return how pages may have been refused between these moments."""
        del since, until
        return set()

    def trouble(self, since: float, until: float) -> bool:
        """Return whether the mirror was in trouble between these moments, so that nothing has to be learned by then."""
        del since, until
        return False

    def end(self) -> None:
        """End, as the last phase of a history begins."""


def _short(value: object) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if len(text) < 300 else f"{text[:300]}…"


class LimitAtOnce(Behaviour):
    """More requests at once than so many are refused. One who asks alone gets every file."""

    before_all = True

    def __init__(self, stage: Stage, limit: int | None = None, told: Told | None = None, *, pages: bool | None = None) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.limit = rng.randint(2, 40) if limit is None else limit
        self.told = rng.choice(DENIALS) if told is None else told
        self.pages = (self.limit >= 6 and rng.random() < 0.25) if pages is None else pages
        self.control = 8
        self.slack = 3
        self._under_way = 0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page" and not self.pages:
            return None
        if self._under_way >= self.limit:
            return refusal(self.told, head=request.ask.method is Method.HEAD)
        self._under_way += 1
        request.holders.append(self)
        return None

    def left(self, request: Incoming) -> None:
        self._under_way -= 1


class LimitPerSecond(Behaviour):
    """More requests in a second than so many are refused, in bursts of as many."""

    before_all = True

    def __init__(self, stage: Stage, rate: float | None = None, told: Told | None = None) -> None:
        super().__init__(stage)
        self.rate = stage.rng.choice((5.0, 20.0, 50.0, 200.0)) if rate is None else rate
        self.told = stage.rng.choice(DENIALS) if told is None else told
        self.control = None
        self.slack = 3
        self._tokens = self.rate
        self._at = 0.0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page":
            return None
        self._tokens = min(self.rate, self._tokens + (request.at - self._at) * self.rate)
        self._at = request.at
        if self._tokens < 1.0:
            return refusal(self.told, head=request.ask.method is Method.HEAD)
        self._tokens -= 1.0
        return None


class Nodes(Behaviour):
    """Several nodes behind one address, of which at least one has every file, and others lack some or all."""

    exact = False
    before_all = True
    by: ClassVar[tuple[str, ...]] = ("chance", "turn")

    def __init__(self, stage: Stage, share: float | None = None, told: Told | None = None, *, count: int | None = None) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.by_what = rng.choice(self.by)
        self.count = rng.choice((2, 2, 2, 3)) if count is None else count
        self.told = rng.choice((404, 404, 403, "page")) if told is None else told
        self.share = share = rng.choice((1.0, 1.0, 0.5, 0.1)) if share is None else share
        self._lack = [frozenset[str]()]
        for _ in range(self.count - 1):
            self._lack.append(frozenset(file.filename for file in stage.world.files if rng.random() < share))
        self.control = None
        self.slack = 4
        self._rng = rng
        self._turn = 0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page":
            return None
        if self.by_what == "chance":
            node = self._rng.randrange(self.count)
        elif self.by_what == "turn":
            self._turn += 1
            node = self._turn % self.count
        else:
            node = request.connection % self.count
        if request.filename in self._lack[node]:
            return refusal(self.told, head=request.ask.method is Method.HEAD)
        return None


class NodesByConnection(Nodes):
    """As Nodes; each connection leads to one of them."""

    by = ("connection",)


class RandomDenials(Behaviour):
    """Some requests for files are denied at random."""

    exact = False
    before_all = True

    def __init__(self, stage: Stage, share: float | None = None) -> None:
        super().__init__(stage)
        self.share = stage.rng.choice((0.01, 0.1, 0.5)) if share is None else share
        self.told = stage.rng.choice((404, 404, 403, "page"))
        self.control = 4 if self.share <= 0.01 else None
        self.slack = 4
        self._rng = stage.rng

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page" or self._rng.random() >= self.share:
            return None
        return refusal(self.told, head=request.ask.method is Method.HEAD)


class Lag(Behaviour):
    """A new release appears on its page seconds or minutes before its files are there."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files: list[str] = []
        for _ in range(rng.randint(1, 2)):
            name = rng.choice(list(stage.world.projects))
            project = stage.world.projects[name]
            version = f"{rng.randint(5, 9)}.{rng.randint(0, 9)}"
            if any(file.version == version for file in project.files):
                continue
            like = project.files[0]
            listed = rng.choice(stage.moments) - rng.random() * 3.0 if rng.random() < 0.7 else rng.random() * stage.end
            new = release(
                rng, name, version, sized=like.size_told is not None, timed=like.upload_time is not None, core_metadata=False, most=6,
                uploaded=listed,
            )  # fmt: skip
            lag = rng.choice((2.0, 10.0, 45.0, 200.0, 1000.0))
            for file in new:
                file.core_metadata = like.core_metadata if file.is_wheel else False
                file.listed_from, file.there_from, file.young = listed, listed + lag * rng.uniform(0.5, 1.0), True
                project.files.append(file)
                self.files.append(f"{file.filename} listed {file.listed_from:.1f} there {file.there_from:.1f}")


class NewRelease(Behaviour):
    """A new release appears with its files."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        project = rng.choice(list(stage.world.projects.values()))
        like = project.files[0]
        self.project, self.listed = project.name, stage.moment()
        for file in release(
            rng, project.name, "9.9", sized=like.size_told is not None, timed=like.upload_time is not None, core_metadata=False, most=6,
            uploaded=self.listed,
        ):  # fmt: skip
            file.listed_from = self.listed
            project.files.append(file)


class PathFailures(Behaviour):
    """Some files fail in ways that prove no absence: they stay listed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files = {}
        for file in rng.sample(stage.world.files, min(len(stage.world.files), rng.randint(1, 5))):
            how = rng.choice((400, 401, 402, 405, 406, 408, 409, 418, 429, 500, 501, 502, 503, 504, 520, "silence", "reset"))
            file.failing = self.files[file.filename] = how


class MetadataFails(Behaviour):
    """The mirror's own copies of core metadata fail for a while, in any way; the files are all delivered."""

    before_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.told = rng.choice((400, 401, 403, 404, 410, 429, 500, 502, 503, 504, "page", "reset", "silence"))
        self.share = rng.choice((1.0, 1.0, 0.3))
        self.since = rng.choice((0.0, stage.moment()))
        self.until = rng.choice((self.since + 30.0, stage.end))
        self._rng = rng
        for file in stage.world.files:
            if file.is_wheel and not file.core_metadata:
                file.core_metadata = True

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind != "metadata" or not self.since <= request.at < self.until or self._rng.random() >= self.share:
            return None
        return refusal(self.told)

    def trouble(self, since: float, until: float) -> bool:
        return since < self.until and until > self.since

    def end(self) -> None:
        self.until = min(self.until, self.stage.loop.now)


class MetadataAndRangesFail(Behaviour):
    """For a while neither the core metadata of some wheels nor the wheels are delivered: 503, or nothing at all."""

    before_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.told = rng.choice((500, 502, 503, 504, 429, "reset"))
        wheels = [file.filename for file in stage.world.files if file.is_wheel]
        self.files = frozenset(rng.sample(wheels, max(1, len(wheels) // 4))) if wheels else frozenset[str]()
        self.since = rng.choice((0.0, stage.moment()))
        self.until = self.since + rng.choice((5.0, 60.0, 600.0))

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page" or request.filename not in self.files or not self.since <= request.at < self.until:
            return None
        return refusal(self.told)

    def trouble(self, since: float, until: float) -> bool:
        return since < self.until and until > self.since

    def end(self) -> None:
        self.until = min(self.until, self.stage.loop.now)


class Refused(Behaviour):
    """HEAD, requests with Range, or both are refused; a plain GET delivers."""

    before_all = True
    ways: ClassVar[tuple[tuple[bool, bool], ...]] = ((True, False), (False, True), (True, True))

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.head, self.range = stage.rng.choice(self.ways)
        self.told = stage.rng.choice((403, 404, 405, 501))
        self.files = None if stage.rng.random() < 0.6 else frozenset(f.filename for f in stage.world.files if stage.rng.random() < 0.5)
        self.slack = 1
        self.control = 4

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind != "file" or (self.files is not None and request.filename not in self.files):
            return None
        head = request.ask.method is Method.HEAD
        refused = (head and self.head) or (not head and request.ask.first is not None and self.range)
        return refusal(self.told, head=head) if refused else None


class HeadRefused(Refused):
    """HEAD is refused."""

    ways = ((True, False),)


class RangeRefused(Refused):
    """Requests with Range are refused."""

    ways = ((False, True),)


class HeadAndRangeRefused(Refused):
    """Both are refused."""

    ways = ((True, True),)


class HeadWithBody(Behaviour):
    """The mirror sends bodies after HEAD: the next answer on that connection cannot be understood."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._spoilt: set[int] = set()

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind == "page" or not isinstance(outcome, Sketch):
            return outcome
        if request.connection in self._spoilt:
            self._spoilt.discard(request.connection)
            return Sketch(outcome.status, outcome.headers | {"x-unusual": "1", "x-hang-up": "1"}, outcome.body)
        if request.ask.method is Method.HEAD:
            self._spoilt.add(request.connection)
        return outcome


class Status203(Behaviour):
    """What would be 200 is 203 (RFC 9110, 15.3.4)."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.pages = stage.rng.random() < 0.3

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if (request.kind == "page" and not self.pages) or not isinstance(outcome, Sketch) or outcome.status != 200:
            return outcome
        return Sketch(203, outcome.headers, outcome.body)


class RangeIgnored(Behaviour):
    """Requests with Range are answered by the whole file."""

    after_all = True

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind != "file" or not isinstance(outcome, Sketch) or outcome.status != 206 or request.file is None:
            return outcome
        return delivery(request.ask, content_of(request.filename), ranged=False)


class TypedAsPage(Behaviour):
    """Files are delivered with the type of a page, or with another wrong one."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.type = stage.rng.choice(("text/html", "text/html; charset=utf-8", "text/plain", "application/xhtml+xml"))
        self.wheels_only = stage.rng.random() < 0.5

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind != "file" or not isinstance(outcome, Sketch) or outcome.status not in {200, 203, 206}:
            return outcome
        if self.wheels_only and not request.filename.endswith(".whl"):
            return outcome
        return Sketch(outcome.status, outcome.headers | {"content-type": self.type}, outcome.body)


class WrongLengths(Behaviour):
    """HEAD tells no length, or a wrong one, or the page tells a smaller size; or no answer tells a length."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.how = stage.rng.choice(("head zero", "head short", "none", "page smaller"))
        if self.how == "page smaller":
            for file in stage.world.files:
                if file.size_told is not None:
                    file.size_told = max(1, file.size_told - 7)

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind != "file" or not isinstance(outcome, Sketch) or outcome.status not in {200, 203}:
            return outcome
        headers = dict(outcome.headers)
        if request.ask.method is Method.HEAD and self.how in {"head zero", "head short"}:
            headers["content-length"] = "0" if self.how == "head zero" else "10"
        elif self.how == "none":
            headers.pop("content-length", None)
        return Sketch(outcome.status, headers, outcome.body)


class Outage(Behaviour):
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
            if project is None:
                return None
            body, kind = project.empty_page(), JSON_TYPE if project.form == "json" else "text/html"
            return Sketch(200, {"content-type": kind, "content-length": str(len(body))}, body)
        return refusal(self.told, head=request.ask.method is Method.HEAD)

    def pages_may_fail(self, since: float, until: float) -> set[Told]:
        return {self.told} if self.scope != "files" and since < self.until and until >= self.since else set()

    def trouble(self, since: float, until: float) -> bool:
        return since < self.until and until >= self.since

    def end(self) -> None:
        self.until = min(self.until, self.stage.loop.now)


class DenyingOutage(Outage):
    """As Outage, by 404 for everything."""

    ways = (404,)


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


class Rights(Behaviour):
    """Some projects or files are seen, or delivered, to one identity only."""

    IDENTITIES: ClassVar[tuple[str, ...]] = ("alice", "bob")

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.private: list[str] = []
        projects = list(stage.world.projects.values())
        if rng.random() < 0.6:
            project = rng.choice(projects[1:] or projects)
            project.seen_by = frozenset({rng.choice(self.IDENTITIES)})
            self.private.append(f"{project.name} for {''.join(project.seen_by)}")
        for file in rng.sample(stage.world.files, min(4, len(stage.world.files))):
            who = frozenset({rng.choice(self.IDENTITIES)})
            if rng.random() < 0.5:
                file.listed_for = who
                self.private.append(f"{file.filename} listed for {''.join(who)}")
            else:
                file.delivered_to = who
                file.denied = rng.choice((403, 404))
                self.private.append(f"{file.filename} delivered to {''.join(who)}")


class Quarantine(Behaviour):
    """A project is quarantined: its page is empty and says so (PEP 792)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.project, self.since = stage.rng.choice(list(stage.world.projects)), stage.moment()
        stage.world.projects[self.project].quarantined_from = self.since


class Dead(Behaviour):
    """Some files are listed and not there for good: a platform as a whole, or some at random."""

    def __init__(self, stage: Stage, count: int | None = None, told: Told | None = None) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.told = rng.choice((404, 404, 404, 403, 410, 451, "page")) if told is None else told
        mark = rng.choice(("macosx", "win", "musllinux", "cp313", "1.0", ""))
        chosen = [file for file in stage.world.files if (mark in file.filename if mark else rng.random() < 0.2)]
        if count is not None:
            chosen = rng.sample(stage.world.projects["amber"].files, count)
        for file in chosen:
            file.there_from, file.denied = NEVER, self.told
        self.files = [file.filename for file in chosen]


class Absences(Behaviour):
    """Some files are deleted in mid-history, though still listed; most are restored later."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files = []
        group = stage.world.files
        if rng.random() < 0.3:
            project = rng.choice(list(stage.world.projects.values()))
            group = project.files
        gone, back = stage.moment(), stage.moment()
        gone, back = min(gone, back), max(gone, back)
        if rng.random() < 0.3:
            back = NEVER
        for file in rng.sample(group, max(1, round(len(group) * rng.choice((0.1, 0.3, 1.0))))):
            if file.there_from == ALWAYS:
                file.gone_from, file.back_from, file.denied = gone, back, rng.choice((404, 404, 410))
                self.files.append(f"{file.filename} {gone:.1f}-{back:.1f}")


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


class AsksForPause(Behaviour):
    """One file is refused with a wish to wait (Retry-After); all others are delivered at once."""

    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.file = stage.rng.choice(stage.world.files).filename
        self.status = stage.rng.choice((429, 503))
        self.seconds = stage.rng.choice((10, 60, 3600))
        for file in stage.world.files:
            if file.filename == self.file:
                file.failing = self.status

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.filename == self.file and isinstance(outcome, Sketch) and outcome.status == self.status:
            return Sketch(outcome.status, outcome.headers | {"retry-after": str(self.seconds)}, outcome.body)
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
        if not older or request.at >= self.stage.world.projects[self.project].quarantined_from:
            return None
        body, etag = self._older.page(request.who, request.at)
        kind = JSON_TYPE if self._older.form == "json" else "text/html"
        return Sketch(200, {"content-type": kind, "content-length": str(len(body)), "etag": etag}, body)


class Redirects(Behaviour):
    """Lean connections cannot follow where files are: each is asked for again by the ordinary client."""

    after_all = True

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind == "page" or not isinstance(outcome, Sketch):
            return outcome
        return Sketch(outcome.status, outcome.headers | {"x-unusual": "1"}, outcome.body)


BEHAVIOURS: dict[str, type[Behaviour]] = {
    "limit": LimitAtOnce,
    "rate": LimitPerSecond,
    "nodes": Nodes,
    "nodes-by-connection": NodesByConnection,
    "random-denials": RandomDenials,
    "lag": Lag,
    "new-release": NewRelease,
    "path-failures": PathFailures,
    "metadata-fails": MetadataFails,
    "metadata-and-ranges-fail": MetadataAndRangesFail,
    "head-refused": HeadRefused,
    "range-refused": RangeRefused,
    "head-and-range-refused": HeadAndRangeRefused,
    "head-with-body": HeadWithBody,
    "status-203": Status203,
    "range-ignored": RangeIgnored,
    "typed-as-page": TypedAsPage,
    "wrong-lengths": WrongLengths,
    "outage": Outage,
    "denying-outage": DenyingOutage,
    "restart": Restarts,
    "clock": ClockJumps,
    "rights": Rights,
    "quarantine": Quarantine,
    "dead": Dead,
    "absences": Absences,
    "redirects": Redirects,
    "slow-page": SlowPage,
    "asks-for-pause": AsksForPause,
    "older-page": OlderPage,
}
"""By the names that `--behaviour` takes."""
