"""The dial guard: in this process nothing connects to another machine, or asks for the address of one."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
import uvloop


class Dialled(AssertionError):
    """Something in a test tried to reach another machine."""

    def __init__(self, host: str) -> None:
        self.host = host

    def __str__(self) -> str:
        return f"this test tried to reach {self.host}: tests dial loopback only"


class DialGuard:
    """Refuses each attempt and remembers it, so that a test fails even where the code under test swallows the error.

    Names below `.invalid` (RFC 2606) are no attempt: they do not resolve, here at once.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []

    def check(self, host: object) -> None:
        """Raises Dialled unless `host` is a loopback address, `localhost`, or nothing."""
        text = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        if text.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if text == "localhost" or _is_loopback(text):
            return
        self.refused.append(text)
        raise Dialled(text)

    def verify(self) -> None:
        """Raises Dialled where something was refused."""
        if self.refused:
            raise Dialled(", ".join(self.refused))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stands between the code and the sockets, until `monkeypatch` takes it away."""
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, self._before_socket(getattr(socket.socket, name)))
        monkeypatch.setattr(socket.socket, "sendmsg", self._before_sendmsg(socket.socket.sendmsg))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "create_connection"):
            monkeypatch.setattr(socket, name, self._before_function(getattr(socket, name)))
        # uvloop connects and resolves in C, where the patched sockets are not seen.
        for loop in (asyncio.BaseEventLoop, uvloop.Loop):
            for name in ("create_connection", "getaddrinfo"):
                monkeypatch.setattr(loop, name, self._before_loop(getattr(loop, name), 1 if name == "create_connection" else 0))
        for name in ("sock_connect", "getnameinfo"):
            monkeypatch.setattr(uvloop.Loop, name, self._before_loop(getattr(uvloop.Loop, name), 1 if name == "sock_connect" else 0))
        monkeypatch.setattr(uvloop.Loop, "create_datagram_endpoint", self._before_datagrams(uvloop.Loop.create_datagram_endpoint))

    def _before_socket(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(sock: socket.socket, *args: Any) -> Any:
            if sock.family in {socket.AF_INET, socket.AF_INET6}:
                self.check(args[-1][0])
            return original(sock, *args)

        return guarded

    def _before_sendmsg(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(sock: socket.socket, *args: Any) -> Any:
            # Buffers, ancillary data, flags, address: without the last one it goes where the socket is connected to.
            if sock.family in {socket.AF_INET, socket.AF_INET6} and args[3:]:
                self.check(args[3][0])
            return original(sock, *args)

        return guarded

    def _before_datagrams(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(loop: Any, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any) -> Any:
            # An endpoint that is not connected may send anywhere, and does so in C.
            self.check(remote_addr[0] if remote_addr else "anywhere by datagrams")
            return await original(loop, protocol_factory, local_addr, remote_addr, **options)

        return guarded

    def _before_function(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(host: Any, *args: Any, **options: Any) -> Any:
            self.check(host[0] if isinstance(host, tuple) else host)
            return original(host, *args, **options)

        return guarded

    def _before_loop(self, original: Callable[..., Any], position: int) -> Callable[..., Any]:
        async def guarded(loop: Any, *args: Any, **options: Any) -> Any:
            host = args[position] if len(args) > position else options.get("host")
            # The address that sock_connect takes is a pair, or a path of a Unix socket.
            if isinstance(host, tuple):
                host = host[0]
            self.check(host)
            return await original(loop, *args, **options)

        return guarded


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    return False
