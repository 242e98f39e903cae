"""The breaker: a mirror that does not answer is left alone, and found again."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.upstream.breaker import FAILURES, FIRST_REST, LONGEST_REST, Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admits(now)
        breaker.failed(now)
    return breaker


def test_it_opens_after_eight_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.admits(0.0)
    breaker.failed(0.0)
    assert not breaker.admits(0.0)


def test_an_answer_in_between_ends_the_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert not breaker.open


def test_failures_of_long_ago_are_no_row() -> None:
    breaker = Breaker()
    for hour in range(3 * FAILURES):
        breaker.failed(hour * 3600.0)
    assert not breaker.open


def test_after_the_rest_one_trial_passes_and_its_success_opens_the_way_for_all() -> None:
    breaker = opened()
    assert not breaker.admits(FIRST_REST - 0.1)
    assert breaker.admits(FIRST_REST)
    assert not breaker.admits(FIRST_REST)
    breaker.succeeded()
    assert all(breaker.admits(FIRST_REST) for _ in range(100))


def test_each_trial_that_fails_doubles_the_rest_up_to_half_a_minute() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(7):
        rests.append(breaker.rest_left(now))
        now += rests[-1]
        assert breaker.admits(now)
        breaker.failed(now)
    assert rests == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_trial_that_was_given_up_makes_room_for_the_next() -> None:
    breaker = opened()
    assert breaker.admits(FIRST_REST)
    breaker.abandoned()
    assert breaker.admits(FIRST_REST)


def test_a_trial_that_is_never_heard_of_again_blocks_for_no_more_than_half_a_minute() -> None:
    breaker = opened()
    assert breaker.admits(FIRST_REST)
    assert breaker.admits(FIRST_REST + LONGEST_REST)


class BreakerMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: it lets one trial through at a time, and never locks the mirror out."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.row = 0
        self.trials: list[float] = []

    @rule(seconds=st.floats(0, 90))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def answers(self) -> None:
        self.breaker.succeeded()
        self.row, self.trials = 0, []
        assert self.breaker.admits(self.now)

    @rule()
    def fails(self) -> None:
        self.breaker.failed(self.now)
        self.row, self.trials = self.row + 1, []

    @rule()
    def is_asked(self) -> None:
        was_open = self.breaker.open
        admitted = self.breaker.admits(self.now)
        if was_open and admitted:
            assert self.breaker.rest_left(self.now) == 0.0
            assert all(self.now - trial >= LONGEST_REST for trial in self.trials)
            self.trials.append(self.now)

    @precondition(lambda self: self.breaker.open)
    @rule()
    def in_the_end_a_trial_passes(self) -> None:
        later = self.now + 2 * LONGEST_REST
        assert self.breaker.admits(later)
        self.now, self.trials = later, [later]

    @invariant()
    def opens_by_a_row_of_failures_only(self) -> None:
        assert not self.breaker.open or self.row >= FAILURES

    @invariant()
    def closed_lets_everything_through(self) -> None:
        assert self.breaker.open or self.breaker.admits(self.now)

    @invariant()
    def never_rests_for_longer_than_half_a_minute(self) -> None:
        assert 0.0 <= self.breaker.rest_left(self.now) <= LONGEST_REST + 1e-9


TestBreakerMachine = BreakerMachine.TestCase
