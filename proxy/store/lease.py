"""Leases: one of the replicas does a piece of work, the others wait or go without.

A lease is taken for a moment and renewed while the work goes on, so that one of a process that died ends soon. It is released whatever ends
the work, also where nobody knows whether it was granted, because the backend went away or the one who asked did.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from proxy.store.backend import Backend, BackendAway, BackendRefused
from proxy.store.reach import Reach

_RENEWED_FOR = 1.5
"""Seconds for which a lease is taken at a time, and so for how long a process that died holds up the others."""

_MOST_UNKNOWN = 1000
"""Leases that are released once the backend is back; more are left to end by themselves."""

Result = TypeVar("Result")


class Lease:
    """The right to do a piece of work, until it is released or its time is over."""

    def __init__(self, release: "Callable[[], asyncio.Task[None]] | None" = None) -> None:
        self._release = release

    async def release(self) -> None:
        """Give the right back, also if the caller is cancelled meanwhile; do not raise, and do nothing the second time."""
        releasing = self.let_go()
        if releasing is not None:
            await asyncio.shield(releasing)

    def let_go(self) -> "asyncio.Task[None] | None":
        """Begin to give the right back; return the task that does it, None if it is given back already."""
        release, self._release = self._release, None
        return None if release is None else release()


Granted = tuple[Lease | None, list[bytes | None] | None]
"""A lease, None if another replica has it, and what was read with it, None if nothing was."""


class Leases:
    """The leases of this process in `backend`, taken by way of `reach`. No method raises."""

    def __init__(self, backend: Backend, reach: Reach) -> None:
        self._backend = backend
        self._reach = reach
        self._tasks: set[asyncio.Task[Any]] = set()
        self._releasing: set[asyncio.Task[None]] = set()
        self._unknown: dict[str, str] = {}

    async def take(self, name: str, seconds: float, slots: Sequence[str]) -> Granted:
        """Return a lease on `name` for at most `seconds`, and what is in `slots`.

        A backend that cannot be asked, is slow, or cannot be written to, grants it: working alone is better than not working.
        """
        if not self._reach.usable or self._reach.slow:
            return Lease(), None
        taking = self._start(self._take(name, seconds, slots), "store-lock")
        taken = False
        try:
            if not await self._reach.in_time(taking):
                return Lease(), None
            taken = True
            return taking.result()
        finally:
            if not taken:
                # Nobody would release what is granted after all.
                taking.add_done_callback(self._give_back)

    def back(self) -> None:
        """Release, now that the backend is back, what could not be released before."""
        unknown, self._unknown = self._unknown, {}
        for token, name in unknown.items():
            self._start(self._release(name, token), "store-unlock")

    async def close(self, within: float) -> None:
        """Wait for leases that are being released, at most `within` seconds, and end."""
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=within)
        for task in list(self._tasks):
            task.cancel()

    async def _take(self, name: str, seconds: float, slots: Sequence[str]) -> Granted:
        token = secrets.token_hex(16)
        try:
            contents = await self._reach.asked(self._backend.lock(name, token, min(seconds, _RENEWED_FOR), slots))
        except BackendRefused:
            return Lease(), None
        except BackendAway:
            self._release_later(name, token)
            return Lease(), None
        if contents is None:
            return None, None
        renewing = self._start(self._renew(name, token, seconds), "store-renew") if seconds > _RENEWED_FOR else None
        return Lease(lambda: self._let_go(name, token, renewing)), contents

    async def _renew(self, name: str, token: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > _RENEWED_FOR:
            await asyncio.sleep(_RENEWED_FOR / 3)
            if not self._reach.usable:
                continue
            with suppress(BackendAway, BackendRefused):
                await self._reach.asked(self._backend.renew(name, token, min(left, _RENEWED_FOR)))

    def _let_go(self, name: str, token: str, renewing: "asyncio.Task[None] | None") -> "asyncio.Task[None]":
        if renewing is not None:
            renewing.cancel()
        releasing = self._start(self._release(name, token), "store-unlock")
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)
        return releasing

    def _give_back(self, taking: "asyncio.Task[Granted]") -> None:
        lease = None if taking.cancelled() else taking.result()[0]
        if lease is not None:
            lease.let_go()

    async def _release(self, name: str, token: str) -> None:
        if not self._reach.usable:
            self._release_later(name, token)
            return
        try:
            await self._reach.asked(self._backend.unlock(name, token))
        except BackendRefused:
            return
        except BackendAway:
            self._release_later(name, token)

    def _release_later(self, name: str, token: str) -> None:
        if len(self._unknown) < _MOST_UNKNOWN:
            self._unknown[token] = name

    def _start(self, work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
        task = asyncio.get_running_loop().create_task(work, name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
