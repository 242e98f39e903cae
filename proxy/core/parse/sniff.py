"""Telling JSON from HTML by looking at the bytes: content types of mirrors are often wrong or missing."""

import re

from proxy.core.page import SourceForm

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ANCHOR = re.compile(rb"<a\s", re.IGNORECASE)


def form_of(body: bytes) -> SourceForm | None:
    """Gives the form of a page, None where it looks like neither form."""
    start = body[:1024].removeprefix(_BYTE_ORDER_MARK).lstrip()
    if start.startswith(b"{"):
        return SourceForm.JSON
    return SourceForm.HTML if start.startswith(b"<") or _ANCHOR.search(body) else None
