"""A page is kept as it is sent and in no other form: what else is asked for is made of that, and has the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.page import File, Fragment, Page
from proxy.core.parse import parse_page
from proxy.core.render import Form, proxied_links, render_page
from proxy.core.verdict.settle import Policy, settle
from proxy.index.served import ENCODINGS, ServedPage, decompressed
from tests.core.files import each, no

FORMS = [Form.JSON, Form.LEGACY_HTML]
FILES = tuple(
    File(
        f"a-{number}.0-py3-none-any.whl",
        f"http://mirror.example.com/{number}",
        Fragment(b'"x":1') if number % 5 == 4 else None,
        yanked="a\nb",
    )
    for number in range(12)
)
NAMES = [file.filename for file in FILES]


def page(files: tuple[File, ...] = FILES) -> Page:
    return Page("a", "a", files, versions=tuple(f"{number}.0" for number in range(len(files))))


def served(whole: Page, dead: frozenset[str] = frozenset(), *, offers: int = 0, digest: str = "") -> ServedPage:
    mended = settle(whole, {name: no() for name in dead}, Policy(confirm=0.0))
    return ServedPage(
        mended, proxied_links("a"), each(lambda _: True), (len(dead), offers, digest, False, None), complete=True, private=False
    )


@given(st.sampled_from(FORMS), st.permutations(ENCODINGS), st.frozensets(st.sampled_from(NAMES[1:])))
def test_each_encoding_holds_what_rendering_gives_whichever_was_asked_for_first(
    form: Form, encodings: list[str], gone: frozenset[str]
) -> None:
    now = served(page(), gone)
    expected = render_page(now.mended.page, form, proxied_links("a"), each(lambda _: True))
    for encoding in encodings:
        assert decompressed(now.body(form, encoding).content, encoding) == expected


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_kept_but_what_was_asked_for(form: Form) -> None:
    now = served(page())
    assert now.size == 0
    sizes = {encoding: len(now.body(form, encoding).content) for encoding in ("zstd", "gzip")}
    assert now.size == sum(sizes.values())


@pytest.mark.parametrize("form", FORMS)
def test_a_second_encoding_is_not_rendered_again(form: Form) -> None:
    asked = []

    def offer(file: File) -> bool:
        asked.append(file.filename)
        return True

    now = served(page())
    now.metadata = each(offer)
    for encoding in ENCODINGS:
        now.body(form, encoding)
    assert asked == NAMES


def test_what_would_be_rendered_alike_is_taken_over_and_nothing_else() -> None:
    earlier = served(page(), frozenset(NAMES[:1]))
    body = earlier.body(Form.JSON, "zstd")
    for later, alike in (
        (served(page(), frozenset(NAMES[:1])), True),
        (served(page(), frozenset(NAMES[1:2])), False),
        (served(page(), frozenset(NAMES[:1]), offers=1), False),
        (served(page(), frozenset(NAMES[:1]), digest="other"), False),
    ):
        later.inherit(earlier)
        assert (later.ready(Form.JSON, "zstd") is body) is alike


def test_a_page_that_the_mirror_wrote_with_line_breaks() -> None:
    """What nobody here understands passes on as it was written, line breaks between its tokens too."""
    entries = [
        {"filename": name, "url": f"/{name}", "hashes": {}, "x-signed": {"by": ["a\nb", number]}} for number, name in enumerate(NAMES)
    ]
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "a", "files": entries}, indent=2).encode()
    whole = parse_page(body, None, "http://mirror.example.com/simple/a/", "a")
    less = served(whole, frozenset({NAMES[1], NAMES[5]})).body(Form.JSON, "identity").content
    assert [entry["x-signed"] for entry in json.loads(less)["files"]] == [
        entry["x-signed"] for entry in entries if entry["filename"] not in {NAMES[1], NAMES[5]}
    ]
