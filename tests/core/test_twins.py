"""Pages that list one file name more than once, as merged repositories and flat lists do."""

from itertools import permutations

import pytest

from proxy.core.page import Page
from proxy.core.parse import parse_page
from proxy.core.render import Form, proxied_links, render_page
from proxy.core.twins import file_at, same_elsewhere
from proxy.core.verdict.judge import VerdictRules
from proxy.core.verdict.plan import plan
from proxy.core.verdict.settle import Policy, settle
from tests.core.files import each, no, yes

URL = "https://mirror.example.com/simple/demo/"
WHEEL = "demo-1.0-py3-none-any.whl"
ONE, OTHER = "a" * 64, "b" * 64


def page(*links: str) -> Page:
    return parse_page("".join(f'<a href="{link}">x</a>' for link in links).encode(), None, URL, "demo")


def keys(of: Page) -> dict[str, str]:
    """The key of each entry by its address."""
    return {file.url.removeprefix(URL): file.key for file in of.files}


def test_a_name_that_stands_once_is_its_own_key() -> None:
    assert keys(page(f"one/{WHEEL}#sha256={ONE}")) == {f"one/{WHEEL}": WHEEL}


@pytest.mark.parametrize("form", Form)
def test_every_entry_gets_an_address_of_its_own_that_ends_with_the_name(form: Form) -> None:
    twins = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}", f"three/{WHEEL}", "demo-1.0.tar.gz")
    written = render_page(twins, form, proxied_links("demo"), each(lambda _: None))
    again = parse_page(written, None, "https://proxy.example.com/simple/demo/", "demo")
    addresses = [file.url.removeprefix("https://proxy.example.com/files/demo/") for file in again.files]
    assert addresses == [file.key for file in twins.files]
    assert len(set(addresses)) == 4
    assert [address.rpartition("/")[2] for address in addresses] == [WHEEL, WHEEL, WHEEL, "demo-1.0.tar.gz"]
    assert addresses[0].startswith(ONE[:12])


def test_keys_do_not_depend_on_the_order_of_the_page() -> None:
    links = [
        f"one/{WHEEL}#sha256={ONE}",
        f"two/{WHEEL}#sha256={ONE}",
        f"three/{WHEEL}#sha256={OTHER}",
        f"four/{WHEEL}?a=1",
        f"four/{WHEEL}?a=2",
    ]
    assert len({tuple(sorted(keys(page(*order)).items())) for order in permutations(links)}) == 1
    assert len(set(keys(page(*links)).values())) == len(links)


def test_a_signature_in_the_query_that_changes_leaves_the_key_as_it_was() -> None:
    first, second = page(f"one/{WHEEL}?s=1", f"two/{WHEEL}?s=2"), page(f"one/{WHEEL}?s=3", f"two/{WHEEL}?s=4")
    assert [file.key for file in first.files] == [file.key for file in second.files]


def test_an_entry_that_is_repeated_is_one_file() -> None:
    twice = page(f"one/{WHEEL}#sha256={ONE}", f"one/{WHEEL}#sha256={ONE}")
    assert [file.key for file in twice.files] == [WHEEL, WHEEL]
    assert twice.probeable == 1
    assert settle(twice, {WHEEL: yes()}, Policy()).unasked == 0


def test_a_link_of_before_a_name_had_twins_and_one_of_after_still_lead_to_the_file() -> None:
    twins = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}")
    assert file_at(twins, WHEEL) is twins.files[0]
    alone = page(f"two/{WHEEL}#sha256={OTHER}")
    assert file_at(alone, twins.files[1].key) is alone.files[0]
    assert file_at(alone, twins.files[0].key) is None


def test_a_key_by_digest_is_understood_after_the_same_bytes_stand_twice() -> None:
    before = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}")
    after = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}", f"three/{WHEEL}#sha256={ONE}")
    assert file_at(after, before.files[0].key) is after.files[0]


def test_a_verdict_is_about_one_entry_and_drops_no_other_of_its_name() -> None:
    twins = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}")
    mended = settle(twins, {twins.files[0].key: no()}, Policy())
    assert mended.page.files == twins.files[1:]


def test_a_dead_entry_stays_where_the_same_bytes_are_elsewhere_on_the_page_unless_clients_go_to_its_address() -> None:
    twins = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={ONE}")
    one, two = twins.files
    assert same_elsewhere(twins, one) == (two,)
    assert settle(twins, {one.key: no(), two.key: yes()}, Policy()).page.files == (one, two)
    assert settle(twins, {one.key: no(), two.key: yes()}, Policy(), by_address=True).page.files == (two,)
    assert settle(twins, {one.key: no(0.0, 200.0), two.key: no(0.0, 200.0)}, Policy(empty="drop")).page.files == ()


def test_twins_without_a_digest_are_never_taken_for_the_same_bytes() -> None:
    twins = page(f"one/{WHEEL}", f"two/{WHEEL}")
    assert same_elsewhere(twins, twins.files[0]) == ()


def test_each_twin_is_asked_about() -> None:
    twins = page(f"one/{WHEEL}#sha256={ONE}", f"two/{WHEEL}#sha256={OTHER}")
    assert set(plan(twins, {}, 0.0, rules=VerdictRules(), budget=None).files) == set(twins.files)
