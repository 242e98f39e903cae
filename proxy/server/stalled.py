"""Connections on which a client takes nothing of what it asked for are given up, so that they hold nothing at the mirror for ever.

A client that sends nothing is hung up on by the idle timer of its connection (`server.warm`).
"""

import asyncio

from proxy.server.resetting import reset

STALLED_FOR = 60.0
"""Seconds for which what waits to be sent may stay too much: at the least, a client has to take about a kilobyte a second."""


class WriteTimeout:
    """Reset `transport` if its client does not take most of what it is sent within the time."""

    __slots__ = ("_running", "_transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._running: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to wait: the client takes less than it is sent."""
        self.stop()
        self._running = asyncio.get_running_loop().call_later(STALLED_FOR, self._give_up)

    def stop(self) -> None:
        """Wait no more: the client has taken most of it, or is gone."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def _give_up(self) -> None:
        self._running = None
        reset(self._transport)
