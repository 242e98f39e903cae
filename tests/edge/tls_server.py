"""An HTTPS server that ends a failed handshake as servers do: by an alert, which those of asyncio do not send."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def https_server(tls: ssl.SSLContext, answer: bytes, *, address: str = "127.0.0.1") -> Iterator[int]:
    """Answer each request by these bytes, on connections that are kept; give the port."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((address, 0), backlog=64))
        threads: list[threading.Thread] = []
        open_sockets: set[socket.socket] = set()

        def serve(raw: socket.socket) -> None:
            open_sockets.add(raw)
            with suppress(OSError), tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as sock:
                open_sockets.add(sock)
                if _shaken_hands(sock):
                    _answer_all(sock, answer)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    raw, _ = listening.accept()
                    threads.append(threading.Thread(target=serve, args=(raw,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            for each in open_sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(5)
            for each in open_sockets:
                each.close()


def _shaken_hands(sock: ssl.SSLSocket) -> bool:
    try:
        sock.do_handshake()
    except ssl.SSLError:
        # Closed at once, with a request unread, the connection would be reset, and the alert might get lost.
        while os.read(sock.fileno(), 65536):
            pass
        return False
    return True


def _answer_all(sock: ssl.SSLSocket, answer: bytes) -> None:
    received = b""
    while part := sock.recv(65536):
        received += part
        for _ in range(received.count(b"\r\n\r\n")):
            sock.sendall(answer)
        received = received.rpartition(b"\r\n\r\n")[2]
