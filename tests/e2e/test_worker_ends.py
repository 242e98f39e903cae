"""The end of a server with several workers: it comes in time, whatever hangs, and nobody outlives the parent."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.clients import ProxyProcess, clean_environment
from tests.faults import Fault, Target
from tests.listing import content_by_name
from tests.mirror import BrokenMirror
from tests.waiting import eventually

WHEEL = "demo-1.0-py3-none-any.whl"
WORKERS = 3
ROOT = Path(__file__).resolve().parents[2]


def several(mirror: BrokenMirror, tmp_path: Path, *options: str, **environment: str) -> ProxyProcess:
    return ProxyProcess(
        mirror.url, tmp_path, "--workers", str(WORKERS), *options, store=f"sqlite:{tmp_path / 'store.sqlite3'}", environment=environment
    )


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Return whether there is such a process, and it is not only waiting for its parent to hear of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(*pids: int, within: float = 20.0) -> None:
    async def none() -> bool:
        return not any(lives(pid) for pid in pids)

    try:
        await eventually(none, within)
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def all_serve(running: ProxyProcess, count: int = WORKERS) -> None:
    async def listening() -> bool:
        return sum(line.get("event") == "listening" for line in running.log) >= count

    await eventually(listening, 40)


def never_ends() -> Fault:
    """Send a byte now and then, and never the rest."""

    async def fault(target: Target) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000000", "Content-Type": target.content_type})
        await response.prepare(target.request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 70_000)
                await asyncio.sleep(0.1)
        return response

    return fault


async def test_workers_end_with_a_parent_that_is_killed_and_the_port_is_free(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with several(mirror, tmp_path) as running:
        await all_serve(running)
        first = children(running.pid)
        # One that is started later knows the parent by the same line.
        os.kill(first[0], signal.SIGKILL)
        await all_serve(running, WORKERS + 1)
        workers = children(running.pid)
        assert len(workers) == WORKERS
        os.kill(running.pid, signal.SIGKILL)
        await gone(*workers)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{running.url}/healthz")
        assert sum(line.get("event") == "ended" for line in running.log) == WORKERS, "each as at SIGTERM"


async def test_a_worker_that_was_stopped_does_not_outlive_a_parent_that_is_killed(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with several(mirror, tmp_path) as running:
        await all_serve(running)
        workers = children(running.pid)
        os.kill(workers[1], signal.SIGSTOP)
        os.kill(running.pid, signal.SIGKILL)
        await gone(*workers)


@pytest.mark.parametrize("moment", range(3))
async def test_workers_that_do_not_serve_yet_end_with_their_parent(mirror: BrokenMirror, tmp_path: Path, moment: int) -> None:
    running = several(mirror, tmp_path)
    entering = asyncio.create_task(running.__aenter__())

    async def forked() -> bool:
        with suppress(AssertionError, FileNotFoundError):
            return len(children(running.pid)) > moment
        return False

    await eventually(forked)
    workers = children(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    await gone(*workers)
    with suppress(AssertionError):
        await entering
    await running.stop()


HANGS = """
import time
from contextlib import closing
from proxy.cli.listening import ListeningSockets
from proxy.cli.workers import Workers

def work(number, serves):
    serves()
    print(number, flush=True)
    {hang}

with closing(ListeningSockets("127.0.0.1", 0, 2)) as sockets:
    Workers(2, work, sockets, end_within=0.5, reload=lambda: None, abandoned=lambda: False).run()
"""


@pytest.mark.parametrize("hang", ["time.sleep(600)", "while True: pass"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_workers_that_hear_no_signal_end_all_the_same(tmp_path: Path, hang: str, how: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HANGS.format(hang=hang),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    for _ in range(2):
        await asyncio.wait_for(parent.stdout.readline(), 20)
    workers = children(parent.pid)
    assert len(workers) == 2
    os.kill(parent.pid, how)
    await gone(*workers)
    assert await asyncio.wait_for(parent.wait(), 20) == (-how if how is signal.SIGKILL else 0)


async def test_downloads_outlive_a_parent_that_is_killed_as_they_outlive_sigterm(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    async with several(mirror, tmp_path, MIRRORMEND_SERVER_DRAIN="20") as running:
        await all_serve(running)
        workers = children(running.pid)
        async with aiohttp.ClientSession() as session:
            await (await session.get(f"{running.url}/simple/demo/")).read()
            asked, go_on = asyncio.Event(), asyncio.Event()

            async def waits(target: Target) -> web.StreamResponse:
                response = web.StreamResponse(headers={"Content-Length": str(len(target.data)), "Content-Type": target.content_type})
                await response.prepare(target.request)
                asked.set()
                await go_on.wait()
                await response.write(target.data)
                return response

            async def download() -> bytes:
                async with session.get(f"{running.url}/files/demo/{WHEEL}") as response:
                    assert response.status == 200
                    return await response.read()

            mirror.fault(WHEEL, waits, methods=("GET",))
            downloading = asyncio.create_task(download())
            await asyncio.wait_for(asked.wait(), 20)
            os.kill(running.pid, signal.SIGKILL)

            async def told() -> bool:
                return sum(line.get("event") == "ending" for line in running.log) == WORKERS

            await eventually(told)
            go_on.set()
            assert await downloading == content_by_name(WHEEL)
        await gone(*workers)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_request_that_never_ends_does_not_keep_the_process_beyond_the_drain(
    mirror: BrokenMirror, tmp_path: Path, workers: int
) -> None:
    mirror.add(WHEEL)
    notice, drain = 1.0, 4.0
    environment = {"MIRRORMEND_SERVER_DRAIN": str(drain), "MIRRORMEND_SERVER_NOTICE": str(notice)}
    async with ProxyProcess(mirror.url, tmp_path, "--workers", str(workers), environment=environment) as running:
        await all_serve(running, workers)
        async with aiohttp.ClientSession() as session:
            await (await session.get(f"{running.url}/simple/demo/")).read()
            mirror.fault(WHEEL, never_ends(), methods=("GET",))
            async with session.get(f"{running.url}/files/demo/{WHEEL}") as response:
                assert response.status == 200
                began = time.monotonic()
                assert await running.stop() == 0
                took = time.monotonic() - began
        assert notice + drain <= took < notice + drain + 2, took
    assert sum(line.get("event") == "ended" for line in running.log) == workers
    assert not [line for line in running.log if line.get("event") in {"workers-killed", "ended-by-force", "ended-early"}]


HANGS_AT_THE_END = "import asyncio, proxy.store.store as store; store.Store.close = lambda self: asyncio.sleep(600)"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_store_that_does_not_close_does_not_keep_the_process_beyond_the_drain(
    mirror: BrokenMirror, tmp_path: Path, workers: int
) -> None:
    folder = tmp_path / "hangs"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGS_AT_THE_END, encoding="utf-8")
    environment = {"MIRRORMEND_SERVER_DRAIN": "0.5", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    async with ProxyProcess(mirror.url, tmp_path, "--workers", str(workers), environment=environment) as running:
        await all_serve(running, workers)
        began = time.monotonic()
        assert await running.stop() == 0
        assert 0.5 + 2 <= time.monotonic() - began < 0.5 + 3 + 2
    assert sum(line.get("event") == "ended-early" for line in running.log) == workers


BLOCKS = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))"


async def test_an_event_loop_that_hangs_does_not_keep_the_process_beyond_the_drain(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    folder = tmp_path / "blocks"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKS, encoding="utf-8")
    environment = {"MIRRORMEND_SERVER_DRAIN": "2", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    async with ProxyProcess(mirror.url, tmp_path, environment=environment) as running, aiohttp.ClientSession() as session:
        await (await session.get(f"{running.url}/simple/demo/")).read()
        mirror.fault(WHEEL, never_ends(), methods=("GET",))
        async with session.get(f"{running.url}/files/demo/{WHEEL}"):
            os.kill(running.pid, signal.SIGTERM)
            began = time.monotonic()

            async def told() -> bool:
                return any(line.get("event") == "ending" for line in running.log)

            await eventually(told)
            assert await running.stop(signal.SIGUSR1) == 1
            assert 2 + 2 < time.monotonic() - began < 2 + 3 + 2
    assert running.log[-1]["event"] == "ended-by-force"


async def test_a_worker_that_does_not_hear_sigterm_is_killed_in_time(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with several(mirror, tmp_path, MIRRORMEND_SERVER_DRAIN="0.5") as running:
        await all_serve(running)
        workers = children(running.pid)
        os.kill(workers[1], signal.SIGSTOP)
        began = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - began < 0.5 + 3 + 2
        await gone(*workers)
    (killed,) = [line for line in running.log if line.get("event") == "workers-killed"]
    assert killed["workers"] == [2]
