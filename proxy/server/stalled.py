"""Connections on which a client takes nothing of what it asked for are given up, so that they hold nothing at the mirror for ever.

A client that sends nothing is hung up on by aiohttp's keep-alive timer, which runs from the beginning of a connection.
"""

import asyncio

from aiohttp.web_protocol import RequestHandler

from proxy.server.resetting import reset

STALLED_FOR = 60.0
"""Seconds for which what waits to be sent may stay too much: at the least, a client has to take about a kilobyte a second."""


class ImpatientHandler(RequestHandler):
    """A connection that does not wait for ever until its client takes what it is sent."""

    __slots__ = ("_stalled",)

    def pause_writing(self) -> None:
        """Notes that the client takes less than it is sent."""
        super().pause_writing()
        self._stalled: asyncio.TimerHandle | None = self._loop.call_later(STALLED_FOR, self._give_up)

    def resume_writing(self) -> None:
        """Notes that it has taken most of it."""
        super().resume_writing()
        self._forget()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Waits for nothing any more."""
        super().connection_lost(exc)
        self._forget()

    def _forget(self) -> None:
        stalled, self._stalled = getattr(self, "_stalled", None), None
        if stalled is not None:
            stalled.cancel()

    def _give_up(self) -> None:
        if self.transport is not None:
            reset(self.transport)
