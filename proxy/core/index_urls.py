"""Addresses of package indexes, compared by what they lead to rather than by how somebody spelled them.

Rules for this file: pure, and nothing here raises for an address that is none.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNESCAPED = "!$&'()*+,;=:@-._~"
"""What a segment of a path may hold as it is (RFC 3986, section 3.3)."""
_INDEX_PAGE = "index.html"
_HOST = re.compile(r"[0-9a-z._-]+|\[[0-9a-f:.]+\]")
_PROXIED_FILE = re.compile(r"(?:[0-9a-f]+/)?[^/]+")
"""The end of a file's address at a proxy: its name, with a mark before that of a twin."""


@dataclass(frozen=True, slots=True)
class ComparableURL:
    """An address of which all spellings are equal: `host` in small letters, with its port unless that is the default one.

    `path` has no slash at its end, no dot segments and no `index.html`. The scheme is left out: a mirror often answers at both.
    """

    host: str
    path: str
    query: str = ""

    def holds(self, other: "ComparableURL") -> bool:
        """Return whether `other` is an address below this one."""
        return self.host == other.host and other.path.startswith(f"{self.path}/")


def comparable_url(url: str) -> ComparableURL | None:
    """Return the address in its comparable form, without credentials and fragment; None where it is none of HTTP."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    scheme, hostname = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORTS or not hostname:
        return None
    host = _comparable_host(hostname)
    if not _HOST.fullmatch(host):
        return None
    return ComparableURL(host if port in {None, _DEFAULT_PORTS[scheme]} else f"{host}:{port}", _comparable_path(parts.path), parts.query)


def same_index(one: str, other: str) -> bool:
    """Return whether two addresses lead to the same index."""
    comparable = comparable_url(one)
    return comparable is not None and comparable == comparable_url(other)


def base_of_index(index: ComparableURL) -> ComparableURL:
    """Return the address below which an index has its pages, and mostly its files: the one above that of its simple API."""
    return ComparableURL(index.host, index.path.rpartition("/")[0])


def mirror_name_at_proxy(index: ComparableURL) -> str | None:
    """Return the name in the address of one of a proxy's mirrors, empty for the first one; None where no proxy has such an address."""
    above, _, last = index.path.rpartition("/")
    return above.rpartition("/")[2] if last == "simple" else None


def is_proxied_file(index: ComparableURL, project: str, file: ComparableURL) -> bool:
    """Return whether a file's address is that of `project` at a proxy with the simple API `index`: only mirrormend makes such ones."""
    start = f"{base_of_index(index).path}/files/{project}/"
    if mirror_name_at_proxy(index) is None or index.host != file.host or not file.path.startswith(start):
        return False
    return _PROXIED_FILE.fullmatch(file.path, len(start)) is not None


def shown_url(url: str) -> str:
    """Return the address as it may be told: without credentials, query and fragment."""
    comparable = comparable_url(url)
    if comparable is None:
        return "an address that cannot be read"
    return f"{urlsplit(url.strip()).scheme.lower()}://{comparable.host}{comparable.path}/"


def _comparable_host(hostname: str) -> str:
    host = hostname.lower().rstrip(".")
    try:
        return f"[{IPv6Address(host).compressed}]" if ":" in host else host.encode("idna").decode("ascii")
    except ValueError:
        # A UnicodeError is one as well.
        return host


def _comparable_path(path: str) -> str:
    segments: list[str] = []
    for written in path.split("/"):
        segment = quote(unquote_to_bytes(written), safe=_UNESCAPED)
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    if segments and segments[-1] == _INDEX_PAGE:
        segments.pop()
    return "".join(f"/{segment}" for segment in segments)
