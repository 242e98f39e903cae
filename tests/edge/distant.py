"""A way to a server on this machine that takes as long as one to another continent."""

import asyncio
from types import TracebackType
from typing import Self


class Distant:
    """Passes on what comes to its port to another one and back, the answers `delay` seconds later; in order, and all at once."""

    def __init__(self, port: int, *, delay: float) -> None:
        self._port = port
        self.delay = delay
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    @property
    def url(self) -> str:
        """The address of a Redis there."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        for source, target, late in ((reader, back, False), (there, writer, True)):
            task = asyncio.create_task(self._pass_on(source, target, late=late))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, late: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            while content := await source.read(65536):
                if late and self.delay:
                    loop.call_later(self.delay, target.write, content)
                else:
                    target.write(content)
        except ConnectionError:
            pass
        finally:
            loop.call_later(self.delay if late else 0.0, target.close)
