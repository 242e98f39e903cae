"""A denial proves absence only where a healthy file would be denied so with less than one chance in ten thousand."""

from itertools import product
from random import Random

import pytest

from proxy.core.page import File
from proxy.core.verdict.proof import (
    CONFIRMED_WRONGLY,
    DENIALS,
    DENIALS_IF_INCONSISTENT,
    PLATFORM_FILES,
    WRONG_DROP,
    PlatformDenials,
    Suspicion,
    chance_of_false_denials,
    missing_answers,
    proves_absence,
)


def wheel(number: int, platform: str = "macosx_11_0_arm64") -> File:
    name = f"demo-{number}.0-cp312-cp312-{platform}.whl"
    return File(name, f"https://mirror.example.com/{name}")


@pytest.mark.parametrize(("denials", "delivered"), list(product([1, 2, 5, 14, 24], [1, 2, 5, 20, 73])))
def test_no_probability_of_false_denials_makes_the_row_likelier_than_the_bound(denials: int, delivered: int) -> None:
    bound = chance_of_false_denials(denials, delivered)
    each = [(step / 1000) ** denials * (1 - step / 1000) ** delivered for step in range(1, 1000)]
    assert max(each) == pytest.approx(bound, rel=0.01)


def test_without_a_good_answer_in_between_nothing_is_proven_however_often_it_is_denied() -> None:
    assert not proves_absence(1000, 0)
    assert not proves_absence(1000, 0, Suspicion.OF_PLATFORM)


def test_one_denial_alone_proves_nothing_however_many_files_are_delivered() -> None:
    assert not any(proves_absence(1, 10**6, suspicion) for suspicion in Suspicion)


@pytest.mark.parametrize("inconsistent", [False, True])
def test_a_file_that_half_of_the_nodes_lack_is_hardly_ever_taken_for_absent(inconsistent: bool) -> None:
    fewest = next(denials for denials in range(100) if proves_absence(denials, 10**6, inconsistent=inconsistent))
    assert fewest == (DENIALS_IF_INCONSISTENT if inconsistent else DENIALS)
    assert 0.5**fewest < WRONG_DROP
    assert not inconsistent or (2 / 3) ** fewest < WRONG_DROP


def test_a_mirror_that_contradicted_itself_is_not_believed_about_a_platform_either() -> None:
    assert proves_absence(2, 100, Suspicion.OF_PLATFORM)
    assert not proves_absence(2, 100, Suspicion.OF_PLATFORM, inconsistent=True)


def test_what_is_missing_for_a_proof_proves_it_and_less_does_not() -> None:
    for suspicion, denials, delivered in product(Suspicion, [1, 2, 5, 20], [0, 1, 3, 10, 100]):
        more, good = missing_answers(denials, delivered, suspicion)
        assert proves_absence(denials + more, delivered + good, suspicion)
        assert good == 0 or not proves_absence(denials + more, delivered + good - 1, suspicion)
        assert more == 0 or good > 0 or not proves_absence(denials + more - 1, delivered, suspicion)


def test_a_proof_is_confirmed_with_fewer_answers_than_it_took() -> None:
    assert sum(missing_answers(1, 0, Suspicion.CONFIRMED)) < sum(missing_answers(1, 0))
    assert chance_of_false_denials(*_confirming()) <= CONFIRMED_WRONGLY


def _confirming() -> tuple[int, int]:
    more, good = missing_answers(1, 0, Suspicion.CONFIRMED)
    return 1 + more, good


@pytest.mark.parametrize("limit", [1, 2, 5, 8, 12, 15])
def test_a_limit_that_denies_what_is_above_it_is_hardly_ever_taken_for_absence(limit: int) -> None:
    # Rounds of 16 requests in random order, of which the mirror answers the first ones rightly; one in which a good file is denied is void.
    random, wrong, files = Random(limit), 0, 20_000  # noqa: S311 - a seeded simulation
    for _ in range(files):
        denials, delivered = 1, 0
        while not proves_absence(denials, delivered):
            asked = ["suspect"] * 13 + ["good"] * 3
            random.shuffle(asked)
            if "suspect" in asked[:limit] or "good" in asked[limit:]:
                break
            denials, delivered = denials + asked[limit:].count("suspect"), delivered + asked[:limit].count("good")
        else:
            wrong += 1
    assert wrong / files < WRONG_DROP


def test_a_platform_is_lacking_once_some_of_its_files_were_proven_absent_and_none_was_delivered() -> None:
    platforms = PlatformDenials()
    for number in range(PLATFORM_FILES):
        assert not platforms.lacks(wheel(100))
        platforms.denied(wheel(number))
        platforms.proven(wheel(number))
        platforms.proven(wheel(number))
    assert platforms.lacks(wheel(100))
    assert not platforms.lacks(wheel(100, "win_amd64"))
    platforms.delivered(wheel(200, "macosx_10_9_x86_64"))
    assert not platforms.lacks(wheel(100))


def test_one_file_denied_a_hundred_times_says_nothing_of_its_platform() -> None:
    platforms = PlatformDenials()
    for _ in range(100):
        platforms.denied(wheel(1))
    assert not platforms.lacks(wheel(2))
    assert not platforms.expects_denial(wheel(2))


def test_a_denial_is_expected_after_three_files_of_the_platform() -> None:
    platforms = PlatformDenials()
    for number in range(3):
        assert not platforms.expects_denial(wheel(9))
        platforms.denied(wheel(number))
    assert platforms.expects_denial(wheel(9))
    platforms.reset()
    assert not platforms.expects_denial(wheel(9))
