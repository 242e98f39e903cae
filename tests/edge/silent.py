"""Addresses of loopback that swallow packets: connections to them are neither made nor refused."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

SILENT = "127.0.0.2"
SILENT_TOO = "127.0.0.3"


def free_port() -> int:
    """Give a port that is free at 127.0.0.1 and at the addresses that can be made silent: one free at the first may be taken at another."""
    while True:
        with ExitStack() as stack:
            port = 0
            with suppress(OSError):
                for address in ("127.0.0.1", SILENT, SILENT_TOO):
                    probe = stack.enter_context(socket.socket())
                    probe.bind((address, port))
                    port = probe.getsockname()[1]
                return port


@contextmanager
def swallowing(port: int, address: str = SILENT) -> Iterator[None]:
    """Let connections to `address` and `port` hang: those that its full backlog holds are never accepted, the others get no answer."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(0)
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect((address, port))
            except TimeoutError:
                break
        yield


class Names:
    """A name server of the test's own: `known` has the IPv4 addresses of names, in their order; `lookups` holds the names asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.lookups: list[str] = []
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: str, port: int, *arguments: int, **options: int) -> list[object]:
        if host not in self.known:
            return list(self._system(host, port, *arguments, **options))
        self.lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in self.known[host]]


class Dials:
    """The addresses that sockets of this process were told to connect to from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        connect = socket.socket.connect

        def noted(sock: socket.socket, address: tuple[str, int]) -> None:
            self.addresses.append(address[0])
            connect(sock, address)

        monkeypatch.setattr(socket.socket, "connect", noted)

    def forget(self) -> None:
        self.addresses.clear()
