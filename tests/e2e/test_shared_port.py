"""A port has one server: a second start on it is refused in words, with several workers as with one."""

import asyncio
import errno
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.cli import serving
from proxy.cli.listening import ListeningSockets
from proxy.config import Settings
from proxy.server import run
from tests.clients import Completed, ProxyProcess, clean_environment, free_port, run_command
from tests.mirror import BrokenMirror

ROOT = Path(__file__).resolve().parents[2]


def started(mirror: BrokenMirror, tmp_path: Path, listen: str, workers: int) -> ProxyProcess:
    return ProxyProcess(
        mirror.url, tmp_path, "--listen", listen, "--workers", str(workers), store=f"sqlite:{tmp_path / f'{workers}.sqlite3'}"
    )


async def start_again(tmp_path: Path, listen: str, workers: int) -> Completed:
    """Start a server before a mirror that does not exist, which answers 502 where it is reached; it is killed if it serves."""
    words = ["--upstream", "http://127.0.0.1:9/simple/", "--listen", listen, "--workers", str(workers), "--store", "memory"]
    environment = clean_environment(tmp_path / "second-home") | {"PYTHONPATH": str(ROOT)}
    return await run_command([sys.executable, "-m", "proxy", "serve", *words], environment, tmp_path, 20)


async def statuses(url: str, count: int = 20) -> set[int]:
    async def status() -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/simple/demo/") as response:
            return response.status

    return set(await asyncio.gather(*(status() for _ in range(count))))


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 3), (3, 1), (3, 3)])
async def test_a_start_on_a_port_that_is_served_is_refused(mirror: BrokenMirror, tmp_path: Path, first: int, second: int) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    listen = f"127.0.0.1:{free_port()}"
    async with started(mirror, tmp_path, listen, first) as running:
        refused = await start_again(tmp_path, listen, second)
        assert refused.returncode == 1, refused
        (said,) = refused.stderr.splitlines()
        assert said == f"mirrormend: cannot listen on {listen} (address already in use); choose another address with --listen"
        assert await statuses(running.url) == {200}


@pytest.mark.parametrize(("one", "other"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "localhost")])
async def test_addresses_that_overlap_are_one_port(mirror: BrokenMirror, tmp_path: Path, one: str, other: str) -> None:
    port = free_port()
    async with started(mirror, tmp_path, f"{one}:{port}", 2):
        refused = await start_again(tmp_path, f"{other}:{port}", 2)
        assert refused.returncode == 1, refused
        assert "cannot listen" in refused.stderr


async def test_of_two_that_start_at_the_same_moment_one_serves(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    environment = clean_environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT)}
    words = ["--upstream", "http://127.0.0.1:9/simple/", "--listen", listen, "--workers", "2", "--store", "memory"]
    both = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "serve", *words, env=environment, cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        ends = [asyncio.ensure_future(each.wait()) for each in both]
        done, _ = await asyncio.wait(ends, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in done] == [1]
        assert await reached(listen)
    finally:
        for each in both:
            if each.returncode is None:
                each.terminate()
        await asyncio.wait_for(asyncio.gather(*ends), 30)
    assert sorted(each.returncode or 0 for each in both) == [0, 1]


async def reached(listen: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/healthz") as response:
        return response.status == 200


async def test_a_restart_can_have_the_port_at_once_although_connections_of_the_old_one_linger(mirror: BrokenMirror, tmp_path: Path) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    listen = f"127.0.0.1:{free_port()}"
    for _ in range(3):
        async with started(mirror, tmp_path, listen, 2) as running, aiohttp.ClientSession() as session:
            # The server closes the connection first, and so has it in TIME_WAIT.
            assert (await session.get(f"{running.url}/simple/demo/")).status == 200
            assert await running.stop() == 0


def name_with(addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def infos(_: str, port: int, **__: int) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", infos)


def test_sockets_that_were_opened_are_closed_where_a_later_one_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    name_with(("127.0.0.2", "127.0.0.1"), monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            ListeningSockets("name.example.com", port, 2)
        socket.create_server(("127.0.0.2", port)).close()


def opened_port(addresses: list[list[tuple[str, int]]]) -> int:
    return addresses[0][0][1]


def test_a_free_port_is_the_same_at_all_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name_with(("127.0.0.1", "127.0.0.2", "192.0.2.1"), monkeypatch)
    with closing(ListeningSockets("name.example.com", 0, 3)) as opened:
        shares = [opened.of(number) for number in (1, 2, 3)]
        addresses = [[own.getsockname() for own, _ in share] for share in shares]
    assert addresses[0] == [("127.0.0.1", opened_port(addresses)), ("127.0.0.2", opened_port(addresses))]
    assert addresses[1:] == addresses[:1] * 2, "an address that this machine does not have is passed over"
    assert len({own for share in shares for own, _ in share}) == 6


def test_a_single_process_listens_once_it_is_set_up_and_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    set_up = run._set_up

    async def noted(*arguments: Any) -> bool:
        answer = await set_up(*arguments)
        order.append("set up")
        return answer

    def in_use(*_: object) -> ListeningSockets:
        order.append("listen")
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(run, "_set_up", noted)
    monkeypatch.setattr(run, "_settle_memory", lambda: None)
    monkeypatch.setattr(serving, "ListeningSockets", in_use)
    settings = Settings.model_validate({"upstream": {"url": "http://mirror.invalid/simple/"}, "store": {"location": "memory"}})
    with pytest.raises(OSError, match="already in use"):
        serving._serve_alone(settings, lambda: settings)
    assert order == ["set up", "listen"]
