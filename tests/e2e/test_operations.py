"""What operators do to a running mirrormend: reload it, drain it, take its terminal away."""

import asyncio
import http.client
import json
import os
import signal
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.clients import ProxyProcess
from tests.faults import Fault, Target
from tests.listing import content_by_name
from tests.mirror import BrokenMirror
from tests.terminals import log_of_one_whose_terminal_closes

WHEEL = "demo-1.0-py3-none-any.whl"
HARMLESS = signal.SIGCONT
"""A second SIGTERM would end the process at once."""

ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json"}


class Connection:
    """One connection of a client that keeps it."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=20)

    async def get(self, path: str) -> tuple[int, Any]:
        """Gives the status and the JSON or the bytes of the answer, on the same connection as ever: it fails where that was closed."""

        def ask() -> tuple[int, Any]:
            if self._connection.sock is None:
                self._connection.connect()
            self._connection.auto_open = 0
            self._connection.request("GET", path, headers=ACCEPT)
            answer = self._connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body

        return await asyncio.to_thread(ask)

    def close(self) -> None:
        """Lets go of it."""
        self._connection.close()

    async def link(self) -> str:
        """The address of the only file on the page."""
        return str((await self.get("/simple/demo/"))[1]["files"][0]["url"])


async def told(proxy: ProxyProcess, event: str) -> dict[str, Any]:
    """Waits until the log has a line for `event`, and gives it."""
    async with asyncio.timeout(20):
        while True:
            found = [line for line in proxy.log if line.get("event") == event]
            if found:
                return found[-1]
            await asyncio.sleep(0.02)


async def test_sighup_puts_the_changed_file_in_force_without_dropping_a_connection(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    file = tmp_path / "mend.toml"
    file.write_text('[links]\nmode = "proxy"\n', encoding="utf-8")
    async with ProxyProcess(mirror.url, tmp_path, "--config", str(file)) as proxy:
        with closing(Connection(proxy)) as connection:
            assert (await connection.link()).startswith("../../files/")
            file.write_text('[links]\nmode = "direct"\n[server]\ndrain = 3\n', encoding="utf-8")
            os.kill(proxy.pid, signal.SIGHUP)
            assert (await told(proxy, "reloaded"))["changed"] == ["[links] mode"]
            assert (await told(proxy, "restart-needed"))["settings"] == ["[server] drain"]
            assert await connection.link() == mirror.file_url(WHEEL)
            file.write_text('[links]\nmode = "sideways"\n', encoding="utf-8")
            os.kill(proxy.pid, signal.SIGHUP)
            failed = await told(proxy, "reload-failed")
            assert "sideways" in failed["why"]
            assert "exception" not in failed
            assert await connection.link() == mirror.file_url(WHEEL)
        assert await proxy.stop() == 0


def dribbles(seconds: float) -> Fault:
    """Sends the first byte at once, and the rest after so long."""

    async def fault(target: Target) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(target.data)), "Content-Type": target.content_type})
        await response.prepare(target.request)
        await response.write(target.data[:1])
        with suppress(ConnectionError):
            await asyncio.sleep(seconds)
            await response.write(target.data[1:])
        return response

    return fault


async def test_a_download_under_way_outlives_sigterm_and_nobody_new_is_served(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        with closing(Connection(proxy)) as connection, closing(Connection(proxy)) as late:
            await connection.get("/simple/demo/")
            mirror.fault(WHEEL, dribbles(1.5), methods=("GET",))
            download = asyncio.create_task(connection.get(f"/files/demo/{WHEEL}"))
            await asyncio.sleep(0.5)
            os.kill(proxy.pid, signal.SIGTERM)
            await told(proxy, "ending")
            await asyncio.sleep(0.2)
            with pytest.raises(ConnectionRefusedError):
                await late.get("/healthz")
            code, content = await download
            assert code == 200
            assert content == content_by_name(WHEEL)
        assert await proxy.stop(HARMLESS) == 0
    assert [line["status"] for line in proxy.log if line.get("event") == "request"] == [200, 200]
    assert proxy.log[-1]["event"] == "ended"


async def test_a_download_that_outlasts_the_drain_is_cut_and_the_process_ends(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_SERVER_DRAIN": "0.5"}) as proxy:
        with closing(Connection(proxy)) as connection:
            await connection.get("/simple/demo/")
            mirror.fault(WHEEL, dribbles(60), methods=("GET",))
            download = asyncio.create_task(connection.get(f"/files/demo/{WHEEL}"))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            assert await proxy.stop() == 0
            assert 0.4 < time.monotonic() - began < 12
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                await download
    assert proxy.log[-1]["event"] == "ended"


async def test_a_load_balancer_gets_notice_before_the_door_closes(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_SERVER_NOTICE": "2"}) as proxy:
        with closing(Connection(proxy)) as before, closing(Connection(proxy)) as after:
            assert (await before.get("/readyz"))[0] == 200
            os.kill(proxy.pid, signal.SIGTERM)
            await told(proxy, "ending")
            code, said = await before.get("/readyz")
            assert code == 503
            assert said["detail"] == "It was told to end."
            assert (await after.get("/simple/demo/"))[0] == 200, "who did not notice yet is served"
        assert await proxy.stop(HARMLESS) == 0


async def test_a_second_signal_ends_it_at_once(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_SERVER_NOTICE": "60"}) as proxy:
        os.kill(proxy.pid, signal.SIGTERM)
        await told(proxy, "ending")
        os.kill(proxy.pid, signal.SIGHUP)
        await asyncio.sleep(0.3)
        assert await proxy.stop() == -signal.SIGTERM, "a reload asked for meanwhile did not end it, the second SIGTERM did"


def test_a_terminal_that_is_closed_ends_the_process(tmp_path: Path) -> None:
    log = log_of_one_whose_terminal_closes(tmp_path)
    assert "ended" in log
    assert "reloaded" not in log
