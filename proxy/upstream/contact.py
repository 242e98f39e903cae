"""The first request with credentials goes alone: a mirror that has not checked them lately refuses some of a burst at random."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.core.errors import UpstreamStatus

_LASTS = 300.0
"""Seconds after the last answer for which a mirror is taken to remember credentials."""

_LONGEST = 3.0
"""Seconds for which the others wait for the first."""

_REMEMBERED = 10_000


class FirstContact:
    """Lets one request go ahead of all others with the same credentials; `steady` tells the seconds of a clock that does not go back."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._answered: OrderedDict[str, float] = OrderedDict()
        self._ahead: dict[str, asyncio.Future[None]] = {}

    def due(self, key: str | None) -> bool:
        """Whether the credentials that `key` stands for were not answered lately; None are no credentials."""
        if key is None:
            return False
        answered = self._answered.get(key)
        return answered is None or self._steady() - answered > _LASTS

    @asynccontextmanager
    async def made(self, key: str | None) -> AsyncIterator[None]:
        """Holds a request back while another one with these credentials is the first; what happens inside is the request."""
        mine: asyncio.Future[None] | None = None
        if key is not None and self.due(key):
            ahead = self._ahead.get(key)
            if ahead is None:
                mine = self._ahead[key] = asyncio.get_running_loop().create_future()
            else:
                await asyncio.wait([ahead], timeout=_LONGEST)
        try:
            yield
        except UpstreamStatus as error:
            if error.status != 401 and key is not None:
                self._note(key)
            raise
        else:
            if key is not None:
                self._note(key)
        finally:
            if mine is not None and key is not None:
                del self._ahead[key]
                mine.set_result(None)

    def _note(self, key: str) -> None:
        self._answered[key] = self._steady()
        self._answered.move_to_end(key)
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
