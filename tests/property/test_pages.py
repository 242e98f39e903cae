"""Reading and writing pages loses nothing, adds nothing, and never breaks."""

import json
from contextlib import suppress
from itertools import compress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import PageUnreadable, UpstreamOverLimit
from proxy.core.page import File, Page, parsed_version
from proxy.core.parse import parse_page, parse_page_in_steps
from proxy.core.render import Form, choose_form, proxied_links, render_page
from tests.core.conversations import converse
from tests.core.files import each
from tests.property.strategies import PROJECT, as_bytes, filenames, json_pages, odd_names, pages

URL = f"https://mirror.example.com/api/pypi/simple/{PROJECT}/"
_NAMES = [
    f"{PROJECT.replace('-', '_')}-{version}{end}"
    for version in ("1", "1.0", "1.0.1", "2", "2-1", "x")
    for end in ("-py3-none-any.whl", "-cp311-cp311-macosx_11_0_arm64.whl", ".tar.gz", ".egg")
]
KNOWN_TO_HTML = ("hashes", "requires-python", "yanked", "gpg-sig", "provenance")


def read(page: dict[str, Any]) -> Page:
    return parse_page(as_bytes(page), None, URL, PROJECT)


def written(page: Page, form: Form = Form.JSON) -> bytes:
    return render_page(page, form, proxied_links(PROJECT), each(lambda file: file.core_metadata))


@given(json_pages())
def test_what_a_json_page_says_of_its_files_passes_unchanged(page: dict[str, Any]) -> None:
    again = json.loads(written(read(page)))
    assert [entry["filename"] for entry in again["files"]] == [entry["filename"] for entry in page["files"]]
    for before, after in zip(page["files"], again["files"], strict=True):
        assert {**after, "url": ""} == {**before, "url": ""}
    assert {key: value for key, value in again.items() if key.startswith("x-")} == {
        key: value for key, value in page.items() if key.startswith("x-")
    }
    assert again["meta"].get("x-serial") == page["meta"].get("x-serial")


@given(st.lists(st.sampled_from(_NAMES), max_size=12))
def test_each_file_is_in_the_release_that_its_name_tells_in_whatever_order_the_page_has_them(names: list[str]) -> None:
    listed = Page(PROJECT, PROJECT, tuple(File(name, f"{URL}{number}") for number, name in enumerate(names)))
    for release in listed.releases:
        texts = [file.version_text(PROJECT) or "" for file in listed.files]
        own = [str(parsed_version(text) or text) == release.spelling for text in texts]
        assert list(release.files) == list(compress(listed.files, own))
    assert sum(len(release.files) for release in listed.releases) == len(names)


@given(json_pages())
def test_html_says_the_same_of_what_html_can_say(page: dict[str, Any]) -> None:
    before = read(page)
    after = parse_page(written(before, Form.HTML), None, URL, PROJECT)
    assert [file.filename for file in after.files] == [file.filename for file in before.files]
    for one, other in zip(before.files, after.files, strict=True):
        for key in KNOWN_TO_HTML:
            assert (one.fields.get(key) or None) == (other.fields.get(key) or None)
        assert (one.core_metadata or None) == (other.core_metadata or None)
        assert one.requires_python == other.requires_python


@given(json_pages(st.one_of(filenames, odd_names)))
def test_links_lead_back_to_exactly_the_file_name(page: dict[str, Any]) -> None:
    before = read(page)
    for form in (Form.JSON, Form.HTML):
        again = parse_page(written(before, form), None, "http://127.0.0.1:8080/simple/demo/", PROJECT)
        assert [file.filename for file in again.files] == [file.filename for file in before.files]


@given(pages(), st.data())
def test_without_takes_exactly_the_named_files_and_reorders_nothing(page: Page, data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from([file.filename for file in page.files] or ["nothing"])))
    assert [file.filename for file in page.without(gone).files] == [file.filename for file in page.files if file.filename not in gone]


@given(json_pages())
def test_in_steps_and_at_one_go_are_the_same(page: dict[str, Any]) -> None:
    whole, _ = converse(parse_page_in_steps(as_bytes(page), None, URL, PROJECT), lambda _: None)
    assert whole == read(page)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"<html>{text}<a href='{text}'>".encode()))
def test_arbitrary_bytes_are_a_page_or_a_clear_error(body: bytes) -> None:
    with suppress(PageUnreadable):
        assert isinstance(parse_page(body, "text/html", URL, PROJECT), Page)


@given(json_pages(), st.integers(0, 3))
def test_too_many_links_are_refused(page: dict[str, Any], limit: int) -> None:
    if len(page["files"]) > limit:
        with pytest.raises(UpstreamOverLimit):
            parse_page(as_bytes(page), None, URL, PROJECT, link_limit=limit)


@given(st.none() | st.text(max_size=80), st.none() | st.text(max_size=30))
def test_any_accept_header_chooses_a_form_or_none(accept: str | None, query: str | None) -> None:
    assert choose_form(accept, query) in {None, *Form}
