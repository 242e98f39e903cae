"""Signals reach a server whenever they come: in the first moments of a process, of a worker, and while it ends."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients import ProxyProcess
from tests.e2e.test_worker_ends import WHEEL, all_serve, children, lives, never_ends
from tests.mirror import BrokenMirror
from tests.terminals import log_of_one_whose_terminal_closes
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def several(mirror: BrokenMirror, tmp_path: Path, workers: int, *options: str, **environment: str) -> ProxyProcess:
    store = f"sqlite:{tmp_path / 'store.sqlite3'}"
    return ProxyProcess(mirror.url, tmp_path, "--workers", str(workers), *options, store=store, environment=environment)


def minds_signals(pid: int) -> bool:
    """Return whether the process holds or handles SIGTERM. Before that Python itself is starting, which handles SIGINT on its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt"))]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)


async def begun(running: ProxyProcess) -> "asyncio.Task[Any]":
    """Start the process, and wait for nothing but that it minds signals."""
    entering: asyncio.Task[Any] = asyncio.create_task(running.__aenter__())

    async def there() -> bool:
        with suppress(AssertionError, FileNotFoundError):
            return minds_signals(running.pid)
        return False

    await eventually(there)
    return entering


def told(running: ProxyProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in running.log if line.get("event") == event]


@pytest.mark.parametrize("workers", [1, 4])
async def test_sighup_kills_nobody_from_the_first_moment_on_and_is_not_lost(mirror: BrokenMirror, tmp_path: Path, workers: int) -> None:
    running = several(mirror, tmp_path, workers)
    entering = await begun(running)
    until = time.monotonic() + 40
    while len(told(running, "listening")) < workers and time.monotonic() < until:
        os.kill(running.pid, signal.SIGHUP)
        await asyncio.sleep(0.05)
    await entering
    await all_serve(running, workers)

    async def each_reloaded() -> bool:
        return len({line.get("worker") for line in told(running, "reloaded")}) == workers

    await eventually(each_reloaded)
    assert told(running, "worker-died") == []
    assert told(running, "reload-failed") == []
    assert await running.stop() == 0


SIGNAL_AT_IMPORT = """
import os, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "{module}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {which})

sys.meta_path.insert(0, Finder())
"""


def signalled_at_import(mirror: BrokenMirror, tmp_path: Path, module: str, which: signal.Signals, workers: int) -> ProxyProcess:
    """The proxy, which sends itself the signal in the moment that it begins to import a module."""
    folder = tmp_path / "at-import"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SIGNAL_AT_IMPORT.format(module=module, which=int(which)), encoding="utf-8")
    return several(mirror, tmp_path, workers, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


@pytest.mark.parametrize("module", ["proxy.cli.serving", "aiohttp", "uvloop"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_signal_before_there_is_a_server_waits_for_it(mirror: BrokenMirror, tmp_path: Path, module: str, workers: int) -> None:
    async with signalled_at_import(mirror, tmp_path, module, signal.SIGHUP, workers) as running:
        await all_serve(running, workers)

        async def reloaded() -> bool:
            return len(told(running, "reloaded")) >= 1

        if workers == 1:
            await eventually(reloaded)
        assert told(running, "worker-died") == []
        assert await running.stop() == 0


@pytest.mark.parametrize("module", ["proxy.cli.serving", "aiohttp", "uvloop"])
async def test_the_end_before_there_is_a_server_is_a_clean_one(mirror: BrokenMirror, tmp_path: Path, module: str) -> None:
    running = signalled_at_import(mirror, tmp_path, module, signal.SIGTERM, 1)
    with pytest.raises(AssertionError, match="did not start"):
        await running.__aenter__()
    assert await running.stop() == 0
    assert [line["event"] for line in running.log] == ["ending", "ended"]


async def test_sighup_to_a_worker_that_replaces_another_one_kills_nobody(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with several(mirror, tmp_path, 2) as running:
        await all_serve(running, 2)
        for round_ in range(3):
            os.kill(children(running.pid)[0], signal.SIGKILL)
            while len(told(running, "listening")) < 3 + round_:
                os.kill(running.pid, signal.SIGHUP)
                await asyncio.sleep(0.05)
        assert len(told(running, "worker-died")) == 3, "those that were killed, and no other"
        assert await running.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("later", [0.0, 0.3, 0.6])
async def test_the_end_in_the_first_moments_is_a_clean_one(
    mirror: BrokenMirror, tmp_path: Path, workers: int, how: signal.Signals, later: float
) -> None:
    running = several(mirror, tmp_path, workers)
    entering = await begun(running)
    await asyncio.sleep(later)
    assert await running.stop(how) == 0
    with suppress(AssertionError):
        await entering
    assert told(running, "worker-died") == []


async def test_ctrl_c_in_a_terminal_reaches_parent_and_workers_and_cuts_nothing(mirror: BrokenMirror, tmp_path: Path) -> None:
    """As systemd does with SIGTERM: each worker is told by its parent as well, which is no second signal."""
    mirror.add(WHEEL)
    async with several(mirror, tmp_path, 2, MIRRORMEND_SERVER_NOTICE="1.5") as running:
        await all_serve(running, 2)
        workers = children(running.pid)
        for pid in workers:
            os.kill(pid, signal.SIGINT)

        async def both_told() -> bool:
            return len(told(running, "ending")) == 2

        await eventually(both_told)
        os.kill(running.pid, signal.SIGINT)
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/simple/demo/") as response:
            assert response.status == 200, "who did not notice yet is served"
        assert await running.stop(signal.SIGCONT) == 0
    assert len(told(running, "ended")) == 2


async def test_a_second_signal_ends_all_workers_at_once(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    async with several(mirror, tmp_path, 2, MIRRORMEND_SERVER_DRAIN="60") as running:
        await all_serve(running, 2)
        workers = children(running.pid)
        async with aiohttp.ClientSession() as session:
            await (await session.get(f"{running.url}/simple/demo/")).read()
            mirror.fault(WHEEL, never_ends(), methods=("GET",))
            async with session.get(f"{running.url}/files/demo/{WHEEL}"):
                os.kill(running.pid, signal.SIGTERM)

                async def all_told() -> bool:
                    return len(told(running, "ending")) == 2

                await eventually(all_told)
                began = time.monotonic()
                assert await running.stop() == 128 + signal.SIGTERM
                assert time.monotonic() - began < 10
        assert not any(lives(pid) for pid in workers)


async def test_a_signal_to_one_worker_is_no_reason_to_end(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with several(mirror, tmp_path, 2) as running:
        await all_serve(running, 2)
        os.kill(children(running.pid)[0], signal.SIGTERM)
        await all_serve(running, 3)
        assert len(children(running.pid)) == 2
        assert await running.stop() == 0


def test_a_terminal_that_is_closed_ends_parent_and_workers(tmp_path: Path) -> None:
    log = log_of_one_whose_terminal_closes(tmp_path, "--workers", "2", servers=2)
    assert "worker-died" not in log


async def test_workers_that_cannot_start_end_the_service_only_where_none_serves(mirror: BrokenMirror, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("somebody:$2b$04$OxYXjCmgqoXFiJPQFYvBuOoXkR1gBCdkKSvYxEEzNk1XkVzkBZNh2\n", encoding="utf-8")
    async with several(mirror, tmp_path, 2, MIRRORMEND_ACCESS_HTPASSWD=str(users)) as running:
        await all_serve(running, 2)
        first, last = children(running.pid)
        users.rename(tmp_path / "elsewhere")
        os.kill(first, signal.SIGKILL)

        async def many_died() -> bool:
            return len(told(running, "worker-died")) > 6

        await eventually(many_died, 60)
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/healthz") as response:
            assert response.status == 200, "one that serves is a service"
        (tmp_path / "elsewhere").rename(users)
        await all_serve(running, 3)
        users.rename(tmp_path / "elsewhere")
        for pid in children(running.pid):
            os.kill(pid, signal.SIGKILL)
        assert await asyncio.wait_for(running.stop(signal.SIGCONT), 60) == 1
    assert "no worker could serve" in told(running, "worker-died")[-1]["then"]
    assert not lives(last)
