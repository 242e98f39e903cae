"""Pages in HTML (PEP 503, 592, 629, 658, 714, 740), read leniently: a bad anchor is skipped alone."""

import html
from collections.abc import Generator
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser

from proxy.core.errors import PageUnreadable, UpstreamOverLimit
from proxy.core.page import File, Page, SourceForm
from proxy.core.parse.files import fragment, make_file
from proxy.core.parse.hashes import core_metadata, hashes_in_fragment
from proxy.core.parse.links import Joiner, filename_of, is_address, split_fragment
from proxy.core.twins import told_apart

_STEP = 250


def html_steps(body: bytes, said: str, url: str, project: str, link_limit: int) -> Generator[None, None, Page]:
    """Reads an HTML page; see `parse_page_in_steps`."""
    document = LexborHTMLParser(body.replace(b"\x00", b" "))
    yield
    anchors = document.css("a")
    if len(anchors) > link_limit:
        raise UpstreamOverLimit(url, link_limit, "links")
    joiner = Joiner(_base(document, url))
    files = []
    for number, anchor in enumerate(anchors):
        file = _file(anchor.attributes, joiner)
        if file is not None:
            files.append(file)
        if number % _STEP == _STEP - 1:
            yield
    if not files:
        why = _no_index(document, len(anchors), body)
        if why:
            raise PageUnreadable(url, said, why)
    api_version = _meta(document, "pypi:repository-version") or "1.0"
    if api_version.partition(".")[0] != "1":
        raise PageUnreadable(url, said, f"its API version is {api_version[:20]}, and only 1 is known")
    return Page(
        project=project,
        name=project,
        files=told_apart(files),
        form=SourceForm.HTML,
        api_version="1.0",
        extra=_project_status(document),
        skipped=len(anchors) - len(files),
    )


def _base(document: LexborHTMLParser, url: str) -> str:
    base = document.css_first("base[href]")
    href = (base.attributes.get("href") or "") if base is not None else ""
    try:
        joined = urljoin(url, href.strip().replace(" ", "%20"))
    except ValueError:
        return url
    return joined if is_address(joined) else url


def _file(attributes: dict[str, str | None], joiner: Joiner) -> File | None:
    href = (attributes.get("href") or "").strip()
    link, hashes = split_fragment(href)
    filename = filename_of(link)
    address = None if filename is None else joiner.join(link.replace(" ", "%20"))
    if filename is None or address is None:
        return None
    requires_python = attributes.get("data-requires-python")
    signed = (attributes.get("data-gpg-sig") or "").lower()
    return make_file(
        filename,
        address,
        hashes_in_fragment(hashes),
        {},
        requires_python=html.unescape(requires_python) if requires_python else None,
        core_metadata=core_metadata(attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))),
        yanked=attributes["data-yanked"] or True if "data-yanked" in attributes else None,
        gpg_sig=signed == "true" if signed in {"true", "false"} else None,
        provenance=attributes.get("data-provenance") or None,
    )


def _no_index(document: LexborHTMLParser, anchors: int, body: bytes) -> str:
    """Says why a page without files is no page of a project; empty where it can be one."""
    if document.css_first("form, input[type=password]") is not None:
        return "it is a form, perhaps to log in"
    if _meta(document, "pypi:repository-version") is not None:
        return ""
    if anchors:
        return "none of its links leads to a distribution file"
    if document.css_first("frameset, script[src]") is not None:
        return "it is a page for people"
    title = document.css_first("title, h1")
    text = title.text(strip=True).lower() if title is not None else ""
    if any(word in text for word in ("sign in", "log in", "login", "error", "denied", "forbidden", "not found", "unavailable")):
        return f"it is titled {text[:60]!r}"
    if not text and document.body is not None and document.body.text(strip=True):
        return "it has neither links nor a title, but text"
    return "" if b"<" in body or not body.strip() else "it holds no HTML"


def _meta(document: LexborHTMLParser, name: str) -> str | None:
    for node in document.css("meta[name]"):
        if node.attributes.get("name") == name:
            return node.attributes.get("content")
    return None


def _project_status(document: LexborHTMLParser) -> bytes:
    status = _meta(document, "pypi:project-status")
    if not status:
        return b""
    reason = _meta(document, "pypi:project-status-reason")
    return fragment({"project-status": {"status": status, **({"reason": reason} if reason else {})}})
