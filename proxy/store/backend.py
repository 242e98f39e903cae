"""The protocol between the store and a place that outlives the process, and the errors by which such a place says that it cannot."""

from collections.abc import Collection, Sequence
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
    """It can be read, but nothing was written in `slots`, or no lock taken, because of `why`: it is full or read-only, say.

    The other slots of the same call are written. The outdated documents in `slots` are removed, if the backend lets that happen.
    """

    def __init__(self, why: str, slots: Collection[str] = ()) -> None:
        self.why = why
        self.slots = frozenset(slots)

    def __str__(self) -> str:
        return self.why


class Backend(Protocol):
    """A place for sealed documents that outlives the process.

    Each method may raise BackendAway; `write`, `lock` and `unlock` raise BackendRefused if it can be read and not written.
    """

    @property
    def name(self) -> str:
        """Its name in logs, without credentials."""

    @property
    def trust(self) -> float:
        """For how many seconds a copy in memory is used without asking here, where others may have written meanwhile."""

    @property
    def shared(self) -> bool:
        """Whether other processes are to be expected that do the same work."""

    @property
    def identity(self) -> str:
        """A name of what it holds: another one after it was emptied or replaced. Empty until `connect`, `read` or `lock` learned it."""

    @property
    def clock_offset(self) -> float:
        """By how many seconds the clock that all who share it go by is ahead of the one of this process."""

    @property
    def patience(self) -> float:
        """How long a page waits for it, in seconds, before it does without."""

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
        """Make it usable, or find that it is."""

    async def close(self) -> None:
        """Let go of it; do not raise."""

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Return the sealed documents in `slots`, in their order, in one round trip."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Write and delete as the sealed `changes` say, each of another slot."""

    async def lock(self, name: str, token: str, seconds: float, slots: Sequence[str] = ()) -> list[bytes | None] | None:
        """Hold `name` with `token` for `seconds` among all who share the place, and return what is in `slots`; None if another holds it."""

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold `name` for `seconds` from now on, if it is still held with `token`."""

    async def unlock(self, name: str, token: str) -> None:
        """Let go of `name`, if it is still held with `token`."""
