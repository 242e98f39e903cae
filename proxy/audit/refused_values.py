"""The values of a page that uv refuses (`core.uv_refusals`), each with the file it is said of.

Nearly all entries of nearly all pages are as they should be, and that is found out for hundreds of them at one go.
Rules for this file: pure.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from proxy.core.parse.from_html import links_in_html
from proxy.core.parse.hashes import are_digests
from proxy.core.parse.links import filename_of
from proxy.core.parse.moments import are_moments
from proxy.core.parse.specifiers import are_specifiers
from proxy.core.uv_refusals import (
    FILES,
    Loss,
    Members,
    Refusal,
    anchor_refusals,
    base_refusals,
    entries_of,
    entry_refusals,
    page_refusals,
    read_members,
)

_STEP = 250
_LONGEST_NAME = 400


class RefusedValue(NamedTuple):
    """A value that uv refuses, and the name of the file it is said of; empty if it is said of the page."""

    filename: str
    refusal: Refusal


class _Hashes(msgspec.Struct, forbid_unknown_fields=True):
    sha256: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class _PlainEntry(msgspec.Struct, rename="kebab"):
    """An entry such as nearly all are. Of a field whose name comes twice, only the last is seen: these are looked for in the bytes."""

    filename: str
    url: str
    hashes: _Hashes
    requires_python: str | msgspec.UnsetType | None = msgspec.UNSET
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | msgspec.UnsetType = msgspec.UNSET
    upload_time: str | msgspec.UnsetType = msgspec.UNSET
    yanked: bool | str | msgspec.UnsetType = msgspec.UNSET
    core_metadata: bool | _Hashes | msgspec.UnsetType | None = msgspec.UNSET
    dist_info_metadata: bool | _Hashes | msgspec.UnsetType | None = msgspec.UNSET
    data_dist_info_metadata: bool | _Hashes | msgspec.UnsetType | None = msgspec.UNSET


class _PlainPage(msgspec.Struct):
    files: list[msgspec.Raw]


_NEEDED = (b'"filename"', b'"url"', b'"hashes"')
_OPTIONAL = tuple((name, f'"{name.replace("_", "-")}"'.encode()) for name in _PlainEntry.__struct_fields__[len(_NEEDED) :])
_decode_page = msgspec.json.Decoder(_PlainPage).decode
_decode_entry = msgspec.json.Decoder(_PlainEntry).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def refused_in_json(body: bytes) -> Iterator[RefusedValue]:
    """Find what uv refuses of a JSON page."""
    entries = _entries_of_plain(body)
    if entries is None:
        page = _members(body)
        yield from (RefusedValue("", each) for each in page_refusals(page, body))
        for entry in entries_of(page):
            yield from _refused_in_entry(entry)
        return
    for start in range(0, len(entries), _STEP):
        some = entries[start : start + _STEP]
        if not _are_plain(some):
            for raw in some:
                yield from () if _are_plain([raw]) else _refused_in_entry(_members(bytes(raw)))


def refused_in_html(body: bytes, project: str) -> Iterator[RefusedValue]:
    """Find what uv refuses of the HTML page of a project."""
    base, anchors = links_in_html(body)
    links = [
        href for attributes in anchors if (href := attributes.get("href")) and filename_of(href.partition("#")[0], project) is not None
    ]
    yield from (RefusedValue("", each) for each in base_refusals(base, links))
    for attributes in anchors:
        refusals = list(anchor_refusals(attributes))
        if refusals:
            href = attributes.get("href") or ""
            name = filename_of(href.partition("#")[0], project)
            # A value that uv passes over is no loss where there is no file.
            yield from (RefusedValue(name or href[:100], each) for each in refusals if name is not None or each.rule.loss is Loss.PAGE)


def names_of_readable_entries(body: bytes) -> list[str]:
    """Return the names in the entries of a JSON page that uv does not refuse, empty ones too."""
    return [dict(entry)["filename"] for entry in entries_of(_members(body)) if not any(entry_refusals(entry))]


def _name_in(entry: Any) -> str:
    """Return the name of the file that an entry of a JSON page is of, `?` if it says none; half characters are escaped."""
    name = dict(entry).get("filename") if isinstance(entry, Members) else None
    return name[:_LONGEST_NAME].encode(errors="backslashreplace").decode() if isinstance(name, str) and name else "?"


def _refused_in_entry(entry: object) -> Iterator[RefusedValue]:
    return (RefusedValue(_name_in(entry), each) for each in entry_refusals(entry))


def _entries_of_plain(body: bytes) -> Sequence[msgspec.Raw] | None:
    """Return the entries of a page of which nothing else can be refused; None if something can."""
    if body.count(f'"{FILES.field}"'.encode()) != 1 or b'"project-status"' in body:
        return None
    try:
        return _decode_page(body).files
    except _UNREADABLE:
        return None


def _are_plain(entries: Sequence[msgspec.Raw]) -> bool:
    """Tell whether uv surely takes all of these entries; where it says no, `entry_refusals` tells."""
    try:
        listed = [_decode_entry(raw) for raw in entries]
    except _UNREADABLE:
        return False
    written = b"".join(entries)
    hashes = [each.hashes.sha256 for each in listed]
    for attribute, name in _OPTIONAL:
        values = [value for each in listed if (value := getattr(each, attribute)) is not msgspec.UNSET]
        if written.count(name) != len(values):
            return False
        if attribute == "upload_time" and not are_moments(values):
            return False
        if attribute == "requires_python" and not are_specifiers(values):
            return False
        hashes += [value.sha256 for value in values if isinstance(value, _Hashes)]
    return are_digests(hashes) and written.count(b'"sha256"') == len(hashes) and all(written.count(name) == len(listed) for name in _NEEDED)


def _members(body: bytes) -> object:
    try:
        return read_members(body)
    except (ValueError, RecursionError):
        return None
