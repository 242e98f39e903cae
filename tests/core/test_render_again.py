"""Rendering a page again gives what rendering it anew gives, whatever happened in between."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.page import File, Fragment, Page, Sha256
from proxy.core.parse import parse_page
from proxy.core.render import Form, Renderer, proxied_links, render_page
from tests.core.files import each

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
FORMS = [Form.JSON, Form.LEGACY_HTML]


def page(files: tuple[File, ...]) -> Page:
    return Page("a", "a", files, versions=tuple(str(number) for number in range(len(files))))


@pytest.mark.parametrize("form", FORMS)
@given(kept=st.lists(st.sets(st.sampled_from(NAMES)), max_size=6), hashed=st.lists(st.sets(st.sampled_from(NAMES)), min_size=6, max_size=6))
def test_after_files_left_and_came_back_and_offers_of_metadata_changed(form: Form, kept: list[set[str]], hashed: list[set[str]]) -> None:
    offered: dict[str, Sha256] = {}

    def offer(file: File) -> bool | Sha256:
        return offered.get(file.filename, True)

    renderer = Renderer(form, proxied_links("a"), each(offer))
    renderer.render(page(FILES))
    for names, odd in zip(kept, hashed, strict=False):
        offered = {name: Sha256("0" * 64) for name in odd}
        now = page(tuple(file for file in FILES if file.filename in names))
        assert renderer.render(now, anew=odd) == render_page(now, form, proxied_links("a"), each(offer))


def test_a_page_that_the_mirror_wrote_with_line_breaks() -> None:
    """What nobody here understands passes on as it was written, line breaks between its tokens too."""
    entries = [
        {"filename": name, "url": f"/{name}", "hashes": {}, "x-signed": {"by": ["a\nb", number]}} for number, name in enumerate(NAMES)
    ]
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "a", "files": entries}, indent=2).encode()
    whole = parse_page(body, None, "http://mirror.example.com/simple/a/", "a")
    renderer = Renderer(Form.JSON, proxied_links("a"), each(lambda _: None))
    renderer.render(whole)
    less = whole.without({NAMES[0], NAMES[5]})
    assert renderer.render(less) == render_page(less, Form.JSON, proxied_links("a"), each(lambda _: None))
    assert [entry["x-signed"] for entry in json.loads(renderer.render(less))["files"]] == [
        entry["x-signed"] for entry in entries if entry["filename"] not in {NAMES[0], NAMES[5]}
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_file_of_a_name_that_something_else_is_said_of_is_rendered_anew(form: Form) -> None:
    twins = (File(NAMES[0], "http://mirror.example.com/twin"), *FILES)
    offered = True

    def offer(file: File) -> bool | None:
        return offered or file.filename != NAMES[0] or None

    renderer = Renderer(form, proxied_links("a"), each(offer))
    renderer.render(page(twins))
    offered = False
    assert renderer.render(page(twins), anew={NAMES[0]}) == render_page(page(twins), form, proxied_links("a"), each(offer))


@given(st.integers(0, 300), st.sets(st.integers(0, 300)))
def test_however_many_files_left_in_whatever_places(count: int, gone: set[int]) -> None:
    many = tuple(File(f"a-{number}.0-py3-none-any.whl", f"http://mirror.example.com/{number}") for number in range(count))
    renderer = Renderer(Form.JSON, proxied_links("a"), each(lambda _: True))
    renderer.render(page(many))
    less = page(tuple(file for number, file in enumerate(many) if number not in gone))
    assert renderer.render(less) == render_page(less, Form.JSON, proxied_links("a"), each(lambda _: True))


@pytest.mark.parametrize("form", FORMS)
def test_a_name_listed_twice_and_another_order(form: Form) -> None:
    twin = File(NAMES[0], "http://mirror.example.com/twin", size=1)
    renderer = Renderer(form, proxied_links("a"), each(lambda _: True))
    for files in (FILES, (FILES[0], twin, *FILES[1:]), (*FILES[1:], FILES[0]), (twin, *reversed(FILES)), ()):
        assert renderer.render(page(files)) == render_page(page(files), form, proxied_links("a"), each(lambda _: True))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_rendered_is_copied_and_not_rendered_anew(form: Form) -> None:
    asked = []

    def offer(file: File) -> bool:
        asked.append(file.filename)
        return True

    renderer = Renderer(form, proxied_links("a"), each(offer))
    renderer.render(page(FILES))
    asked.clear()
    renderer.render(page(FILES).without({NAMES[3]}))
    renderer.render(page(FILES), anew={NAMES[7]})
    assert asked == [NAMES[3], NAMES[7]]
