"""File descriptors: how many the process may have, and whether any are left."""

import errno
import os
import socket
import sys

if sys.platform != "win32":
    import resource

_MOST = 1_048_576
_USED_UP = frozenset({errno.EMFILE, errno.ENFILE})

REMEDY = "raise it: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of Docker"


def limit() -> int | None:
    """Return how many descriptors the process may have, None if there is no bound."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raise the limit to what the system lets every process choose itself (setrlimit(2)): each connection takes a descriptor."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # Some systems have a lower bound of their own: then it stays as it is.
            return


def reserve() -> int:
    """Return how many descriptors are kept for connections to mirrors, for the store and for files."""
    most = limit()
    return 0 if most is None else max(8, min(256, most // 8))


def are_left(beside: int = 0) -> bool:
    """Return whether there are more descriptors left than so many."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        return not is_used_up(error)
    os.close(lowest)
    most = limit()
    # The lowest free number is taken (POSIX), so that all below it are in use.
    return most is None or lowest < most - beside


def is_used_up(error: BaseException) -> bool:
    """Return whether an error says that the process, or the system, has no descriptor left."""
    return isinstance(error, OSError) and error.errno in _USED_UP


def caused(error: BaseException) -> bool:
    """Return whether a connection could not be made because there is no descriptor left, here and not at the other end."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, socket.gaierror):
        # Resolving needs files and sockets of its own, and fails by various codes without them.
        return not are_left()
    return is_used_up(cause) or is_used_up(error)
