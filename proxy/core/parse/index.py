"""Telling an index page without files from what answers in its place: login, maintenance and error pages with status 200.

The products show by something that theirs is one: a version of the repository (PEP 629), a title such as "Links for demo" or
"Simple index", the listing of a folder. A document that holds nothing at all is taken for one too: PEP 503 asks for no title, and
static indexes are written by hand. A body without a byte is none.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from proxy.core.page import normalised_spelling

_INDEX_INSIDE = frozenset({"index.html", "index.htm"})
_VERSIONS = frozenset({"pypi:repository-version", "api-version"})
"""The second is that of the oldest index pages, which Artifactory writes to this day."""
_SIGNS = ("links for", "simple index", "index of", "directory listing", "directory of")
_REFUSES = re.compile(
    r"sign in|log ?in|error|denied|forbidden|not found|unavailable|maintenance|quota|exceeded|too many|temporar|gateway|timed? ?out"
)
_FOR_PEOPLE = "script, iframe, img, input, button, meta[http-equiv=refresh], frameset"
_LARGEST_LISTING = 64 * 1024


def why_no_index(document: LexborHTMLParser, anchors: Sequence[Mapping[str, str | None]], url: str, project: str) -> str:
    """Return why a page of the address `url` without files is no page of `project`; empty where it can be one."""
    if document.css_first("form, input[type=password]") is not None:
        return "it is a form, perhaps to log in"
    if any((node.attributes.get("name") or "").lower() in _VERSIONS for node in document.css("meta[name]")):
        return ""
    heading = _heading(document)
    sign = next((sign for sign in _SIGNS if sign in heading), "")
    if not sign and _REFUSES.search(heading):
        return f"it is titled {heading[:60]!r}"
    if anchors and sign not in _SIGNS[:2] and not all(_stays_above(_link(anchor), url) for anchor in anchors):
        return "none of its links leads to a distribution file"
    goes_up = any(_link(anchor).startswith("..") for anchor in anchors)
    if sign or goes_up or project in (normalised_spelling(word) for word in heading.split()):
        return ""
    if document.css_first(_FOR_PEOPLE) is not None:
        return "it is a page for people"
    if heading or (document.body is not None and document.body.text(strip=True)):
        return "nothing on it says that it is an index"
    return ""


def index_inside(body: bytes) -> str | None:
    """Return the name of the page that the listing of a folder has besides the way up, and nothing else; None if it has none."""
    if len(body) > _LARGEST_LISTING or b"index.htm" not in body:
        return None
    anchors = LexborHTMLParser(body).css("a[href]")
    links = [(anchor.attributes.get("href") or "").strip() for anchor in anchors]
    names = {link.removeprefix("./") for link in links if not link.startswith(("?", "/", ".."))}
    inside = names & _INDEX_INSIDE
    return min(inside) if inside and names == inside else None


def _heading(document: LexborHTMLParser) -> str:
    return " ".join(node.text(strip=True).lower() for node in document.css("title, h1")[:4])


def _link(anchor: Mapping[str, str | None]) -> str:
    return (anchor.get("href") or "").strip()


def _stays_above(link: str, url: str) -> bool:
    """Tell whether a link leads to the listing of a folder itself, sorted otherwise, or to one above it."""
    try:
        target, page = urlsplit(urljoin(url, link)), urlsplit(url)
    except ValueError:
        return False
    folder = page.path.rpartition("/")[0] + "/"
    return bool(link) and target.netloc == page.netloc and target.path.endswith("/") and folder.startswith(target.path)
