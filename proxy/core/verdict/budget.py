"""What a probe costs at each kind of mirror, and so how many are asked for.

Only tables may live here. What they follow from is told in `docs/faults.md`: on some products a HEAD is a full download.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class MirrorKind(StrEnum):
    """The product a mirror runs, as far as it changes what a probe costs."""

    AUTO = "auto"
    ARTIFACTORY = "artifactory"
    NEXUS = "nexus"
    DEVPI = "devpi"
    CODEARTIFACT = "codeartifact"
    STATIC = "static"
    OTHER = "other"


class Confirmed(StrEnum):
    """The files of which an audit asks by a GET of one byte whatever HEAD says; of the others some of each platform."""

    ALL = "all"
    CHOSEN = "chosen"
    """Those of the releases that a lock names, or that a resolver looks at first."""
    READ = "read"
    """Those of these releases that a resolver reads: a GET may have the mirror fetch the whole file."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a kind of mirror is asked. None: no bound.

    `probes` is how many files of one page are asked about at a refresh, `rate` how many a second in the background (0: none).
    `shared` is what all pages of the mirror share for what nobody waits for, as a bucket that regains `regained` a second. Where a probe
    is a download, what a page waits for counts against it too.
    """

    probes: int | None
    rate: float | None
    shared: int | None
    regained: float | None
    confirmed: Confirmed = Confirmed.CHOSEN

    @property
    def costly(self) -> bool:
        """True where a probe costs the mirror as much as a download."""
        return self.rate == 0


COSTLY = Budget(probes=1, rate=0.0, shared=5, regained=0.05, confirmed=Confirmed.ALL)
"""The budget of mirrors where a probe is a download, and of all others as long as it is not known that they are none."""

_MODERATE = Budget(probes=400, rate=4.0, shared=400, regained=4.0)

BUDGETS: dict[MirrorKind, Budget] = {
    MirrorKind.AUTO: _MODERATE,
    MirrorKind.OTHER: _MODERATE,
    MirrorKind.ARTIFACTORY: replace(_MODERATE, confirmed=Confirmed.READ),
    MirrorKind.NEXUS: COSTLY,
    MirrorKind.DEVPI: COSTLY,
    MirrorKind.CODEARTIFACT: COSTLY,
    MirrorKind.STATIC: Budget(probes=None, rate=None, shared=None, regained=None, confirmed=Confirmed.ALL),
}
