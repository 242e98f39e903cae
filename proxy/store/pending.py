"""The changes that are still to be written: one per document, the last one wins, bounded in bytes.

A change comes in fresh, with the document as it was put. It is sealed once, and then waits, sealed, until the backend has it.
One that the backend refused is held back until it is released to be tried again.
"""

from dataclasses import dataclass

from proxy.store.envelope import is_tombstone
from proxy.store.memory import ENTRY_COST


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A document to write: plain in `document` while it is fresh, then in `sealed`; a fresh one with neither is to be forgotten.

    A sealed one with neither is to be deleted without a trace. Times are in seconds since the epoch. Two changes are the same only if
    they are one object.
    """

    slot: str
    written: float
    expires: float
    document: bytes | None = None
    sealed: bytes | None = None

    @property
    def forgets(self) -> bool:
        """Whether the document is to be forgotten."""
        return self.document is None and (self.sealed is None or is_tombstone(self.sealed))

    @property
    def cost(self) -> int:
        """Bytes held by it."""
        return len(self.slot) + len(self.document or self.sealed or b"") + ENTRY_COST


class Pending:
    """The changes that wait, in the order in which their documents were first put."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changes: dict[str, Change] = {}
        self._fresh: dict[str, Change] = {}
        self._held: dict[str, Change] = {}
        self._size = self._fresh_size = 0

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    @property
    def fresh_size(self) -> int:
        """Bytes held by what is not yet sealed."""
        return self._fresh_size

    @property
    def held(self) -> int:
        """How many changes are held back."""
        return len(self._held)

    def get(self, slot: str) -> Change | None:
        """Return the change that waits for `slot`, if any."""
        return self._changes.get(slot)

    def add(self, change: Change) -> int:
        """Take a change in place of an earlier one, and return how many others had to go to hold the bound.

        Forgetting goes last: a document that must not be served any more matters more than one that can be had again.
        """
        self._place(change)
        if change.sealed is None:
            earlier = self._fresh.get(change.slot)
            self._fresh_size += change.cost - (earlier.cost if earlier is not None else 0)
            self._fresh[change.slot] = change
        else:
            self._no_longer_fresh(change.slot)
        dropped = 0
        while self._size > self._limit and len(self._changes) > 1:
            self._take(self._first_to_go(change))
            dropped += 1
        return dropped

    def batch(self, most: int, size: int, *, fresh_only: bool) -> list[Change]:
        """Return the changes that have waited longest and are not held back, at most `most` of them, and about `size` bytes."""
        chosen: list[Change] = []
        total = 0
        for slot, change in (self._fresh if fresh_only else self._changes).items():
            if slot in self._held:
                continue
            chosen.append(change)
            total += change.cost
            if len(chosen) >= most or total >= size:
                break
        return chosen

    def is_fresh(self, change: Change) -> bool:
        """Return whether `change` was not yet sealed."""
        return self._fresh.get(change.slot) is change

    def settle(self, change: Change, sealed: Change) -> bool:
        """Put the sealed form in the place of the fresh one; return False if a later change has taken the place."""
        if self._changes.get(change.slot) is not change:
            return False
        self._no_longer_fresh(change.slot)
        self._place(sealed)
        return True

    def done(self, change: Change) -> None:
        """Let go of `change`, unless a later one has taken its place."""
        if self._changes.get(change.slot) is change:
            self._take(change.slot)

    def hold(self, change: Change) -> None:
        """Hold back `change`, unless a later one has taken its place."""
        if self._changes.get(change.slot) is change:
            self._held[change.slot] = change

    def release(self, most: int | None = None) -> None:
        """Let what was held back longest be tried again, at most `most` changes; all without."""
        for slot in list(self._held)[:most]:
            del self._held[slot]

    def _first_to_go(self, newest: Change) -> str:
        others = (each for each in self._changes.values() if each is not newest)
        oldest = next(others)
        return oldest.slot if not oldest.forgets else next((each.slot for each in others if not each.forgets), oldest.slot)

    def _place(self, change: Change) -> None:
        earlier = self._changes.get(change.slot)
        self._size += change.cost - (earlier.cost if earlier is not None else 0)
        self._changes[change.slot] = change
        self._held.pop(change.slot, None)

    def _take(self, slot: str) -> None:
        self._size -= self._changes.pop(slot).cost
        self._held.pop(slot, None)
        self._no_longer_fresh(slot)

    def _no_longer_fresh(self, slot: str) -> None:
        change = self._fresh.pop(slot, None)
        if change is not None:
            self._fresh_size -= change.cost
