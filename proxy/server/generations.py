"""What one set of settings makes, and how another one takes its place while requests go on.

A generation is the mirrors, their indexes, and what mends them. A reload makes a new one beside the old one, over the same store,
and lets new requests have it; each request keeps the one that it began with, and the old one is closed when the last of them has ended.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from proxy.config import LinkMode, Settings
from proxy.core.redaction import Redaction
from proxy.index import Index, Repairs, repairs
from proxy.store import Store
from proxy.telemetry.counts import Counts
from proxy.upstream import Mirror


class Generation:
    """The indexes by the names of their mirrors, the first one served where none is named; `links` is where links lead,
    and `redaction` takes out of what is told what may be a secret in the addresses of the settings.

    `steady` tells the seconds of a clock that does not go back.
    """

    def __init__(self, settings: Settings, *, steady: Callable[[], float]) -> None:
        self._steady = steady
        self.settings = settings
        self.links: LinkMode = settings.links.mode
        others = (each.url for each in (settings.reference, settings.rescue) if each.url is not None)
        self.redaction = Redaction(
            [*(section.url for section in settings.upstream), *others], [section.name for section in settings.upstream]
        )
        self.indexes: dict[str, Index] = {}
        self._mending: Repairs | None = None
        self._in_use = 0
        self._free = asyncio.Event()
        self._free.set()

    async def open(self, store: Store, counts: Counts, earlier: Mapping[str, Index] | None = None) -> None:
        """Make mirrors and indexes; raise OSError where a file of the settings' TLS cannot be read, and leave nothing open then.

        The requirements that an `earlier` index of the same mirror knows, the new one shares with it: requests that still have the
        earlier one go on reading metadata.
        """
        try:
            # All who share the store go by one clock.
            self._mending = repairs(self.settings, store, clock=store.now)
            await self._mending.open()
            for section in self.settings.upstream:
                own = self.settings.of(section)
                mirror = Mirror(section, own.probe, clock=store.now, steady=self._steady, counts=counts.of_mirror(section.name))
                await mirror.open()
                before = (earlier or {}).get(section.name)
                requirements = before.requirements if before is not None and before.mirror.key == mirror.key else None
                self.indexes[section.name] = Index(mirror, store, own, repairs=self._mending, clock=store.now, requirements=requirements)
        except BaseException:
            await self.close()
            raise

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keeps the generation open as long as the block runs."""
        self._in_use += 1
        self._free.clear()
        try:
            yield
        finally:
            self._in_use -= 1
            if not self._in_use:
                self._free.set()

    def retire(self) -> None:
        """Hands what was learned to the store, for the next generation; who uses this one may go on."""
        for index in self.indexes.values():
            index.retire()

    async def close_when_free(self) -> None:
        """Closes the generation once no request uses it."""
        await self._free.wait()
        await self.close()

    async def close(self) -> None:
        """Stops what goes on in the background, and closes connections."""
        for index in self.indexes.values():
            await index.close()
        for index in self.indexes.values():
            await index.mirror.close()
        if self._mending is not None:
            await self._mending.close()


class Generations:
    """The generation that new requests have, and those that wait for their last request to end.

    `indexes` are always those of the current one. `store` is the same for all of them.
    """

    def __init__(
        self,
        settings: Settings,
        counts: Counts,
        indexes: dict[str, Index],
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = partial(Generation, steady=steady)
        self._counts = counts
        self._indexes = indexes
        self._store: Store | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.current = self._make(settings)

    @property
    def indexes(self) -> Mapping[str, Index]:
        """The current indexes by name."""
        return self._indexes

    async def open(self, store: Store) -> None:
        """Opens the first generation."""
        self._store = store
        await self.current.open(store, self._counts)
        self._indexes.update(self.current.indexes)

    async def change(self, settings: Settings) -> None:
        """Puts a generation made for `settings` in the place of the current one; raises OSError as `Generation.open`, changing nothing."""
        if self._store is None:
            raise RuntimeError("the application has not started")
        new, old = self._make(settings), self.current
        await new.open(self._store, self._counts, old.indexes)
        for name, index in new.indexes.items():
            earlier = old.indexes.get(name)
            if earlier is not None and earlier.mirror.key == index.mirror.key:
                index.mirror.take_over(earlier.mirror)
        old.retire()
        self.current = new
        self._indexes.clear()
        self._indexes.update(new.indexes)
        leaving = asyncio.get_running_loop().create_task(old.close_when_free(), name="old generation")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    @property
    def leaving(self) -> int:
        """How many old generations still have requests."""
        return len(self._leaving)

    async def close(self) -> None:
        """Closes all of them; no request is left by then."""
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self.current.close()
