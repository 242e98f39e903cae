"""Ctrl-C for commands that have something to say when they are ended."""

import asyncio
import signal
from contextlib import suppress


class ended_by_signals:  # noqa: N801 - it reads as a function
    """Lets the first Ctrl-C, or SIGTERM, end the task and nothing else; a second one ends the process."""

    def __init__(self, task: "asyncio.Future[None]") -> None:
        self._task = task
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            # Windows has no such handlers; there Ctrl-C cancels what waits.
            with suppress(NotImplementedError):
                self._loop.add_signal_handler(each, self._end)

    def __exit__(self, *_: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                self._loop.remove_signal_handler(each)

    def _end(self) -> None:
        self.__exit__()
        self._task.cancel()
