"""Accepting connections: at the worker's own listening socket, and those that wait at the sockets of other workers.

So a connection is not lost, and does not wait, where its worker died, is being replaced, hangs, or is busy for a while.
If file descriptors run out, connections wait where the system keeps them until others close; uvloop would accept and close them.
"""

import asyncio
import errno
import select
import socket
import ssl
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web

from proxy.telemetry import descriptors

_log = structlog.get_logger("mirrormend.server")

_LOOK_EVERY = 0.1
"""Seconds for which a connection waits at most until a worker that it was not meant for takes it."""
_AT_ONCE = 16
_TRY_AGAIN_IN = 0.1
_SAID_EVERY = 60.0
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class SharedSite(web.BaseSite):
    """Serves `own`, and takes what waits at `others`; all of them listen already, and are closed at the end."""

    def __init__(
        self, runner: web.BaseRunner, own: socket.socket, others: Sequence[socket.socket] = (), *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context)
        self._handlers = runner.server
        self._own = own
        self._others = others
        self._tls = ssl_context
        self._taking: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._said_at = float("-inf")

    @property
    def name(self) -> str:
        """The address, as aiohttp wants it."""
        host, port = self.address[:2]
        return f"{'http' if self._tls is None else 'https'}://{host}:{port}"

    @property
    def address(self) -> tuple[Any, ...]:
        """The address that its own socket listens at."""
        address: tuple[Any, ...] = self._own.getsockname()
        return address

    async def start(self) -> None:
        """Begin to accept connections."""
        await super().start()
        self._own.setblocking(False)
        asyncio.get_running_loop().add_reader(self._own.fileno(), self._accept_own)
        if self._others:
            self._begin(self._look_after_others())

    async def stop(self) -> None:
        """Accept no more of them."""
        if self._paused is not None:
            self._paused.cancel()
        if self._own.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._own.fileno())
        taking = list(self._taking)
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)
        for each in (self._own, *self._others):
            each.close()
        await super().stop()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    def _accept_own(self) -> None:
        if not self._accept(self._own):
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._own.fileno())
            self._paused = loop.call_later(_TRY_AGAIN_IN, self._accept_again)

    def _accept_again(self) -> None:
        loop = asyncio.get_running_loop()
        if descriptors.are_left(descriptors.reserve()):
            self._paused = None
            loop.add_reader(self._own.fileno(), self._accept_own)
        else:
            self._paused = loop.call_later(_TRY_AGAIN_IN, self._accept_again)

    async def _look_after_others(self) -> None:
        waiting = select.poll()
        by_number = {each.fileno(): each for each in self._others}
        for number in by_number:
            waiting.register(number, select.POLLIN)
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._paused is None:
                for number, _ in waiting.poll(0):
                    self._accept(by_number[number])

    def _accept(self, listening: socket.socket) -> bool:
        """Take some of the connections that wait; return False if there is no room for more."""
        most = descriptors.limit()
        full = None if most is None else most - descriptors.reserve()
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._say_there_is_no_room()
                    return False
                # Another worker was quicker, or the client went away.
                return True
            connection.setblocking(False)
            self._begin(self._serve(connection))
            if full is not None and connection.fileno() >= full:
                self._say_there_is_no_room()
                return False
        return True

    def _say_there_is_no_room(self) -> None:
        now = time.monotonic()
        if now - self._said_at < _SAID_EVERY:
            return
        self._said_at = now
        _log.warning(
            "file-descriptors-used-up",
            limit=descriptors.limit(),
            reserved=descriptors.reserve(),
            meaning="each connection takes one; new clients wait until others have closed theirs",
            remedy=descriptors.REMEDY,
        )

    async def _serve(self, connection: socket.socket) -> None:
        if self._handlers is None:
            connection.close()
            return
        # A client that went away, or is no TLS client: nobody's failure.
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._handlers, connection, ssl=self._tls)
