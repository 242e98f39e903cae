"""Why the mirror is asked about a file: the price of the proxy is told by these."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request for a file is made."""

    AWAITED = "awaited"
    """The page waits for the newest final release, or for all that it lists."""
    CONSTRAINT = "constraint"
    """The page waits for a release that satisfies what metadata requires."""
    DEMAND = "demand"
    """Clients asked for files or metadata of this release, now or lately."""
    BACKGROUND = "background"
    """Nobody waits for it: the rest of the page, comparisons, renewed verdicts."""
    PROOF = "proof"
    """A denied file is asked for again."""
    WITNESS = "witness"
    """A file known to be good shows that the mirror delivers at all."""
