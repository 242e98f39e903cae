"""A lease: one of the replicas does a piece of work, the others wait or go without."""

from collections.abc import Awaitable, Callable


class Lease:
    """The right to do a piece of work, until it is released or its time is over."""

    def __init__(self, release: Callable[[], Awaitable[None]] | None = None) -> None:
        self._release = release

    async def release(self) -> None:
        """Gives the right back; does not raise, and does nothing the second time."""
        release, self._release = self._release, None
        if release is not None:
            await release()
