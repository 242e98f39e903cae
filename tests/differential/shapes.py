"""Page shapes that real mirrors send, each named after what it has: the cases that the differential always asks about.

A page is written as the mirror of the shape writes it; see `templates` for the marks. Files lie below `/root/files/`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tests.differential.standin import HTML_TYPE, JSON_TYPE, TEXT_HTML
from tests.differential.templates import PageTemplate, Template

FILES = "/root/files/"
WHEEL = "@project@-1.0-py3-none-any.whl"
NEWER = "@project@-2.0-py3-none-any.whl"
SDIST = "@project@-1.0.tar.gz"
MOMENT = "2024-01-02T03:04:05.678901Z"
_QUOTED_SIZE = re.compile(r'(?<="size": )"(@size:[^"]+@)"')
_HEAD = "<title>Links for @project@</title>"


def key(path: str) -> str:
    """Return the key of the file at `path`, as it is written in a link."""
    decoded, mark, query = path.partition("?")
    return f"{FILES}{unquote(decoded)}{mark}{query}"


def html(*anchors: str, head: str = _HEAD, before: str = "<!DOCTYPE html>\n", headers: Mapping[str, str] | None = None) -> Template:
    """Return a page in HTML, with a line for each of the `anchors`."""
    lines = "<br/>\n".join(anchors)
    text = f"{before}<html><head>{head}</head><body><h1>Links for @project@</h1>\n{lines}\n</body></html>\n"
    return Template(text, TEXT_HTML, headers or {})


def anchor(name: str, path: str = "", fragment: str | None = "sha256", attributes: str = "") -> str:
    """Return an anchor to the file at `path` below `/root/files/`, of the name itself where none is given.

    `fragment` names the hash, or is the whole fragment where it holds a sign; None is none.
    """
    path = path or name
    if fragment is not None and not set(fragment) & set("=-%"):
        fragment = f"{fragment}=@{fragment}:{key(path)}@"
    mark = "" if fragment is None else f"#{fragment}"
    return f'<a href="../../files/{path}{mark}"{" " if attributes else ""}{attributes}>{name}</a>'


def entry(name: str, path: str = "", hashes: Sequence[str] = ("sha256",), **fields: Any) -> dict[str, Any]:
    """Return an entry of a JSON page; `fields` are written with dashes and go before all others, None leaves nothing out."""
    path = path or name
    listed = {
        "filename": name,
        "url": f"../../files/{path}",
        "hashes": {each: f"@{each}:{key(path)}@" for each in hashes},
    }
    return listed | {key.replace("_", "-"): value for key, value in fields.items()}


def as_json(*files: Any, api_version: Any = "1.0", meta: Mapping[str, Any] | None = None, **keys: Any) -> Template:
    """Return a page in JSON; `keys` are written with dashes."""
    page = {"meta": {"api-version": api_version, **(meta or {})}, "name": "@project@", "files": list(files)}
    page |= {key.replace("_", "-"): value for key, value in keys.items()}
    return Template(_QUOTED_SIZE.sub(r"\1", json.dumps(page)), JSON_TYPE)


def sized(path: str) -> str:
    """Return the mark for the size of the file at `path`."""
    return f"@size:{key(path)}@"


def _moved(name: str, spelled: str, **fields: Any) -> dict[str, Any]:
    """Return an entry whose address is spelled otherwise than its path."""
    return entry(name, **fields) | {"url": spelled}


SHAPES: dict[str, tuple[Template, ...]] = {
    "one file name at two addresses with two digests, in HTML": (
        html(anchor(WHEEL, f"a/{WHEEL}"), anchor(WHEEL, f"b/{WHEEL}"), anchor(SDIST)),
    ),
    "one file name at two addresses with two digests, in JSON": (
        as_json(entry(WHEEL, f"a/{WHEEL}"), entry(SDIST), entry(WHEEL, f"b/{WHEEL}")),
    ),
    "one file name at two addresses with one digest": (html(anchor(WHEEL, f"copy1/{WHEEL}"), anchor(WHEEL, f"copy2/{WHEEL}")),),
    "one file name at two addresses without digests": (html(anchor(WHEEL, f"a/{WHEEL}", None), anchor(WHEEL, f"b/{WHEEL}", None)),),
    "one file name at three addresses, of which one is yanked": (
        html(
            anchor(WHEEL, f"a/{WHEEL}"), anchor(WHEEL, f"b/{WHEEL}", attributes='data-yanked="broken"'), anchor(WHEEL, f"c/{WHEEL}", "md5")
        ),
    ),
    "upload times and sizes in HTML": (
        html(
            anchor(WHEEL, attributes=f'data-upload-time="{MOMENT}" data-size="{sized(WHEEL)}"'),
            anchor(SDIST, attributes=f'data-upload-time="2024-01-02T03:04:05Z" data-size="{sized(SDIST)}"'),
        ),
    ),
    "links that are no distribution, in HTML": (
        html(
            anchor(WHEEL),
            *(
                anchor(name)
                for name in (
                    *("@project@-1.0-variants.json", "@project@-1.0.tbz", "@project@-1.0.txz", "@project@-1.0.tar.lz"),
                    *("@project@-1.0.tar.zst", "@project@-1.0.tlz", "@project@-1.0.tar.lzma", "@project@-1.0.tar.gz.asc"),
                )
            ),
        ),
    ),
    "links that are no distribution, in JSON": (
        as_json(
            entry(WHEEL), *(entry(name) for name in ("@project@-1.0-variants.json", "@project@-1.0.tar.lz", "@project@-1.0.tar.gz.asc"))
        ),
    ),
    "a page of nothing but old archives": (html(anchor("@project@-1.0.tar.lzma"), anchor("@project@-2.0.tbz")),),
    "a page of nothing but variants": (html(anchor("@project@-1.0-variants.json")),),
    "a link to a repository": (html(anchor(WHEEL), '<a href="git+https://git.example.com/p.git@v2#egg=@project@-2.0">p</a>'),),
    "a link with an egg fragment and no ending": (html(anchor(WHEEL), anchor("develop", "tarball/develop", "egg=@project@-dev")),),
    "an archive with a folder inside that holds the project": (html(anchor(SDIST, fragment="subdirectory=python&egg=@project@-1.0")),),
    "an escaped slash in the last part": (html(anchor(WHEEL, f"pool%2F{WHEEL}", None), anchor(SDIST, f"pool%2f{SDIST}", None)),),
    "a slash at the end": (html(anchor(WHEEL, f"{WHEEL}/", None), anchor(SDIST)),),
    "a slash at the end, in JSON": (as_json(_moved(WHEEL, f"../../files/{WHEEL}/", hashes=()), entry(SDIST)),),
    "raw blanks in addresses, in JSON": (as_json(_moved(WHEEL, f"../../files/a b/{WHEEL}", hashes=()), entry(SDIST)),),
    "raw blanks in addresses, in HTML": (html(anchor(WHEEL, f"a b/{WHEEL}", None), anchor(SDIST)),),
    "an escaped sign in the fragment": (html(anchor(WHEEL, fragment=f"sha256%3D@sha256:{FILES}{WHEEL}@")),),
    "a query and an escaped sign in the fragment": (html(anchor(WHEEL, f"{WHEEL}?q=1", "sha256%3Dabc"), anchor(SDIST)),),
    "a query and a fragment that is no hash": (html(anchor(WHEEL), f'<a href="../../files/{SDIST}?q=1#top">x</a>'),),
    "a query after the name": (html(anchor(WHEEL, f"{WHEEL}?token=a%2Fb&x=1", None), anchor(SDIST, f"{SDIST}?x=a+b", None)),),
    "files told apart by nothing but their query": (
        html(anchor(WHEEL, f"{WHEEL}?id=1", None), anchor(NEWER, f"{NEWER}?id=2", None), anchor(WHEEL, f"{WHEEL}?id=3", None)),
    ),
    "names in JSON that their addresses do not have": (
        as_json(_moved(WHEEL, "../../files/download/1", hashes=()), _moved(SDIST, "../../files/download?id=2", hashes=())),
    ),
    "unknown names in fragments": (
        html(
            anchor(WHEEL, fragment=f"blake2=@blake2b:{FILES}{WHEEL}@"),
            anchor(NEWER, fragment="size=123"),
            anchor(SDIST, fragment="egg=@project@-1.0"),
        ),
    ),
    "several hashes in a fragment": (
        html(anchor(WHEEL, fragment=f"md5=@md5:{FILES}{WHEEL}@&sha256=@sha256:{FILES}{WHEEL}@"), anchor(SDIST)),
    ),
    "a hash before an egg fragment": (html(anchor(SDIST, fragment=f"sha256=@sha256:{FILES}{SDIST}@&egg=@project@-1.0")),),
    "several hashes in JSON": (as_json(entry(WHEEL, hashes=("md5", "sha256", "blake2b")), entry(SDIST, hashes=("sha512", "sha1"))),),
    "hashes in JSON that hashlib does not know": (
        as_json(entry(WHEEL, hashes=("blake2b_256", "sha256")), entry(SDIST, hashes=("blake2b_256",))),
    ),
    "SHA-3 and other rare hashes": (as_json(entry(WHEEL, hashes=("sha3_256",)), entry(SDIST, hashes=("sha384", "sha224"))),),
    "md5 alone": (html(anchor(WHEEL, fragment="md5"), anchor(SDIST, fragment="sha1")),),
    "a base": (html(f'<a href="{WHEEL}">x</a>', f'<a href="b/{SDIST}">y</a>', head=f'{_HEAD}<base href="../../files/">'),),
    "a base elsewhere": (html(f'<a href="{WHEEL}">x</a>', head=f'{_HEAD}<base href="@origin@/other/">'),),
    "comments and anchors without ends": (
        html(f'<!-- <a href="{NEWER}">no</a> -->', f'<a href="../../files/{WHEEL}">x', f'<a href="../../files/{SDIST}">y'),
    ),
    "anchors without ends in a list": (html(f'<ul><li><a href="../../files/{WHEEL}">x</li><li><a href="../../files/{SDIST}">y</li></ul>'),),
    "anchors without ends in a table": (
        html(f'<table><tr><td><a href="../../files/{WHEEL}">x</td></tr><tr><td><a href="../../files/{SDIST}">y</td></tr></table>'),
    ),
    "upper-case tags and attributes without quotes": (
        html(f"<A HREF=../../files/{WHEEL} DATA-REQUIRES-PYTHON=&gt;=3.8>{WHEEL}</A>", f"<A\nHREF='../../files/{SDIST}'\n>y</A\n>"),
    ),
    "entities in addresses": (html(f'<a href="../../files/{WHEEL}?a=1&amp;b=2">x</a>', f'<a href="&#46;&#46;/../files/{SDIST}">y</a>'),),
    "white space around addresses": (html(f'<a href=" ../../files/{WHEEL} ">x</a>', f'<a href="\n../../files/{SDIST}\n">y</a>'),),
    "text before the page, and a line break within the tag": (
        html(f'<a\n href="../../files/{WHEEL}"\n data-requires-python="&gt;=3.7"\n>x</a>', before="\\\n<!DOCTYPE html>\n"),
    ),
    "no markup but anchors": (Template(f'<a\nhref="../../files/{WHEEL}">x</a>'),),
    "a byte order mark": (Template("\ufeff" + html(anchor(WHEEL)).text),),
    "a byte that is no UTF-8": (html(anchor(WHEEL), "caf\udce9", anchor(SDIST)),),
    "letters beyond ASCII in a reason": (html(anchor(WHEEL, attributes='data-yanked="geht nicht: ä ✗"'), anchor(SDIST)),),
    "yanked without a reason": (
        html(anchor(WHEEL, attributes='data-yanked=""'), anchor(NEWER, attributes="data-yanked"), anchor(SDIST)),
        as_json(entry(WHEEL, yanked=True), entry(NEWER, yanked=True), entry(SDIST, yanked=False)),
    ),
    "reasons, signatures and provenance": (
        as_json(
            entry(WHEEL, yanked='a <b> & "c"', gpg_sig=True, provenance="https://mirror.example.com/p?a=1&b=%2B"),
            entry(SDIST, gpg_sig=False, requires_python=">=3.8,!=3.9.*"),
        ),
    ),
    "reasons, signatures and provenance in HTML": (
        html(
            anchor(
                WHEEL,
                attributes='data-yanked="a &lt;b&gt; &amp; &quot;c&quot;" data-gpg-sig="true" data-provenance="https://mirror.example.com/p?a=1&amp;b=%2B"',
            ),
            anchor(SDIST, attributes='data-gpg-sig="false" data-requires-python="&gt;=3.8,!=3.9.*"'),
        ),
    ),
    "missing keys, nulls and unknown keys": (
        as_json(
            {"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {}, "x-own": {"a": [1, None]}},
            entry(SDIST, size=None, upload_time=None, requires_python=None, yanked=None, gpg_sig=None, provenance=None),
            x_page={"y": 1},
            versions=["1.0"],
        ),
    ),
    "sizes and upload times in JSON": (
        as_json(
            entry(WHEEL, upload_time=MOMENT, size=sized(WHEEL)),
            entry(SDIST, upload_time="2024-01-02T03:04:05Z", size=sized(SDIST)),
            versions=["1.0"],
        ),
    ),
    "an api-version of which the keys are not all there": (as_json(entry(WHEEL), entry(SDIST), api_version="1.1"),),
    "versions where the api-version is 1.0": (as_json(entry(WHEEL), entry(SDIST), api_version="1.0", versions=["1.0", "0.9"]),),
    "versions and sizes where the api-version is 1.4": (
        as_json(
            entry(WHEEL), entry(SDIST), api_version="1.4", versions=["1.0", "0.9"], alternate_locations=["https://mirror.example.com/x/"]
        ),
    ),
    "tracks, alternate locations and the serial in JSON": (
        as_json(
            entry(WHEEL),
            api_version="1.2",
            meta={"tracks": ["https://mirror.example.com/t/"], "_last-serial": 12},
            alternate_locations=["https://mirror.example.com/a/", "https://mirror.example.com/b/"],
        ),
    ),
    "tracks, alternate locations and the api-version in HTML": (
        html(
            anchor(WHEEL),
            head=_HEAD
            + '<meta name="pypi:repository-version" content="1.3"><meta name="pypi:tracks" content="https://mirror.example.com/t/">'
            + '<meta name="pypi:alternate-locations" content="https://mirror.example.com/a/">'
            + '<meta name="pypi:alternate-locations" content="https://mirror.example.com/b/">',
        ),
    ),
    "a serial in a header": (html(anchor(WHEEL), headers={"X-PyPI-Last-Serial": "1234"}),),
    "a project's status in HTML": (
        html(
            anchor(WHEEL),
            head=_HEAD
            + '<meta name="pypi:project-status" content="deprecated">'
            + '<meta name="pypi:project-status-reason" content="use &quot;other&quot;">',
        ),
    ),
    "a project's status in JSON": (as_json(entry(WHEEL), api_version="1.4", project_status={"status": "archived", "reason": "done"}),),
    "a project in quarantine": (as_json(api_version="1.4", project_status={"status": "quarantined"}),),
    "no files": (html(),),
    "no files in JSON": (as_json(),),
    "a listing of nothing but its parent": (
        Template(
            "<html><head><title>Index of /simple/@project@/</title></head><body><h1>Index of /simple/@project@/</h1><hr>"
            '<pre><a href="../">../</a>\n</pre><hr></body></html>'
        ),
    ),
    "a heading and links without addresses": (html(f'<a href="">{WHEEL}</a>', f"<a>{SDIST}</a>"),),
    "metadata of an sdist": (
        html(anchor(SDIST, attributes='data-core-metadata="true"'), anchor(WHEEL, attributes='data-dist-info-metadata="true"')),
        as_json(entry(SDIST, core_metadata=True), entry(WHEEL, core_metadata=True)),
    ),
    "metadata with its hash": (
        as_json(
            entry(WHEEL, core_metadata={"sha256": f"@metadata:{FILES}{WHEEL}@"}),
            entry(SDIST, core_metadata={"sha256": f"@metadata:{FILES}{SDIST}@"}),
        ),
    ),
    "a type of HTML with a version": (Template(html(anchor(WHEEL)).text, HTML_TYPE),),
    "a type with a charset": (Template(html(anchor(WHEEL, attributes='data-yanked="caf\udce9"')).text, "text/html; charset=iso-8859-1"),),
    "wheels with build tags, local versions and escapes": (
        html(
            *(
                anchor(name, path, None)
                for name, path in (
                    ("@project@-1.0-1-py3-none-any.whl", ""),
                    ("@project@-1.0+cu118-py3-none-any.whl", "@project@-1.0%2Bcu118-py3-none-any.whl"),
                    ("@project@-1.0+cu121-py3-none-any.whl", "@project@-1.0+cu121-py3-none-any.whl"),
                    ("@project@-1!2.0-py3-none-any.whl", "@project@-1%212.0-py3-none-any.whl"),
                )
            )
        ),
    ),
    "addresses with escapes that clients leave alone": (
        html(anchor(WHEEL, f"%7Euser/%5B1%5D/{WHEEL}", None), anchor(SDIST, "a%20b/@project@%2D1.0.tar.gz", None)),
    ),
    "absolute addresses without a scheme": (html(f'<a href="@origin@/abs/{WHEEL}">x</a>', f'<a href="/rooted/{SDIST}">y</a>'),),
    "files below the page itself": (
        html(f'<a href="{WHEEL}">x</a>', f'<a href="./sub/{SDIST}">y</a>', f'<a href="../@project@/{NEWER}">z</a>'),
    ),
    "names of other projects": (html(anchor(WHEEL), anchor("other-1.0-py3-none-any.whl"), anchor("@project@_extra-1.0.tar.gz")),),
    "names that are no versions": (
        html(anchor("@project@-latest.tar.gz"), anchor("@project@.zip"), anchor("@project@-1.0.post-1.zip"), anchor(WHEEL)),
    ),
    "eggs and installers": (
        html(*map(anchor, ("@project@-1.0-py2.7.egg", "@project@-1.0.win32.exe", "@project@-1.0.win-amd64-py2.7.msi", WHEEL))),
    ),
    "both forms": (
        html(anchor(WHEEL, attributes='data-requires-python="&gt;=3.8"'), anchor(SDIST)),
        as_json(entry(WHEEL, requires_python=">=3.8", upload_time=MOMENT), entry(SDIST), versions=["1.0"]),
    ),
}

PAGES = tuple(PageTemplate(title, forms) for title, forms in SHAPES.items())
