"""The words of a conversation with the mirror: what is asked, and what comes back."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

import msgspec


class Method(StrEnum):
    """How a file is asked for."""

    HEAD = "HEAD"
    GET = "GET"


class Trouble(StrEnum):
    """Why no answer came."""

    TIMEOUT = "timeout"
    RESET = "reset"
    DNS = "dns"
    TLS = "tls"
    REFUSED = "refused"
    NOT_HTTP = "not-http"
    FORBIDDEN_DESTINATION = "forbidden-destination"
    TOO_MANY_REDIRECTS = "too-many-redirects"
    BREAKER_OPEN = "breaker-open"
    OUTBOUND_PROXY = "outbound-proxy"
    """The outbound proxy on the way refuses: the mirror was not asked."""
    OWN_LIMIT = "own-limit"
    """The proxy has as many requests under way as it allows itself: the mirror was not asked."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A request for `url`.

    `first` and `last` are the inclusive, absolute bounds of a byte range (RFC 9110, section 14.1.2); no `first`, no range, unless
    `suffix` tells how many bytes of the end are asked for.
    Of the body at most `read` bytes are wanted: the asker closes after them. The answer's body is never longer than `read`.
    `spread` asks for another connection than the last requests had: behind each may stand another node of the mirror.
    """

    method: Method
    url: str
    first: int | None = None
    last: int | None = None
    read: int = 0
    spread: bool = False
    suffix: int = 0

    @property
    def range(self) -> str:
        """The value of the Range header, empty where there is none."""
        if self.first is not None:
            return f"bytes={self.first}-{'' if self.last is None else self.last}"
        return f"bytes=-{self.suffix}" if self.suffix else ""


class Answer(msgspec.Struct, frozen=True):
    """What the mirror said, where its redirects ended.

    `headers` have lower-case names. `url` is where the answer came from. `body` is what was read of it.
    `at` is when it came, in seconds since the epoch.
    """

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    url: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """That no answer came, why, and when (seconds since the epoch)."""

    trouble: Trouble
    detail: str = ""
    at: float = 0.0


Reply: TypeAlias = Answer | NoAnswer
Learned = TypeVar("Learned")
Flow: TypeAlias = Generator[Ask, Reply, Learned]
