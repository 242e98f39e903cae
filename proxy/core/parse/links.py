"""Joining links to the address of the page, without touching the escapes of either."""

import re
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from urllib.parse import unquote, urljoin, urlsplit

from proxy.core.letters import ALPHANUMERIC, FILENAME, Letters
from proxy.core.page import normalised_spelling
from proxy.core.parse.hashes import read_by_pip

_LONGEST = 16_384
_BREAKS = str.maketrans("", "", "\t\r\n")
_LONGEST_NAME = 300
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+!-]{0,290}(?:\.whl|\.tar\.gz)", re.ASCII)
_PLAIN_IN_LINKS = Letters(ALPHANUMERIC + "-._~!$&'()*+,;=:@%/?")
_PLAIN_IN_NAMES = Letters(FILENAME)
_STARTS_OF_NAMES = frozenset(ALPHANUMERIC + "_")
_NO_NAMES = frozenset("./?")
_DOTTED = re.compile(r"/\.")
_first, _last = itemgetter(0), itemgetter(-1)
_SCHEMES = ("https://", "http://")
_BEGINNING = re.compile(r"https?://|(?:\.\./)+|/")
_GOES_UP = re.compile(r"(?:\.\./)+(?=[^/.?#])")
_FILE_ENDINGS = (
    *(".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tbz", ".tar.xz", ".txz", ".tar.z", ".tar", ".tlz"),
    *(".tar.lz", ".tar.lzma", ".tar.zst", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg", ".asc", ".sig", "-variants.json"),
)
_VERSIONED = re.compile(r"(.+?)-v?[0-9].*\.(?!html?$|php$|aspx?$|jsp$)[a-z0-9]+", re.IGNORECASE)
"""The name of a project, a version, and an ending that no page for people has."""
_TOLD_IN_FRAGMENTS = re.compile(r"(?:egg|subdirectory|size|md5|sha[0-9_]+|blake[0-9a-z_]+)(?:=|-|%3D)", re.IGNORECASE)
_PLACE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_ABSOLUTE = re.compile(r"(https?):[/\\]*(.*)", re.DOTALL | re.IGNORECASE)
"""An address of http or https, and what comes after any number of slashes (URL Standard)."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORBIDDEN_IN_HOSTS = re.compile(r"[\x00-\x20\x7f#%/:<>?@\\^|\[\]]")
"""Characters that no host can have, escaped or not (URL Standard, forbidden domain code points)."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


class Joiner:
    """Joins the links of one page to its `base`; links that go up by the same steps share one join."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._page = base.partition("#")[0].partition("?")[0]
        self._up: dict[str, str] = {}

    def join_plain(self, links: Sequence[str]) -> list[str] | None:
        """As `join` for each of them, if all are of the one plain shape that nearly all pages have; else None."""
        if not links:
            return []
        found = _BEGINNING.match(links[0])
        up = "" if found is None else found[0]
        tails = [link.removeprefix(up) for link in links]
        joined = "".join(tails)
        # So much shorter they are only together if each link begins alike.
        if len(joined) != len("".join(links)) - len(up) * len(links) or "" in tails or max(map(len, links)) > _LONGEST:
            return None
        if not _PLAIN_IN_LINKS.make(joined) or (not up and ":" in joined):
            return None
        # Every link goes on with a name, and none goes up or stays in its folder later.
        if not _NO_NAMES.isdisjoint(map(_first, tails)) or _DOTTED.search(joined) or "/" in map(_last, tails):
            return None
        start = "" if up in _SCHEMES else urljoin(self._base, up or ".")
        addresses = [start + tail for tail in tails] if start else list(links)
        return None if self._page in addresses else addresses

    def join(self, link: str) -> str | None:
        """Gives the absolute address, percent-escapes untouched; None where the link leads to no http or https address."""
        if len(link) > _LONGEST or _UNSENDABLE.search(link):
            return None
        found = _GOES_UP.match(link)
        if found is not None and "/." not in link[found.end() - 1 :]:
            up = found[0]
            start = self._up.get(up)
            if start is None:
                start = self._up[up] = urljoin(self._base, up)
            return start + link[len(up) :]
        if link.startswith("https://") and link[8:9].isalnum() and "/." not in link:
            return link
        try:
            joined = urljoin(self._base, link)
        except ValueError:
            return None
        return joined if is_address(joined) else None

    def is_of_page(self, address: str) -> bool:
        """True if an absolute `address` is the page's own, or that of a folder that the page is in: no file can be there."""
        path = address.partition("#")[0]
        return path == self._page or (path.endswith("/") and self._page.startswith(path))


def is_address(url: str) -> bool:
    """Whether `url` is absolute, of http or https, and can be sent as it is."""
    try:
        parts = urlsplit(url)
        # A port that is no number raises an error, too.
        return parts.scheme in {"http", "https"} and parts.port != -1 and _is_host(parts.hostname or "") and not _UNSENDABLE.search(url)
    except ValueError:
        return False


def is_base(href: str) -> bool:
    """True if uv can join the links of a page to `href`, read as by the URL Standard: an absolute address of http or https."""
    found = _ABSOLUTE.match(without_breaks(href.strip()))
    return found is not None and is_address(f"{found[1].lower()}://{_UNSENDABLE.sub('%20', found[2].replace(chr(92), '/'))}")


def has_scheme(link: str) -> bool:
    """True if a link begins with a scheme, and so is not relative."""
    return _SCHEME.match(without_breaks(link.strip())) is not None


def _is_host(host: str) -> bool:
    if ":" in host:
        return True
    decoded = unquote(host, errors="replace")
    if not decoded or _FORBIDDEN_IN_HOSTS.search(decoded):
        return False
    # A host that ends in a number is an IPv4 address.
    return _NUMBER.fullmatch(decoded.rstrip(".").rpartition(".")[2]) is None or _is_ipv4(decoded.rstrip("."))


def _is_ipv4(host: str) -> bool:
    pieces = host.split(".")
    if len(pieces) > 4 or not all(map(_NUMBER.fullmatch, pieces)):
        return False
    try:
        numbers = [_number(piece) for piece in pieces]
    except ValueError:
        return False
    return all(number < 256 for number in numbers[:-1]) and numbers[-1] < 256 ** (5 - len(pieces))


def _number(piece: str) -> int:
    if piece[:2].lower() == "0x":
        return int(piece[2:] or "0", 16)
    return int(piece, 8 if piece.startswith("0") else 10)


def split_fragment(link: str, project: str = "") -> tuple[str, str]:
    """Split a link at its fragment; a raw `#` inside the file's name belongs to the name."""
    path, mark, rest = link.partition("#")
    if not mark or filename_of(path, project) is not None:
        return path, rest
    pieces = rest.split("#")
    for number, piece in enumerate(pieces):
        if _TOLD_IN_FRAGMENTS.match(piece):
            break
        longer = "%23".join([path, *pieces[: number + 1]])
        if filename_of(longer, project) is not None:
            return longer, "#".join(pieces[number + 1 :])
    return path, rest


def plain_filename_of(path: str) -> str | None:
    """Return what `filename_of` returns where it is a wheel's or an sdist's and nothing in it is escaped, as nearly always; else None."""
    folder, _, name = path.rpartition("/")
    # Behind two slashes there may be a host.
    return name if _PLAIN.fullmatch(name) and not folder.endswith("/") else None


def filename_of(url: str, project: str = "") -> str | None:
    """Return the name of the file that a URL leads to, as pip reads it: the end of the decoded path. None where it leads to none.

    What begins with the name of the `project` and a version is a file whatever its ending.
    """
    place = _PLACE.match(url)
    path = unquote(url[place.end() if place else 0 :].partition("?")[0], errors="replace")
    name = path.rstrip("/").rpartition("/")[2]
    if path.endswith("/"):
        return name if is_filename(name) else None
    return name if is_filename(name) or (project and _is_of(name, project)) else None


def filename_by_egg(url: str, fragment: str) -> str | None:
    """Return the end of a URL's path where its `fragment` says what project it is of: pip takes that for a release, whatever its ending."""
    name = unquote(url.partition("?")[0], errors="replace").rpartition("/")[2]
    return name if "egg=" in read_by_pip(fragment) and is_safe(name) else None


def without_breaks(link: str) -> str:
    """Return a link without line breaks and tabs, which clients pass over (URL Standard, basic URL parser)."""
    return link.translate(_BREAKS)


def _is_of(name: str, project: str) -> bool:
    found = _VERSIONED.fullmatch(name)
    return found is not None and normalised_spelling(found[1]) == project and is_safe(name)


def are_filenames(names: Sequence[str]) -> bool:
    """Tell whether all `names` are plain names of distribution files, told for thousands at one go; where it says no, `is_safe` tells."""
    return (
        _PLAIN_IN_NAMES.make("".join(names))
        and all(map(str.endswith, names, repeat(_FILE_ENDINGS)))
        and _STARTS_OF_NAMES.issuperset(map(_first, names))
        and max(map(len, names), default=0) <= _LONGEST_NAME
    )


def is_filename(name: str) -> bool:
    """Tell whether `name` is by its ending that of a distribution file, or of what stands beside one, and of nothing outside its folder."""
    return _PLAIN.fullmatch(name) is not None or (name.lower().endswith(_FILE_ENDINGS) and is_safe(name))


def is_safe(name: str) -> bool:
    """Tell whether `name` can be that of a file, and of nothing outside its folder."""
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable() and "/" not in name and "\\" not in name and not name.startswith(".")
