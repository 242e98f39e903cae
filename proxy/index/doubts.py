"""Whether a mirror is believed that all at once has no page, or an empty one, of a project that it had.

A project that is gone and a mirror that denies everything look the same from one page. So another page is asked for, a witness, which the
mirror had as well: where it still has that one, it is believed. Witnesses are the pages in memory, and the names that the store keeps,
so that an outage in which the proxy restarts is one too. Without any witness a denial counts once it was repeated minutes later.
Only a denial that was repeated and has a witness erases what is stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

import structlog

from proxy.core.errors import PageUnreadable, UpstreamError
from proxy.core.identity import Identity
from proxy.index.keeper import Keeper
from proxy.index.project import Project
from proxy.index.projects import Projects
from proxy.index.reading import read_page
from proxy.upstream import FetchedPage, Mirror, Validators

_log = structlog.get_logger("mirrormend.index")

_ASKED = 2
"""Pages asked for: one of them may be gone as well."""

_LOOKED_AT = 100
"""Pages among which those are chosen, the last ones used, where that is enough."""

_DOUBTED_FOR = 300.0
"""Seconds for which a mirror that was not believed is not asked for a witness again, unless it gives a page."""

_REPEATED_AFTER = 180.0
"""Seconds after its first denial from which on another one of the same page is a repetition, and not the same outage's."""

_RECENTLY = 10.0
"""Seconds for which a page that the mirror gave lets it be believed about a project that it never had, and one that it denied does not."""

_DENIALS = 5000
_NAMES = 32
_NAMES_WORTH_KEEPING = 8
_NAMES_KEPT_FOR = 900.0
_IDENTITIES = 1000


class Belief(Enum):
    """How far a denial is believed."""

    DOUBTED = auto()
    """It may be an outage: what is known stays."""
    UNOPPOSED = auto()
    """Nothing speaks against it, and nobody was asked."""
    BELIEVED = auto()
    """The mirror means it, as far as can be told now: clients are told so, the store keeps what it has."""
    CONFIRMED = auto()
    """It was repeated minutes later, and a witness spoke for the mirror: what is stored may go."""


@dataclass(slots=True)
class _Denial:
    """Denials of one page in a row: the first and the last of them, and whether the last one forbade it (401, 403)."""

    since: float
    last: float
    forbidden: bool


@dataclass(frozen=True, slots=True)
class _Witness:
    """A page to ask for: its project, and what it can be asked for again with."""

    name: str
    validators: Validators | None


class Doubts:
    """Asks one mirror for other pages; `within` is how many seconds each has to come in, `clock` tells seconds since the epoch."""

    def __init__(self, mirror: Mirror, projects: Projects, keeper: Keeper, *, within: float, clock: Callable[[], float]) -> None:
        self._mirror = mirror
        self._projects = projects
        self._keeper = keeper
        self._within = within
        self._clock = clock
        self._doubted: dict[str, float] = {}
        self._gave_at: dict[str, float] = {}
        self._denials: OrderedDict[tuple[str, str], _Denial] = OrderedDict()
        self._names: OrderedDict[str, None] = OrderedDict()
        self._kept: frozenset[str] | None = None
        self._kept_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Read, once, the names of projects that the store says the mirror had."""
        if self._kept is None:
            names = await self._keeper.names()
            # What was learned while they were read is newer.
            self._names = OrderedDict.fromkeys([*(name for name in names if name not in self._names), *self._names])
            self._kept = frozenset(names)

    def lasts(self, who: Identity) -> bool:
        """Return whether the mirror was not believed a moment ago, and gave no page since."""
        return self._lately(_DOUBTED_FOR, self._doubted, who)

    def _lately(self, seconds: float, moments: dict[str, float], who: Identity) -> bool:
        return 0 <= self._clock() - moments.get(who.key, float("-inf")) < seconds

    def denied(self, project: Project) -> bool:
        """Return whether the last answer about the project, which the mirror had, was a denial."""
        return _key(project) in self._denials

    def denied_since(self, project: Project, moment: float) -> bool:
        """Return whether the mirror denied the page of `project` after that moment (seconds since the epoch)."""
        row = self._denials.get(_key(project))
        return row is not None and row.last >= moment

    def forbidden(self, project: Project) -> bool:
        """Return whether the mirror refused the page of `project` (401, 403) when it last said anything of it."""
        row = self._denials.get(_key(project))
        return row is not None and row.forbidden

    async def of_stranger(self, project: Project) -> Belief:
        """Judge a denial of a project that the mirror is not known to have had: DOUBTED, BELIEVED, or UNOPPOSED where nobody was asked.

        It may be absent; but while the mirror denies what it had, that means nothing, and would send a client to its next index.
        """
        async with self._one_at_a_time:
            if self._lately(_RECENTLY, self._doubted, project.who):
                return Belief.DOUBTED
            if self._lately(_RECENTLY, self._gave_at, project.who):
                return Belief.UNOPPOSED
            witnessed = await self._witnessed(project)
        if witnessed is None:
            return Belief.UNOPPOSED
        return Belief.BELIEVED if witnessed else Belief.DOUBTED

    async def of_known(self, project: Project) -> Belief:
        """Judge a denial of the page of `project`, or an empty page all at once, where the mirror had one with files."""
        repeated = self._note(project, forbidden=False)
        # One after the other: what the first finds out saves the others the question.
        async with self._one_at_a_time:
            if self.lasts(project.who):
                return Belief.DOUBTED
            witnessed = await self._witnessed(project)
            if witnessed is None:
                return Belief.BELIEVED if repeated else Belief.DOUBTED
            if not witnessed:
                return Belief.DOUBTED
        self._names.pop(project.name, None)
        return Belief.CONFIRMED if repeated else Belief.BELIEVED

    async def of_refusal(self, project: Project) -> Belief:
        """Judge a refusal (401, 403) of a page that the mirror had: it always counts, but what is stored goes as after other denials."""
        if not self._note(project, forbidden=True):
            return Belief.BELIEVED
        async with self._one_at_a_time:
            confirmed = not self.lasts(project.who) and await self._witnessed(project)
        return Belief.CONFIRMED if confirmed else Belief.BELIEVED

    def gave(self, project: Project, *, files: bool) -> None:
        """Note that the mirror gave the page of `project`, with `files` or without any."""
        self._denials.pop(_key(project), None)
        if not files:
            return
        self._spoke(project.who)
        if not project.who.shared:
            return
        self._names[project.name] = None
        self._names.move_to_end(project.name)
        while len(self._names) > _NAMES:
            self._names.popitem(last=False)
        self._keep_names(project.name)

    def _keep_names(self, name: str) -> None:
        kept, now = self._kept, self._clock()
        if kept is None or name in kept:
            return
        if len(kept) < _NAMES_WORTH_KEEPING or not 0 <= now - self._kept_at < _NAMES_KEPT_FOR:
            self._kept, self._kept_at = frozenset(self._names), now
            self._keeper.keep_names(list(self._names))

    def _spoke(self, who: Identity) -> None:
        self._doubted.pop(who.key, None)
        if len(self._gave_at) > _IDENTITIES:
            self._gave_at.clear()
        self._gave_at[who.key] = self._clock()

    def _note(self, project: Project, *, forbidden: bool) -> bool:
        """Note a denial, and return whether it repeats one of minutes ago."""
        now, key = self._clock(), _key(project)
        row = self._denials.pop(key, None)
        since = now if row is None or row.since > now else row.since
        self._denials[key] = _Denial(since, now, forbidden)
        if len(self._denials) > _DENIALS:
            self._denials.popitem(last=False)
        return now - since >= _REPEATED_AFTER

    async def _witnessed(self, project: Project) -> bool | None:
        """Ask for pages that the mirror had; return whether it has one of them, None where it is not known to have had another."""
        witnesses = await self._witnesses(project)
        if not witnesses:
            return None
        for witness in witnesses:
            if await self._has(witness, project.who):
                self._spoke(project.who)
                return True
        if len(self._doubted) > _IDENTITIES:
            self._doubted.clear()
        self._doubted[project.who.key] = self._clock()
        _log.warning(
            "page-not-believed",
            mirror=self._mirror.name,
            project=project.name,
            meaning="the mirror denies other pages as well that it had, so that this is taken for an outage",
        )
        return False

    async def _witnesses(self, project: Project) -> list[_Witness]:
        who = project.who
        held, sure = [], 0
        for each in self._projects.lately_used():
            if each.who.key == who.key and each.name != project.name and each.known is not None and each.known.page.count:
                held.append((each, each.known))
                sure += not self.denied(each)
                if sure >= _ASKED and len(held) >= _LOOKED_AT:
                    break
        # Those that were denied themselves come last: they are the least likely to speak for the mirror.
        held.sort(key=lambda pair: (self.denied(pair[0]), -pair[1].checked))
        found = [_Witness(each.name, known.validators) for each, known in held]
        if who.shared and sure < _ASKED:
            await self.load()
            stored = await self._stored({project.name, *(each.name for each, _ in held)}, _ASKED - sure)
            found[sure:sure] = stored
        return found[:_ASKED]

    async def _stored(self, known: Iterable[str], most: int) -> list[_Witness]:
        names = [name for name in reversed(self._names) if name not in known][:most]
        return [_Witness(name, await self._keeper.validators(name)) for name in names]

    async def _has(self, witness: _Witness, who: Identity) -> bool:
        try:
            async with asyncio.timeout(self._within):
                fetched = await self._mirror.fetch_page(witness.name, who, witness.validators, within=0.0)
            return not isinstance(fetched, FetchedPage) or bool((await read_page(witness.name, fetched)).files)
        except (UpstreamError, PageUnreadable, TimeoutError):
            return False


def _key(project: Project) -> tuple[str, str]:
    return project.who.key, project.name
