"""Bytes, a content type and a base URL become a `Page`.

`sniff` tells the form, `from_json` and `from_html` read it, `links` joins addresses, `hashes` keeps what is sound.
"""

import re
from collections.abc import Generator

from proxy.core.errors import PageUnreadable
from proxy.core.page import Page, SourceForm
from proxy.core.parse.from_html import html_steps
from proxy.core.parse.from_json import json_steps
from proxy.core.parse.index import index_inside
from proxy.core.parse.sniff import form_of

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)

__all__ = ["index_inside", "parse_page", "parse_page_in_steps"]


def parse_page(body: bytes, content_type: str | None, url: str, project: str, *, link_limit: int = 200_000) -> Page:
    """Gives the page of `project` (its normalised name) that `body` holds.

    `content_type` is a hint: mirrors mislabel pages, so the body decides. `url` is where the page came from after redirects.
    Raises PageUnreadable where the body is no simple-API page, UpstreamOverLimit where it has more than `link_limit` links.
    """
    steps = parse_page_in_steps(body, content_type, url, project, link_limit=link_limit)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            page: Page = end.value
            return page


def parse_page_in_steps(
    body: bytes, content_type: str | None, url: str, project: str, *, link_limit: int = 200_000
) -> Generator[None, None, Page]:
    """As `parse_page`, yielding after every few hundred links, so that a page of thousands need not be read at one go."""
    said = content_type or ""
    body = _as_utf8(body, said)
    form = form_of(body)
    if form is None:
        raise PageUnreadable(url, said, "it is neither JSON with files nor an HTML page")
    if form is SourceForm.JSON:
        yield
        return (yield from json_steps(body, said, url, project, link_limit))
    return (yield from html_steps(body, said, url, project, link_limit))


def _as_utf8(body: bytes, said: str) -> bytes:
    """Return `body` in UTF-8: both forms are by their specifications (RFC 8259, HTML), whatever a server's default says.

    What is not, is read in the character set of the content type `said`; where that tells none, bad bytes are replaced, since one of them
    must not cost the page.
    """
    if body.isascii():
        return body
    try:
        body.decode()
    except UnicodeDecodeError:
        charset = _CHARSET.search(said)
        try:
            return body.decode(charset[1] if charset else "utf-8", errors="replace").encode(errors="replace")
        except (LookupError, ValueError):
            return body.decode(errors="replace").encode()
    return body
