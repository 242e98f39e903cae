"""One history of several replicas over one store: what breaks, and when, is drawn from a seed; and what the oracles say of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from proxy.core.verdict.budget import BUDGETS
from tests.simulation.behaviour import Behaviour
from tests.simulation.behaviours import BEHAVIOURS
from tests.simulation.clients import IDENTITIES, Clients, drawn_actions
from tests.simulation.history import ABSENT, CLIENTS, KINDS, Drawn, settings_of
from tests.simulation.oracle import Oracle
from tests.simulation.outages import Down
from tests.simulation.replica import Replica
from tests.simulation.replica_behaviours import BESIDES, REPLICA_BEHAVIOURS, name_of
from tests.simulation.replica_oracle import OracleOfOne, ReplicaOracle, SilentOracle
from tests.simulation.replica_stage import RECOVERS_WITHIN, ReplicaStage
from tests.simulation.report import Report, quiet
from tests.simulation.shared_backend import SharedBackend
from tests.simulation.simulated_mirror import SimulatedMirror
from tests.simulation.store_faults import StoreEmptied, StoreLosesSome
from tests.simulation.virtual_loop import VirtualLoop, WallClock
from tests.simulation.world import SimFile, draw_world

_OF = {each.authorization: key for key, each in IDENTITIES.items()}
_GAPS = (0.05, 0.3, 2.0, 2.0, 11.0, 65.0, 130.0, 130.0, 190.0, 620.0, 3700.0)
_SETTLED = (700.0, 200.0, 200.0, 200.0)
_GIVE_UP = 3600.0

BY_ITSELF_WITHIN = 60.0
"""Seconds after which the store is found to be well again although nobody asks for anything."""

WRITTEN_WITHIN = 4.0
"""Seconds after which the store has what a replica learned."""


def run_replicas(seed: int, behaviours: Sequence[Drawn] | None = None, *, replicas: int | None = None, verbose: bool = False) -> Report:
    """Run the history of `replicas` (None: drawn) that `seed` stands for, with these behaviours (None: drawn as well), and report on it."""
    with quiet():
        return _ReplicaHistory(seed, behaviours, replicas=replicas, verbose=verbose).run()


class _ReplicaHistory:
    def __init__(self, seed: int, behaviours: Sequence[Drawn] | None, *, replicas: int | None, verbose: bool) -> None:
        self.rng = rng = Random(seed)  # noqa: S311 - it draws, it guards nothing
        random.seed(seed)
        self.loop = VirtualLoop()
        self.world = draw_world(rng)
        self.settings = settings_of(rng.choice(KINDS))
        count = rng.choice((1, 2, 2, 3)) if replicas is None else replicas
        kind = "redis" if count > 1 and rng.random() < 0.7 else rng.choice(("redis", "sqlite"))
        shared = kind == "redis" or count > 1
        of_store = Random(rng.random())  # noqa: S311 - as above
        self.place = SharedBackend(self.loop, of_store, near=rng.choice((0.0005, 0.002)), kind=kind, shared=shared)
        actions = self._draw_actions()
        self.end = actions[-1][0] + 5.0
        near, jitter, validates = rng.choice((0.002, 0.02, 0.02, 0.1)), rng.choice((0.1, 1.0)), rng.random() < 0.7
        self.clocks = [WallClock(self.loop) for _ in range(count)]
        stage = self._stage(actions, count)
        chosen: Sequence[Drawn] = self._draw_behaviours() if behaviours is None else behaviours
        self.behaviours: list[Behaviour] = [self._behaviour(each, stage) for each in chosen]
        for file in self.world.files:
            # A replica that saw the name later than another one does not know how new it is.
            file.young = False
        self.actions = actions
        self.limits = stage.limits
        self.mirror = SimulatedMirror(self.world, self.loop, rng, near=near, jitter=jitter, validates=validates)
        self.replicas = [self._replica(number, self.mirror, self.place, clock) for number, clock in enumerate(self.clocks)]
        ours = [each for each in self.behaviours if type(each) in BEHAVIOURS.values()]
        self.mirror.behave([each for each in ours if each.before_all], [each for each in ours if each.after_all])
        self.calm = not ours
        self.costly = BUDGETS[self.settings.upstream[0].kind].rate == 0
        self.report = Report(seed, [f"{name_of(each)}: {each}" for each in self.behaviours], self._describe(near, kind, count))
        self.report.exact = all(each.exact for each in self.behaviours)
        self.oracle = ReplicaOracle(self.report.tally, self.world, self.behaviours, wait=0.15 + 16 * near * (1 + jitter), calm=self.calm)
        self.clients = [self._clients(replica) for replica in self.replicas]
        if verbose:
            self.mirror.log = self.place.log = self.report.events
        self._forgotten: Counter[str] = Counter()
        self.changing: set[asyncio.Task[None]] = set()
        self.asked_by_clients = 0

    def run(self) -> Report:
        """Live through it, with the steady clock of the loop."""
        with _steady(self.loop):
            try:
                self.loop.run_until_complete(self._live())
            finally:
                self.loop.close()
        report = self.report
        report.listed = len(self.world.files)
        report.asked = self.mirror.asked["file"] - sum(each.own_requests for each in self.clients)
        return report

    # Drawing --------------------------------------------------------------------------------------------------------------------

    def _draw_behaviours(self) -> list[str]:
        ours = self.rng.sample(tuple(REPLICA_BEHAVIOURS), self.rng.choice((1, 1, 2, 2, 3)))
        besides = [self.rng.choice(BESIDES)] if self.rng.random() < 0.4 else []
        return sorted(ours) + besides

    def _draw_actions(self) -> list[tuple[float, str, float]]:
        return drawn_actions(
            self.rng, self.rng.randint(5, 12), ("view", "view", "burst", "burst", "resolve", "resolve", "metadata", "file"), _GAPS
        )

    @staticmethod
    def _behaviour(drawn: Drawn, stage: ReplicaStage) -> Behaviour:
        if not isinstance(drawn, str):
            return drawn(stage)
        return (REPLICA_BEHAVIOURS[drawn] if drawn in REPLICA_BEHAVIOURS else BEHAVIOURS[drawn])(stage)

    def _stage(self, actions: list[tuple[float, str, float]], count: int) -> ReplicaStage:
        moments = [moment for moment, _, _ in actions]
        stage = ReplicaStage(self.rng, self.world, self.loop, self.clocks[0], moments, self.end, place=self.place, replicas=count)
        stage.note, stage.kill, stage.close, stage.reload = self._note, self._kill, self._close, self._reload
        stage.set_clock, stage.leave, stage.expect = self._set_clock, self._leave, self._expect
        return stage

    def _describe(self, near: float, kind: str, count: int) -> list[str]:
        mirror = f"mirror: {self.settings.upstream[0].kind.value}, {near * 1000:g} ms and up to {self.mirror.jitter:g} times that more"
        pages = [f"project {project.name}: {len(project.files)} files, {project.form}" for project in self.world.projects.values()]
        return [f"{count} replicas over {kind}{'' if self.place.shared else ', not shared'}", mirror, *pages]

    def _note(self, words: str) -> None:
        self.report.events.append(f"{self.loop.now:12.3f}  {words}")

    # The replicas ---------------------------------------------------------------------------------------------------------------------

    def _replica(self, number: int, mirror: SimulatedMirror, place: SharedBackend, clock: WallClock) -> Replica:
        return Replica(number, clock, self.loop, mirror, place, self.settings, lambda header: _OF[header], self.limits)

    def _new_clock(self) -> WallClock:
        clock = WallClock(self.loop)
        clock.offset = self.rng.choice(self.clocks).offset
        return clock

    def _clients(self, replica: Replica) -> Clients:
        def note(words: str) -> None:
            self._note(f"replica {replica.number}: {words}")

        return Clients(self.loop, self.world, self._first_oracle(), note, replica.door)

    def _first_oracle(self) -> Oracle:
        oracle = OracleOfOne(self.world, self.behaviours, costly=self.costly)
        oracle.all = self.oracle
        oracle.tally = self.report.tally
        return oracle

    def _change(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.changing.add(task)
        task.add_done_callback(self.changing.discard)

    def _kill(self, number: int, pause: float) -> None:
        self.oracle.killed(self.loop.now)
        ended = self.replicas[number].kill()
        if ended is not None:
            self._change(self._start_again(number, ended, pause, forgets=True))
            self._change(self._all_ask())

    def _close(self, number: int) -> None:
        replica = self.replicas[number]
        if replica.running:
            forgets = not self.place.sound
            self._change(self._start_again(number, self.loop.create_task(replica.close()), 0.0, forgets=forgets))
            self._change(self._all_ask())

    async def _start_again(self, number: int, ended: "asyncio.Task[None]", pause: float, *, forgets: bool) -> None:
        await asyncio.sleep(pause)
        await ended
        if forgets:
            self.clients[number].oracle = self._first_oracle()
        else:
            self.clients[number].oracle.restarted()
        if any(isinstance(each, StoreEmptied | StoreLosesSome) for each in self.behaviours):
            # What nobody but this replica knew by then is gone.
            self._forgotten = self.mirror.asked_for.copy()
        await self.replicas[number].start()
        self._note(f"replica {number} is there again")

    def _reload(self, number: int) -> None:
        self._change(self.replicas[number].reload())
        self._change(self._all_ask())

    async def _all_ask(self) -> None:
        """Let a client of each replica ask for everything, a moment after one of them was disturbed."""
        await asyncio.sleep(self.rng.choice((0.002, 0.02, 0.1)))
        await self._act("resolve", Random(self.rng.random()), everywhere=True)  # noqa: S311 - as above

    def _set_clock(self, number: int, by: float) -> None:
        self.clocks[number].offset += by

    def _leave(self) -> None:
        requests = [request for replica in self.replicas for request in replica.requests]
        for request in self.rng.sample(requests, (len(requests) + 1) // 2):
            request.cancel()
        if requests:
            self._change(self._all_ask())

    def _expect(self, kind: str, state: str) -> None:
        now = self.loop.now
        for replica in self.replicas:
            if replica.running and replica.opened_before(now - 10.0):
                self.oracle.state(kind, state, replica, now)

    # The history ----------------------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        for replica in self.replicas:
            await replica.start()
        try:
            for moment, what, chance in self.actions:
                await asyncio.sleep(max(0.0, moment - self.loop.now))
                await self._act(what, Random(chance))  # noqa: S311 - as above
            await self._end_trouble()
            await self._recover()
            await self._settle()
        finally:
            for replica in self.replicas:
                await replica.close()

    async def _act(self, what: str, rng: Random, *, everywhere: bool = False) -> None:
        names = list(self.world.projects)
        running = [each for each in self.replicas if each.running]
        chosen = running if everywhere or rng.random() < 0.4 else rng.sample(running, min(1, len(running)))
        client = rng.choice(CLIENTS)
        name = rng.choice([*names, *names, ABSENT])
        wheels = [file for file in self.world.files if file.is_wheel]
        some = rng.sample(wheels, min(rng.choice((4, 12)), len(wheels)))
        files = rng.sample(self.world.files, min(rng.choice((1, 3)), len(self.world.files)))
        work: list[tuple[Replica, Coroutine[Any, Any, object]]] = []
        for replica in chosen:
            asking = self.clients[replica.number]
            if what == "view":
                work.append((replica, self._view(replica, name, client)))
            if what in {"burst", "resolve"}:
                work += [(replica, self._view(replica, each, client)) for each in names]
            if what in {"resolve", "metadata"}:
                work += [(replica, asking.metadata(file, "")) for file in some]
            if what == "file":
                self.oracle.downloaded.update(file.filename for file in files)
                work += [(replica, asking.file(file, "")) for file in files]
        await self._together(work)

    async def _view(self, replica: Replica, name: str, client: Any = None) -> list[str] | None:
        began = self.loop.now
        asking = self.clients[replica.number]
        names = await asking.view(name, "", client)
        self.oracle.took(replica, name, began, self.loop.now, names)
        return names

    async def _together(self, work: Sequence[tuple[Replica, Coroutine[Any, Any, object]]]) -> None:
        tasks = {self.loop.create_task(each): replica for replica, each in work}
        for task, replica in tasks.items():
            replica.requests.add(task)
        try:
            async with asyncio.timeout(_GIVE_UP):
                done = await asyncio.gather(*tasks, return_exceptions=True)
        except TimeoutError:
            self.oracle.broken(self.loop.now, "endless", "a request never ends")
            return
        finally:
            for task, replica in tasks.items():
                replica.requests.discard(task)
        for outcome in done:
            if isinstance(outcome, asyncio.CancelledError):
                self._note("a request is cut short")
            elif isinstance(outcome, BaseException):
                raise outcome

    # After it -------------------------------------------------------------------------------------------------------------------------

    async def _end_trouble(self) -> None:
        """Let all that breaks be over, and see that the replicas find out by themselves."""
        await asyncio.sleep(max(0.0, self.end - self.loop.now))
        for each in self.behaviours:
            each.end()
        while self.changing:
            await asyncio.gather(*self.changing)
        self._note("all outages end")
        await asyncio.sleep(BY_ITSELF_WITHIN)
        self._expect("not-ready", "ready")

    async def _recover(self) -> None:
        """Let a few requests come in, and see that a new replica serves all that the running ones do, with the mirror down."""
        names = list(self.world.projects)
        wheels = [file for file in self.world.files if file.is_wheel]
        read = self.rng.sample(wheels, min(4, len(wheels)))
        had: set[str] = set()
        began = self.loop.now
        within = max((getattr(each, "recovers_within", RECOVERS_WITHIN) for each in self.behaviours), default=RECOVERS_WITHIN)
        rounds = int(within / 50.0)
        for _ in range(rounds):
            for replica in self.replicas:
                await self._together([(replica, self._view(replica, name)) for name in names])
                for file in read:
                    if await self.clients[replica.number].metadata(file, "") == file.filename:
                        had.add(file.filename)
                await asyncio.sleep((within - 20.0) / rounds / len(self.replicas))
        shown = {name: [await self._view(replica, name) for replica in self.replicas] for name in names}
        await asyncio.sleep(max(WRITTEN_WITHIN, began + within - self.loop.now))
        self.oracle.recovered = True
        await self._newcomer_without_mirror(shown, [file for file in read if file.filename in had])
        await self._idle()

    async def _newcomer_without_mirror(self, shown: dict[str, list[list[str] | None]], read: list[SimFile]) -> None:
        mirror = SimulatedMirror(self.world, self.loop, Random(0), near=0.02, jitter=0.0, validates=True)  # noqa: S311 - as above
        mirror.behave([Down()], [])
        newcomer = self._replica(99, mirror, self.place.copy(), self._new_clock())
        await newcomer.start()
        self._note("a new replica starts, whose mirror is down")
        asking = Clients(self.loop, self.world, SilentOracle(), lambda words: self._note(f"new replica: {words}"), newcomer.door)
        for name, pages in shown.items():
            self.oracle.newcomer(name, pages, await asking.view(name, "", None), self.loop.now)
        for file in read:
            self.oracle.newcomer_metadata(file, await asking.metadata(file, ""), self.loop.now)
        await newcomer.close()

    async def _idle(self) -> None:
        """See that nothing goes on where nobody asks for anything: no writing for ever, no lease that is kept."""
        await asyncio.sleep(60.0)
        written = sum(self.place.written.values())
        await asyncio.sleep(60.0)
        self.oracle.idle(self.place, sum(self.place.written.values()) - written, self.loop.now)

    async def _settle(self) -> None:
        """Let time pass, and look at everything again at each replica: what one learns the others need not."""
        extra = max((each.slack for each in self.behaviours), default=0)
        for gap in (*_SETTLED, *_SETTLED[1:2] * extra):
            await asyncio.sleep(gap)
            first, *others = self.rng.sample(self.replicas, len(self.replicas))
            for name in self.world.projects:
                await self._together([(first, self._view(first, name))])
            await asyncio.sleep(WRITTEN_WITHIN)
            for replica in others:
                await self._learned(replica)
        if self.place.shared:
            newcomer = self._replica(len(self.replicas), self.mirror, self.place, self._new_clock())
            await newcomer.start()
            self.replicas.append(newcomer)
            self.clients.append(self._clients(newcomer))
            self._note("a new replica starts")
            await self._learned(newcomer)

    async def _learned(self, replica: Replica) -> None:
        for name in self.world.projects:
            before = self.mirror.asked["page"]
            asked = self.mirror.asked_for.copy()
            await self._together([(replica, self._view(replica, name))])
            told = self.mirror.asked_for.items()
            again = [filename for filename, count in told if count > asked[filename] > self._forgotten[filename]]
            self.oracle.learned(replica, name, self.mirror.asked["page"] - before, again, self.loop.now)


@contextmanager
def _steady(loop: VirtualLoop) -> Iterator[None]:
    """Let the steady clock be the loop's own meanwhile."""
    with patch.object(time, "monotonic", loop.time):
        yield
