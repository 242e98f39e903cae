"""The price: requests by reason, and of how many distinct files, in bounded memory."""

import random

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.verdict.reason import Reason
from proxy.telemetry.price import EXACT_UP_TO, DistinctCount, Price, file_address

FILE = "https://mirror.example.com/packages/demo-1.0-py3-none-any.whl"


def test_requests_and_distinct_files_are_counted_by_reason() -> None:
    price = Price()
    for _ in range(3):
        price.sent(Reason.PROOF, FILE)
    price.sent(Reason.AWAITED, FILE)
    price.sent(Reason.AWAITED, FILE.replace("1.0", "2.0"))
    price.relay()
    assert (price.requests[Reason.PROOF], price.requests[Reason.AWAITED]) == (3, 2)
    files = {cost.reason: cost.files for cost in price.costs}
    assert (files[Reason.PROOF], files[Reason.AWAITED], files[Reason.WITNESS]) == (1, 2, 0)
    assert price.touched == 2
    assert price.relayed == 1


def test_the_metadata_and_each_signature_of_a_file_are_that_file() -> None:
    assert file_address(f"{FILE}.metadata") == FILE
    assert file_address(f"{FILE}?signature=a") == file_address(f"{FILE}?signature=b") == FILE


def test_a_file_that_the_query_names_is_told_from_others() -> None:
    assert file_address("https://mirror.example.com/get?file=a.whl") != file_address("https://mirror.example.com/get?file=b.whl")
    assert file_address("https://mirror.example.com/get.metadata?file=a.whl") == file_address("https://mirror.example.com/get?file=a.whl")


@given(st.lists(st.integers(min_value=0, max_value=2**61), max_size=300))
def test_few_are_counted_exactly(digests: list[int]) -> None:
    count = DistinctCount(300)
    for digest in digests:
        count.add(digest)
    assert len(count) == len(set(digests))


@given(st.lists(st.integers(min_value=0, max_value=2**61), max_size=200), st.lists(st.integers(min_value=0, max_value=2**61), max_size=200))
def test_counts_that_are_merged_are_the_count_of_all(one: list[int], other: list[int]) -> None:
    merged, part, whole = DistinctCount(4), DistinctCount(4), DistinctCount(4)
    for digest in one:
        merged.add(digest)
    for digest in other:
        part.add(digest)
    for digest in one + other:
        whole.add(digest)
    merged.merge(part)
    assert len(merged) == len(whole)
    assert len(merged._sample) <= 4


def test_many_are_estimated_within_a_tenth_and_take_no_more_memory() -> None:
    count, chance = DistinctCount(), random.Random(18)  # noqa: S311 - it draws, it guards nothing
    for number in range(1, 100_001):
        digest = chance.getrandbits(61)
        count.add(digest)
        count.add(digest)
        if number <= EXACT_UP_TO:
            assert len(count) == number
    assert 90_000 <= len(count) <= 110_000
    assert len(count._sample) <= EXACT_UP_TO
