"""What is taken over from a second index, and what is not."""

from typing import Any

import pytest

from proxy.core.filling import filled, lacks, sha256_of
from proxy.core.page import File, Page, Sha256
from tests.core.files import file, page

A, B = Sha256("a" * 64), Sha256("b" * 64)
WHEEL = "demo-1.0-py3-none-any.whl"
TOLD = {"upload_time": "2024-01-02T03:04:05.678901Z", "size": 7, "requires_python": ">=3.9", "yanked": "broken"}
FIELDS = ("upload-time", "size", "requires-python", "yanked")


def one(**details: Any) -> Page:
    return Page("demo", "demo", (file(WHEEL, **{"only_hash": A, **details}),))


def only(found: Page) -> File:
    (the_file,) = found.files
    return the_file


def test_all_that_the_mirror_does_not_say_is_taken_over_for_the_same_bytes() -> None:
    found = only(filled(one(), one(**TOLD), FIELDS))
    assert {name: getattr(found, name) for name in TOLD} == TOLD


def test_what_the_mirror_says_stands() -> None:
    said = {"upload_time": "2020-02-02T00:00:00Z", "size": 8, "requires_python": ">=2", "yanked": False}
    assert filled(one(**said), one(**TOLD), FIELDS) == one(**said)


def test_only_the_fields_that_are_asked_for_are_filled() -> None:
    found = only(filled(one(), one(**TOLD), ("upload-time",)))
    assert (found.upload_time, found.size, found.yanked) == (TOLD["upload_time"], None, None)


@pytest.mark.parametrize("mirror", [{"only_hash": B}, {"only_hash": None}], ids=["other bytes", "no hash"])
def test_a_file_of_other_bytes_or_of_unknown_ones_gets_nothing(mirror: dict[str, Any]) -> None:
    assert filled(one(**mirror), one(**TOLD), FIELDS) == one(**mirror)


def test_a_sha256_beside_other_hashes_counts_as_well() -> None:
    both = file(WHEEL, rest=b'"hashes":{"sha256":"%s","sha512":"%s"}' % (b"a" * 64, b"c" * 128))
    assert sha256_of(both) == "a" * 64
    assert only(filled(Page("demo", "demo", (both,)), one(**TOLD), FIELDS)).size == 7


@pytest.mark.parametrize("text", ["yesterday", "2024-01-02", "2024-13-02T03:04:05Z", "2024-01-02T03:04:05", ""])
def test_a_time_that_a_strict_client_would_refuse_is_not_taken_over(text: str) -> None:
    assert only(filled(one(), one(upload_time=text), FIELDS)).upload_time is None


def test_a_python_requirement_that_is_none_is_not_taken_over() -> None:
    assert only(filled(one(), one(requires_python="three"), FIELDS)).requires_python is None


def test_of_several_uploads_of_the_same_bytes_the_one_of_the_same_name_counts() -> None:
    other = "demo-1.0-1-py3-none-any.whl"
    reference = Page("demo", "demo", (file(other, only_hash=A, size=7, yanked="this one"), file(WHEEL, only_hash=A, size=7)))
    assert only(filled(one(), reference, FIELDS)).yanked is None


def test_a_namesake_of_other_bytes_tells_nothing_where_the_same_bytes_have_another_name() -> None:
    reference = Page("demo", "demo", (file(WHEEL, only_hash=B, size=8), file("demo-1.0-1-py3-none-any.whl", only_hash=A, size=7)))
    assert only(filled(one(), reference, FIELDS)).size == 7


def test_files_that_only_the_second_index_lists_are_never_added() -> None:
    assert filled(Page("demo", "demo", ()), one(**TOLD), FIELDS).files == ()


def test_a_page_without_hashes_or_without_gaps_has_nothing_to_ask_for() -> None:
    assert not lacks(page(WHEEL), FIELDS)
    assert not lacks(one(**TOLD), FIELDS)
    assert lacks(one(**TOLD | {"size": None}), FIELDS)
    assert not lacks(one(**TOLD | {"size": None}), ("upload-time",))
