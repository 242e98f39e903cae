"""Waiting in tests for what happens behind."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(check: Callable[[], Awaitable[bool]], within: float = 20.0) -> None:
    """Waits until `check` says yes; after `within` seconds the test fails."""
    async with asyncio.timeout(within):
        while not await check():  # noqa: ASYNC110 - it is another's work that is waited for
            await asyncio.sleep(0.02)
