"""Made-up projects, files, pages and histories for property tests."""

import json
from typing import Any

from hypothesis import strategies as st

from proxy.core.page import File, Page, SourceForm

PROJECT = "demo"

versions = st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}(\.[0-9])?((a|rc)[1-3])?(\.post1)?", fullmatch=True)
platforms = st.sampled_from(["any", "macosx_11_0_arm64", "manylinux_2_28_x86_64", "win_amd64", "musllinux_1_2_x86_64"])
pythons = st.sampled_from(["py3", "cp311", "cp312", "cp313", "py2.py3"])
wheels = st.builds(lambda version, python, platform: f"{PROJECT}-{version}-{python}-none-{platform}.whl", versions, pythons, platforms)
sdists = st.builds(lambda version, end: f"{PROJECT}-{version}{end}", versions, st.sampled_from([".tar.gz", ".zip"]))
legacy = st.builds(lambda version: f"{PROJECT}-{version}-py2.7.egg", versions)
odd_names = st.builds(lambda middle: f"{PROJECT}-{middle}.tar.gz", st.text("abc 0123456789.+!~%&é'\"<>-_#?", min_size=1, max_size=12))
filenames = st.one_of(wheels, wheels, sdists, legacy)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def entries(draw: st.DrawFn, names: st.SearchStrategy[str] = filenames) -> dict[str, Any]:
    """An entry of a JSON page as a mirror may write it, right in all that is known."""
    entry: dict[str, Any] = {"filename": draw(names), "hashes": {"sha256": draw(digests)}}
    entry["url"] = "../../packages/" + draw(st.from_regex(r"[a-z0-9%+]{0,3}/", fullmatch=True)) + "file"
    optional = {
        "size": st.integers(0, 2**40),
        "requires-python": st.sampled_from([">=3.8", ">=3.9,<4", "!=3.0.*", ">3,<4"]),
        "upload-time": st.sampled_from(["2024-01-02T03:04:05.678901Z", "2020-02-02T00:00:00Z"]),
        "yanked": st.booleans() | texts.filter(bool),
        "gpg-sig": st.booleans(),
        "provenance": st.just("https://mirror.example.com/p?a=1&b=%2B"),
        "core-metadata": st.booleans() | st.builds(lambda digest: {"sha256": digest}, digests),
        "x-vendor": json_values.filter(lambda value: value is not None),
    }
    for key, values in optional.items():
        if draw(st.booleans()):
            entry[key] = draw(values)
    return entry


@st.composite
def json_pages(draw: st.DrawFn, names: st.SearchStrategy[str] = filenames) -> dict[str, Any]:
    """A JSON page, each file named once."""
    files = draw(st.lists(entries(names), max_size=12, unique_by=lambda entry: entry["filename"]))
    page: dict[str, Any] = {"meta": {"api-version": draw(st.sampled_from(["1.0", "1.1", "1.3"]))}, "name": "Demo", "files": files}
    if draw(st.booleans()):
        page["x-unknown"] = draw(json_values)
    if draw(st.booleans()):
        page["meta"]["x-serial"] = draw(st.integers(0, 10**9))
    return page


def as_bytes(page: dict[str, Any]) -> bytes:
    """The page as it goes over the wire."""
    return json.dumps(page).encode()


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """A parsed page."""
    names = draw(st.lists(filenames, max_size=14, unique=True))
    files = tuple(File(name, f"https://mirror.example.com/packages/{name}") for name in names)
    return Page(PROJECT, PROJECT, files, SourceForm.JSON)


_KNOWN_KEYS = ["filename", "url", "hashes", "size", "requires-python", "upload-time", "yanked", "gpg-sig", "provenance", "core-metadata"]
_OLD_KEYS = ["dist-info-metadata", "data-dist-info-metadata", "data-core-metadata"]
_TOP_KEYS = ["meta", "name", "versions", "project-status", "alternate-locations", "files", "x-unknown"]
odd_values = st.one_of(
    json_values,
    st.sampled_from(["", "true", "sha256=" + "a" * 64, "a" * 64, "2024-01-02", "2024-02-30T00:00:00Z", "../x.whl", "#", "//", "1.", "²"]),
    st.sampled_from([-1, 2**63, 2**64, 10**30, 1e300, {"sha256": "A" * 64}, {"sha256": "short", "md5": "0" * 32}, {"status": None}, [[]]]),
)


@st.composite
def odd_pages(draw: st.DrawFn) -> bytes:
    """A JSON page of which some keys, of entries or of its own, have values that they should not have, or are missing."""
    page = draw(json_pages(st.one_of(filenames, odd_names)))
    for entry in page["files"]:
        for key in draw(st.lists(st.sampled_from([*_KNOWN_KEYS, *_OLD_KEYS]), max_size=3)):
            entry[key] = draw(odd_values)
        for key in draw(st.lists(st.sampled_from(_KNOWN_KEYS), max_size=1)):
            entry.pop(key, None)
    for key in draw(st.lists(st.sampled_from(_TOP_KEYS), max_size=2)):
        page[key] = draw(odd_values)
    if draw(st.booleans()) and isinstance(page.get("meta"), dict):
        page["meta"]["api-version"] = draw(odd_values)
    return json.dumps(page).encode()


@st.composite
def odd_html(draw: st.DrawFn) -> bytes:
    """A page in HTML whose anchors may have anything in their attributes."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
        ["&amp;gt;=3", "&lt;", '"', "'", "\x00", "true"]
    )
    anchors = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.one_of(filenames, odd_names))
        href = draw(st.sampled_from(["", "../", "/", "//host/", "https://host/", "http:///", "javascript:", "a b/", "?", "%2e%2e/"])) + name
        href += draw(st.sampled_from(["", "#", "#sha256=" + "a" * 64, "#sha256=" + "a" * 63, "#md5-" + "0" * 32, "?x#egg=y", "%00", "%ff"]))
        keys = st.sampled_from(["requires-python", "yanked", "gpg-sig", "provenance", "core-metadata", "dist-info-metadata"])
        attributes = "".join(f' data-{key}="{draw(text)}"' for key in draw(st.lists(keys, max_size=3)))
        anchors.append(f'<a href="{href}"{attributes}>{draw(text)}</a>')
    head = draw(st.sampled_from(["", "<base href='/x/'>", "<base href='http://['>", "<meta name='pypi:repository-version' content='1.x'>"]))
    return f"<html><head>{head}</head><body>{''.join(anchors)}</body>".encode()


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, taken away, put in or said twice; or none."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        how = draw(st.sampled_from(["change", "cut off", "take", "put", "twice"]))
        if how == "cut off":
            del data[start:]
        elif how == "put":
            data[start:start] = draw(
                st.binary(max_size=8) | st.sampled_from([b"\xff", b"\x00", b"null", b'"', b"\r\n\r\n", b"1e999", b"[" * 50])
            )
        else:
            data[start:end] = {"change": draw(st.binary(min_size=end - start, max_size=end - start)), "take": b""}.get(
                how, data[start:end] * 2
            )
    return bytes(data)
