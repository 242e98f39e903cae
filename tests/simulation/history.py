"""One history: a world, a mirror that misbehaves, a proxy, and clients, all drawn from a seed; and what the oracle says of it."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import cache
from random import Random
from typing import Any, TypeAlias

from proxy.config import Settings
from proxy.core.verdict.budget import BUDGETS
from proxy.core.verdict.client import ClientPlatform
from proxy.index import Index
from proxy.store import open_store
from proxy.telemetry.counts import MirrorCounts
from tests.simulation.behaviour import Behaviour, Stage
from tests.simulation.behaviours import BEHAVIOURS, DRAWN
from tests.simulation.clients import IDENTITIES, Clients, drawn_actions
from tests.simulation.contents import Rights
from tests.simulation.crowds import ColdCredentials
from tests.simulation.oracle import Oracle
from tests.simulation.report import Report, quiet
from tests.simulation.simulated_mirror import SimulatedMirror
from tests.simulation.transport import READ_TIMEOUT, SimulatedUpstream
from tests.simulation.virtual_loop import VirtualLoop, WallClock
from tests.simulation.world import ORIGIN, draw_world

ABSENT = "zebra"
"""A project that no mirror has."""

CLIENTS = (None, ClientPlatform((3, 12), "linux", "x86_64"), ClientPlatform((3, 11), "darwin", "arm64"))
_OF = {each.authorization: key for key, each in IDENTITIES.items()}
KINDS = ("static", "static", "static", "artifactory", "artifactory", "auto", "auto", "devpi")
_GAPS = (0.3, 2.0, 11.0, 65.0, 130.0, 130.0, 190.0, 620.0, 620.0, 3700.0, 20_000.0)
_SETTLED = (700.0, 200.0, 200.0, 200.0)
_GIVE_UP = 3600.0
"""Virtual seconds after which a request counts as one that never ends."""


Drawn: TypeAlias = str | Callable[[Stage], Behaviour]


@cache
def settings_of(kind: str) -> Settings:
    """Return the settings for a mirror of this kind."""
    upstream = {"url": f"{ORIGIN}/simple/", "kind": kind, "read_timeout": READ_TIMEOUT}
    return Settings.model_validate({"upstream": upstream, "store": {"location": "memory"}})


def run_history(seed: int, behaviours: Sequence[Drawn] | None = None, *, size: int | None = None, verbose: bool = False) -> Report:
    """Run the history that `seed` stands for, of a mirror with these behaviours (None: drawn as well), and report on it.

    A behaviour is named, or made by what is given. `size` is how many files the one large project has, where that is not drawn.
    `verbose` adds every request that reached the mirror to the report's events.
    """
    with quiet():
        return _History(seed, behaviours, size=size, verbose=verbose).run()


def name_of(behaviour: Behaviour) -> str:
    """Return the name by which a behaviour is asked for."""
    return next(name for name, kind in BEHAVIOURS.items() if kind is type(behaviour))


class _History:
    def __init__(self, seed: int, behaviours: Sequence[Drawn] | None, *, size: int | None, verbose: bool) -> None:
        self.rng = rng = Random(seed)  # noqa: S311 - it draws, it guards nothing
        random.seed(seed)
        self.loop = VirtualLoop()
        self.clock = WallClock(self.loop)
        self.world = draw_world(rng, size)
        self.settings = settings_of(rng.choice(KINDS))
        self.actions = self._draw_actions()
        self.end = self.actions[-1][0] + 5.0
        stage = Stage(rng, self.world, self.loop, self.clock, [moment for moment, _, _ in self.actions], self.end)
        stage.restart, stage.note = self._restart_soon, self._note
        chosen: Sequence[Drawn] = self._draw_behaviours() if behaviours is None else behaviours
        self.behaviours: list[Behaviour] = [BEHAVIOURS[each](stage) if isinstance(each, str) else each(stage) for each in chosen]
        near = rng.choice((0.002, 0.02, 0.02, 0.1, 0.3))
        self.mirror = SimulatedMirror(
            self.world, self.loop, rng, near=near, jitter=rng.choice((0.1, 1.0, 4.0)), validates=rng.random() < 0.7
        )
        self.mirror.behave([each for each in self.behaviours if each.before_all], [each for each in self.behaviours if each.after_all])
        self.people = list(IDENTITIES) if any(isinstance(each, Rights | ColdCredentials) for each in self.behaviours) else [""]
        costly = BUDGETS[self.settings.upstream[0].kind].rate == 0
        self.oracle = Oracle(self.world, self.behaviours, costly=costly)
        self.report = Report(seed, [f"{name_of(each)}: {each}" for each in self.behaviours], self._describe(near))
        self.report.exact = all(each.exact for each in self.behaviours)
        if verbose:
            self.mirror.log = self.report.events
        self.store = open_store(self.settings.store, clock=self.clock)
        self.counts = MirrorCounts()
        self.upstream: SimulatedUpstream
        self.index: Index
        self.requests: set[asyncio.Task[Any]] = set()
        self.restarting: asyncio.Task[None] | None = None
        self.clients = Clients(self.loop, self.world, self.oracle, self._note, lambda: nullcontext((self.index, self.upstream)))

    def run(self) -> Report:
        """Live through it."""
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.close()
        report = self.report
        self.oracle.price(self.mirror.asked["file"] - self.clients.own_requests)
        self.oracle.counted(self.mirror.asked["file"] + self.mirror.asked["metadata"], self.counts.price)
        report.tally = self.oracle.tally
        report.listed = len(self.world.files)
        report.asked = self.mirror.asked["file"] - self.clients.own_requests
        report.most_asked = max(self.mirror.asked_for.values(), default=0)
        return report

    def _draw_behaviours(self) -> list[str]:
        chosen = self.rng.sample(DRAWN, self.rng.choice((1, 1, 2, 2, 3)))
        return sorted(chosen)

    def _draw_actions(self) -> list[tuple[float, str, float]]:
        return drawn_actions(
            self.rng, self.rng.randint(4, 10), ("view", "view", "view", "burst", "resolve", "resolve", "metadata", "file"), _GAPS
        )

    def _describe(self, near: float) -> list[str]:
        lines = [f"mirror: {self.settings.upstream[0].kind.value}, {near * 1000:g} ms and up to {self.mirror.jitter:g} times that more"]
        for project in self.world.projects.values():
            sized = any(file.size_told for file in project.files)
            timed = any(file.upload_time for file in project.files)
            told = sorted({str(file.core_metadata) for file in project.files if file.is_wheel})
            facts = f"{project.form}{', sizes' if sized else ''}{', times' if timed else ''}, metadata {' or '.join(told)}"
            lines.append(f"project {project.name}: {len(project.files)} files, {facts}")
        return lines

    def _note(self, words: str) -> None:
        self.report.events.append(f"{self.loop.now:12.3f}  {words}")

    # The proxy ------------------------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        section = self.settings.upstream[0]
        self.upstream = SimulatedUpstream(
            self.mirror,
            lambda header: _OF[header],
            section,
            self.settings.probe,
            clock=self.clock,
            steady=self.loop.time,
            counts=self.counts,
        )
        await self.upstream.open()
        self.index = Index(self.upstream, self.store, self.settings, clock=self.clock)

    async def _close(self) -> None:
        await self.index.close()
        await self.upstream.close()

    def _restart_soon(self) -> None:
        if self.restarting is None or self.restarting.done():
            self.restarting = self.loop.create_task(self._restart())

    async def _restart(self) -> None:
        for request in list(self.requests):
            request.cancel()
        await asyncio.gather(*self.requests, return_exceptions=True)
        await self._close()
        await self._begin()
        self.oracle.restarted()

    # The clients ----------------------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        await self.store.open()
        await self._begin()
        try:
            for moment, what, chance in self.actions:
                await asyncio.sleep(max(0.0, moment - self.loop.now))
                await self._act(what, Random(chance))  # noqa: S311 - as above
            await self._settle()
        finally:
            await self._close()
            await self.store.close()

    async def _act(self, what: str, rng: Random) -> None:
        if self.restarting is not None and not self.restarting.done():
            await self.restarting
        who = rng.choice(self.people)
        names = list(self.world.projects)
        if what == "view":
            await self._together([self.clients.view(rng.choice([*names, *names, ABSENT]), who, rng.choice(CLIENTS))])
        elif what == "burst":
            client = rng.choice(CLIENTS[1:])
            await self._together([self.clients.view(name, who, client) for name in names])
        elif what == "resolve":
            client = rng.choice(CLIENTS[1:])
            wheels = [file for file in self.world.files if file.is_wheel]
            read = rng.sample(wheels, min(rng.choice((4, 12)), len(wheels)))
            await self._together(
                [*(self.clients.metadata(file, who) for file in read), *(self.clients.view(name, who, client) for name in names)]
            )
        else:
            files = rng.sample(self.world.files, min(rng.choice((1, 3, 3, 12)), len(self.world.files)))
            ask = self.clients.metadata if what == "metadata" else self.clients.file
            await self._together([ask(file, who) for file in files])

    async def _settle(self) -> None:
        """Let the mirror recover and time pass, and look at everything once more."""
        await asyncio.sleep(max(0.0, self.end - self.loop.now))
        if self.restarting is not None:
            await self.restarting
        for each in self.behaviours:
            each.end()
        self._note("all outages end")
        extra = max((each.slack for each in self.behaviours), default=0)
        for gap in (*_SETTLED, *_SETTLED[1:2] * extra):
            await asyncio.sleep(gap)
            for who in self.people:
                for name in self.world.projects:
                    await self._together([self.clients.view(name, who, None)])
        if self.report.exact and not any(each.files_may_hang for each in self.behaviours):
            wheels = [file for file in self.world.files if file.is_wheel]
            for file in self.rng.sample(wheels, min(6, len(wheels))):
                await asyncio.sleep(3.0)
                await self._together([self.clients.metadata(file, "", calm=True)])
            for file in self.rng.sample(self.world.files, min(3, len(self.world.files))):
                await asyncio.sleep(3.0)
                await self._together([self.clients.file(file, "", calm=True)])

    async def _together(self, work: Sequence[Coroutine[Any, Any, object]]) -> None:
        tasks = [self.loop.create_task(each) for each in work]
        self.requests |= set(tasks)
        try:
            async with asyncio.timeout(_GIVE_UP):
                done = await asyncio.gather(*tasks, return_exceptions=True)
        except TimeoutError:
            self.oracle.broken(self.loop.now, "endless", "a request never ends")
            return
        finally:
            self.requests -= set(tasks)
        for outcome in done:
            if isinstance(outcome, asyncio.CancelledError):
                self._note("a request is cut short by the restart")
            elif isinstance(outcome, BaseException):
                raise outcome
