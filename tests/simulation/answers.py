"""Mirrors whose answers are odd: ways of asking that are refused, wrong statuses, types and lengths, paths that fail."""

from typing import ClassVar

from proxy.core.flows.exchange import Method
from tests.simulation.behaviour import Behaviour, Spell, Stage
from tests.simulation.simulated_mirror import Incoming, Outcome, Sketch, delivery, refusal
from tests.simulation.world import content_of


class PathFailures(Behaviour):
    """Some files fail in ways that prove no absence: they stay listed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files = {}
        for file in rng.sample(stage.world.files, min(len(stage.world.files), rng.randint(1, 5))):
            how = rng.choice((400, 401, 402, 405, 406, 408, 409, 418, 429, 500, 501, 502, 503, 504, 520, "silence", "reset"))
            file.failing = self.files[file.filename] = how


class MetadataFails(Spell):
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


class MetadataAndRangesFail(Spell):
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
        # Where Range is refused by a status that proves nothing, a dead file may stay listed: that harms less than the other mistake.
        self.control = 4 if self.told in {403, 404} or not self.range else None

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind != "file" or (self.files is not None and request.filename not in self.files):
            return None
        head = request.ask.method is Method.HEAD
        refused = (head and self.head) or (not head and bool(request.ask.range) and self.range)
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


class HeadPromises(Behaviour):
    """HEAD is answered from a catalogue: also for files that are not there, and while they are not."""

    before_all = True
    # What is promised by HEAD is found out at some files, and of the others when a client wants them.
    control = None

    def before(self, request: Incoming) -> Outcome | None:
        file = request.file
        if request.kind != "file" or file is None or request.ask.method is not Method.HEAD:
            return None
        return delivery(request.ask, content_of(file.filename))


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
    """Answers have the status 203 instead of 200 (RFC 9110, 15.3.4)."""

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


class Redirects(Behaviour):
    """Lean connections cannot follow where files are: each is asked for again by the ordinary client."""

    after_all = True

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind == "page" or not isinstance(outcome, Sketch):
            return outcome
        return Sketch(outcome.status, outcome.headers | {"x-unusual": "1"}, outcome.body)
