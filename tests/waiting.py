"""Waiting in tests for what happens behind."""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.index.flights import Tasks

BEYOND_ANY_TEST = 120.0
"""Seconds for a time limit of the proxy that must not be reached, however slow the machine."""


async def eventually(check: Callable[[], Awaitable[bool]], within: float = 20.0) -> None:
    """Waits until `check` says yes; after `within` seconds the test fails."""
    async with asyncio.timeout(within):
        while not await check():  # noqa: ASYNC110 - it is another's work that is waited for
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until a condition holds that other processes or tasks bring about; after `within` seconds the test fails."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - it is another's work that is waited for
            await asyncio.sleep(0.01)


async def at_rest(tasks: Tasks) -> None:
    """Waits until nothing goes on behind any more."""

    async def none() -> bool:
        return tasks.count == 0

    await eventually(none)
