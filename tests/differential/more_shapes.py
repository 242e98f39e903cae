"""More page shapes: slips of hand-written pages and of generators, in HTML and in JSON, and pages that are elsewhere."""

import json

from tests.differential.shapes import FILES, NEWER, SDIST, WHEEL, anchor, as_json, entry, html, sized
from tests.differential.standin import JSON_TYPE
from tests.differential.templates import PageTemplate, Template

_HREF = f"../../files/{WHEEL}"


def _raw(page: object, content_type: str = JSON_TYPE) -> Template:
    return Template(json.dumps(page), content_type)


def _at(url: str, name: str = WHEEL, **more: object) -> dict[str, object]:
    return {"filename": name, "url": url, "hashes": {}, **more}


_SHAPES: dict[str, tuple[Template, ...]] = {
    "a prolog of XML": (html(anchor(WHEEL), before='<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'),),
    "anchors closed at once": (html(f'<a href="{_HREF}"/>{WHEEL}', f'<a href="../../files/{SDIST}"/>{SDIST}'),),
    "anchors within anchors": (html(f'<a href="{_HREF}"><b>x<a href="../../files/{SDIST}">y</a></b></a>'),),
    "anchors left open around blocks": (html(f'<p><a href="{_HREF}">x<p><a href="../../files/{SDIST}">y<div>z</div>'),),
    "one file twice, the first anchor left open": (html(f'<a href="{_HREF}">x</li><li><a href="{_HREF}">x</a>'),),
    "one file twice, beside a comment on it": (html(f'<!-- <a href="{_HREF}"> --><li><a href="{_HREF}">x<li><a href="{_HREF}">y'),),
    "one file twice, with tags in the reason of a yank": (
        html(f'<a href="{_HREF}" data-yanked="see <a b> and <TEMPLATE >">x<li><a href="{_HREF}" data-yanked="</A >">y'),
    ),
    "anchors left open in definitions": (html(f'<dl><dt><a href="{_HREF}">x<dd>1<dt><a href="../../files/{SDIST}">y<dd>2</dl>'),),
    "bold and anchors that overlap": (html(f'<b><a href="{_HREF}">x</b></a>', f'<i><a href="../../files/{SDIST}">y</i></a>'),),
    "anchors in what scripts would replace": (html(f"<noscript>{anchor(WHEEL)}</noscript>", anchor(SDIST)),),
    "anchors in a template": (html(f"<template>{anchor(WHEEL)}</template>", anchor(SDIST)),),
    "anchors in a table without rows": (html(f"<table>{anchor(WHEEL)}{anchor(SDIST)}</table>"),),
    "anchors in a heading": (Template(f"<html><head>{anchor(WHEEL)}</head><body>{anchor(SDIST)}</body></html>"),),
    "anchors after the end": (Template(f"<html><body>{anchor(WHEEL)}</body></html>{anchor(SDIST)}"),),
    "a line break within an address": (html(f'<a href="../../files/{WHEEL[:14]}\n{WHEEL[14:]}">x</a>', anchor(SDIST)),),
    "bare ampersands": (html(f'<a href="{_HREF}?a=1&b=2" data-yanked="this & that">x</a>', anchor(SDIST)),),
    "a bare > in an attribute": (html(f'<a href="{_HREF}" data-requires-python=">=3.8">x</a>', anchor(SDIST)),),
    "an empty requires-python": (html(f'<a href="{_HREF}" data-requires-python="">x</a>', anchor(SDIST)),),
    "a scheme in capitals": (html(f'<a href="HTTP://127.0.0.1:@port@{FILES}{WHEEL}">x</a>', anchor(SDIST)),),
    "two bases, and one with a target only": (
        html(
            f'<a href="{WHEEL}">x</a>',
            head='<title>Links for @project@</title><base target="_top"><base href="/root/files/"><base href="/no/">',
        ),
    ),
    "a base behind the anchors": (html(f'<a href="{WHEEL}">x</a>', '<base href="/root/files/">'),),
    "hashes in capitals": (html(anchor(WHEEL, fragment=f"SHA256=@sha256:{FILES}{WHEEL}@"), anchor(SDIST)),),
    "a sign at the end of a fragment": (html(anchor(WHEEL, fragment=f"sha256=@sha256:{FILES}{WHEEL}@&"), anchor(SDIST)),),
    "a name with a raw hash sign": (html(f'<a href="../../files/c%23/{WHEEL}">x</a>', anchor(SDIST)),),
    "letters beyond ASCII in addresses": (html(anchor(WHEEL, f"ärger/{WHEEL}", None), anchor(SDIST, f"%C3%A4/{SDIST}", None)),),
    "endings in capitals": (html(anchor("@project@-1.0.TAR.GZ"), anchor("@project@-1.0.ZIP"), anchor(WHEEL)),),
    "rare archives": (
        html(*map(anchor, ("@project@-1.0.tar.Z", "@project@-1.0.tar", "@project@-1.0.tar.xz", "@project@-1.0.dmg", WHEEL))),
    ),
    "copies that a browser numbered": (
        html(anchor("@project@-1.0-py3-none-any (1).whl", "@project@-1.0-py3-none-any%20(1).whl"), anchor(WHEEL)),
    ),
    "an address of five thousand letters": (html(anchor(WHEEL, f"{WHEEL}?signature={'a' * 5000}", None), anchor(SDIST)),),
    "a name and a password in an address": (html(f'<a href="http://me:secret@127.0.0.1:@port@{FILES}{WHEEL}">x</a>', anchor(SDIST)),),
    "dots in addresses": (html(anchor(WHEEL, f"a/../b/./{WHEEL}", None), anchor(SDIST, f"a//b/{SDIST}", None)),),
    "parameters in addresses": (html(anchor(WHEEL, f"{WHEEL};v=1", None), anchor(SDIST, f"a;b/{SDIST}", None)),),
    "nothing but a fragment of a page": (Template(f'<a href="{_HREF}">x</a>\n'),),
    "a page of one line": (Template("".join(f'<a href="../../files/{number}/{NEWER}">x</a>' for number in range(1))),),
    "a type in capitals": (Template(html(anchor(WHEEL)).text, "Text/HTML; Charset=UTF-8"),),
    "JSON without meta and name": (_raw({"files": [_at(_HREF), _at(f"../../files/{SDIST}", SDIST)]}),),
    "JSON with a null for meta": (_raw({"meta": None, "name": "@project@", "files": [_at(_HREF)]}),),
    "JSON with a number for the api-version": (_raw({"meta": {"api-version": 1.0}, "name": "@project@", "files": [_at(_HREF)]}),),
    "JSON with a charset in its type": (
        _raw({"meta": {"api-version": "1.0"}, "name": "@project@", "files": [_at(_HREF)]}, f"{JSON_TYPE}; charset=utf-8"),
    ),
    "JSON with a byte order mark": (Template("\ufeff" + as_json(entry(WHEEL)).text, JSON_TYPE),),
    "JSON with white space all over": (Template("\n\n" + json.dumps(json.loads(as_json(entry(WHEEL)).text), indent=4) + "\n", JSON_TYPE),),
    "JSON with a key twice": (
        Template(
            as_json(entry(WHEEL)).text.replace('"hashes"', '"requires-python": ">=2", "requires-python": ">=3.8", "hashes"'), JSON_TYPE
        ),
    ),
    "JSON with escapes in names": (
        Template(as_json(entry(WHEEL)).text.replace('"filename": "@project@-1.0-', '"filename": "@project@\\u002d1.0\\u002d'), JSON_TYPE),
    ),
    "JSON with a size of zero and one with a fraction": (as_json(entry(WHEEL, size=0.0), entry(SDIST)),),
    "JSON with an empty requires-python": (as_json(entry(WHEEL, requires_python=""), entry(SDIST)),),
    "JSON with other spellings of moments": (
        as_json(
            entry(WHEEL, upload_time="2024-01-02T03:04:05+00:00", size=sized(WHEEL)),
            entry(SDIST, upload_time="2024-01-02T03:04:05.5Z", size=sized(SDIST)),
        ),
    ),
    "JSON with hashes of metadata besides SHA-256": (
        as_json(entry(WHEEL, core_metadata={"sha512": "a" * 128}), entry(NEWER, core_metadata={}), entry(SDIST, core_metadata=False)),
    ),
    "JSON with the older spelling of metadata": (as_json(entry(WHEEL, dist_info_metadata=True), entry(SDIST)),),
    "JSON with a name in the project's own spelling": (
        Template(as_json(entry(WHEEL)).text.replace('"name": "@project@"', '"name": "@PROJECT@"'), JSON_TYPE),
    ),
    "JSON with hashes in capitals": (Template(as_json(entry(SDIST), entry(WHEEL) | {"hashes": {"SHA256": "a" * 64}}).text, JSON_TYPE),),
    "JSON with absolute addresses": (as_json(_at(f"@origin@{FILES}{WHEEL}"), _at(f"/root/files/{SDIST}", SDIST)),),
    "JSON with letters beyond ASCII": (as_json(entry(WHEEL, yanked="ä ✗ \U0001f40d"), entry(SDIST, x_own="é")),),
}

MORE_PAGES = (
    *(PageTemplate(title, forms) for title, forms in _SHAPES.items()),
    PageTemplate(
        "a page that is elsewhere",
        (html(anchor(WHEEL, fragment=None), f'<a href="sub/{SDIST}">y</a>'),),
        moved_to="/root/other/deep/@project@/index.html",
    ),
    PageTemplate("a page that is elsewhere, in JSON", (as_json(_at(_HREF), _at(f"sub/{SDIST}", SDIST)),), moved_to="/root/other/@project@"),
)
