"""Recognising the product that a mirror runs, by its own headers and by the layout of its addresses.

A plain web server is never concluded from its headers: products hide behind one, and a probe that is cheap there is dear here.
So STATIC comes from the configuration alone.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.core.verdict.budget import MirrorKind

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
    """Gives what the headers (lower-case names) of an answer tell, AUTO where they tell nothing."""
    server = headers.get("server", "").lower()
    for start, kind in _SERVERS:
        if server.startswith(start):
            return kind
    for start, kind in _HEADERS:
        if any(name.startswith(start) for name in headers):
            return kind
    return MirrorKind.AUTO
