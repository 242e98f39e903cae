"""Writing pages: everything is escaped here, once, and what the mirror said of a file passes on unchanged."""

import re
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from proxy.core.page import File, Page, PlainEntry, Sha256
from proxy.core.render.forms import Form

LinkMaker = Callable[[File], str]
MetadataOffer = Callable[[File], bool | Mapping[str, str] | None]

_encode = msgspec.json.Encoder().encode
_BEST_HASHES = ("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5")
_PLAIN = re.compile(r"[\w.+!-]+", re.ASCII)
_UNESCAPED_IN_NAMES = "!+~@$,=:"


def proxied_link(project: str) -> LinkMaker:
    """Gives links relative to the page of `project`, so that they hold behind any host name; their last segment is the file's name."""
    start = f"../../files/{project}/"

    def link(file: File) -> str:
        name = file.filename
        return start + (name if _PLAIN.fullmatch(name) else quote(name, safe=_UNESCAPED_IN_NAMES))

    return link


def render_page(page: Page, form: Form, links: LinkMaker, metadata: MetadataOffer) -> bytes:
    """Gives the bytes of `page` in `form`, with the links and the offers of core metadata that the functions make."""
    return Renderer(form, links, metadata).render(page)


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

    def copy(self, files: Sequence[File], at: int) -> int:
        """Copies from `files[at]` on what the last page has in the same order; gives the place of the first that it has not."""
        old, skipped = self._last.files, self._not_copied
        place = self._next
        if place >= len(old) or old[place] is not files[at]:
            place = self._places.get(files[at].filename, -1) if old else -1
            if place < self._next or old[place] is not files[at]:
                return at
        begin, most = place, min(len(old), place + len(files) - at)
        ahead = at - place
        while place < most and old[place] is files[place + ahead] and (not skipped or old[place].filename not in skipped):
            place += 1
        if place > begin:
            starts = self._last.starts
            self._append(self._content[starts[begin] : starts[place] - len(self._between)])
            moved = self.starts[-1] - starts[begin]
            self.starts.extend(array("q", [start + moved for start in starts[begin + 1 : place + 1]]))
            self._next = place
        return place + ahead

    def add(self, piece: bytes) -> None:
        """Adds a piece that was rendered anew."""
        self._append(piece)
        self.starts.append(self.starts[-1] + len(piece) + len(self._between))

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
        self._piece = self._json_entry if form is Form.JSON else self._anchor
        self._between = b"," if form is Form.JSON else b""
        self._last = _Rendered()

    def render(self, page: Page, anew: Collection[str] = ()) -> bytes:
        """Gives the bytes of `page`.

        `anew` names the files of which something else may be said now than with the default offer of core metadata: these are never copied.
        """
        pieces = _Pieces(self._last, self._between, self._last.anew.union(anew))
        files, at = page.files, 0
        while at < len(files):
            end = pieces.copy(files, at)
            if end == at:
                pieces.add(self._piece(files[at]))
                end += 1
            at = end
        start, end_of_page = _json_frame(page) if self._form is Form.JSON else _html_frame(page)
        content = b"".join((start, *pieces.parts, end_of_page))
        starts = array("q", [len(start) + each for each in pieces.starts])
        self._last = _Rendered(files, starts, content, frozenset(anew))
        return content

    def _json_entry(self, file: File) -> bytes:
        offer = self._metadata(file)
        entry = file.entry
        if isinstance(entry, PlainEntry):
            said = UNSET if offer is None else Sha256(offer["sha256"]) if isinstance(offer, Mapping) and "sha256" in offer else bool(offer)
            link = self._links(file)
            plain: bytes = _encode(
                PlainEntry(entry.filename, link, entry.hashes, entry.requires_python, entry.size, entry.upload_time, entry.yanked, said)
            )
            return plain
        ours: dict[str, object] = {"filename": file.filename, "url": self._links(file)}
        if offer is not None:
            ours["core-metadata"] = offer
        start: bytes = _encode(ours)
        return start[:-1] + b"," + entry + b"}" if entry else start

    def _anchor(self, file: File) -> bytes:
        fields = file.fields
        hashes: Mapping[str, str] = fields.get("hashes") or {}
        best = next((name for name in _BEST_HASHES if name in hashes), None)
        fragment = f"#{best}={hashes[best]}" if best is not None else ""
        attributes = [f'href="{escape(self._links(file) + fragment)}"']
        if file.requires_python:
            attributes.append(f'data-requires-python="{escape(file.requires_python)}"')
        yanked = fields.get("yanked", False)
        if yanked is not False:
            attributes.append(f'data-yanked="{"" if yanked is True else escape(yanked)}"')
        if isinstance(fields.get("gpg-sig"), bool):
            attributes.append(f'data-gpg-sig="{str(fields["gpg-sig"]).lower()}"')
        if isinstance(fields.get("provenance"), str):
            attributes.append(f'data-provenance="{escape(fields["provenance"])}"')
        offer = self._metadata(file)
        if offer is not None and offer is not False:
            said = _said_of_metadata(offer)
            # Both spellings: clients from before PEP 714 know the second only.
            attributes += [f'data-core-metadata="{said}"', f'data-dist-info-metadata="{said}"']
        return f"<a {' '.join(attributes)}>{escape(file.filename)}</a><br/>\n".encode()


def _said_of_metadata(offer: bool | Mapping[str, str]) -> str:
    if isinstance(offer, Mapping):
        best = next((name for name in _BEST_HASHES if name in offer), None)
        if best is not None:
            return escape(f"{best}={offer[best]}")
    return "true"


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
    status = msgspec.json.decode(b"{" + page.extra + b"}").get("project-status") if page.extra else None
    metas = [("pypi:repository-version", "1.0")]
    if isinstance(status, dict):
        metas += [
            (name, status[key])
            for name, key in (("pypi:project-status", "status"), ("pypi:project-status-reason", "reason"))
            if isinstance(status.get(key), str)
        ]
    head = "".join(f'<meta name="{name}" content="{escape(content)}"/>\n' for name, content in metas)
    title = f"Links for {escape(page.project)}"
    start = f"<!DOCTYPE html>\n<html>\n<head>\n{head}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
    return start.encode(), b"</body>\n</html>\n"
