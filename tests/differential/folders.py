"""Pages from a folder: files in HTML or JSON, or the folders of an index, each with its `index.html` or `index.json`.

Hosts in them become paths of the stand-in, and hashes of core metadata those of what the stand-in has; all other bytes stay as they are.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name, parse_sdist_filename, parse_wheel_filename

from tests.differential.contents import Content, content_of, filename_in
from tests.differential.observations import Entry
from tests.differential.standin import JSON_TYPE, TEXT_HTML, SourcePage, Written

_HOST = re.compile(rb"(?<![+\w])https?://(?=[\w\[])|(?<=[\"'=])//(?=[\w\[])")
_IN_HREF = re.compile(rb"href\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)


@dataclass(frozen=True)
class PageFile:
    """A page in a file; `title` names it in reports."""

    title: str
    project: str
    body: bytes
    is_json: bool

    def page(self, origin: str, project: str | None = None) -> SourcePage:
        """Return the page as the mirror at `origin` serves it."""
        body = _HOST.sub(f"{origin}/at/".encode(), self.body)
        return SourcePage(project or self.project, (Written(body, JSON_TYPE if self.is_json else TEXT_HTML),), self.title)


def page_files(folder: Path) -> list[PageFile]:
    """Return the pages below `folder`, in the order of their names; what is neither HTML nor a page in JSON is passed over."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in {".html", ".htm", ".json"} or not path.is_file():
            continue
        body = path.read_bytes()
        is_json = path.suffix.lower() == ".json"
        if is_json and not _is_page(body):
            continue
        inside = path.stem == "index" and path.parent != folder
        project = path.parent.name if inside else _project(body, is_json)
        found.append(PageFile(str(path.relative_to(folder)), str(canonicalize_name(project)), body, is_json))
    return found


def rounds(pages: Iterable[PageFile]) -> Iterator[list[PageFile]]:
    """Group pages so that no project is twice in a group: each group is one index."""
    groups: list[dict[str, PageFile]] = []
    for page in pages:
        group = next((each for each in groups if page.project not in each), None)
        if group is None:
            groups.append(group := {})
        group[page.project] = page
    yield from (list(group.values()) for group in groups)


def stated_content(url: str, stated: Sequence[Entry]) -> Content:
    """Return content of the size that the page states, the same for all addresses of one SHA-256."""
    size = next((each.facts["size"] for each in stated if isinstance(each.facts["size"], int)), None)
    hashes = next((each.facts["hashes"] for each in stated if each.facts["hashes"]), None)
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    return content_of(filename_in(url), digest or url.partition("//")[2].partition("/")[2], size)


def _is_page(body: bytes) -> bool:
    try:
        page = json.loads(body)
    except ValueError:
        return False
    return isinstance(page, dict) and isinstance(page.get("files"), list)


def _project(body: bytes, is_json: bool) -> str:
    if is_json:
        page = json.loads(body)
        if isinstance(page.get("name"), str) and page["name"]:
            return str(page["name"])
        names: list[str] = [str(each.get("filename", "")) for each in page["files"] if isinstance(each, dict)]
    else:
        names = [filename_in(html.unescape(each.decode(errors="replace"))) for each in _IN_HREF.findall(body)]
    known = Counter(name for each in names if (name := project_of(each)))
    return known.most_common(1)[0][0] if known else "demo"


def project_of(filename: str) -> str | None:
    """Return the normalised name of the project that a wheel or an sdist belongs to by its name."""
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[0])
        return str(parse_sdist_filename(filename)[0])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
