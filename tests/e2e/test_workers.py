"""`mirrormend serve --workers N`: several processes on one port, as a user starts and ends them."""

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients import ProxyProcess, Uv, free_port, write_project
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
WORKERS = 3


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver."""
    for name in (MAC, LINUX, "demo-1.0-py3-none-any.whl"):
        mirror.add(name)
    mirror.fault(MAC, artifactory_404())
    return mirror


def proxy(mirror: BrokenMirror, tmp_path: Path, *options: str) -> ProxyProcess:
    return ProxyProcess(mirror.url, tmp_path, "--workers", str(WORKERS), *options, store=f"sqlite:{tmp_path / 'store.sqlite3'}")


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def pages(url: str, count: int) -> list[str]:
    """The page, each time by a connection of its own, so that the kernel chooses a worker anew."""

    async def page() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/simple/demo/") as response:
            assert response.status == 200
            return await response.text()

    return await asyncio.gather(*(page() for _ in range(count)))


async def all_listen(running: ProxyProcess, count: int = WORKERS) -> None:
    async with asyncio.timeout(30):
        while sum(line.get("event") == "listening" for line in running.log) < count:  # noqa: ASYNC110 - lines come when they come
            await asyncio.sleep(0.02)


async def numbers(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        assert response.status == 200
        return await response.text()


async def test_they_share_the_work_and_what_came_of_it(stocked: BrokenMirror, tmp_path: Path, uv: Uv) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        assert all(MAC not in page and LINUX in page for page in await pages(running.url, 40))
        assert len(stocked.asked_for("page:demo")) == 1
        assert len([each for each in stocked.asked_for(MAC) if each.method == "HEAD"]) == 1
        told = await numbers(running.url)
        served = dict(re.findall(r'^mirrormend_requests_total\{.*route="page".*worker="(\d)"\} (\S+)$', told, re.MULTILINE))
        assert set(served) == {str(number) for number in range(1, WORKERS + 1)}, "the kernel gave each some"
        assert sum(map(float, served.values())) == 40
        locked = await uv.lock(write_project(tmp_path / "project", ["demo"]), running.simple)
        assert locked.packages == {"demo": "2.0"}
        assert await running.stop() == 0


async def test_a_worker_that_dies_is_started_anew_and_the_others_go_on(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        victim = children(running.pid)[0]
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(30):
            while len(children(running.pid)) < WORKERS or victim in children(running.pid):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.02)
        assert any(line.get("event") == "worker-died" for line in running.log)
        assert all(LINUX in page for page in await pages(running.url, 10))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_the_end_of_the_parent_is_the_end_of_all(stocked: BrokenMirror, tmp_path: Path, how: signal.Signals) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        workers = children(running.pid)
        assert await running.stop(how) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)  # noqa: ASYNC240 - it is no file


async def test_sighup_reaches_all(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        os.kill(running.pid, signal.SIGHUP)
        async with asyncio.timeout(30):
            while len({line.get("worker") for line in running.log if line.get("event") == "reloaded"}) < WORKERS:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)


async def test_a_worker_that_is_started_anew_goes_by_the_settings_in_force(stocked: BrokenMirror, tmp_path: Path) -> None:
    settings = tmp_path / "mirrormend.toml"
    settings.write_text("", encoding="utf-8")
    async with proxy(stocked, tmp_path, "--config", str(settings)) as running:
        await all_listen(running)
        settings.write_text('[access]\ntokens = ["token-of-sixteen-letters"]\n', encoding="utf-8")
        os.kill(running.pid, signal.SIGHUP)
        async with asyncio.timeout(30):
            while len({line.get("worker") for line in running.log if line.get("event") == "reloaded"}) < WORKERS:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        # What cannot be put in force changes nothing, for a worker that starts as for those that run.
        settings.write_text("[access]\ntokens = []\nodd = 1\n", encoding="utf-8")
        os.kill(running.pid, signal.SIGHUP)
        for victim in children(running.pid):
            os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(30):
            while sum(line.get("event") == "listening" for line in running.log) < 2 * WORKERS:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        async with aiohttp.ClientSession() as session:
            for _ in range(10):
                async with session.get(f"{running.url}/simple/demo/", headers={"Connection": "close"}) as response:
                    assert response.status == 401


async def test_a_port_that_is_taken_is_said_once(stocked: BrokenMirror, tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        running: Any = proxy(stocked, tmp_path, "--listen", f"127.0.0.1:{port}")
        with pytest.raises(AssertionError):
            async with running:
                pass
    said = [line["text"] for line in running.log if "text" in line]
    assert len(said) == 1
    assert "cannot listen" in said[0]


async def test_workers_without_a_store_to_share_are_warned_of(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with ProxyProcess(stocked.url, tmp_path, "--workers", "2") as running:
        await asyncio.wait_for(asyncio.sleep(0.5), 5)
        assert [line["event"] for line in running.log].count("workers-share-nothing") <= 1
        async with asyncio.timeout(20):
            while not any(line.get("event") == "workers-share-nothing" for line in running.log):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)


def up(told: str) -> dict[str, str]:
    return dict(re.findall(r'^mirrormend_worker_up\{worker="(\d)"\} (\S+)$', told, re.MULTILINE))


async def test_a_worker_that_does_not_answer_is_seen_in_the_numbers(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        assert up(await numbers(running.url)) == {"1": "1.0", "2": "1.0", "3": "1.0"}
        frozen = children(running.pid)[1]
        os.kill(frozen, signal.SIGSTOP)
        try:
            # Each of them says so, whichever is asked; nobody waits for the frozen one for long, and no connection is given to it.
            for told in await asyncio.gather(*(numbers(running.url) for _ in range(8))):
                assert up(told) == {"1": "1.0", "2": "0.0", "3": "1.0"}
                assert 'worker="2"' not in told.replace('mirrormend_worker_up{worker="2"}', "")
            assert all(LINUX in page for page in await pages(running.url, 20))
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert up(await numbers(running.url)) == {"1": "1.0", "2": "1.0", "3": "1.0"}
        os.kill(frozen, signal.SIGKILL)
        await all_listen(running, WORKERS + 1)
        async with asyncio.timeout(30):
            while up(await numbers(running.url)) != {"1": "1.0", "2": "1.0", "3": "1.0"}:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)


async def test_what_waits_for_a_worker_that_dies_is_answered_by_the_others(stocked: BrokenMirror, tmp_path: Path) -> None:
    async with proxy(stocked, tmp_path) as running:
        await all_listen(running)
        frozen = children(running.pid)[1]
        os.kill(frozen, signal.SIGSTOP)

        async def alive() -> int:
            async with aiohttp.ClientSession() as session, session.get(f"{running.url}/healthz") as response:
                return response.status

        # The system gives some of these to the one that is stopped.
        asked = [asyncio.create_task(alive()) for _ in range(40)]
        await asyncio.sleep(0.05)
        os.kill(frozen, signal.SIGKILL)
        assert await asyncio.wait_for(asyncio.gather(*asked), 20) == [200] * 40
