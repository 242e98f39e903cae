"""The differential in a thread of its own, for tests that are no coroutines, such as those of hypothesis."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.differential.harness import Differential, differential
from tests.differential.observations import Difference
from tests.differential.standin import SourcePage
from tests.differential.templates import PageTemplate

Result = TypeVar("Result")
_LONGEST = 60.0


class InBackground:
    """A differential in a thread of its own, for tests that are no coroutines; a block of `with` begins and ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="differential", daemon=True)
        self._stack = AsyncExitStack()
        self._count = 0
        self._run: Differential | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run = self.wait(self._stack.enter_async_context(differential()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what a coroutine returns that runs in the thread of the differential."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LONGEST)

    def differences(self, template: PageTemplate) -> list[Difference]:
        """Return how a page differs."""
        return self.wait(self.started.page(self.listed(template)))

    def differences_once_settled(self, template: PageTemplate) -> list[Difference]:
        """Return how a page differs once the proxy had time to prove which of its files are dead."""
        return self.wait(self.started.settled(self.listed(template)))

    def listed(self, template: PageTemplate) -> SourcePage:
        """Return the page of a project which was not asked for before."""
        self._count += 1
        return template.page(f"demo{self._count}", self.started.mirror.origin)

    @property
    def started(self) -> Differential:
        """The differential."""
        assert self._run is not None, "it runs inside its block of `with` only"
        return self._run
