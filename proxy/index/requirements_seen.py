"""What core metadata that was read lately requires of each project of one mirror, kept apart by identity.

It is the one place where requirements are noted. A page waits for the releases that satisfy them (`core/verdict/choices`); so that
none is missed that is about to be noted, a page waits a moment for metadata that is being read.
"""

import asyncio
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
_MOST = 20_000
"""Requirements that are remembered: about ten megabytes."""

_MOST_IDENTITIES = 256
_NOTED_AGAIN_AFTER = 60.0
_MOST_NOTED = 5000


@dataclass(slots=True)
class _OnProject:
    """The requirements on one project, those seen last at the end, each with when that was; `revision` counts how many were new."""

    seen: OrderedDict[Requirement, float] = field(default_factory=OrderedDict)
    revision: int = 0


@dataclass(slots=True)
class _Seen:
    """What one identity was shown: requirements by the project that they are on, and when the metadata of which file was noted."""

    on: OrderedDict[str, _OnProject] = field(default_factory=OrderedDict)
    noted: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)
    reading: dict[asyncio.Event, Callable[[], bool]] = field(default_factory=dict)
    count: int = 0


class RequirementsSeen:
    """Remembers requirements within bounds; `clock` tells seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._identities: OrderedDict[str, _Seen] = OrderedDict()

    def note(self, who: Identity, project: str, digest: str, content: bytes) -> None:
        """Note what the metadata `content` of a file of `project` requires, as `who` was shown it; `digest` stands for the content."""
        seen, now = self._of(who), self._clock()
        before = seen.noted.get((project, digest))
        if before is not None and 0 <= now - before < _NOTED_AGAIN_AFTER:
            return
        seen.noted[project, digest] = now
        seen.noted.move_to_end((project, digest))
        if len(seen.noted) > _MOST_NOTED:
            seen.noted.popitem(last=False)
        for requirement in requirements(content):
            # A project that requires an extra of its own says nothing of its versions.
            if requirement.project != project:
                self._add(seen, requirement, now)
        while seen.count > _MOST:
            _, oldest = seen.on.popitem(last=False)
            seen.count -= len(oldest.seen)

    def _add(self, seen: _Seen, requirement: Requirement, now: float) -> None:
        on = seen.on.get(requirement.project)
        if on is None:
            on = seen.on[requirement.project] = _OnProject()
        seen.on.move_to_end(requirement.project)
        if requirement not in on.seen:
            on.revision += 1
            seen.count += 1
        on.seen[requirement] = now
        on.seen.move_to_end(requirement)
        if len(on.seen) > _MOST_ON_A_PROJECT:
            on.seen.popitem(last=False)
            seen.count -= 1

    def on(self, who: Identity, project: str) -> tuple[Requirement, ...]:
        """Return the requirements on `project` that `who` was shown lately; empty where no metadata named it."""
        seen = self._identities.get(who.key)
        on = None if seen is None else seen.on.get(project)
        if on is None:
            return ()
        now, lately = self._clock(), _LATELY if who.shared else _LATELY_PRIVATE
        # What was seen after now was seen before the clock went back.
        return tuple(requirement for requirement, at in on.seen.items() if abs(now - at) <= lately)

    def revision(self, who: Identity, project: str) -> int:
        """Return a number that grows with each new requirement on `project`."""
        seen = self._identities.get(who.key)
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
        seen = self._identities.get(who.key)
        if seen is None or not seen.reading or seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                for over in [over for over, wanted in seen.reading.items() if wanted()]:
                    await over.wait()
        except TimeoutError:
            return

    def _of(self, who: Identity) -> _Seen:
        seen = self._identities.get(who.key)
        if seen is None:
            seen = self._identities[who.key] = _Seen()
        self._identities.move_to_end(who.key)
        if len(self._identities) > _MOST_IDENTITIES:
            oldest = next(key for key in self._identities if key and key != who.key)
            del self._identities[oldest]
        return seen
