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
    """Probes per page and refresh, and background probes per second (0: none in the background). None: no bound."""

    probes: int | None
    rate: float | None
    confirmed: Confirmed = Confirmed.CHOSEN


_COSTLY = Budget(probes=1, rate=0.0, confirmed=Confirmed.ALL)
_MODERATE = Budget(probes=400, rate=20.0)

BUDGETS: dict[MirrorKind, Budget] = {
    MirrorKind.AUTO: _MODERATE,
    MirrorKind.OTHER: _MODERATE,
    MirrorKind.ARTIFACTORY: replace(_MODERATE, confirmed=Confirmed.READ),
    MirrorKind.NEXUS: _COSTLY,
    MirrorKind.DEVPI: _COSTLY,
    MirrorKind.CODEARTIFACT: _COSTLY,
    MirrorKind.STATIC: Budget(probes=None, rate=None, confirmed=Confirmed.ALL),
}
