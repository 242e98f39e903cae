"""What the store asks of a place that outlives the process, and how such a place says that it cannot."""

from collections.abc import Sequence
from typing import Protocol

from proxy.store.pending import Change


class BackendAway(Exception):
    """It cannot be used now, because of `why`; it is asked again later."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        return self.why


class BackendBusy(BackendAway):
    """Somebody else is using it for the moment; reading may go on."""


class BackendRefused(Exception):
    """It can be read, but did not take `count` documents, because of `why`: it is full, say.

    What it had of them is outdated, and removed as far as it lets that happen.
    """

    def __init__(self, why: str, count: int) -> None:
        self.why = why
        self.count = count

    def __str__(self) -> str:
        return self.why


class Backend(Protocol):
    """A place for sealed documents that outlives the process. Each method may raise BackendAway, `write` BackendRefused too."""

    @property
    def name(self) -> str:
        """What logs call it; no credentials are in it."""

    @property
    def trust(self) -> float:
        """For how many seconds a copy in memory is used without asking here, where others may have written meanwhile."""

    @property
    def shared(self) -> bool:
        """Whether other processes are to be expected that do the same work."""

    @property
    def connect_within(self) -> float:
        """How long `connect` may take, in seconds."""

    @property
    def read_within(self) -> float:
        """How long reading and locking may take, in seconds."""

    @property
    def write_within(self) -> float:
        """How long writing may take, in seconds."""

    async def connect(self) -> None:
        """Makes it usable, or finds that it is."""

    async def close(self) -> None:
        """Lets go of it; does not raise."""

    async def read(self, slot: str) -> bytes | None:
        """Gives the sealed document in `slot`."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Writes and forgets what the sealed `changes` say, each of another slot."""

    async def lock(self, name: str, seconds: float) -> str | None:
        """Gives a token that holds `name` for `seconds` among all who share the place, None while another holds it."""

    async def unlock(self, name: str, token: str) -> None:
        """Lets go of `name`, if it is still held with `token`."""
