"""Breaking a connection so that the client sees it: by a reset, where a mere close could be the end of a whole answer.

The body of an answer to HTTP/1.0, or of one without a length, ends with the connection (RFC 9112, section 6.3): what was cut off there
looks complete if the connection is closed in an orderly way. nginx asks those behind it by HTTP/1.0 unless it is told otherwise.
"""

import asyncio
import socket
import struct
import sys
from contextlib import suppress

_DISCARD = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""`struct linger`: on, for no time at all, so that closing the socket discards what is unsent and sends RST (POSIX, SO_LINGER)."""


def reset(transport: asyncio.WriteTransport) -> None:
    """Break the connection at once by RST; over TLS no close_notify goes before it, so that TLS reports a truncation as well."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # One that is closed already needs nothing more.
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
    transport.abort()
