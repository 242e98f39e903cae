"""How long the event loop was held up: by the processor time of its own thread, which other programs on a busy machine do not add to."""

import asyncio
import time
from types import TracebackType
from typing import Self

_EVERY = 0.001


class LoopWatch:
    """Measures, while its block runs, the longest stretch between two turns of the running event loop, in seconds.

    `processor` is the time that the loop's thread itself computed for, `wall` what passed on the clock, waiting for other threads included.
    """

    def __init__(self) -> None:
        self.processor = 0.0
        self.wall = 0.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._processor, self._wall = time.thread_time(), time.monotonic()
        self._timer = self._loop.call_later(_EVERY, self._look)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        self._note()

    def _look(self) -> None:
        self._note()
        self._timer = self._loop.call_later(_EVERY, self._look)

    def _note(self) -> None:
        processor, wall = time.thread_time(), time.monotonic()
        self.processor = max(self.processor, processor - self._processor)
        self.wall = max(self.wall, wall - self._wall - _EVERY)
        self._processor, self._wall = processor, wall
