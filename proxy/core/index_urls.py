"""Addresses of package indexes: which of them lead to the same one, for whom, and what may be told of them.

Two questions are asked. A lock names an index as uv spells it, and to uv `http` and `https`, or a path with `index.html`, are other
indexes (`same_for_uv`). The inputs of `check` and `warm` name the mirror as anybody wrote it, for programs with rules of their own
(`same_mirror`). Both read an address by the URL Standard. Rules for this file: pure, and nothing here raises for an address that is none.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote_to_bytes

from proxy.core.url_standard import StandardUrl, is_http, parse_url

_UNESCAPED = "!$&'()*+,;=:@-._~"
"""Characters that a segment of a path may hold as they are (RFC 3986, section 3.3)."""
_INDEX_PAGE = "index.html"
_LAST_DOT = re.compile(r"\.(?=(?::[0-9]+)?\Z)")
_USER_OR_REST = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)
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
        parts = parse_url(url)
    except ValueError:
        return None
    return ComparableURL(_LAST_DOT.sub("", parts.place), _comparable_path(parts.path), _query(parts))


def same_mirror(one: str, other: str) -> bool:
    """Return whether two addresses lead to the same mirror, however they are spelled and by whichever scheme."""
    comparable = comparable_url(one)
    return comparable is not None and comparable == comparable_url(other)


def same_for_uv(one: str, other: str) -> bool:
    """Return whether uv takes two addresses for the same index, credentials and the end of the path left out.

    uv compares the indexes of a lock with the configured ones letter by letter. Settings of mirrormend always end with a slash, and those
    of uv often do not: slashes at the end, an empty query and the fragment do not count here.
    """
    try:
        return _without_end(one) == _without_end(other)
    except ValueError:
        return False


def _without_end(url: str) -> str:
    if not is_http(url):
        return url.rstrip("/")
    parts = parse_url(url)
    return str(replace(parts, user="", path=parts.path.rstrip("/"), query=_query(parts), fragment=""))


def _query(parts: StandardUrl) -> str:
    return "" if parts.query == "?" else parts.query


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
    """Return the address of an index, or the path of a folder, as it may be told: without credentials, query and fragment."""
    if not is_http(url):
        return "".join(letter for letter in _USER_OR_REST.sub("", url) if letter.isprintable())
    try:
        parts = parse_url(url)
    except ValueError:
        # Who knows what of it is a password.
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.place}{parts.path}"


def _comparable_path(path: str) -> str:
    segments = [quote(unquote_to_bytes(segment), safe=_UNESCAPED) for segment in path.split("/") if segment]
    if segments and segments[-1] == _INDEX_PAGE:
        segments.pop()
    return "".join(f"/{segment}" for segment in segments)
