"""A page whose files are put away is the same page, whenever it is looked at."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import PageUnreadable
from proxy.core.packed import LARGEST, FilesLeft, packed
from proxy.core.page import File, Fragment, Page
from proxy.core.parse import parse_page
from proxy.core.render import Form, proxied_links, render_page
from proxy.core.twins import told_apart
from tests.core.files import each
from tests.property.strategies import PROJECT, as_bytes, filenames, json_pages, odd_html, odd_names, odd_pages

URL = "https://mirror.example.com/simple/demo/"


def read(body: bytes, said: str | None = None) -> Page:
    return parse_page(body, said, URL, PROJECT)


def rendered(page: Page) -> list[bytes]:
    return [render_page(page, form, proxied_links(PROJECT), each(lambda file: file.core_metadata)) for form in Form]


def comes_back(files: tuple[File, ...]) -> None:
    away = packed(files)
    if not files:
        assert away is None
        return
    assert away is not None
    assert away.count == len(files)
    again = away.files()
    assert again == files
    assert list(map(type, again)) == list(map(type, files))
    assert [type(file.rest) for file in again] == [type(file.rest) for file in files]
    assert [file.key for file in again] == [file.key for file in files]


@given(st.one_of(json_pages().map(as_bytes), odd_pages()))
def test_files_of_json_pages_come_back_as_they_were(body: bytes) -> None:
    with suppress(PageUnreadable):
        comes_back(read(body).files)


@given(odd_html())
def test_files_of_html_pages_come_back_as_they_were(body: bytes) -> None:
    with suppress(PageUnreadable):
        comes_back(read(body, "text/html").files)


@given(st.lists(st.tuples(filenames, st.sampled_from("abc")), max_size=12))
def test_twins_come_back_as_twins(listed: list[tuple[str, str]]) -> None:
    comes_back(told_apart([File(name, f"https://mirror.example.com/{folder}/{name}") for name, folder in listed]))


def test_what_only_an_odd_entry_has_comes_back() -> None:
    comes_back((File("a-1.zip", "https://mirror.example.com/a", Fragment(b'"x":1'), link_fragment=Fragment(b"egg=a"), yanked="why"),))


def test_what_cannot_be_packed_is_left() -> None:
    assert packed([File("a-1.zip", "https://mirror.example.com/\ud800")]) is None
    assert packed([File("a-1.zip", "https://mirror.example.com/a")] * (LARGEST + 1)) is None


@given(json_pages(st.one_of(filenames, odd_names)), st.data())
def test_a_page_says_the_same_whether_its_files_are_put_away_or_not(body: dict[str, Any], data: st.DataObject) -> None:
    page, plain = read(as_bytes(body)), read(as_bytes(body))
    away = packed(page.files)
    if away is None:
        return
    gone = data.draw(st.frozensets(st.sampled_from([file.key for file in page.files])))
    rest = page.without(gone)
    woken: list[str] = []
    _ = page.releases, page.by_key
    page.put_away(away, lambda: woken.append("page"))
    if rest is not page:
        rest.put_away(FilesLeft(page, gone, rest.count), lambda: woken.append("rest"))
    assert (page.count, rest.count) == (plain.count, plain.without(gone).count)
    assert woken == []
    assert rendered(rest) == rendered(plain.without(gone))
    assert rendered(page) == rendered(plain)
    assert page.releases == plain.releases
    assert page.by_key == plain.by_key
    assert page == plain
    assert sorted(woken) == (["page", "rest"] if rest is not page else ["page"])


TWO_SPELLINGS = {
    "meta": {"api-version": "1.0"},
    "name": PROJECT,
    "files": [
        {"filename": f"{PROJECT}-{version}", "url": version, "hashes": {}}
        for version in ("1.0rc1-py3-none-any.whl", "1.0-rc1.tar.gz", "2.0.tar.gz", "2.0-py3-none-any.whl")
    ],
}
"""A page that spells one version in two ways: its files are brought in order again."""


def test_threads_that_wake_a_page_at_once_get_the_same_files() -> None:
    page = read(as_bytes(TWO_SPELLINGS))
    away = packed(page.files)
    assert away is not None
    both, woken = threading.Barrier(2, timeout=30), list[str]()

    class Slow:
        count, size = away.count, away.size

        def files(self) -> tuple[File, ...]:
            both.wait()
            return away.files()

    page.put_away(Slow(), lambda: woken.append("page"))
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: page.files, range(2))
    assert one is other
    assert one is page.files
    assert woken == ["page"]


@given(st.one_of(st.just(TWO_SPELLINGS), json_pages(st.one_of(filenames, odd_names))), st.data())
def test_a_page_that_is_put_away_whenever_it_is_woken_says_the_same(body: dict[str, Any], data: st.DataObject) -> None:
    page, plain = read(as_bytes(body)), read(as_bytes(body))
    away = packed(page.files)
    if away is None:
        return

    def again() -> None:
        page.put_away(away, again)

    again()
    assert page.releases == plain.releases
    assert (page.by_key, page.by_filename, page.namesakes) == (plain.by_key, plain.by_filename, plain.namesakes)
    assert (page.probeable, page.clearer_in_html) == (plain.probeable, plain.clearer_in_html)
    assert [page.release_of(file) for file in plain.files] == [plain.release_of(file) for file in plain.files]
    gone = data.draw(st.frozensets(st.sampled_from([file.key for file in plain.files])))
    again()
    assert page.without(gone) == plain.without(gone)
    assert rendered(page) == rendered(plain)


def test_a_page_may_be_put_away_between_the_steps_of_its_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.core.page._FILES_AT_ONCE", 1)
    page, plain = read(as_bytes(TWO_SPELLINGS)), read(as_bytes(TWO_SPELLINGS))
    away = packed(page.files)
    assert away is not None
    for _ in page.prepare():
        page.put_away(away, lambda: None)
    assert page.releases == plain.releases
    assert [len(release.files) for release in page.releases] == [2, 2]


def test_no_name_but_the_files_is_made_up() -> None:
    page = read(json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": []}).encode())
    with pytest.raises(AttributeError):
        page.nothing  # type: ignore[attr-defined]  # noqa: B018
