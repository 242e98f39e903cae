"""The listening sockets of a server and its workers, and that nobody else has the port."""

import errno
import socket
import sys
from contextlib import ExitStack

_BACKLOG = 1024


class ListeningSockets:
    """Sockets that listen at all addresses of `host`: at each of them one for every worker, so that the system spreads connections.

    Each address is had without SO_REUSEPORT first, and so is refused where another server listens, also one that sets it.
    A program of the same user that sets it and does not look first can join later: the system lets it.
    Connections that an earlier server left behind (TIME_WAIT) are no hindrance. Port 0 means a free one, the same at all addresses.
    Raise OSError if an address is taken or cannot be had.
    """

    def __init__(self, host: str, port: int, count: int) -> None:
        found = dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
        self._at: list[list[socket.socket]] = []
        unusable: OSError | None = None
        with ExitStack() as opened:
            opened.callback(self.close)
            for family, kind, protocol, _, (address, _, *scope) in found:
                try:
                    self._at.append(_listening_at((family, kind, protocol), (address, port or self.port, *scope), count))
                except OSError as error:
                    # A name may have an address of a family that this machine does not use.
                    if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                        raise
                    unusable = error
            if not self._at and unusable is not None:
                raise unusable
            opened.pop_all()

    @property
    def port(self) -> int:
        """The port, 0 if there is none yet."""
        port: int = self._at[0][0].getsockname()[1] if self._at else 0
        return port

    def of(self, number: int) -> list[tuple[socket.socket, list[socket.socket]]]:
        """Return for each address the socket of the worker `number`, from 1 on, and those of the others."""
        shares = []
        for sockets in self._at:
            own = sockets[(number - 1) % len(sockets)]
            shares.append((own, [each for each in sockets if each is not own]))
        return shares

    def close(self) -> None:
        """Close them in this process; they listen as long as another one has them."""
        for sockets in self._at:
            for each in sockets:
                each.close()


def _listening_at(kind: tuple[int, int, int], address: tuple[object, ...], count: int) -> list[socket.socket]:
    first = _listening(kind, address)
    if count == 1 or sys.platform != "linux":
        # Elsewhere SO_REUSEPORT spreads nothing: the workers share the one.
        return [first]
    # It listens until the others do, so that no other server comes in between.
    with first, ExitStack() as opened:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sockets = [opened.enter_context(_listening(kind, first.getsockname(), shared=True)) for _ in range(count)]
        opened.pop_all()
        return sockets


def _listening(kind: tuple[int, int, int], address: tuple[object, ...], *, shared: bool = False) -> socket.socket:
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket(*kind))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        opened.pop_all()
        return listener
