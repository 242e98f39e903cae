"""The listening sockets of several workers: each has its own, for the system to spread connections over, and looks after the others'.

So a connection is not lost, and does not wait, where its worker died, is being replaced, hangs, or is busy for a while.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

_LOOK_EVERY = 0.1
"""Seconds for which a connection waits at most until a worker that it was not meant for takes it."""
_AT_ONCE = 16


class SharedSite(web.SockSite):
    """Serves `own`, and takes what waits at `others`; all of them listen already, and are closed at the end."""

    def __init__(
        self,
        runner: web.BaseRunner,
        own: socket.socket,
        others: Sequence[socket.socket],
        *,
        ssl_context: ssl.SSLContext | None,
        backlog: int,
    ) -> None:
        super().__init__(runner, own, ssl_context=ssl_context, backlog=backlog)
        self._others = others
        self._tls = ssl_context
        self._taking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept connections."""
        await super().start()
        if self._others:
            self._begin(self._look_after_others())

    async def stop(self) -> None:
        """Accept no more of them."""
        taking = list(self._taking)
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)
        for each in self._others:
            each.close()
        await super().stop()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _look_after_others(self) -> None:
        waiting = select.poll()
        by_number = {each.fileno(): each for each in self._others}
        for number in by_number:
            waiting.register(number, select.POLLIN)
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            for number, _ in waiting.poll(0):
                for _ in range(_AT_ONCE):
                    try:
                        connection, _ = by_number[number].accept()
                    except OSError:
                        # Its own worker, or another one, was quicker; or there are too many open files, which may pass.
                        break
                    connection.setblocking(False)
                    self._begin(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        server = self._runner.server
        if server is None:
            connection.close()
            return
        # A client that went away, or is no TLS client: nobody's failure.
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(server, connection, ssl=self._tls)
