"""What is wrong with a page as the mirror sent it: what the parser had to forgive, and what a strict client misses.

uv reads a page strictly: one entry that is not as it should be costs the whole page.
Sources: the simple repository API of the PyPA specifications (PEP 503, 691, 700).
Rules for this file: pure.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import msgspec

from proxy.audit.findings import Exchange, Fault, Finding, Level
from proxy.core.page import File, Page, SourceForm

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")
_NAMED = 3
_LENGTHS = {"md5": 32, "sha256": 64, "sha384": 96, "sha512": 128}
"""Characters of the hashes that uv knows, in hexadecimal."""


class _Entry(msgspec.Struct, rename="kebab"):
    """An entry as uv takes it: what it looks at has its type, and may be null in a few places only."""

    filename: str
    url: str
    hashes: dict[str, str | None]
    requires_python: str | None = None
    size: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    upload_time: str | msgspec.UnsetType = msgspec.UNSET
    yanked: bool | str = False
    core_metadata: bool | dict[str, str | None] | None = None
    dist_info_metadata: bool | dict[str, str | None] | None = None


class _Entries(msgspec.Struct):
    files: list[msgspec.Raw]


_decode_page = msgspec.json.Decoder(_Entries).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


def page_findings(page: Page, body: bytes, content_type: str | None, exchange: Exchange) -> list[Finding]:
    """Gives what is wrong with `page`, read from `body` that came as `content_type`."""
    found = [*_label(page, content_type), *_forgiven(page, body), *_lacking(page)]
    return [replace(finding, exchange=exchange) for finding in found]


def _label(page: Page, content_type: str | None) -> Iterator[Finding]:
    base = (content_type or "").partition(";")[0].strip()
    right = (JSON_TYPE,) if page.form is SourceForm.JSON else _HTML_TYPES
    if base not in right:
        said = base[:60] or "no content type"
        says = f"it is {page.form.value.upper()} and comes as {said}: uv goes by the type, and refuses or misreads it"
        yield Finding(Level.ERROR, Fault.PAGE_MISLABELLED, page.project, says, cause="mislabelled")
    if page.form is SourceForm.HTML and not any(file.upload_time for file in page.files):
        says = "the mirror has the page in HTML only, and without upload times: exclude-newer excludes every file"
        yield Finding(Level.NOTE, Fault.PAGE_HTML_ONLY, page.project, says, cause="html-only")
    if not page.files:
        yield Finding(Level.WARNING, Fault.PAGE_EMPTY, page.project, "it lists no file at all", cause="empty")


def _forgiven(page: Page, body: bytes) -> Iterator[Finding]:
    if page.skipped and page.form is SourceForm.JSON:
        says = f"{page.skipped} of its entries name no file or no address that can be used"
        yield Finding(Level.ERROR, Fault.PAGE_ENTRY_SKIPPED, page.project, says, cause="malformed")
    elif page.skipped:
        says = f"{page.skipped} of its links lead to no distribution file"
        yield Finding(Level.NOTE, Fault.PAGE_ENTRY_SKIPPED, page.project, says, cause="malformed")
    if page.form is not SourceForm.JSON:
        return
    invalid = _invalid_entries(body)
    if invalid:
        examples = "; ".join(f"{name}: {why}" for name, why in invalid[:_NAMED])
        says = f"{len(invalid)} of its entries are not as the specification has them, for which uv refuses the whole page ({examples})"
        yield Finding(Level.ERROR, Fault.PAGE_ENTRY_INVALID, page.project, says, cause="malformed")


def _invalid_entries(body: bytes) -> list[tuple[str, str]]:
    try:
        entries = _decode_page(body.removeprefix(b"\xef\xbb\xbf")).files
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    invalid = []
    for raw in entries:
        try:
            entry = _decode_entry(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            invalid.append((_name_in(raw), str(error).replace(" - at `$`", "").replace("`", "'")[:120]))
            continue
        why = _wrong_in(entry)
        if why:
            invalid.append((entry.filename[:100], why))
    return invalid


def _wrong_in(entry: _Entry) -> str:
    for name, digest in entry.hashes.items():
        if digest is not None and len(digest) != _LENGTHS.get(name, len(digest)):
            return f"a {name} of {len(digest)} characters"
    if entry.upload_time is not msgspec.UNSET:
        try:
            datetime.fromisoformat(entry.upload_time)
        except ValueError:
            return f"its upload-time is {entry.upload_time[:40]!r}"
    return ""


def _name_in(raw: msgspec.Raw) -> str:
    try:
        entry: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "?"
    name = entry.get("filename") if isinstance(entry, dict) else None
    return name[:100] if isinstance(name, str) else "?"


def _lacking(page: Page) -> Iterator[Finding]:
    """What the entries do not say although the form has a place for it."""
    json = page.form is SourceForm.JSON
    asked: list[tuple[Fault, Level, str, Callable[[File], bool]]] = [
        (Fault.PAGE_LACKS_HASHES, Level.WARNING, "a hash: what is downloaded cannot be checked", lambda file: not file.hashes)
    ]
    if json:
        asked += [
            (Fault.PAGE_LACKS_UPLOAD_TIME, Level.WARNING, "an upload time: exclude-newer excludes them", lambda file: not file.upload_time),
            (Fault.PAGE_LACKS_SIZE, Level.NOTE, "a size: a truncated file cannot be told", lambda file: file.size is None),
        ]
    files = [file for file in page.files if file.probeable]
    for fault, level, what, lacks in asked:
        lacking = [file for file in files if lacks(file)]
        if lacking:
            share = "none of its files has" if len(lacking) == len(files) else f"{len(lacking)} of its {len(files)} files do not have"
            example = "" if len(lacking) == len(files) else f" (such as {lacking[0].filename})"
            yield Finding(level, fault, page.project, f"{share} {what}{example}", cause="lacking")
