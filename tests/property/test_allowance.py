"""What the pages of a mirror share: never more than it holds and regains, whatever the clock and the settings do."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.verdict.allowance import Allowance

BUDGETS = st.none() | st.integers(0, 500)
RATES = st.none() | st.floats(0.001, 1000.0) | st.just(0.0)
BOUNDED = st.integers(0, 500)
REGAINED = st.floats(0.0, 1000.0)
STEPS = st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 300), st.integers(0, 100)), max_size=30)


@given(BOUNDED, REGAINED, STEPS)
def test_no_more_is_given_than_was_held_and_came_back(budget: int, rate: float, steps: list[tuple[float, int, int]]) -> None:
    allowance, now, given_out = Allowance(budget, rate), 1000.0, 0
    allowance.left(now)
    for seconds, most, keep in steps:
        now += seconds
        taken = allowance.take(most, now, keep=keep)
        given_out += taken
        assert 0 <= taken <= most
        assert given_out <= budget + rate * (now - 1000.0) + 1e-6
        left = allowance.left(now)
        assert left is not None
        assert not taken or left >= min(keep, budget), "what was to be kept is kept"


@given(BOUNDED, st.floats(0.01, 1000.0), STEPS)
def test_whatever_was_spent_comes_back_in_time(budget: int, rate: float, steps: list[tuple[float, int, int]]) -> None:
    allowance, now = Allowance(budget, rate), 0.0
    for seconds, most, keep in steps:
        now += seconds
        allowance.take(most, now, keep=keep)
    assert allowance.left(now + budget / rate + 1.0) == budget


@given(BOUNDED, REGAINED, st.lists(st.tuples(st.floats(0.0, 1e6), st.integers(0, 300)), max_size=30))
def test_a_clock_that_goes_back_gives_nothing_besides(budget: int, rate: float, steps: list[tuple[float, int]]) -> None:
    allowance, given_out, forward, before = Allowance(budget, rate), 0, 0.0, None
    for now, most in steps:
        forward += max(0.0, now - before) if before is not None else 0.0
        before = now
        given_out += allowance.take(most, now)
        assert given_out <= budget + rate * forward + 1e-3


@given(RATES, STEPS)
def test_without_a_budget_everything_is_given(rate: float | None, steps: list[tuple[float, int, int]]) -> None:
    allowance, now = Allowance(None, rate), 0.0
    for seconds, most, keep in steps:
        now += seconds
        assert allowance.take(most, now, keep=keep) == most
        assert allowance.left(now, keep=keep) is None
        assert allowance.ready_at(most, now, keep=keep) == now


@given(RATES, st.floats(0.0, 1e6), st.integers(1, 100))
def test_a_budget_of_none_at_all_gives_nothing_and_never_will(rate: float | None, now: float, most: int) -> None:
    allowance = Allowance(0, rate)
    assert (allowance.take(most, now), allowance.left(now), allowance.ready_at(most, now)) == (0, 0, None)


@given(st.integers(1, 500), STEPS)
def test_what_comes_back_at_once_is_bounded_each_time(budget: int, steps: list[tuple[float, int, int]]) -> None:
    allowance, now = Allowance(budget, None), 0.0
    for seconds, most, _ in steps:
        now += seconds
        assert allowance.take(most, now) == min(most, budget)


def test_what_never_comes_back_is_not_waited_for() -> None:
    allowance = Allowance(3, 0.0)
    assert (allowance.take(5, 0.0), allowance.take(5, 1e9), allowance.ready_at(1, 1e9)) == (3, 0, None)


@given(st.integers(1, 500), st.floats(0.01, 1000.0), st.integers(1, 600), st.integers(0, 600))
def test_what_is_waited_for_is_there_then(budget: int, rate: float, wanted: int, kept: int) -> None:
    allowance = Allowance(budget, rate)
    allowance.take(budget, 0.0)
    at = allowance.ready_at(wanted, 0.0, keep=kept)
    if kept >= budget:
        assert at is None
    else:
        assert at is not None
        assert allowance.take(wanted, at, keep=kept) == min(wanted, budget - kept)


@given(BUDGETS, RATES, BOUNDED, REGAINED, st.integers(0, 600))
def test_a_change_of_the_settings_gives_back_nothing_that_was_spent(
    before: int | None, earlier: float | None, budget: int, rate: float, most: int
) -> None:
    allowance = Allowance(before, earlier)
    spent = allowance.take(most, 0.0) if before is not None and earlier is not None else 0
    allowance.change(budget, rate, 0.0)
    assert allowance.left(0.0) == max(0, budget - spent)


@given(st.integers(0, 500), REGAINED, st.lists(st.tuples(BUDGETS, REGAINED), max_size=5), st.integers(0, 600))
def test_changes_there_and_back_give_back_nothing_that_was_spent(
    budget: int, rate: float, between: list[tuple[int | None, float]], most: int
) -> None:
    allowance = Allowance(budget, rate)
    spent = allowance.take(most, 0.0)
    for other, regained in between:
        allowance.change(other, regained, 0.0)
    allowance.change(budget, rate, 0.0)
    assert allowance.left(0.0) == budget - spent


def test_half_is_kept_for_whoever_comes_alone() -> None:
    assert (Allowance(400, 4.0).reserve, Allowance(1, 4.0).reserve, Allowance(None, None).reserve) == (200, 0, 0)
