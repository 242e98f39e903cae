"""Filling from a second index takes over what is missing, and touches nothing else, whatever the two pages say."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.filling import filled, filled_in_steps, lacks, sha256_of
from proxy.core.page import File, Page
from proxy.core.parse import parse_page
from tests.core.conversations import converse
from tests.property.strategies import PROJECT, as_bytes, digests, json_pages

FIELDS = ("upload-time", "size", "requires-python", "yanked")
NAMES = [field.replace("-", "_") for field in FIELDS]
URL = f"https://mirror.example.com/simple/{PROJECT}/"


@st.composite
def two_pages(draw: st.DrawFn) -> tuple[Page, Page]:
    """The mirror's page and another one: some of whose files are the same, under the same name or not."""
    written = draw(json_pages())
    other: dict[str, Any] = draw(json_pages())
    for entry in other["files"]:
        if written["files"] and draw(st.booleans()):
            twin = draw(st.sampled_from(written["files"]))
            entry["hashes"] = dict(twin["hashes"])
    mirror = parse_page(as_bytes(written), None, URL, PROJECT)
    return mirror, parse_page(as_bytes(other), None, "https://other.example.com/simple/demo/", PROJECT)


def bare(file: File) -> File:
    """The file without what can be filled in."""
    return msgspec.structs.replace(file, **dict.fromkeys(NAMES))


@given(two_pages(), st.sets(st.sampled_from(FIELDS)))
def test_nothing_is_added_taken_reordered_or_overwritten(pages: tuple[Page, Page], fields: set[str]) -> None:
    mirror, other = pages
    after = filled(mirror, other, fields)
    assert [bare(file) for file in after.files] == [bare(file) for file in mirror.files]
    assert (after.versions, after.meta, after.extra, after.name) == (mirror.versions, mirror.meta, mirror.extra, mirror.name)
    for before, now in zip(mirror.files, after.files, strict=True):
        for field, name in zip(FIELDS, NAMES, strict=True):
            if field not in fields or getattr(before, name) is not None:
                assert getattr(now, name) == getattr(before, name)


@given(two_pages())
def test_what_is_filled_in_stands_at_the_other_index_beside_the_same_sha256(pages: tuple[Page, Page]) -> None:
    mirror, other = pages
    for before, now in zip(mirror.files, filled(mirror, other, FIELDS).files, strict=True):
        for name in NAMES:
            if getattr(now, name) != getattr(before, name):
                twins = [file for file in other.files if sha256_of(file) == sha256_of(now)]
                assert getattr(now, name) in [getattr(twin, name) for twin in twins]


@given(two_pages())
def test_what_one_file_of_the_same_name_and_sha256_tells_is_all_taken_over(pages: tuple[Page, Page]) -> None:
    mirror, other = pages
    for before, now in zip(mirror.files, filled(mirror, other, FIELDS).files, strict=True):
        twin = other.by_filename.get(before.filename)
        if twin is not None and sha256_of(twin) == sha256_of(before):
            for name in NAMES:
                told = getattr(twin, name)
                assert getattr(now, name) == (told if getattr(before, name) is None and told is not False else getattr(before, name))


@given(two_pages())
def test_filling_twice_is_filling_once_and_in_steps_is_at_one_go(pages: tuple[Page, Page]) -> None:
    mirror, other = pages
    once = filled(mirror, other, FIELDS)
    assert filled(once, other, FIELDS) == once
    assert converse(filled_in_steps(mirror, other, FIELDS), lambda _: None)[0] == once


@given(json_pages(), digests)
def test_a_page_of_the_same_names_and_other_bytes_fills_nothing(written: dict[str, Any], digest: str) -> None:
    mirror = parse_page(as_bytes(written), None, URL, PROJECT)
    for entry in written["files"]:
        entry["hashes"] = {"sha256": digest}
    other = parse_page(as_bytes(written), None, URL, PROJECT)
    if digest not in {sha256_of(file) for file in mirror.files}:
        assert filled(mirror, other, FIELDS) is mirror


@given(two_pages())
def test_a_page_that_lacks_nothing_is_left_as_it_is(pages: tuple[Page, Page]) -> None:
    mirror, other = pages
    if not lacks(mirror, FIELDS):
        assert filled(mirror, other, FIELDS) is mirror
