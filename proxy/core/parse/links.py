"""Joining links to the address of the page, without touching the escapes of either."""

import re
from urllib.parse import unquote, urljoin, urlsplit

_LONGEST = 4096
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_FILE_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.z", ".tar", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg")


class Joiner:
    """Joins the links of one page to its `base`; links that go up by the same steps share one join."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._up: dict[int, str] = {}

    def join(self, link: str) -> str | None:
        """Gives the absolute address, percent-escapes untouched; None where the link leads to no http or https address."""
        if len(link) > _LONGEST or _UNSENDABLE.search(link):
            return None
        steps = 0
        while link.startswith("../", steps * 3):
            steps += 1
        rest = link[steps * 3 :]
        if steps and rest and not rest.startswith(("/", ".", "?", "#")) and "/../" not in rest and "/./" not in rest:
            start = self._up.get(steps)
            if start is None:
                start = self._up[steps] = urljoin(self._base, "../" * steps)
            return start + rest
        try:
            joined = urljoin(self._base, link)
            scheme, host, _, _, _ = urlsplit(joined)
        except ValueError:
            return None
        return joined if scheme in {"http", "https"} and host else None


def split_fragment(link: str) -> tuple[str, str]:
    """Splits a link at its fragment; a raw `#` inside the file's name belongs to the name where hashes follow a later one."""
    path, mark, fragment = link.rpartition("#")
    if not mark:
        return link, ""
    if "=" not in fragment and "-" not in fragment and filename_of(link) is not None:
        return link.replace("#", "%23"), ""
    return path.replace("#", "%23"), fragment


def filename_of(url: str) -> str | None:
    """Gives the name of the distribution file that a URL leads to; None where it leads to none."""
    path = url.partition("?")[0]
    name = unquote(path.rpartition("/")[2], errors="replace")
    return name if is_filename(name) else None


def is_filename(name: str) -> bool:
    """Whether `name` can be the name of a distribution file, and of nothing outside its folder."""
    if not name.lower().endswith(_FILE_ENDINGS) or len(name) > 300:
        return False
    return name.isprintable() and "/" not in name and "\\" not in name and not name.startswith(".")
