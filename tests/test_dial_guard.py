"""The dial guard bites: whatever way a test takes to another machine."""

import asyncio
import socket
from collections.abc import Callable

import aiohttp
import pytest
import uvloop

from tests.dial_guard import DialGuard, Dialled
from tests.mirror import BrokenMirror

ELSEWHERE = "192.0.2.1"  # RFC 5737: documentation only


def _connect(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.settimeout(0.1)
        sock.connect(address)


def _connect_ex(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.settimeout(0.1)
        sock.connect_ex(address)


def _datagram(address: tuple[str, int]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"?", address)


def _message(address: tuple[str, int]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"?"], [], 0, address)


def _create_connection(address: tuple[str, int]) -> None:
    socket.create_connection(address, timeout=0.1).close()


def _resolve(address: tuple[str, int]) -> None:
    socket.getaddrinfo(*address)


def _resolve_by_name(address: tuple[str, int]) -> None:
    socket.gethostbyname_ex(address[0])


def _resolve_by_address(address: tuple[str, int]) -> None:
    socket.gethostbyaddr(address[0])


def _name(address: tuple[str, int]) -> None:
    socket.getnameinfo(address, 0)


_WAYS = [_connect, _connect_ex, _datagram, _message, _create_connection, _resolve, _resolve_by_name, _resolve_by_address, _name]


@pytest.mark.parametrize("dial", _WAYS)
def test_a_socket_reaches_no_other_machine(dial: Callable[[tuple[str, int]], None], dial_guard: DialGuard) -> None:
    with pytest.raises(Dialled, match=ELSEWHERE):
        dial((ELSEWHERE, 9))
    assert dial_guard.refused == [ELSEWHERE]
    dial_guard.refused.clear()


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
@pytest.mark.parametrize("host", [ELSEWHERE, "mirror.example.com"])
def test_an_event_loop_reaches_no_other_machine(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], host: str, dial_guard: DialGuard
) -> None:
    async def dial() -> None:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, 9)

    async def resolve() -> None:
        await asyncio.get_running_loop().getaddrinfo(host, 9)

    async def by_socket() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, 9))

    async def name() -> None:
        await asyncio.get_running_loop().getnameinfo((host, 9))

    async def by_datagrams() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, 9))

    for attempt in (dial, resolve, by_socket, name, by_datagrams):
        with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(Dialled, match=host):
            runner.run(attempt())
    dial_guard.refused.clear()


def test_datagrams_of_uvloop_need_an_address_that_can_be_checked(dial_guard: DialGuard) -> None:
    async def listen() -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(Dialled, match="anywhere"):
        runner.run(listen())
    dial_guard.refused.clear()


async def test_the_http_client_reaches_no_other_machine(dial_guard: DialGuard) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Dialled, match=r"mirror\.example\.com"):
            await session.get("http://mirror.example.com/simple/")
    dial_guard.refused.clear()


def test_an_attempt_that_was_swallowed_fails_the_test_all_the_same() -> None:
    guard = DialGuard()
    with pytest.raises(Dialled):
        guard.check(ELSEWHERE)
    with pytest.raises(Dialled, match=ELSEWHERE):
        guard.verify()


def test_a_name_below_invalid_does_not_resolve_and_is_no_attempt() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("mirror.invalid", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", b"localhost", "", None])
def test_loopback_stays_open(host: object) -> None:
    DialGuard().check(host)


async def test_a_stand_in_is_reached(mirror: BrokenMirror) -> None:
    async with aiohttp.ClientSession() as session, session.get(mirror.url) as answer:
        assert answer.status == 200
