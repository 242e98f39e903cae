"""Made-up pages for the differential: awkward in many ways at once, and readable by real clients."""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.differential.shapes import as_json, key, sized
from tests.differential.standin import HTML_TYPE, JSON_TYPE, TEXT_HTML
from tests.differential.templates import PageTemplate, Template

_VERSIONS = st.sampled_from(["1.0", "1.1", "2.0", "2.0rc1", "1!3.0", "1.0+cu118", "0.9.post1"])
_TAGS = st.sampled_from(["py3-none-any", "cp312-cp312-manylinux_2_28_x86_64", "cp311-abi3-macosx_11_0_arm64", "1-py2.py3-none-any"])
_SDIST_ENDINGS = (".tar.gz", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
_OTHER_ENDINGS = (".tbz", ".txz", ".tar.lz", ".tlz", ".tar.lzma", ".tar.zst", "-variants.json", ".tar.gz.asc", "-py2.7.egg", ".win32.exe")
_FOLDERS = st.sampled_from(
    [
        "",
        "",
        "",
        "a/",
        "b/",
        "copy1/",
        "copy2/",
        "@project@/",
        "pool%2F",
        "x%2fy/",
        "%7Eu/",
        "a%20b/",
        "a b/",
        "x+y/",
        "%5B1%5D/",
        "deep/er/",
    ]
)
_ENDINGS = st.sampled_from(["", "", "", "", "/", "?q=1", "?a=b%2Fc&d=e", "?id=2"])
_FRAGMENTS = st.sampled_from(
    [
        *("", "sha256", "sha256", "sha256", "md5", "sha512", "sha1", "md5 sha256", "sha256 egg", "egg", "egg sha256", "size", "blake2"),
        *("blake2b", "sha256%3D", "SHA256", "short", "subdirectory egg", "sha256 subdirectory"),
    ]
)
_REASONS = st.sampled_from(["", "broken", 'a <b> & "c"', "ünïcödé ✗", "  blanks  "])
_MOMENTS = st.sampled_from(["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678901Z", "2020-02-29T23:59:59.1Z"])
_SPECIFIERS = st.sampled_from([">=3.8", ">=3.8,<4", "!=3.0.*,>=2.7", "~=3.11"])
_SELDOM = st.sampled_from([False, False, True])
_ODD_ANCHORS = st.sampled_from(
    [
        '<a href="../">../</a>',
        "<a>nothing</a>",
        '<a name="top"></a>',
        '<a href="">empty</a>',
        '<a href="#top">top</a>',
        '<a href="mailto:a@example.com">m</a>',
        '<a href="javascript:void(0)">j</a>',
        '<a href="https://mirror.example.com/">home</a>',
        '<!-- <a href="../../files/@project@-9.0-py3-none-any.whl">hidden</a> -->',
        "<script>var a = '<a href=x.whl>';</script>",
        '<a href="git+https://git.example.com/p.git@v9#egg=@project@-9.0">git</a>',
    ]
)


@dataclass(frozen=True)
class _Listed:
    """A file as a made-up mirror lists it."""

    name: str
    path: str
    fragment: str
    fields: dict[str, Any]


@st.composite
def _names(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["wheel", "wheel", "wheel", "sdist", "sdist", "other"]))
    version = draw(_VERSIONS)
    if kind == "wheel":
        return f"@project@-{version}-{draw(_TAGS)}.whl"
    return f"@project@-{version}{draw(st.sampled_from(_SDIST_ENDINGS if kind == 'sdist' else _OTHER_ENDINGS))}"


@st.composite
def _listed(draw: st.DrawFn, strict: bool) -> _Listed:
    name = draw(_names())
    escaped = name.replace("!", "%21").replace("+", draw(st.sampled_from(["+", "%2B"])))
    path = draw(_FOLDERS) + escaped + draw(_ENDINGS)
    optional = {
        "requires-python": _SPECIFIERS,
        "yanked": _REASONS,
        "gpg-sig": st.booleans(),
        "provenance": st.just("https://mirror.example.com/p?a=1&b=%2B"),
        "upload-time": _MOMENTS,
        "size": st.just(sized(path)),
        "core-metadata": st.just(True),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional)), max_size=4))
    fragments = _FRAGMENTS.filter(_fits_uv) if strict else _FRAGMENTS
    return _Listed(name, path, draw(fragments), {each: draw(optional[each]) for each in sorted(chosen)})


def _fits_uv(fragment: str) -> bool:
    return not set(fragment.split()) & {"short", "size", "blake2", "subdirectory", "egg"}


def _fragment(listed: _Listed) -> str:
    place = key(listed.path)
    written = {
        "SHA256": f"sha256=@sha256:{place}@",
        "sha256%3D": f"sha256%3D@sha256:{place}@",
        "size": "size=12",
        "egg": "egg=@project@",
        "subdirectory": "subdirectory=python",
        "blake2": f"blake2=@blake2b:{place}@",
        "short": "sha256=abc",
    }
    return "&".join(written.get(each, f"{each}=@{each}:{place}@") for each in listed.fragment.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@st.composite
def _anchor(draw: st.DrawFn, listed: _Listed, base: str) -> str:
    fragment = _fragment(listed)
    link = base + listed.path + (f"#{fragment}" if fragment else "")
    attributes = [f'href="{_escaped(link)}"']
    for field, value in listed.fields.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        attributes.append(f'data-{field}="{_escaped(text)}"')
    if draw(st.booleans()):
        attributes.reverse()
    tag, end = draw(st.sampled_from([("a", "</a>"), ("a", "</a>"), ("A", "</A>"), ("a", "")]))
    space = draw(st.sampled_from([" ", " ", "\n    ", "\t"]))
    if tag == "A":
        attributes = [f"{name.upper()}={value}" for name, _, value in (each.partition("=") for each in attributes)]
    text = draw(st.sampled_from([listed.name, listed.name, "x", f"\n  {listed.name}\n"]))
    return f"<{tag}{space}{space.join(attributes)}>{text}{end}"


@dataclass(frozen=True)
class _Said:
    """The keys by which a made-up mirror describes a page, in whatever form; one that is `strict` writes nothing that uv refuses.

    What only one form of a page says, the other need not: both are made of the same facts.
    """

    api_version: str | None
    tracks: bool
    alternate: bool
    status: tuple[str, str] | None
    serial: bool
    strict: bool
    in_json_too: bool = False

    @property
    def meta(self) -> list[str]:
        """The meta elements of an HTML page."""
        said = []
        if self.api_version is not None:
            said.append(f'<meta name="pypi:repository-version" content="{self.api_version}">')
        if self.tracks:
            said.append('<meta name="pypi:tracks" content="https://mirror.example.com/t/">')
        if self.alternate:
            said.append('<META NAME="pypi:alternate-locations" CONTENT="https://mirror.example.com/a/">')
        if self.status is not None:
            said.append(f'<meta name="pypi:project-status" content="{self.status[0]}">')
            said.append(f'<meta name="pypi:project-status-reason" content="{_escaped(self.status[1])}">')
        return said

    @property
    def headers(self) -> dict[str, str]:
        """The headers besides the type."""
        return {"X-PyPI-Last-Serial": "42"} if self.serial else {}


_STATUSES = st.sampled_from([("archived", "done"), ("deprecated", "use <other>"), ("active", "fine")])
_SAID = st.builds(
    _Said,
    st.none() | st.sampled_from(["1.0", "1.0", "1.1", "1.2", "1.3", "1.4"]),
    _SELDOM,
    _SELDOM,
    st.none() | st.none() | _STATUSES,
    _SELDOM,
    st.booleans(),
)


@st.composite
def html_templates(draw: st.DrawFn, files: list[_Listed], said: _Said) -> Template:
    """Return a page in HTML that lists these files, in one of the ways in which mirrors write such pages."""
    base, link = draw(
        st.sampled_from(
            [
                *([("", "../../files/")] * 4),
                *(("@origin@/root/files/" if said.strict else "../../files/", ""), ("", "@origin@/root/files/"), ("", "/root/files/")),
            ]
        )
    )
    parts = [draw(_anchor(each, link)) for each in files]
    for odd in draw(st.lists(_ODD_ANCHORS, max_size=2)):
        if (base and 'href="../' in odd) or (said.in_json_too and "git+" in odd):
            continue
        parts.insert(draw(st.integers(0, len(parts))), odd)
    meta = draw(st.sampled_from([[], ['<meta charset="utf-8">'], ['<meta name="robots" content="noindex">']])) + said.meta
    if base:
        meta.append(f'<base href="{base}">')
    start = draw(st.sampled_from(["<!DOCTYPE html>\n", "", "\n\n", "<!-- made -->\n", "\ufeff<!doctype html>"]))
    between = draw(st.sampled_from(["<br/>\n", "\n", "</li><li>", ""]))
    head = f"<html><head><title>Links for @project@</title>{''.join(meta)}</head><body>"
    content_type = draw(st.sampled_from([TEXT_HTML, "text/html; charset=utf-8", HTML_TYPE]))
    return Template(f"{start}{head}{between.join(parts)}</body></html>", content_type, said.headers)


@st.composite
def _entry(draw: st.DrawFn, listed: _Listed, strict: bool) -> dict[str, Any]:
    hashes = [name for name in listed.fragment.replace("SHA256", "sha256").replace("%3D", "").split() if name in _JSON_HASHES]
    if draw(st.integers(0, 9)) == 0:
        hashes.append("blake2b_256")
    entry: dict[str, Any] = {"filename": listed.name, "url": f"../../files/{listed.path}"}
    if hashes or strict or draw(st.booleans()):
        entry["hashes"] = {name: f"@{name}:{key(listed.path)}@" for name in hashes}
    elif listed.fragment.startswith("sha256"):
        entry["url"] += f"#{_fragment(listed)}"
    entry |= {field: True if (field, value) == ("yanked", "") else value for field, value in listed.fields.items()}
    for field in draw(st.sets(st.sampled_from(["requires-python"] if strict else _NULLABLE), max_size=2)):
        entry.setdefault(field, None)
    if draw(st.integers(0, 4)) == 0:
        entry["x-own"] = draw(st.sampled_from([1, "two", [3], {"four": None}]))
    return entry


@st.composite
def json_templates(draw: st.DrawFn, files: list[_Listed], said: _Said) -> Template:
    """Return a page in JSON that lists these files, with keys missing, null and unknown."""
    entries = [draw(_entry(each, said.strict)) for each in files]
    keys: dict[str, Any] = {"versions": ["1.0", "2.0", "9.9"]} if draw(st.booleans()) else {}
    if draw(_SELDOM):
        keys["x_page"] = {"y": None}
    meta: dict[str, Any] = draw(st.sampled_from([{}, {"_last-serial": 42}]))
    if said.tracks:
        meta["tracks"] = ["https://mirror.example.com/t/"]
    if said.alternate:
        keys["alternate_locations"] = ["https://mirror.example.com/a/"]
    if said.status is not None:
        keys["project_status"] = {"status": said.status[0], "reason": said.status[1]}
    template = as_json(*entries, api_version=said.api_version or "1.0", meta=meta, **keys)
    return Template(template.text, JSON_TYPE, said.headers)


_HTML_ONLY = {"egg", "subdirectory"}
_NULLABLE = ("size", "upload-time", "requires-python", "yanked", "gpg-sig", "provenance")
_JSON_HASHES = frozenset({"md5", "sha1", "sha256", "sha512", "blake2b"})


@st.composite
def page_templates(draw: st.DrawFn) -> PageTemplate:
    """Return a page of some files in HTML, in JSON, or in both."""
    forms, said = [], draw(_SAID)
    files = draw(st.lists(_listed(said.strict), min_size=1, max_size=6))
    speaks = draw(st.sampled_from(["html", "html", "json", "both"]))
    if speaks == "both":
        # JSON has no place for these, and the proxy asks for JSON.
        files = [replace(each, fragment=" ".join(part for part in each.fragment.split() if part not in _HTML_ONLY)) for each in files]
    if speaks != "json":
        forms.append(draw(html_templates(files, replace(said, in_json_too=speaks == "both"))))
    if speaks != "html":
        forms.append(draw(json_templates(files, said)))
    return PageTemplate(f"made-up, {speaks}", tuple(forms))
