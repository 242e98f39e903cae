"""One replica of the proxy: a store, a mirror's client and an index over them, with its own clock; reloaded, closed, killed."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from proxy.config import Settings
from proxy.index import Index
from proxy.store.memory import BoundedMemory
from proxy.store.store import Store
from tests.simulation.shared_backend import BackendClient, SharedBackend
from tests.simulation.simulated_mirror import SimulatedMirror
from tests.simulation.transport import SimulatedUpstream
from tests.simulation.virtual_loop import VirtualLoop, WallClock


@dataclass(eq=False)
class Generation:
    """What one set of settings makes, as the server's generations do; `users` counts the requests that have it."""

    upstream: SimulatedUpstream
    index: Index
    users: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def used(self) -> Iterator[Index]:
        """Keep it open as long as the block runs."""
        self.users += 1
        self.free.clear()
        try:
            yield self.index
        finally:
            self.users -= 1
            if not self.users:
                self.free.set()

    async def close_when_free(self) -> None:
        """Close it once no request uses it."""
        if self.users:
            await self.free.wait()
        await self.close()

    async def close(self) -> None:
        """Stop what goes on behind."""
        await self.index.close()
        await self.upstream.close()


class Replica:
    """A process that may be started, reloaded, closed, killed, and started again.

    `limits` are the bytes that its store holds in memory, and those that may wait to be written.
    """

    def __init__(
        self,
        number: int,
        clock: WallClock,
        loop: VirtualLoop,
        mirror: SimulatedMirror,
        place: SharedBackend,
        settings: Settings,
        identify: Callable[[str | None], str],
        limits: tuple[int, int],
    ) -> None:
        self.number = number
        self.clock = clock
        self._loop = loop
        self._mirror = mirror
        self._place = place
        self._settings = settings
        self._identify = identify
        self._limits = limits
        self._leaving: set[asyncio.Task[None]] = set()
        self.requests: set[asyncio.Task[None]] = set()
        self.running = False
        self.started = 0.0
        self.killed = float("-inf")
        self.store: Store
        self.client: BackendClient
        self.generation: Generation

    async def start(self) -> None:
        """Start it over the store that all share."""
        self.client = BackendClient(self._place, self.clock)
        memory, pending = self._limits
        self.store = Store(BoundedMemory(memory, clock=self.clock), self.client, clock=self.clock, pending_limit=pending)
        await self.store.open()
        self.generation = await self._generation()
        self.started = self._loop.now
        self.running = True

    async def _generation(self) -> Generation:
        section = self._settings.upstream[0]
        clock = self.store.now
        upstream = SimulatedUpstream(self._mirror, self._identify, section, self._settings.probe, clock=clock, steady=self._loop.time)
        await upstream.open()
        return Generation(upstream, Index(upstream, self.store, self._settings, clock=clock))

    async def reload(self) -> None:
        """Put a new index in the place of the running one, over the same store; requests keep theirs."""
        if not self.running:
            return
        new, old = await self._generation(), self.generation
        new.upstream.take_over(old.upstream)
        old.index.retire()
        self.generation = new
        leaving = self._loop.create_task(old.close_when_free())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    @contextmanager
    def door(self) -> Iterator[tuple[Index, SimulatedUpstream]]:
        """Give the generation that a request has for as long as it lasts."""
        generation = self.generation
        with generation.used() as index:
            yield index, generation.upstream

    def opened_before(self, moment: float) -> bool:
        """Return whether it has run since before that moment."""
        return self.started <= moment

    async def close(self) -> None:
        """Close it as SIGTERM does, its requests cut short."""
        if not self.running:
            return
        self.running = False
        await self._end()

    def kill(self) -> asyncio.Task[None] | None:
        """Let nothing that it does reach anybody any more, from now on."""
        if not self.running:
            return None
        self.running = False
        self.killed = self._loop.now
        self._place.cut(self.client)
        return self._loop.create_task(self._end())

    async def _end(self) -> None:
        generation, store = self.generation, self.store
        for request in list(self.requests):
            request.cancel()
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, *self.requests, return_exceptions=True)
        with suppress(TimeoutError):
            await generation.close()
        await store.close()
