"""Pages in HTML (PEP 503, 592, 629, 658, 708, 714, 740, 792), read leniently: a bad anchor is skipped alone.

Upload times and sizes are read as uv reads them: `data-upload-time`, `data-size`.
"""

import html
import re
from collections.abc import Generator, Sequence
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

from proxy.core.errors import PageUnreadable, UpstreamOverLimit
from proxy.core.page import LARGEST, File, Fragment, Page, Sha256, SourceForm
from proxy.core.parse.files import fragment, is_of_later_major, make_file
from proxy.core.parse.hashes import core_metadata, hashes_in_fragment, is_advertisement, read_by_pip
from proxy.core.parse.index import why_no_index
from proxy.core.parse.links import (
    Joiner,
    filename_by_egg,
    filename_of,
    has_scheme,
    is_address,
    is_base,
    plain_filename_of,
    split_fragment,
    without_breaks,
)
from proxy.core.parse.moments import sound_moment
from proxy.core.parse.specifiers import unescaped_specifiers
from proxy.core.twins import told_apart

_STEP = 250
_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+[a-z]+://[!-~]{1,2000}", re.IGNORECASE)
"""A link to version control as pip reads it."""
_API_VERSION = re.compile(r"1\.[0-9]{1,9}", re.ASCII)
_SERIAL = re.compile(rb"<!--\s*SERIAL\s+([0-9]{1,18})\s*-->")
_LONGEST_META = 2000
_MOST_METAS = 50
_TEMPLATE = re.compile(rb"<template[\s/>]", re.IGNORECASE)
_MOVED_IN_TREES = re.compile(rb"<(/?)(a|template)(?=[\s/>])", re.IGNORECASE)
_RENAMED = re.compile("(?:</x-a>)?<(/?)x-(a|template)", re.IGNORECASE)
Attributes = dict[str, str | None]
_VERSION, _STATUS, _REASON = "pypi:repository-version", "pypi:project-status", "pypi:project-status-reason"
_TRACKS, _LOCATIONS = "pypi:tracks", "pypi:alternate-locations"
_HAVE_KEYS = frozenset({_VERSION, _STATUS, _REASON, _TRACKS, _LOCATIONS})


def html_steps(body: bytes, said: str, url: str, project: str, link_limit: int) -> Generator[None, None, Page]:
    """Read an HTML page; see `parse_page_in_steps`."""
    document, nodes, anchors = _read(body.replace(b"\x00", b" "))
    yield
    if len(anchors) > link_limit:
        raise UpstreamOverLimit(url, link_limit, "links")
    joiner = Joiner(_base(document, url))
    files: list[File] = []
    links: list[tuple[str, str]] = []
    for number, attributes in enumerate(anchors):
        file = _file(attributes, joiner, project)
        if file is not None:
            files.append(file)
        elif _REPOSITORY.fullmatch(link := (attributes.get("href") or "").strip()):
            links.append((link, nodes[number].text(strip=True)[:_LONGEST_META] or link))
        if number % _STEP == _STEP - 1:
            yield
    yield
    apart = told_apart(files)
    yield
    if not files and not links:
        why = why_no_index(document, anchors, url, project)
        if why:
            raise PageUnreadable(url, said, why)
    metas = _metas(document)
    api_version = next((content for name, content in metas if name == _VERSION), "1.0")
    if is_of_later_major(api_version):
        raise PageUnreadable(url, said, f"its API version is {api_version[:20]}, and only 1 is known")
    tracks = [content for name, content in metas if name == _TRACKS]
    serial = _SERIAL.search(body, max(0, len(body) - 1000))
    return Page(
        project=project,
        name=project,
        files=apart,
        form=SourceForm.HTML,
        api_version=api_version if _API_VERSION.fullmatch(api_version) else "1.0",
        meta=fragment({"tracks": tracks}) if tracks else b"",
        extra=_extra(metas),
        metas=tuple(each for each in metas if each[0] not in _HAVE_KEYS)[:_MOST_METAS],
        links=tuple(links),
        serial=None if serial is None else serial[1].decode(),
        skipped=len(anchors) - len(files) - len(links),
    )


def _read(body: bytes) -> tuple[LexborHTMLParser, list[LexborNode], list[Attributes]]:
    """Return a page as a tree, its anchors as clients see them, who take one tag after the other, and what each says.

    A tree after HTML5 sets the content of a `<template>` apart, and repeats in the next block an anchor that was left open. Neither
    happens to elements of other names, so that a page which may have one of the two is read with these renamed.
    """
    document = LexborHTMLParser(body)
    nodes = document.css("a")
    anchors = [node.attributes for node in nodes]
    if len({anchor.get("href") for anchor in anchors}) == len(anchors) and not _TEMPLATE.search(body):
        return document, nodes, anchors
    document = LexborHTMLParser(_MOVED_IN_TREES.sub(_renamed, body))
    nodes = document.css("x-a")
    return document, nodes, [_as_written(node.attributes) for node in nodes]


def links_in_html(body: bytes) -> tuple[str | None, list[Attributes]]:
    """Return what a strict client reads of an HTML page: the address in its `<base>`, and the attributes of its anchors, as written.

    A `<base>` counts if it comes before every link.
    """
    document, _, anchors = _read(body)
    first = document.css_first("a, link, base")
    return (first.attributes.get("href") if first is not None and first.tag == "base" else None), anchors


def _renamed(found: re.Match[bytes]) -> bytes:
    # One that is left open ends where the next begins: thousands inside each other would take long to read.
    return b"%b<%bx-%b" % (b"</x-a>" if found[0].lower() == b"<a" else b"", found[1], found[2])


def _as_written(attributes: Attributes) -> Attributes:
    """Return attributes with the tags in their values as they were, such as in the reason of a yank."""
    return {name: value and _RENAMED.sub(r"<\1\2", value) for name, value in attributes.items()}


def _base(document: LexborHTMLParser, url: str) -> str:
    base = document.css_first("base[href]")
    href = (base.attributes.get("href") or "") if base is not None else ""
    if has_scheme(href) and not is_base(href):
        return url
    try:
        joined = urljoin(url, href.strip().replace(" ", "%20"))
    except ValueError:
        return url
    return joined if is_address(joined) else url


def _file(attributes: Attributes, joiner: Joiner, project: str) -> File | None:
    href = (attributes.get("href") or "").strip()
    link, _, told = href.partition("#")
    filename = plain_filename_of(link)
    address = None if filename is None else joiner.join(link)
    if filename is None or address is None:
        link, told = split_fragment(without_breaks(href), project)
        filename = filename_of(link, project) or filename_by_egg(link, told)
        address = None if filename is None else joiner.join(link.replace(" ", "%20"))
    if filename is None or address is None:
        return None
    signed = (attributes.get("data-gpg-sig") or "").lower()
    return make_file(
        filename,
        address,
        hashes_in_fragment(told),
        {},
        size=_size(attributes["data-size"]) if "data-size" in attributes else None,
        requires_python=unescaped_specifiers(html.unescape(attributes.get("data-requires-python") or "")) or None,
        core_metadata=_core_metadata(attributes, filename),
        upload_time=sound_moment(attributes.get("data-upload-time")),
        yanked=attributes["data-yanked"] or True if "data-yanked" in attributes else None,
        gpg_sig=signed == "true" if signed in {"true", "false"} else None,
        provenance=attributes.get("data-provenance") or None,
        link_fragment=_kept(told),
    )


def _core_metadata(attributes: Attributes, filename: str) -> bool | Sha256 | None:
    """Return what an anchor says of core metadata; of a wheel as uv reads it, since pages offer that of wheels anyway.

    pip reads more values as that there is some, and would build an sdist that has none.
    """
    said = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    return core_metadata(said) if said is None or not filename.endswith(".whl") or is_advertisement(said) else False


def _kept(told: str) -> Fragment | None:
    return (Fragment(read_by_pip(told).encode()) or None) if "egg=" in told or "subdirectory=" in told else None


def _size(said: str | None) -> int | None:
    text = (said or "").strip().removeprefix("+")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST else None


def _metas(document: LexborHTMLParser) -> Sequence[tuple[str, str]]:
    """Return the names and contents of the page's `<meta>` elements, the names of the simple API in lower case."""
    found = []
    for node in document.css("meta[name]"):
        name, content = node.attributes.get("name"), node.attributes.get("content")
        if name and content is not None and len(name) + len(content) <= _LONGEST_META:
            found.append((name.lower() if name.lower().startswith("pypi:") else name, content))
    return found


def _extra(metas: Sequence[tuple[str, str]]) -> bytes:
    """Return the top-level keys of JSON that say the same (PEP 708, 792)."""
    said = dict(reversed(metas))
    extra: dict[str, object] = {}
    if said.get(_STATUS):
        extra["project-status"] = {"status": said[_STATUS], **({"reason": said[_REASON]} if said.get(_REASON) else {})}
    locations = [content for name, content in metas if name == _LOCATIONS]
    if locations:
        extra["alternate-locations"] = locations
    return fragment(extra)
