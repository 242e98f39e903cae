"""Requirements of core metadata that was read lately, on each project of one mirror, kept apart by identity.

It is the one place where requirements are noted. A page waits for the releases that satisfy them (`core/verdict/choices`); so that
none is missed that is about to be noted, a page waits a moment for metadata that is being read.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxy.core.identity import Identity
from proxy.core.requirements import Requirement, requirements

_LATELY = 14 * 86400.0
"""Seconds for which a requirement counts after the metadata that has it was read or asked for last."""

_LATELY_PRIVATE = 600.0
"""The same for what a client's own credentials showed."""

_MOST_ON_A_PROJECT = 40
_MOST_SHARED_BYTES = 12_000_000
_MOST_PRIVATE_BYTES = 4_000_000
"""About what the requirements take that all private identities were shown, together."""

_MOST_IDENTITIES = 256

_PRUNED_AFTER = 1.0
"""Seconds between two looks for what counts no more: what is told is looked at besides, this is for the room that the rest takes."""

_READ_AGAIN_AFTER = 60.0
_MOST_READ_BYTES = 1_000_000
"""About what those requirements take that were read a moment ago, so that the same metadata is not read again."""

_BYTES_OF_A_REQUIREMENT = 350
_BYTES_OF_A_PROJECT = 750


@dataclass(slots=True)
class _OnProject:
    """The requirements on one project, those seen last at the end, each with when that was; `revision` is that of the latest new one."""

    seen: OrderedDict[Requirement, float] = field(default_factory=OrderedDict)
    revision: int = 0

    @property
    def last(self) -> float:
        """When a requirement was seen last."""
        return next(reversed(self.seen.values()))


@dataclass(slots=True)
class _Seen:
    """The requirements that one identity was shown, by the project that they are on; those on what was required last at the end."""

    lately: float
    used: float
    on: OrderedDict[str, _OnProject] = field(default_factory=OrderedDict)
    reading: dict[asyncio.Event, Callable[[], bool]] = field(default_factory=dict)
    weight: int = 0

    def counts(self, at: float, now: float) -> bool:
        """Return whether what was seen at `at` still counts; what was seen after `now` was seen before the clock went back."""
        return abs(now - at) <= self.lately

    def add(self, requirement: Requirement, now: float, revision: int) -> None:
        """Add a requirement; where it is new, it has that revision."""
        on = self.on.get(requirement.project)
        if on is None:
            on = self.on[requirement.project] = _OnProject()
            self.weight += _BYTES_OF_A_PROJECT
        self.on.move_to_end(requirement.project)
        if requirement not in on.seen:
            on.revision = revision
            self.weight += _weight(requirement)
        on.seen[requirement] = now
        on.seen.move_to_end(requirement)
        while len(on.seen) > _MOST_ON_A_PROJECT or not self.counts(next(iter(on.seen.values())), now):
            self.weight -= _weight(on.seen.popitem(last=False)[0])

    def prune(self, now: float) -> None:
        """Forget the projects of which no requirement counts any more."""
        while self.on and not self.counts(next(iter(self.on.values())).last, now):
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Forget the project that was required longest ago."""
        _, oldest = self.on.popitem(last=False)
        self.weight -= _BYTES_OF_A_PROJECT + sum(map(_weight, oldest.seen))


@dataclass(slots=True)
class _ReadLately:
    """Hold what metadata requires that was read a moment ago, by identity, project and digest."""

    found: OrderedDict[tuple[str, str, str], tuple[float, tuple[Requirement, ...]]] = field(default_factory=OrderedDict)
    weight: int = 0

    def get(self, key: tuple[str, str, str], now: float) -> tuple[Requirement, ...] | None:
        """Return what that metadata requires, or None where it is to be read."""
        self.prune(now)
        found = self.found.get(key)
        return None if found is None else found[1]

    def add(self, key: tuple[str, str, str], found: tuple[Requirement, ...], now: float) -> None:
        """Remember what metadata requires that was read just now, unless that is much."""
        self.found[key] = now, found
        self.weight += _BYTES_OF_A_PROJECT + sum(map(_weight, found))
        while self.weight > _MOST_READ_BYTES:
            self._drop_oldest()

    def prune(self, now: float) -> None:
        """Forget what was read some time ago."""
        while self.found and not 0 <= now - next(iter(self.found.values()))[0] < _READ_AGAIN_AFTER:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, found) = self.found.popitem(last=False)
        self.weight -= _BYTES_OF_A_PROJECT + sum(map(_weight, found))


class RequirementsSeen:
    """Remember requirements within bounds; `clock` tells seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._shared = _Seen(_LATELY, clock())
        self._private: OrderedDict[str, _Seen] = OrderedDict()
        self._read = _ReadLately()
        self._revision = 0
        self._pruned = clock()

    def note(self, who: Identity, project: str, digest: str, content: bytes) -> None:
        """Note what the metadata `content` of a file of `project` requires, as `who` was shown it; `digest` stands for the content."""
        seen, now = self._of(who), self._clock()
        found = self._read.get((who.key, project, digest), now)
        if found is None:
            found = requirements(content)
            self._read.add((who.key, project, digest), found, now)
        for requirement in found:
            # A project that requires an extra of its own says nothing of its versions.
            if requirement.project != project:
                self._revision += 1
                seen.add(requirement, now, self._revision)
        self._bound(seen)

    def on(self, who: Identity, project: str) -> tuple[Requirement, ...]:
        """Return the requirements on `project` that `who` was shown lately, the latest last; empty where no metadata named it."""
        self._prune()
        seen = self._known(who)
        on = None if seen is None else seen.on.get(project)
        if seen is None or on is None:
            return ()
        now = self._clock()
        return tuple(requirement for requirement, at in on.seen.items() if seen.counts(at, now))

    def revision(self, who: Identity, project: str) -> int:
        """Return a number that grows with each new requirement on `project`; 0 where none is known.

        A requirement that was forgotten meanwhile is new: no number comes again for other requirements.
        """
        seen = self._known(who)
        on = None if seen is None else seen.on.get(project)
        return 0 if on is None else on.revision

    @contextmanager
    def reading(self, who: Identity, wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """While it lasts, metadata is being read that `note` will hear of; `wanted` says whether a client is about to ask for it."""
        reading, over = self._of(who).reading, asyncio.Event()
        reading[over] = wanted
        try:
            yield
        finally:
            del reading[over]
            over.set()

    async def heard(self, who: Identity, seconds: float) -> None:
        """Wait for the metadata that is being read for `who` just now and is wanted, at most so many seconds."""
        seen = self._known(who)
        if seen is None or not seen.reading or seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                for over in [over for over, wanted in seen.reading.items() if wanted()]:
                    await over.wait()
        except TimeoutError:
            return

    def _known(self, who: Identity) -> _Seen | None:
        return self._shared if who.shared else self._private.get(who.key)

    def _of(self, who: Identity) -> _Seen:
        self._prune()
        if who.shared:
            return self._shared
        seen = self._private.get(who.key)
        if seen is None:
            seen = self._private[who.key] = _Seen(_LATELY_PRIVATE, self._clock())
        seen.used = self._clock()
        self._private.move_to_end(who.key)
        if len(self._private) > _MOST_IDENTITIES:
            self._private.popitem(last=False)
        return seen

    def _prune(self) -> None:
        """Forget what counts no more, unless that was done a moment ago."""
        now = self._clock()
        if 0 <= now - self._pruned < _PRUNED_AFTER:
            return
        self._pruned = now
        self._read.prune(now)
        self._shared.prune(now)
        while self._private and not (oldest := next(iter(self._private.values()))).counts(oldest.used, now):
            self._private.popitem(last=False)

    def _bound(self, noted: _Seen) -> None:
        """Forget what was seen longest ago, where all together take too much; `noted` is of the identity that was shown something."""
        noted.prune(self._clock())
        while self._shared.weight > _MOST_SHARED_BYTES:
            self._shared.drop_oldest()
        if noted is self._shared:
            return
        while sum(seen.weight for seen in self._private.values()) > _MOST_PRIVATE_BYTES:
            if len(self._private) > 1:
                self._private.popitem(last=False)
            else:
                noted.drop_oldest()


def _weight(requirement: Requirement) -> int:
    """Return about how many bytes `requirement` takes."""
    return _BYTES_OF_A_REQUIREMENT + sum(map(sys.getsizeof, requirement))
