"""What is said between the fast lane and those who use it, beside `Answer` and `NoAnswer`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from proxy.core.flows.exchange import Reply


class Malformed(Exception):
    """Bytes that are no answer, or could be understood in more than one way."""


@dataclass(frozen=True, slots=True)
class Unusual:
    """That an exchange is none for the fast lane, and why: the caller asks again by the slow lane."""

    why: str


class Exchange(Protocol):
    """A request on its way."""

    def abandon(self) -> None:
        """Forgets who asked: nobody is called.

        A request that has left is still read to the end of its answer, so that its connection can serve again;
        one that has not left never leaves.
        """


Done: TypeAlias = Callable[[Reply | Unusual], None]
"""Called once with what came of a request, never from within the call that submitted it. It must not raise."""

Resolver: TypeAlias = Callable[[], Awaitable[Sequence[tuple[int, str]]]]
"""Gives the address family and the numeric address of every address that may be dialled, the preferred one first.

Raises DestinationRefused where none is allowed, any other UpstreamError or an OSError where the name does not resolve.
"""
