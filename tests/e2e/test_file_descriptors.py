"""Without file descriptors left, nobody is hung up on: new clients wait, the log says why, and the mirror is not blamed."""

import asyncio
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients import ProxyProcess
from tests.mirror import BrokenMirror
from tests.waiting import eventually, until

WHEEL = "demo-1.0-py3-none-any.whl"
REQUEST = b"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    mirror.add(WHEEL)
    return mirror


class Client:
    """A connection that asks for one page after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def status(self, raw: bytes = REQUEST) -> int:
        """Ask, and return the status of the answer; raise IncompleteReadError if the proxy hangs up."""
        self._writer.write(raw)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await self._reader.readexactly(length)
        return int(head.split()[1])

    def close(self) -> None:
        self._writer.close()


def events(proxy: ProxyProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in proxy.log if line.get("event") == event]


def descriptors_of(proxy: ProxyProcess) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{proxy.pid}/fd").iterdir()}


def lowest_free(proxy: ProxyProcess) -> int:
    used = descriptors_of(proxy)
    return min(set(range(len(used) + 1)) - used)


async def test_clients_wait_for_those_before_them_to_go_and_are_not_hung_up_on(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        first = await Client.connect(port)
        assert await first.status() == 200
        most = len(descriptors_of(proxy)) + 20
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (most, most))
        began = time.monotonic()
        clients = [first, *[await Client.connect(port) for _ in range(60)]]
        asked = [asyncio.create_task(client.status()) for client in clients]
        await until(lambda: bool(events(proxy, "file-descriptors-used-up")), within=30)
        said = events(proxy, "file-descriptors-used-up")[0]
        assert said["limit"] == most
        assert "LimitNOFILE" in said["remedy"]
        # Those that are served go on being served.
        await asked[0]
        assert await first.status() == 200
        waiting = dict(zip(asked, clients, strict=True))
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=30)
            assert done
            for each in done:
                assert each.result() == 200
                waiting.pop(each).close()
        # Once in a minute, however many wait.
        assert len(events(proxy, "file-descriptors-used-up")) <= 1 + (time.monotonic() - began) // 60
        late = await Client.connect(port)
        assert await late.status() == 200
        late.close()


async def test_the_limit_is_raised_to_the_one_that_the_system_allows(stocked: BrokenMirror, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        async with ProxyProcess(stocked.url, tmp_path) as proxy:
            assert resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE) == (min(hard, 1_048_576), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_mirror_is_not_blamed_for_a_connection_that_the_proxy_has_no_descriptor_for(
    stocked: BrokenMirror, tmp_path: Path
) -> None:
    for number in range(12):
        stocked.add(f"demo{number}-1.0-py3-none-any.whl")
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        client = await Client.connect(int(proxy.url.rpartition(":")[2]))
        assert await client.status(REQUEST.replace(b"/simple/demo/", b"/healthz")) == 200
        before = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (lowest_free(proxy), before[1]))
        for number in range(12):
            assert await client.status(REQUEST.replace(b"demo", b"demo%d" % number)) == 503
        assert stocked.asked == []
        assert not events(proxy, "breaker-open")
        assert {line["outcome"] for line in events(proxy, "request") if "demo" in line["path"]} == {"own-limit"}
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, before)

        async def served() -> bool:
            return await client.status() == 200

        await eventually(served)
        client.close()
