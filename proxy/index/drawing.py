"""Asking about files that nobody waits for: as many as the mirror's allowance has, and the others later, project by project in turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

from proxy.core.page import File
from proxy.index.project import Progress
from proxy.upstream import Mirror

_AT_A_TIME = 10
"""Files that a project may ask about before it is the next one's turn."""

_OF_AN_UNBOUNDED = 100
"""The same where no rate is so low that anybody would wait for his turn."""

_LOOK = 5.0
"""Seconds after which is looked again whether the allowance has something: it may have been changed meanwhile."""


class Drawing(Iterator[File]):
    """Yield `files` in their order, each taken out of the mirror's allowance just before it is asked about.

    `keep` tells how much of the allowance is to be left. Where there is too little, it `is_dry` and yields no more;
    `awaited` files take what there is, and are yielded all the same. Those that somebody else asks about by the `progress` of their page
    are passed over, and it notes those that are yielded.
    """

    def __init__(
        self,
        mirror: Mirror,
        files: Iterable[File],
        keep: Callable[[], int],
        *,
        awaited: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._mirror = mirror
        self._files = iter(files)
        self._keep = keep
        self._awaited = awaited
        self._taken = frozenset[str]() if progress is None else progress.taken
        self._begun = set[str]() if progress is None else progress.begun
        self.is_dry = False

    def __next__(self) -> File:
        file = next(self._files)
        while file.key in self._taken:
            file = next(self._files)
        if not self._mirror.take(1, keep=self._keep()) and not self._awaited:
            self.is_dry = True
            self._files = iter(())
            raise StopIteration
        self._begun.add(file.key)
        return file


class Turns:
    """Let one project after the other draw on what the mirror's allowance has beyond its reserve."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._lock = asyncio.Lock()

    @property
    def size(self) -> int:
        """How many files may be asked about in one turn."""
        rate, budget = self._mirror.allowance.rate, self._mirror.allowance.budget
        return _OF_AN_UNBOUNDED if rate is None or budget is None else max(_AT_A_TIME, min(int(rate), _OF_AN_UNBOUNDED))

    @asynccontextmanager
    async def mine(self) -> AsyncIterator[None]:
        """Wait for the turn, in the order of coming."""
        async with self._lock:
            yield

    async def take(self, files: int) -> bool:
        """Take so many files out of the allowance as it comes to have them; return False where it never will."""
        while files > 0:
            reserve = self._mirror.allowance.reserve
            files -= self._mirror.take(files, keep=reserve)
            seconds = self._mirror.ready_in(files, keep=reserve)
            if seconds is None:
                return False
            if files > 0:
                await asyncio.sleep(min(seconds, _LOOK))
        return True
