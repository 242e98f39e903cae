"""The projects that one index holds in memory: found by identity and name, and let go before they are too many.

What identities share is here as well: the parsed page where its bytes are the same, and every yes for it.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from proxy.core.identity import Identity
from proxy.core.verdict.judge import Kind
from proxy.index.keeper import Keeper
from proxy.index.project import Commons, KnownPage, Project

_MEMORY = 96 * 1024 * 1024
"""About how many bytes of pages, verdicts and rendered content are held."""

_AWAKE = 16_000
"""Links of pages that stay as they were read, those used last: others are put away as bytes, and read back when they are used."""

_AWAKE_IN_USE = 2
"""Times as many stay while they were used a moment ago, or are being verified: a resolver at work need not wait for pages to be put away,
and what is verified would be read back."""

_PRIVATE_FOR = 600.0
"""Seconds after its last use for which what a client's own token showed is kept."""

_LOOKED_AT, _LOOKED_AT_PER_SECOND, _LOOKED_AT_MOST = 2, 256, 512
"""Projects that are weighed again at each use of one, those for each second since the last use, and how many at most: for a millisecond."""

_IN_USE_FOR = 1.0
"""Seconds after its last use before which no project leaves to make room: somebody may be about to fetch its page."""

_AWAY_AT_ONCE = 16
"""Pages that are put away whenever a project is used, at most."""

_LEAVE_AT_ONCE = 16
"""Projects that leave whenever one is used, at most: each may have something to be stored."""


class _Noted(NamedTuple):
    """The digest of a project's page, and how many files and releases are missing on it where all share it."""

    digest: str
    dropped: int
    lost: int


class Projects:
    """Holds the projects, those used last at the end; what leaves goes to the keeper first. `clock` tells seconds since the epoch.

    How much they hold changes without a word of theirs, so that some are weighed again at each use: no use pays for all of them.
    Nothing that a page needs looks at all of them: who changes a project's page, or what is served of it, says so to `note`.

    `later` calls something after so many seconds, so that a burst after which nothing is used leaves no more than what may stay.
    `pages` counts the projects with a page. `dropped` files and `lost` releases are missing on the pages that all share,
    as they were served last.
    """

    def __init__(
        self, keeper: Keeper, clock: Callable[[], float], *, later: Callable[[float, Callable[[], None]], object] | None = None
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._later = later
        self._looks_later = False
        self._held: OrderedDict[tuple[str, str], Project] = OrderedDict()
        self._commons: dict[str, Commons] = {}
        self._weights: dict[tuple[str, str], int] = {}
        self._total = 0
        self._noted: dict[tuple[str, str], _Noted] = {}
        self._alike: dict[tuple[str, str], dict[str, Project]] = {}
        self.pages = self.dropped = self.lost = 0
        self._unseen: list[tuple[str, str]] = []
        self._looked = 0.0
        self._awake: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._links_awake = 0
        self._woken: deque[tuple[str, str]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Project]:
        return iter(list(self._held.values()))

    def lately_used(self) -> Iterator[Project]:
        """Give the projects, the one used last first; none may come or go before the last one that is wanted."""
        return reversed(self._held.values())

    def known(self, who: Identity, name: str) -> Project | None:
        """Gives the project if it is held, and if what it shows may be used still."""
        project = self._held.get((who.key, name))
        return None if project is None or self._expired(project, self._clock()) else project

    def of(self, who: Identity, name: str) -> Project:
        """Gives the project, a new one where none is held, and notes that it is used."""
        key, now = (who.key, name), self._clock()
        project = self._held.get(key)
        if project is not None and not project.busy and self._expired(project, now):
            self.drop(project)
            project = None
        if project is None:
            project = self._held[key] = Project(name, who, held_since=now)
        else:
            self._held.move_to_end(key)
        project.used = now
        self._look_at_some(project, now)
        self._make_room(project, now)
        return project

    @property
    def weight(self) -> int:
        """About how many bytes of memory they hold, each as it was weighed last."""
        return self._total

    def touch(self, project: Project) -> None:
        """Notes that the project is used just now."""
        self._held.move_to_end((project.who.key, project.name))

    def holds(self, project: Project) -> bool:
        """Whether the project is held; one that is not may have been succeeded by another of its name."""
        return self._held.get((project.who.key, project.name)) is project

    def clear(self) -> None:
        """Forgets all of them."""
        self._held.clear()
        self._commons.clear()
        self._weights.clear()
        self._noted.clear()
        self._alike.clear()
        self._awake.clear()
        self._links_awake = 0
        self._total = self.pages = self.dropped = self.lost = 0

    def drop(self, project: Project) -> None:
        """Forgets the project, if it is held."""
        if self.holds(project):
            key = project.who.key, project.name
            del self._held[key]
            self._total -= self._weights.pop(key, 0)
            self._links_awake -= self._awake.pop(key, 0)
            self._forget_noted(project)

    def note(self, project: Project) -> None:
        """Note which page the project has by now, and what is missing on it."""
        if not self.holds(project):
            return
        self._weigh(project)
        key, known = (project.who.key, project.name), project.known
        self._count_awake(key)
        served = project.served if known is not None and project.who.shared else None
        dropped, lost = (0, 0) if served is None else (len(served.mended.dropped), len(served.mended.lost))
        now = None if known is None else _Noted(known.digest, dropped, lost)
        before = self._noted.get(key)
        if now == before:
            return
        self._forget_noted(project)
        if now is not None:
            self._noted[key] = now
            self._alike.setdefault((project.name, now.digest), {})[project.who.key] = project
            self.pages += 1
            self.dropped += dropped
            self.lost += lost

    def _forget_noted(self, project: Project) -> None:
        before = self._noted.pop((project.who.key, project.name), None)
        if before is None:
            return
        page = project.name, before.digest
        self._alike[page].pop(project.who.key)
        if not self._alike[page]:
            del self._alike[page]
        self.pages -= 1
        self.dropped -= before.dropped
        self.lost -= before.lost

    def like(self, name: str, digest: str) -> KnownPage | None:
        """Gives what any identity knows of the page with that digest."""
        for project in self._alike.get((name, digest), {}).values():
            # It may have another page since a moment ago, which is noted once that is settled.
            if project.known is not None and project.known.digest == digest:
                return project.known
        return None

    def share(self, name: str, commons: Commons) -> None:
        """Takes over what was kept of the commons of the project `name`, where there are none yet."""
        if commons.digest:
            self._commons.setdefault(name, commons)

    def borrow(self, project: Project, known: KnownPage) -> None:
        """Lends the project every yes that others got for the same page; what it knows itself goes before."""
        commons = self._commons.get(project.name)
        shared = self._held.get(("", project.name))
        lent = dict(commons.lend(known.digest)) if commons is not None else {}
        if shared is not None and shared is not project and shared.known is not None and shared.known.digest == known.digest:
            lent |= {name: verdict for name, verdict in shared.verdicts.items() if verdict.kind is Kind.DELIVERABLE}
        if lent:
            project.verdicts = lent | project.verdicts
            project.revision += 1

    def learned(self, project: Project) -> None:
        """Offers every yes to the commons, and what was learned to the keeper."""
        if project.known is not None and not project.who.shared:
            commons = self._commons.setdefault(project.name, Commons())
            commons.offer(project.known.digest, project.verdicts)
            self._keeper.keep_commons(project.name, commons)
        self._keeper.keep(project)
        if self.holds(project):
            # The last pages of a burst are busy until they were verified, and nobody may use another one for hours.
            self._weigh(project)
            self._make_room(None, self._clock())

    def plan_anew(self) -> None:
        """Have all pages verified again when they are asked for next."""
        for project in self:
            project.planned_for = 0.0

    def _look_at_some(self, using: Project, now: float) -> None:
        """Weigh some projects again, the one in use among them, and let go of those that may not be used any more."""
        self._weigh(using)
        elapsed = min(max(0.0, now - self._looked), _LOOKED_AT_MOST / _LOOKED_AT_PER_SECOND)
        self._looked = now
        for _ in range(min(_LOOKED_AT_MOST, _LOOKED_AT + int(elapsed * _LOOKED_AT_PER_SECOND), len(self._held))):
            if not self._unseen:
                self._unseen = list(self._held)
            project = self._held.get(self._unseen.pop())
            if project is None:
                continue
            if project is not using and not project.busy and self._expired(project, now):
                self._let_go(project)
            else:
                self._weigh(project)

    def _weigh(self, project: Project) -> None:
        key, weight = (project.who.key, project.name), project.weight
        self._total += weight - self._weights.get(key, 0)
        self._weights[key] = weight

    def _make_room(self, using: Project | None, now: float) -> None:
        """Let go of some of those that were not used for longest, while all together hold too much."""
        self._put_some_away(using, now)
        for _ in range(_LEAVE_AT_ONCE):
            if self._total <= _MEMORY:
                return
            project = next(iter(self._held.values()))
            if _in_use(project, now):
                return
            if project is using or project.busy:
                self.touch(project)
            else:
                self._let_go(project)

    def _put_some_away(self, using: Project | None, now: float) -> None:
        """Put the pages away that were not used for longest, while more links are awake than may be."""
        woken = {self._woken.popleft(): None for _ in range(len(self._woken))}
        if using is not None and (key := (using.who.key, using.name)) in self._awake:
            self._awake.move_to_end(key)
        for key in woken:
            self._count_awake(key)
        for _ in range(min(_AWAY_AT_ONCE, len(self._awake))):
            if self._links_awake <= _AWAKE:
                return
            key, links = next(iter(self._awake.items()))
            project = self._held.get(key)
            few = self._links_awake <= _AWAKE_IN_USE * _AWAKE
            if few and project is not None and _in_use(project, now):
                break
            if project is not None and (project is using or project.in_hand or (few and project.busy)):
                self._awake.move_to_end(key)
                continue
            del self._awake[key]
            self._links_awake -= links
            if project is not None:
                project.put_away(partial(self._woken.append, key))
                self._weigh(project)
        if self._links_awake > _AWAKE and self._later is not None and not self._looks_later:
            self._looks_later = True
            self._later(_IN_USE_FOR, self._put_more_away)

    def _put_more_away(self) -> None:
        self._looks_later = False
        self._put_some_away(None, self._clock())

    def _count_awake(self, key: tuple[str, str]) -> None:
        """Note how many links of that project are awake by now."""
        project = self._held.get(key)
        links = 0 if project is None else project.awake
        self._links_awake += links - self._awake.pop(key, 0)
        if links:
            self._awake[key] = links

    def _let_go(self, project: Project) -> None:
        self._keeper.keep(project)
        self._commons.pop(project.name, None)
        self.drop(project)

    def _expired(self, project: Project, now: float) -> bool:
        # Before the clock went back, nobody knows how long ago that was.
        return not project.who.shared and not 0 <= now - project.used <= _PRIVATE_FOR


def _in_use(project: Project, now: float) -> bool:
    return 0 <= now - project.used < _IN_USE_FOR
