"""Pages with one value of each kind that a strict client may refuse, and of each that it takes although it is unusual."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.listing import HTML_TYPE, JSON_TYPE, Listed

SHA256, MD5, BLAKE2B = "a" * 64, "a" * 32, "b" * 64
ABSENT = object()
"""Stands for a field that is not there."""

Writer = Callable[[Listed, Listed, str], bytes]
"""Pages of a project, made from a file as it should be, of release 1.0, and from the one of 2.0 that the value is said of."""


@dataclass(frozen=True)
class Case:
    """A `value` of a `field`, as the document shows them, and the page that says it. `html` tells the form of the page."""

    field: str
    value: str
    write: Writer
    content_type: str = JSON_TYPE
    html: bool = False


def shown(value: object) -> str:
    """Return a value as the document shows it: as JSON, long digests shortened."""
    return "(none)" if value is ABSENT else _shortened(json.dumps(value, ensure_ascii=False))


def _shortened(text: str) -> str:
    text = re.sub(r"(?<![0-9A-Za-z])([abgA])\1{31,}(?![0-9A-Za-z])", r"\1…", text)
    return text.encode(errors="backslashreplace").decode().replace("\n", "\\n")


def page_of(good: Listed, entry: Any, project: str, **fields: Any) -> dict[str, Any]:
    """Return a JSON page of two entries, with more or other fields of its own."""
    page = {"meta": {"api-version": "1.1"}, "name": project, "versions": ["1.0", "2.0"], "files": [good.as_json(), entry], **fields}
    return {key: value for key, value in page.items() if value is not ABSENT}


def in_entry(field: str, value: Any) -> Case:
    """Say `value` in that field of an entry."""

    def write(good: Listed, odd: Listed, name: str) -> bytes:
        entry = {key: said for key, said in {**odd.as_json(), field: value}.items() if said is not ABSENT}
        return json.dumps(page_of(good, entry, name)).encode()

    return Case(field, shown(value), write)


def written_in_entry(field: str, members: str) -> Case:
    """Add `members`, written as they are, at the end of an entry."""

    def write(good: Listed, odd: Listed, name: str) -> bytes:
        entry = {key: said for key, said in odd.as_json().items() if not members.startswith(f'"{key}": "')}
        return json.dumps(page_of(good, entry, name)).encode().removesuffix(b"}]}") + f", {members}}}]}}".encode()

    return Case(field, _shortened(members), write)


def on_page(field: str, value: Any) -> Case:
    """Say `value` in that field of the page."""
    return Case(
        field,
        shown(value),
        lambda good, odd, name: json.dumps(page_of(good, odd.as_json(), name, **{field: value})).encode(),
    )


def around(field: str, value: str, change: Callable[[bytes], bytes]) -> Case:
    """Change the bytes of a JSON page that is as it should be."""
    return Case(field, value, lambda good, odd, name: change(json.dumps(page_of(good, odd.as_json(), name)).encode()))


def labelled(content_type: str, *, html: bool = False) -> Case:
    """Send a page that is as it should be under that content type."""

    def write(good: Listed, odd: Listed, name: str) -> bytes:
        if html:
            title = f"<title>Links for {name}</title>"
            return f"<!DOCTYPE html><html><head>{title}</head><body>{good.as_html()}{odd.as_html()}</body></html>".encode()
        return json.dumps(page_of(good, odd.as_json(), name)).encode()

    return Case("Content-Type", f"{content_type or '(none)'} ({'HTML' if html else 'JSON'})", write, content_type, html)


def in_html(field: str, value: str, *, fragment: str | None = None, attributes: str = "", head: str = "", more: str = "") -> Case:
    """Write an HTML page with that fragment or those attributes in the link of release 2.0, or with more in its head or body."""

    def write(good: Listed, odd: Listed, name: str) -> bytes:
        end = f"#sha256={odd.hashes['sha256']}" if fragment is None else fragment
        link = f'<a href="{odd.link}{end}" {attributes}>{odd.filename}</a>'
        title = f"<title>Links for {name}</title>"
        return f"<!DOCTYPE html><html><head>{head}{title}</head><body>{good.as_html()}{link}{more}</body></html>".encode()

    return Case(field, _shortened(value) or "(empty)", write, HTML_TYPE, html=True)


def _attribute(field: str, *values: str) -> Iterator[Case]:
    return (in_html(field, value, attributes=f'{field}="{value}"') for value in values)


def _entries(field: str, *values: Any) -> Iterator[Case]:
    return (in_entry(field, value) for value in values)


MOMENTS = (
    *("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.123456789Z", "2024-01-02 03:04:05+00:00", "2024-01-02t03:04z", "20240102T030405Z"),
    *("2024-01-02T03Z", "2024-01-02T23:59:60Z", "2024-01-02T03:04:05+25:59", "2024-01-02T03:04:05+00:00[Europe/Berlin]"),
    *("+002024-01-02T03:04:05Z", "0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z"),
)
NO_MOMENTS = (
    *(
        "",
        "yesterday",
        "2024-01-02",
        "2024-01-02T03:04:05",
        "2024-01-02T03:04:05.1234567890Z",
        "2024-01-02T24:00:00Z",
        "2024-02-30T00:00:00Z",
    ),
    *(" 2024-01-02T03:04:05Z", "2024-1-2T03:04:05Z", "2024-01-02T03:04:05 Z", "2024-01-02T03:04:05[UTC]", "2024-01-02T03:04:05+26:00"),
    *("9999-12-31T23:59:59Z", "1704164645"),
)
SPECIFIERS = (
    *(
        "",
        ">=3.8",
        ">= 3.8, <4",
        "!=3.0.*,>=2.7",
        "~=3.8",
        "===3.11",
        ">=3.8\n",
        ">=3.8,",
        ">=3.8.*",
        ">= '3.8'",
        ">=2.7,!=3.0*",
        ">=3.8<4",
    ),
    *(">dev", ">=3.8a1.0", ">=3.8.post-"),
)
NO_SPECIFIERS = (
    *(
        " ",
        "nonsense",
        ">=3.x",
        "3.8",
        "^3.8",
        "=>3.8",
        "~=3",
        ">=3.8 <4",
        ">=3.8||<4",
        ">=3.8;",
        ">=3.8*",
        ">=3.8+local",
        "===foo",
        ",>=3.8",
    ),
    *("python>=3.8", "&gt;=3.8", "≥3.8"),
)
HASHES = (
    *({}, {"sha256": SHA256}, {"sha256": "A" * 64}, {"sha256": None}, {"md5": MD5}, {"blake2b": BLAKE2B}),
    *({"sha1": "short"}, {"blake2b_256": 3}, {"SHA256": SHA256}),
)
NO_HASHES = (
    *(
        ABSENT,
        None,
        [],
        f"sha256={SHA256}",
        {"sha256": ""},
        {"sha256": "short"},
        {"sha256": "g" * 64},
        {"sha256": f" {SHA256}"},
        {"sha256": 3},
    ),
    *({"sha256": SHA256, "md5": "short"}, {"blake2b": SHA256 * 2}),
)
FRAGMENTS = ("", "#", "#top", f"#sha256={'A' * 64}", f"#md5={MD5}", f"#blake2b={BLAKE2B}", f"#sha256%3D{SHA256}")
LOST_FRAGMENTS = (f"#sha256-{SHA256}", f"#sha256={SHA256}&egg=demo", f"#egg=demo&sha256={SHA256}", f"#sha256={SHA256}&md5=short")
NO_FRAGMENTS = (
    *("#sha256=", "#sha256=short", f"#sha256={'g' * 64}", f"#sha256={SHA256} ", f"#SHA256={SHA256}", f"#sha1={'a' * 40}", "#md5=short"),
    *("#egg=demo", "#a=b", "#%ff", f"#sha256={SHA256}#b"),
)
STATUSES = (
    {},
    {"status": "active"},
    {"status": "quarrelsome"},
    {"reason": "x"},
    {"status": "active", "reason": None},
    [],
    ["archived", "x"],
)
NO_STATUSES = (None, 3, "archived", {"status": None}, {"status": 3}, {"status": "active", "reason": 1}, ["archived", 3], ["a", "b", "c"])

METADATA_ATTRIBUTES = (
    *("false", "", "x", "True", " true", "sha256", "sha256=", "sha256=short", f"sha256-{SHA256}", f"sha256%3D{SHA256}", "a=b=c"),
    *(f"SHA256={SHA256}", f"sha1={'a' * 40}", f"sha256={SHA256}&amp;md5={MD5}"),
)
"""Values that uv takes as that there is no core metadata."""
ADVERTISEMENTS = ("true", f"sha256={SHA256}", f"sha256={'A' * 64}", f"md5={MD5}", f"blake2b={BLAKE2B}")

CASES: tuple[Case, ...] = (
    *_entries("filename", ABSENT, None, 3),
    *_entries("url", ABSENT, None, 3, "", "#sha256=short", " ", ".", "../", "?"),
    *_entries("requires-python", None, *SPECIFIERS, *NO_SPECIFIERS, 3, True, []),
    *_entries("upload-time", ABSENT, *MOMENTS, *NO_MOMENTS, None, 1704164645),
    *_entries("size", ABSENT, 0, 1, 2**64 - 1, 2**64, -1, 1.0, 1e30, None, "12", True),
    written_in_entry("size", '"size": -0'),
    written_in_entry("size", '"size": 1e2'),
    *_entries("hashes", *HASHES, *NO_HASHES),
    written_in_entry("hashes", f'"hashes": {{"sha256": "{SHA256}", "sha256": "{SHA256}"}}'),
    *_entries("yanked", False, None, 0, [], {}),
    *_entries("core-metadata", None, False, "true", f"sha256={SHA256}", {"sha256": "short"}, 0, []),
    *_entries("dist-info-metadata", None, "true", {"sha256": "short"}),
    *_entries("data-dist-info-metadata", "true"),
    *_entries("data-core-metadata", "true", 3),
    *_entries("gpg-sig", None, "x", 3),
    *_entries("provenance", None, 3),
    *_entries("x-unknown", None, {"a": [1]}, "\ud800"),
    written_in_entry("x-unknown", '"x-unknown": 1e999'),
    written_in_entry("a name twice", '"size": 1, "size": 2'),
    written_in_entry("a name twice", '"upload-time": null, "upload-time": "2024-01-02T03:04:05Z"'),
    *(on_page("meta", each) for each in (ABSENT, None, 3, {}, {"api-version": None}, {"api-version": "1.99"}, {"api-version": "x"})),
    *(on_page("name", each) for each in (ABSENT, None, 3, "another")),
    *(on_page("versions", each) for each in (ABSENT, None, 3, [], [3], ["1.0"])),
    *(on_page("alternate-locations", each) for each in (None, 3, ["x"])),
    *(on_page("project-status", each) for each in (*STATUSES, *NO_STATUSES)),
    *(on_page("x-unknown", each) for each in (None, {"a": [1]}, "\ud800")),
    *(on_page("files", each) for each in (ABSENT, None, 3, {})),
    around("files", "said twice", lambda page: page.removesuffix(b"}") + b", " + page[page.index(b'"files"') :]),
    around("project-status", "said twice", lambda page: page.removesuffix(b"}") + b', "project-status": {}, "project-status": {}}'),
    around("an entry of files", "null", lambda page: page.removesuffix(b"]}") + b", null]}"),
    around("an entry of files", "[]", lambda page: page.removesuffix(b"]}") + b", []]}"),
    around("an entry of files", '"x"', lambda page: page.removesuffix(b"]}") + b', "x"]}'),
    around("the page", "a byte order mark before it", lambda page: b"\xef\xbb\xbf" + page),
    around("the page", "white space around it", lambda page: b" \n" + page + b"\n"),
    around("the page", "bytes that are no UTF-8 in an unknown field", lambda page: page.removesuffix(b"}") + b', "x": "\xff"}'),
    *(labelled(each) for each in (JSON_TYPE, f"{JSON_TYPE}; charset=utf-8", JSON_TYPE.title(), f"{JSON_TYPE} ;charset=utf-8")),
    *(labelled(each) for each in ("application/json", "text/plain", "", "text/html", "application/octet-stream")),
    labelled("application/vnd.pypi.simple.latest+json"),
    *(labelled(each, html=True) for each in (HTML_TYPE, "text/html", "text/html; charset=utf-8", "text/html; charset=nonsense")),
    *(labelled(each, html=True) for each in ("TEXT/HTML", "application/xhtml+xml", "text/plain", "", JSON_TYPE)),
    *(in_html("the fragment of a link", each, fragment=each) for each in (*FRAGMENTS, *LOST_FRAGMENTS, *NO_FRAGMENTS)),
    *_attribute("data-requires-python", "", "&gt;=3.8", "&gt;=3.8,", "nonsense", "&gt;=3.x", "&amp;gt;=3.8", " "),
    *_attribute("data-upload-time", "2024-01-02T03:04:05Z", "20240102T030405Z", "", "yesterday", "2024-01-02", "2024-01-02T03:04:05"),
    *_attribute("data-size", "12", "+12", "012", " 12", "-1", "x", "", str(2**64)),
    *_attribute("data-core-metadata", *METADATA_ATTRIBUTES),
    *_attribute("data-gpg-sig", "x"),
    *(in_html("another link", each, more=f'<a href="{each}">x</a>') for each in ("", "#", "..", "javascript:x", "http://[", "?C=N;O=D")),
    *(in_html("another link", each, more=f'<a href="{each}">x</a>') for each in ("help.html#a=b", "%ff", "x#%ff")),
    *(
        in_html("<base href>", each, head=f'<base href="{each}">')
        for each in (
            "",
            "./",
            "../x/",
            "/artifactory/api/pypi/pypi/simple/x/",
            "http://[",
            "http://a b/",
            "http://h:99999/",
            "http://1.2.3.999/",
        )
    ),
    *(
        in_html("<base href>", each, head=f'<base href="{each}">')
        for each in ("mailto:x", "data:,x", "about:blank", "x:/y/", "file:///x/", "ftp://h/x/")
    ),
)
