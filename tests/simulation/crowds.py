"""Mirrors that refuse or deny some requests: for their number, by the node they reach, or at random."""

from typing import ClassVar

from proxy.core.flows.exchange import Method
from tests.simulation.behaviour import Behaviour, Spell, Stage
from tests.simulation.simulated_mirror import Incoming, Outcome, Sketch, Told, refusal
from tests.simulation.world import ALWAYS

_CHECKED_FOR = 600.0
"""Seconds for which a mirror remembers credentials."""

_CHECKS_FOR = 2.0
"""Seconds that checking them takes at most."""

DENIALS: tuple[Told, ...] = (403, 404, 429, 503, "page")


class LimitAtOnce(Behaviour):
    """More requests at once than so many are refused. One who asks alone gets every file."""

    before_all = True

    def __init__(self, stage: Stage, limit: int | None = None, told: Told | None = None, *, pages: bool | None = None) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.limit = rng.randint(2, 40) if limit is None else limit
        self.told = rng.choice(DENIALS) if told is None else told
        self.pages = (self.limit >= 6 and rng.random() < 0.25) if pages is None else pages
        self.wait = rng.choice((None, None, 1, 30)) if self.told in {429, 503} else None
        self.control = 8
        self.slack = 3
        self._under_way = 0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page" and not self.pages:
            return None
        if self._under_way >= self.limit:
            outcome = refusal(self.told, head=request.ask.method is Method.HEAD)
            if self.wait is not None and isinstance(outcome, Sketch):
                outcome.headers["retry-after"] = str(self.wait)
            return outcome
        self._under_way += 1
        request.holders.append(self)
        return None

    def left(self, request: Incoming) -> None:
        self._under_way -= 1


class ColdCache(Behaviour):
    """The mirror fetches what it does not have yet from afar, so many files at a time, and refuses more; warm files come at once."""

    before_all = True
    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.at_once = rng.choice((1, 3, 8, 16))
        self.seconds = rng.choice((0.3, 1.0))
        self.told = rng.choice((403, 404, 503, "page"))
        self.share = rng.choice((0.0, 0.5))
        self.control = None
        self.slack = 6
        self._warm: set[str] = set()
        self._seen: set[str] = set()
        self._fetching = 0

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind != "file" or request.file is None or self._is_warm(request.filename):
            return None
        if self._fetching >= self.at_once:
            return refusal(self.told, head=request.ask.method is Method.HEAD)
        self._fetching += 1
        request.holders.append(self)
        return None

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if self in request.holders and isinstance(outcome, Sketch):
            self._warm.add(request.filename)
            outcome.headers["x-seconds"] = str(self.seconds)
        return outcome

    def left(self, request: Incoming) -> None:
        self._fetching -= 1

    def _is_warm(self, filename: str) -> bool:
        if filename not in self._seen:
            self._seen.add(filename)
            if self.stage.rng.random() < self.share:
                self._warm.add(filename)
        return filename in self._warm


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


class BrownOut(Spell):
    """For seconds or minutes many requests for files are denied at random."""

    exact = False
    before_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.share = rng.choice((0.3, 0.5, 0.7, 0.9))
        self.told = rng.choice((404, 404, 403, "page", 503))
        self.since = stage.moment()
        self.until = self.since + rng.choice((0.2, 1.0, 5.0, 30.0, 300.0))
        self.control = 4
        self.slack = 2
        self._rng = rng

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page" or not self.since <= request.at < self.until or self._rng.random() >= self.share:
            return None
        return refusal(self.told, head=request.ask.method is Method.HEAD)


class Hiccups(Behaviour):
    """Some requests for files are answered after many seconds, or never."""

    after_all = True
    files_may_hang = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.share = stage.rng.choice((0.01, 0.05))
        self.seconds = stage.rng.choice((2.0, 6.0, 15.0, None))
        self.control = 8
        self.slack = 1
        self._rng = stage.rng

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        if request.kind == "page" or not isinstance(outcome, Sketch) or self._rng.random() >= self.share:
            return outcome
        if self.seconds is None:
            return refusal("silence")
        return Sketch(outcome.status, outcome.headers | {"x-seconds": str(self.seconds)}, outcome.body)


class Resets(Behaviour):
    """Some connections break before the answer."""

    before_all = True
    files_may_hang = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.share = stage.rng.choice((0.01, 0.05, 0.2))
        self.control = 8
        self.slack = 2
        self._rng = stage.rng

    def before(self, request: Incoming) -> Outcome | None:
        return refusal("reset") if request.kind != "page" and self._rng.random() < self.share else None


class ColdCredentials(Behaviour):
    """Credentials that were not checked lately are checked by the first request, and whatever comes beside it is refused."""

    before_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.told = stage.rng.choice((401, 403, 404))
        self.control = 4
        self._checked: dict[str, float] = {}
        self._checking: dict[str, float] = {}

    def before(self, request: Incoming) -> Outcome | None:
        who = request.who
        if not who:
            return None
        if request.at - self._checked.get(who, ALWAYS) < _CHECKED_FOR:
            self._checked[who] = request.at
            return None
        began = self._checking.get(who)
        if began is not None and request.at - began < _CHECKS_FOR:
            return refusal(self.told, head=request.ask.method is Method.HEAD)
        if began is not None:
            self._checked[who] = request.at
            return None
        self._checking[who] = request.at
        request.holders.append(self)
        return None

    def left(self, request: Incoming) -> None:
        self._checking.pop(request.who, None)
        self._checked[request.who] = self.stage.loop.now
