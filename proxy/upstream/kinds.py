"""Recognising the product that a mirror runs, by its own headers and by the layout of its addresses.

An address is a guess: whoever set up the mirror chose it. The product's own headers beat it, and where several products speak from one
address, the one holds whose probes cost most. Until the mirror has said anything, probes are taken to cost as much as anywhere.
A plain web server is never concluded from its headers: products hide behind one, and a probe that is cheap there is dear here.
So STATIC comes from the configuration alone.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from proxy.core.verdict.budget import BUDGETS, COSTLY, Budget, MirrorKind

_SERVERS = (("artifactory", MirrorKind.ARTIFACTORY), ("nexus", MirrorKind.NEXUS), ("devpi", MirrorKind.DEVPI))
_HEADERS = (
    ("x-artifactory-", MirrorKind.ARTIFACTORY),
    ("x-jfrog-", MirrorKind.ARTIFACTORY),
    ("x-nexus-", MirrorKind.NEXUS),
    ("x-devpi-", MirrorKind.DEVPI),
)


def kind_by_address(url: str) -> MirrorKind:
    """Gives what the address of a simple API tells, AUTO where it tells nothing."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path
    if ".codeartifact." in host:
        return MirrorKind.CODEARTIFACT
    if "/+simple/" in f"{path}/":
        return MirrorKind.DEVPI
    if "/api/pypi/" in path:
        return MirrorKind.ARTIFACTORY
    if path.startswith("/repository/") or "/nexus/repository/" in path:
        return MirrorKind.NEXUS
    return MirrorKind.AUTO


def kind_by_headers(headers: Mapping[str, str]) -> MirrorKind:
    """Return the product that the headers (lower-case names) of an answer tell, the costliest of several, AUTO where they tell none."""
    server = headers.get("server", "").lower()
    kinds = [kind for start, kind in _SERVERS if server.startswith(start)]
    kinds += [kind for start, kind in _HEADERS if any(name.startswith(start) for name in headers)]
    return costliest(kinds)


def costliest(kinds: Iterable[MirrorKind]) -> MirrorKind:
    """Return the first of the `kinds` whose probes cost as much as any other's, AUTO where there are none."""
    kinds = list(kinds)
    return next((kind for kind in kinds if BUDGETS[kind].costly), kinds[0] if kinds else MirrorKind.AUTO)


class Recognition:
    """All that is known of the product that a mirror runs: as `configured`, else by its address `url` and by what it says.

    `kind` is AUTO where neither tells anything; `is_configured` says that the settings tell it.
    """

    __slots__ = ("heard", "is_configured", "is_sure", "kind")

    def __init__(self, configured: MirrorKind, url: str) -> None:
        self.is_configured = configured is not MirrorKind.AUTO
        self.heard: dict[MirrorKind, None] = {}
        """The products that its answers told, in the order of coming."""
        self.kind = configured if self.is_configured else kind_by_address(url)
        """The product as it is known at present."""
        self.is_sure = self.is_configured
        """True if the kind is more than a guess: configured, or not contradicted by an answer that came."""

    @property
    def budget(self) -> Budget:
        """How much the mirror is asked: as little as the costliest kind as long as the address alone speaks."""
        return BUDGETS[self.kind] if self.is_sure else COSTLY

    def hear(self, headers: Mapping[str, str]) -> bool:
        """Learn from the headers (lower-case names) of an answer of the mirror's own, and return whether that changed anything."""
        if self.is_configured:
            return False
        kind = kind_by_headers(headers)
        if self.is_sure and (kind is MirrorKind.AUTO or kind in self.heard):
            return False
        self.is_sure = True
        if kind is not MirrorKind.AUTO:
            self.heard[kind] = None
            self.kind = costliest(self.heard)
        return True

    def take_over(self, earlier: "Recognition") -> None:
        """Know what was heard of the same mirror before."""
        if self.is_configured:
            return
        self.heard |= earlier.heard
        # A mirror that answered without telling its product is known as well as one that told it; what was configured was not heard.
        self.is_sure |= bool(earlier.heard) or (earlier.is_sure and not earlier.is_configured)
        if self.heard:
            self.kind = costliest(self.heard)
