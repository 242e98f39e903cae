"""Which releases a resolver may choose, by the requirements that were read."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from proxy.core.page import Page
from proxy.core.requirements import satisfies
from proxy.core.verdict.choices import choices
from proxy.core.verdict.client import client_platform
from tests.core.files import file, no, page, yes
from tests.core.test_plan import UV

WHEEL = "demo-{}-py3-none-any.whl"
RELEASES = page(*(WHEEL.format(version) for version in ("1.0", "2.0", "3.0", "4.0", "5.0", "6.0rc1")))


def chosen(on: Page, *specifiers: str, **known: object) -> list[str]:
    return [release.spelling for release in choices(on, specifiers, **known)]  # type: ignore[arg-type]


def test_without_requirements_the_newest_final_release_is_chosen() -> None:
    assert chosen(RELEASES) == ["5.0"]


def test_the_newest_that_satisfies_a_requirement_is_chosen_before_the_newest_that_does_not() -> None:
    assert chosen(RELEASES, "<4") == ["3.0", "5.0"]


def test_the_newest_for_each_requirement_and_for_all_of_them_together() -> None:
    found = chosen(RELEASES, "<4", "!=3.0,!=5.0")
    assert found[0] == "2.0"
    assert set(found) == {"2.0", "3.0", "4.0", "5.0"}


def test_requirements_that_nothing_satisfies_together_have_a_choice_each() -> None:
    assert set(chosen(RELEASES, "<2", ">=5")) == {"1.0", "5.0"}


@pytest.mark.parametrize("specifier", [">=1", "<6", "!=5.1"])
def test_what_the_newest_satisfies_costs_nothing_more(specifier: str) -> None:
    assert chosen(RELEASES, specifier) == ["5.0"]


def test_a_pre_release_is_chosen_where_nothing_else_satisfies() -> None:
    assert set(chosen(RELEASES, ">5.0")) == {"6.0rc1", "5.0"}


def test_a_pre_release_is_chosen_where_the_specifier_names_one() -> None:
    assert set(chosen(RELEASES, ">=5.0a1")) == {"6.0rc1", "5.0"}


def test_only_pre_releases_leave_the_newest_of_them() -> None:
    assert chosen(page(*(WHEEL.format(version) for version in ("1.0a1", "1.0b2")))) == ["1.0b2"]


def test_a_release_of_which_nothing_is_delivered_leaves_its_place_to_an_older_one() -> None:
    assert set(chosen(RELEASES, "<4", verdicts={WHEEL.format("3.0"): no(1.0)})) == {"2.0", "3.0", "5.0"}


def test_a_release_of_which_something_is_delivered_keeps_its_place() -> None:
    several = page("demo-1.0.tar.gz", "demo-2.0.tar.gz", WHEEL.format("2.0"))
    assert chosen(several, verdicts={"demo-2.0.tar.gz": no(1.0), WHEEL.format("2.0"): yes(1.0)}) == ["2.0"]


def test_a_yanked_release_leaves_its_place_to_an_older_one() -> None:
    yanked = Page("demo", "demo", (file(WHEEL.format("2.0"), yanked=True), file(WHEEL.format("1.0"))))
    assert set(chosen(yanked)) == {"2.0", "1.0"}


def test_where_the_newest_wants_another_python_the_newest_for_the_clients_is_likeliest_and_older_ones_may_be_locked_for() -> None:
    listed = Page("demo", "demo", tuple(file(WHEEL.format(f"{major}.0"), requires_python=f">=3.{8 + major}") for major in range(1, 7)))
    found = chosen(listed, client=client_platform(UV))
    assert found[0] == "4.0"
    assert set(found) == {"6.0", "4.0", "3.0", "2.0"}
    assert chosen(listed) == ["6.0"]


def test_where_the_newest_has_nothing_for_the_clients_system_the_newest_that_has_is_chosen_too() -> None:
    listed = page("demo-1.0.tar.gz", "demo-2.0-cp312-cp312-manylinux_2_17_x86_64.whl", "demo-3.0-cp312-cp312-win_amd64.whl")
    assert set(chosen(listed, client=client_platform(UV))) == {"3.0", "2.0"}


VERSIONS = [f"{major}.{minor}" for major in range(5) for minor in range(3)]
SPECIFIERS = st.tuples(st.sampled_from(["<", "<=", ">", ">=", "!=", "==", "~="]), st.sampled_from(VERSIONS)).map("".join)


@given(
    st.lists(st.sampled_from(VERSIONS), min_size=1, unique=True),
    st.lists(st.lists(SPECIFIERS, min_size=1, max_size=2).map(",".join), max_size=4),
)
def test_whatever_part_of_the_requirements_holds_the_newest_release_that_satisfies_it_is_chosen(
    versions: list[str], specifiers: list[str]
) -> None:
    found = set(chosen(page(*(WHEEL.format(version) for version in versions)), *specifiers))
    for part in chain.from_iterable(combinations(specifiers, size) for size in range(len(specifiers) + 1)):
        fitting = list(SpecifierSet(",".join(part)).filter(versions))
        if fitting:
            assert max(fitting, key=lambda text: tuple(map(int, text.split(".")))) in found
    assert len(found) <= 24


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=40, unique=True),
    st.lists(st.lists(SPECIFIERS, max_size=2).map(",".join), max_size=5),
)
def test_of_however_many_requirements_the_newest_release_for_each_is_chosen_that_read_last_first(
    pins: list[int], others: list[str]
) -> None:
    many = page(*(WHEEL.format(f"{number // 100}.{number % 100}") for number in range(500)))
    specifiers = [*(f"=={number // 100}.{number % 100}" for number in pins), *filter(None, others)]
    found = chosen(many, *specifiers)
    newest = [next((each.spelling for each in many.releases if satisfies(specifier, each.spelling)), None) for specifier in specifiers]
    wanted = [each for each in dict.fromkeys(newest) if each is not None and each != found[0]]
    assert found[1 : len(wanted) + 1] == wanted


@pytest.mark.parametrize("specifier", ["<1.1200,>=1.1190", "~=1.1199.0", "==1.1199.*", "==1.1199", "<=1.1199", "<1.1201,!=1.1200"])
def test_among_thousands_of_releases_an_old_one_is_found_that_a_requirement_wants(specifier: str) -> None:
    many = page(*(WHEEL.format(f"1.{number}") for number in range(3000)))
    assert "1.1199" in chosen(many, *(f"<1.{number},>=1.{number - 10}" for number in range(2990, 3000)), specifier)


def test_among_thousands_of_releases_the_newest_that_satisfies_all_requirements_together_is_found_first() -> None:
    many = page(*(WHEEL.format(f"1.{number}") for number in range(3000)))
    specifiers = [f"!=1.{number}" for number in range(1100, 1120)] + ["<1.1120"] + [f"!=1.{number}" for number in range(1000, 1015)]
    assert chosen(many, *specifiers)[0] == "1.1099"


def test_among_thousands_of_releases_an_old_one_that_is_undeliverable_leaves_its_place_to_the_next() -> None:
    many = page(*(WHEEL.format(f"1.{number}") for number in range(3000)))
    dead = {WHEEL.format(f"1.{number}"): no(1.0) for number in range(1095, 1100)}
    newer = [f"<1.{number},>=1.{number - 10}" for number in range(2990, 3000)]
    assert "1.1094" in chosen(many, *newer, "<1.1100", verdicts=dead)


def test_thousands_of_releases_and_dozens_of_requirements_that_contradict_each_other_are_bounded_work() -> None:
    many = page(*(WHEEL.format(f"{number}.0") for number in range(3000)))
    assert len(choices(many, [f"=={number}.5" for number in range(40)])) <= 24
