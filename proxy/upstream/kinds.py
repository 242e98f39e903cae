"""Recognising the product that a mirror runs, by its own headers and by the layout of its addresses."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.core.verdict.budget import MirrorKind


def kind_by_address(url: str) -> MirrorKind:
    """Gives what the address of a simple API tells, AUTO where it tells nothing."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path
    if ".d.codeartifact." in host:
        return MirrorKind.CODEARTIFACT
    if path.rstrip("/").endswith("/+simple"):
        return MirrorKind.DEVPI
    if "/artifactory/api/pypi/" in path or "/api/pypi/" in path:
        return MirrorKind.ARTIFACTORY
    if path.startswith("/repository/") or "/nexus/repository/" in path:
        return MirrorKind.NEXUS
    return MirrorKind.AUTO


def kind_by_headers(headers: Mapping[str, str]) -> MirrorKind:
    """Gives what the headers (lower-case names) of an answer tell, AUTO where they tell nothing.

    A plain web server is never concluded: products hide behind it.
    """
    server = headers.get("server", "").lower()
    if server.startswith("artifactory") or "x-artifactory-id" in headers or "x-artifactory-node-id" in headers:
        return MirrorKind.ARTIFACTORY
    if server.startswith("nexus"):
        return MirrorKind.NEXUS
    if any(name.startswith("x-devpi") for name in headers):
        return MirrorKind.DEVPI
    return MirrorKind.AUTO
