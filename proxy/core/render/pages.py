"""Writing pages: everything is escaped here, once, and what the mirror said of a file passes on unchanged."""

import re
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import accumulate, islice
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec

from proxy.core.page import File, Page, Sha256
from proxy.core.render.forms import Form

LinkMaker = Callable[[Sequence[File]], Sequence[str]]
Offer: TypeAlias = bool | Sha256 | None
MetadataOffer = Callable[[Sequence[File]], Sequence[Offer]]
"""Links and offers are made for many files at one go, in their order: a call for each would cost more than what it gives."""

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_BEST_HASHES = ("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5")
_PLAIN = re.compile(r"[\w.+!-]+", re.ASCII)
_UNESCAPED_IN_NAMES = "!+~@$,=:"
_NO_HASHES: dict[str, str] = {}
"""PEP 691 wants the key `hashes` in every entry."""


def proxied_links(project: str) -> LinkMaker:
    """Gives links relative to the page of `project`, so that they hold behind any host name; their last segment is the file's name."""
    start = f"../../files/{project}/"

    def links(files: Sequence[File]) -> Sequence[str]:
        names = [file.filename for file in files]
        if _PLAIN.fullmatch("".join(names)):
            return [start + name for name in names]
        return [start + file_segment(name) for name in names]

    return links


def file_segment(filename: str) -> str:
    """Gives the name of a file as the last segment of its address at the proxy."""
    return quote(filename, safe=_UNESCAPED_IN_NAMES)


def render_page(page: Page, form: Form, links: LinkMaker, metadata: MetadataOffer) -> bytes:
    """Gives the bytes of `page` in `form`, with the links and the offers of core metadata that the functions make."""
    return Renderer(form, links, metadata).render(page)


class _Entry(msgspec.Struct, omit_defaults=True, rename="kebab", gc=False):
    """An entry of a JSON page as it is served (PEP 691, 700, 714, 740)."""

    filename: str
    url: str
    hashes: Sha256 | dict[str, str] | None = None
    requires_python: str | None = None
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str | None = None
    gpg_sig: bool | None = None
    provenance: str | None = None
    core_metadata: Offer = None


class _Extra(msgspec.Struct, rename="kebab"):
    """What HTML can say of a page's other keys (PEP 792); what it cannot is not read."""

    project_status: dict[str, Any] = {}


_decode_extra = msgspec.json.Decoder(_Extra).decode


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A page as it was rendered: each file's piece begins at its start, and the one after the last would begin at the last start."""

    files: tuple[File, ...] = ()
    starts: Sequence[int] = (0,)
    content: bytes = b""
    anew: frozenset[str] = frozenset()


class _Pieces:
    """The pieces of a page in the making, with the runs of files that it shares with `last` copied as one."""

    def __init__(self, last: _Rendered, between: bytes, not_copied: Collection[str]) -> None:
        self._last = last
        self._content = memoryview(last.content)
        self._between = between
        self._not_copied = not_copied
        self._next = 0
        self.parts: list[bytes | memoryview] = []
        self.starts = array("q", (0,))

    def shared(self, files: Sequence[File], at: int) -> tuple[int, int]:
        """Gives where the last page has the files that `files` has from `at` on, in the same order, and how many of them."""
        old, skipped = self._last.files, self._not_copied
        begin = self._next
        if begin >= len(old) or old[begin] is not files[at]:
            begin = self._places.get(files[at].filename, -1) if old else -1
            if begin < self._next or old[begin] is not files[at]:
                return 0, 0
        place, most = begin, min(len(old), begin + len(files) - at)
        ahead = at - begin
        while place < most and old[place] is files[place + ahead] and (not skipped or old[place].filename not in skipped):
            place += 1
        return begin, place - begin

    def copy(self, begin: int, length: int) -> None:
        """Adds the pieces of `length` files from the place `begin` of the last page on."""
        starts, end = self._last.starts, begin + length
        moved = self.starts[-1] - starts[begin]
        self._append(self._content[starts[begin] : starts[end] - len(self._between)])
        self.starts.extend(array("q", [start + moved for start in starts[begin + 1 : end + 1]]))
        self._next = end

    def add(self, pieces: Sequence[bytes]) -> None:
        """Adds pieces that were rendered anew."""
        if pieces:
            self._append(self._between.join(pieces))
            between = len(self._between)
            self.starts.extend(islice(accumulate([len(piece) + between for piece in pieces], initial=self.starts[-1]), 1, None))

    def _append(self, piece: bytes | memoryview) -> None:
        if self._between and self.parts:
            self.parts.append(self._between)
        self.parts.append(piece)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {file.filename: place for place, file in enumerate(self._last.files)}


class Renderer:
    """Renders pages in one form, and remembers where in its last page each file stands: rendering again after a file left is a copy.

    What is remembered is the last page's bytes themselves, and eight bytes for each file besides.
    """

    def __init__(self, form: Form, links: LinkMaker, metadata: MetadataOffer) -> None:
        self._form = form
        self._links = links
        self._metadata = metadata
        self._rendered = self._entries if form is Form.JSON else self._anchors
        self._between = b"," if form is Form.JSON else b""
        self._last = _Rendered()

    def render(self, page: Page, anew: Collection[str] = ()) -> bytes:
        """Gives the bytes of `page`.

        `anew` names the files of which something else may be said now than with the default offer of core metadata: these are never copied.
        """
        pieces = _Pieces(self._last, self._between, self._last.anew.union(anew))
        files, rendered = page.files, 0
        at = 0 if self._last.files else len(files)
        while at < len(files):
            begin, length = pieces.shared(files, at)
            if length:
                pieces.add(self._rendered(files[rendered:at]))
                pieces.copy(begin, length)
                rendered = at + length
            at += max(1, length)
        pieces.add(self._rendered(files[rendered:]))
        start, end_of_page = _json_frame(page) if self._form is Form.JSON else _html_frame(page)
        content = b"".join((start, *pieces.parts, end_of_page))
        starts = array("q", [len(start) + each for each in pieces.starts])
        self._last = _Rendered(files, starts, content, frozenset(anew))
        return content

    def _entries(self, files: Sequence[File]) -> list[bytes]:
        entries = [
            _Entry(
                file.filename,
                link,
                file.only_hash or (None if file.rest else _NO_HASHES),
                file.requires_python,
                file.size,
                file.upload_time,
                file.yanked,
                file.gpg_sig,
                file.provenance,
                offer,
            )
            for file, link, offer in zip(files, self._links(files), self._metadata(files), strict=True)
        ]
        # No line break can stand inside an entry: JSON escapes it.
        lines: list[bytes] = _encode_lines(entries).splitlines()
        for place, file in enumerate(files):
            if file.rest:
                lines[place] = lines[place][:-1] + b"," + file.rest + b"}"
        return lines

    def _anchors(self, files: Sequence[File]) -> list[bytes]:
        return [_anchor(file, link, offer) for file, link, offer in zip(files, self._links(files), self._metadata(files), strict=True)]


def _anchor(file: File, link: str, offer: Offer) -> bytes:
    hashes = file.hashes
    best = next((name for name in _BEST_HASHES if name in hashes), None)
    fragment = f"#{best}={hashes[best]}" if best is not None else ""
    attributes = [f'href="{escape(link + fragment)}"']
    if file.requires_python:
        attributes.append(f'data-requires-python="{escape(file.requires_python)}"')
    if file.yanked is not None and file.yanked is not False:
        attributes.append(f'data-yanked="{"" if file.yanked is True else escape(file.yanked)}"')
    if file.gpg_sig is not None:
        attributes.append(f'data-gpg-sig="{str(file.gpg_sig).lower()}"')
    if file.provenance is not None:
        attributes.append(f'data-provenance="{escape(file.provenance)}"')
    if offer:
        said = f"sha256={offer.sha256}" if isinstance(offer, Sha256) else "true"
        # Both spellings: clients from before PEP 714 know the second only.
        attributes += [f'data-core-metadata="{said}"', f'data-dist-info-metadata="{said}"']
    return f"<a {' '.join(attributes)}>{escape(file.filename)}</a><br/>\n".encode()


def _json_frame(page: Page) -> tuple[bytes, bytes]:
    """Gives what stands before the entries and after them."""
    version = _claimed_version(page)
    meta = b'{"api-version":' + _encode(version) + (b"," + page.meta if page.meta else b"") + b"}"
    parts = [b'{"meta":' + meta, b'"name":' + _encode(page.project)]
    if page.versions is not None and version != "1.0":
        parts.append(b'"versions":' + _encode(page.versions))
    if page.extra:
        parts.append(page.extra)
    return b",".join(parts) + b',"files":[', b"]}"


def _claimed_version(page: Page) -> str:
    """The version of the API that the page fulfils: from 1.1 on every file has a size and the page its versions (PEP 700)."""
    if page.versions is None or any(file.size is None for file in page.files):
        return "1.0"
    return page.api_version


def _html_frame(page: Page) -> tuple[bytes, bytes]:
    """Gives what stands before the anchors and after them."""
    status = _decode_extra(b"{" + page.extra + b"}").project_status
    metas = [
        ("pypi:repository-version", "1.0"),
        ("pypi:project-status", status.get("status")),
        ("pypi:project-status-reason", status.get("reason")),
    ]
    head = "".join(f'<meta name="{name}" content="{escape(content)}"/>\n' for name, content in metas if isinstance(content, str))
    title = f"Links for {escape(page.project)}"
    start = f"<!DOCTYPE html>\n<html>\n<head>\n{head}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
    return start.encode(), b"</body>\n</html>\n"
