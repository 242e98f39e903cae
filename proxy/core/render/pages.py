"""Writing pages: everything is escaped here, once, and what the mirror said of a file passes on unchanged."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec

from proxy.core.letters import FILENAME, Letters
from proxy.core.page import File, Page, Sha256
from proxy.core.render.forms import Form

LinkMaker = Callable[[Sequence[File]], Sequence[str]]
Offer: TypeAlias = bool | Sha256 | None
MetadataOffer = Callable[[Sequence[File]], Sequence[Offer]]
"""Links and offers are made for many files at one go, in their order: a call for each would cost more than what it gives."""

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_BEST_HASHES = (
    *("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5"),
    *("sha3_256", "sha3_512", "sha3_384", "sha3_224", "blake2s"),
)
"""A link has room for one hash: the best of those that pip or uv read there, else one that they pass over."""
_PLAIN = Letters(FILENAME)
_UNESCAPED_IN_NAMES = "!+~@$,=:"
_NOTHING_TO_ESCAPE = re.compile(r"[^&<>\"'\n\r]*+")
_NO_HASHES: dict[str, str] = {}
"""PEP 691 wants the key `hashes` in every entry."""


def proxied_links(project: str) -> LinkMaker:
    """Gives links relative to the page of `project`, so that they hold behind any host name; their last segment is the file's name."""
    return partial(_links, f"../../files/{project}/")


def _links(start: str, files: Sequence[File]) -> Sequence[str]:
    keys = [file.key for file in files]
    if _PLAIN.make("".join(keys)):
        return [start + key for key in keys]
    return [start + file_path(key) for key in keys]


def file_path(key: str) -> str:
    """Return the end of a file's address at the proxy, behind the project: its name, before which a twin has its mark."""
    return "/".join([quote(part, safe=_UNESCAPED_IN_NAMES) for part in key.split("/")])


def render_page(page: Page, form: Form, links: LinkMaker, metadata: MetadataOffer) -> bytes:
    """Return the bytes of `page` in `form`, with the links and the offers of core metadata that the functions make."""
    json = form is Form.JSON
    files = page.files
    start, end = _json_frame(page) if json else _html_frame(page)
    rendered = _entries if json else _anchors
    return b"".join((start, rendered(files, links(files), metadata(files)) if files else b"", end))


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
    """The other keys of a page that HTML has a place for (PEP 708, 792); no others are read."""

    project_status: Any = None
    alternate_locations: Any = None


class _Meta(msgspec.Struct):
    """The keys of `meta` that HTML has a place for (PEP 708)."""

    tracks: Any = None


_decode_extra = msgspec.json.Decoder(_Extra).decode
_decode_meta = msgspec.json.Decoder(_Meta).decode
_UNREADABLE = (msgspec.DecodeError, RecursionError)


def _entries(files: Sequence[File], links: Sequence[str], offers: Sequence[Offer]) -> bytes:
    """Gives the entries of a JSON page, each but the last with a comma and a line break after it."""
    entries = [
        _Entry(
            file.filename,
            link if file.link_fragment is None else f"{link}#{file.link_fragment.decode()}",
            file.only_hash or (None if file.rest else _NO_HASHES),
            file.requires_python,
            file.size,
            file.upload_time,
            file.yanked,
            file.gpg_sig,
            file.provenance,
            offer,
        )
        for file, link, offer in zip(files, links, offers, strict=True)
    ]
    # No line break can stand inside an entry: JSON escapes it.
    lines: bytes = _encode_lines(entries)[:-1]
    if not any(file.rest for file in files):
        return lines.replace(b"\n", b",\n")
    pairs = zip(files, lines.split(b"\n"), strict=True)
    # A line break in what the mirror wrote is white space between tokens: in a string it would be escaped.
    return b",\n".join([line[:-1] + b"," + file.rest.replace(b"\n", b" ") + b"}" if file.rest else line for file, line in pairs])


def _anchors(files: Sequence[File], links: Sequence[str], offers: Sequence[Offer]) -> bytes:
    """Gives the anchors of an HTML page, each but the last with a line break after it, and none inside."""
    return "\n".join([_anchor(*each) for each in zip(files, links, offers, strict=True)]).encode()


def _escaped(text: str) -> str:
    if _NOTHING_TO_ESCAPE.fullmatch(text):
        return text
    return escape(text).replace("\n", "&#10;").replace("\r", "&#13;")


def _anchor(file: File, link: str, offer: Offer) -> str:
    fragment = _fragment(file) if file.only_hash is None or file.link_fragment is not None else f"#sha256={file.only_hash.sha256}"
    attributes = [f'href="{_escaped(link)}{fragment}"']
    if file.requires_python:
        attributes.append(f'data-requires-python="{_escaped(file.requires_python)}"')
    if file.yanked is not None and file.yanked is not False:
        attributes.append(f'data-yanked="{"" if file.yanked is True else _escaped(file.yanked)}"')
    if file.gpg_sig is not None:
        attributes.append(f'data-gpg-sig="{str(file.gpg_sig).lower()}"')
    if file.size is not None:
        attributes.append(f'data-size="{file.size}"')
    if file.upload_time is not None:
        attributes.append(f'data-upload-time="{file.upload_time}"')
    if file.provenance is not None:
        attributes.append(f'data-provenance="{_escaped(file.provenance)}"')
    if offer:
        said = f"sha256={offer.sha256}" if isinstance(offer, Sha256) else "true"
        # Both spellings: clients from before PEP 714 know the second only.
        attributes += [f'data-core-metadata="{said}"', f'data-dist-info-metadata="{said}"']
    return f"<a {' '.join(attributes)}>{_escaped(file.filename)}</a><br/>"


def _fragment(file: File) -> str:
    """Return the fragment of a link in HTML: the best hash, and what pip reads there besides."""
    hashes = file.hashes
    told = [f"{name}={hashes[name]}" for name in _BEST_HASHES if name in hashes][:1]
    if file.link_fragment is not None:
        told.append(file.link_fragment.decode())
    return f"#{_escaped('&'.join(told))}" if told else ""


def _json_frame(page: Page) -> tuple[bytes, bytes]:
    """Gives what stands before the entries and after them."""
    version = _claimed_version(page)
    meta = b'{"api-version":' + _encode(version) + (b"," + page.meta if page.meta else b"") + b"}"
    parts = [b'{"meta":' + meta, b'"name":' + _encode(page.project)]
    if page.versions is not None:
        parts.append(b'"versions":' + _encode(page.versions))
    if page.extra:
        parts.append(page.extra)
    return b",".join(parts) + b',"files":[', b"]}"


def _claimed_version(page: Page) -> str:
    """The version of the API that the page fulfils: from 1.1 on every file has a size and the page its versions (PEP 700)."""
    if page.versions is None or None in [file.size for file in page.files]:
        return "1.0"
    return page.api_version


def _html_frame(page: Page) -> tuple[bytes, bytes]:
    """Gives what stands before the anchors and after them."""
    head = "".join(f'<meta name="{escape(name)}" content="{escape(content)}"/>\n' for name, content in _metas(page))
    title = f"Links for {escape(page.project)}"
    start = f"<!DOCTYPE html>\n<html>\n<head>\n{head}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
    links = "".join(f'<a href="{_escaped(link)}">{_escaped(text)}</a><br/>\n' for link, text in page.links)
    return start.encode(), ("\n" if page.files else "").encode() + f"{links}</body>\n</html>\n".encode()


def _metas(page: Page) -> Iterator[tuple[str, str]]:
    """Return the `<meta>` elements of a page (PEP 629, 708, 792), and those that the mirror's own page has besides."""
    try:
        extra, meta = _decode_extra(b"{" + page.extra + b"}"), _decode_meta(b"{" + page.meta + b"}")
    except _UNREADABLE:
        extra, meta = _Extra(), _Meta()
    status = extra.project_status if isinstance(extra.project_status, dict) else {}
    yield "pypi:repository-version", page.api_version
    for name, content in (("pypi:project-status", status.get("status")), ("pypi:project-status-reason", status.get("reason"))):
        if isinstance(content, str):
            yield name, content
    for name, addresses in (("pypi:tracks", meta.tracks), ("pypi:alternate-locations", extra.alternate_locations)):
        yield from ((name, address) for address in (addresses if isinstance(addresses, list) else ()) if isinstance(address, str))
    yield from page.metas
