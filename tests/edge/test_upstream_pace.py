"""The pace: it grows while the mirror holds up, falls back when it does not, and keeps the background behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.upstream import again
from proxy.upstream.pace import FEW, NEARBY, START, Pace


class Mirror:
    """Asks as much as the pace allows, in rounds of one latency each, on a clock of its own."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.now = 100.0

    def round(self, latency: float = 0.02) -> int:
        """One round of good answers; gives how many there were."""
        asked = 0
        while self.pace.room(self.now) > 0:
            self.pace.began()
            asked += 1
        began, self.now = self.now, self.now + latency
        for _ in range(asked):
            self.pace.answered([began], self.now)
        return asked


def test_it_starts_with_what_the_ceiling_allows() -> None:
    assert Pace(64).limit == START
    assert Pace(4).limit == 4
    assert Pace(1).room(0.0) == 1


def test_a_mirror_that_holds_up_is_asked_the_ceiling_after_a_few_rounds() -> None:
    """With 20 ms at the mirror and 256 allowed, the doubling costs 5,000 probes one round more than starting at full width."""
    mirror = Mirror(Pace(256))
    asked = [mirror.round() for _ in range(4)]
    assert asked == [64, 128, 256, 256]


def test_a_mirror_nearby_is_not_asked_more_at_once_than_keeps_it_busy() -> None:
    mirror = Mirror(Pace(1024))
    assert [mirror.round(latency=0.002) for _ in range(8)][-1] <= 2 * NEARBY


def test_it_does_not_grow_on_answers_that_do_not_use_it() -> None:
    pace = Pace(256)
    for step in range(200):
        pace.began()
        pace.answered([step], step + 0.01)
    assert pace.limit == START


def test_what_was_used_long_ago_does_not_make_it_grow() -> None:
    mirror = Mirror(Pace(64))
    for _ in range(3):
        mirror.round()
    for _ in range(4):
        mirror.pace.began()
        mirror.pace.strained(mirror.now, mirror.now)
        mirror.now += 1.0
    for _ in range(2000):
        mirror.pace.began()
        mirror.pace.answered([mirror.now], mirror.now + 0.02)
    assert mirror.pace.limit < 10


@pytest.mark.parametrize("failures", [1, 20])
def test_a_round_with_strain_halves_it_once(failures: int) -> None:
    mirror = Mirror(Pace(64))
    mirror.round()
    began = mirror.now
    for _ in range(failures):
        mirror.pace.began()
    for _ in range(failures):
        mirror.pace.strained(began, mirror.now + 0.01)
    assert mirror.pace.limit == 32
    assert mirror.pace.under_way == 0


def test_where_few_are_wanted_it_keeps_to_few_whatever_the_answers_and_opens_up_again_where_they_are_not() -> None:
    mirror = Mirror(Pace(256))
    mirror.pace.narrow(few=True)
    assert [mirror.round(latency) for latency in (0.02, 0.02, 4.0, 0.02)] == [FEW] * 4
    mirror.pace.narrow(few=False)
    assert [mirror.round() for _ in range(6)][-1] > 8 * FEW
    few = Pace(2)
    few.narrow(few=True)
    assert few.limit == 2


def test_after_strain_it_grows_by_one_a_round() -> None:
    mirror = Mirror(Pace(256))
    mirror.round()
    mirror.pace.began()
    mirror.pace.strained(mirror.now, mirror.now)
    before = mirror.pace.limit
    for _ in range(5):
        mirror.round()
    assert before + 4 <= mirror.pace.limit <= before + 6


def test_strain_without_end_leaves_one_request_at_a_time() -> None:
    pace = Pace(64)
    for step in range(20):
        pace.began()
        pace.strained(float(step), step + 0.5)
    assert pace.limit == 1
    assert pace.room(100.0) == 1


def test_retry_after_is_a_pause_for_everybody() -> None:
    pace = Pace(64)
    pace.began()
    pace.strained(0.0, 1.0, pause=True, retry_after=5.0)
    assert pace.room(5.9) == 0
    assert pace.background_room(5.9) == 0
    assert pace.room(6.0) > 0
    assert pace.paused_until == 6.0


def test_a_pause_is_never_longer_than_a_minute() -> None:
    pace = Pace(64)
    pace.began()
    pace.strained(0.0, 0.0, pause=True, retry_after=86400.0)
    assert pace.room(61.0) > 0


def test_too_many_requests_without_a_retry_after_pauses_longer_each_time() -> None:
    pace, now, pauses = Pace(64), 0.0, []
    for _ in range(4):
        pace.began()
        pace.strained(now, now + 0.01, pause=True)
        pauses.append(pace.paused_until - now)
        now = pace.paused_until + 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] > 4 * pauses[0]


def test_rising_latency_slows_it_before_anything_fails() -> None:
    mirror = Mirror(Pace(64))
    for _ in range(5):
        mirror.round(0.02)
    assert mirror.pace.limit == 64
    for _ in range(3):
        mirror.round(0.4)
    assert mirror.pace.limit < 64


def test_latency_that_stays_becomes_the_new_normal() -> None:
    mirror = Mirror(Pace(64))
    for _ in range(5):
        mirror.round(0.02)
    for _ in range(200):
        mirror.round(0.4)
    assert mirror.pace.limit > 48


def test_a_few_milliseconds_more_on_loopback_are_no_strain() -> None:
    mirror = Mirror(Pace(64))
    for _ in range(4):
        mirror.round(0.0005)
    limits = []
    for _ in range(10):
        mirror.round(0.02)
        limits.append(mirror.pace.limit)
    assert limits == [64] * 10


def test_background_requests_keep_to_their_rate() -> None:
    pace, now, asked = Pace(64, rate=20.0), 0.0, 0
    while now < 10.0:
        while pace.background_room(now) > 0:
            pace.began(background=True)
            pace.answered([now], now)
            asked += 1
        now = max(pace.background_at(now), now + 0.001)
    assert 190 <= asked <= 225


def test_a_rate_below_one_still_lets_the_first_one_start() -> None:
    pace = Pace(64, rate=0.2)
    assert pace.background_room(0.0) == 1
    pace.began(background=True)
    assert pace.background_room(1.0) == 0
    assert pace.background_at(1.0) == pytest.approx(5.0)
    assert pace.background_room(5.01) == 1


def test_no_rate_is_no_bound_but_a_quarter_stays_free_for_who_waits() -> None:
    pace = Pace(32)
    assert pace.background_room(0.0) == 24
    assert pace.room(0.0) == 32
    assert Pace(1).background_room(0.0) == 1


@given(
    ceiling=st.integers(1, 300),
    events=st.lists(st.tuples(st.sampled_from(["began", "answered", "strained", "pause", "forgotten"]), st.floats(0, 5)), max_size=200),
)
def test_the_window_never_leaves_its_bounds(ceiling: int, events: list[tuple[str, float]]) -> None:
    pace, now = Pace(ceiling, rate=3.0), 0.0
    for event, passed in events:
        now += passed
        if event == "began" or pace.under_way == 0:
            pace.began()
        elif event == "answered":
            pace.answered([now - passed], now)
        elif event == "forgotten":
            pace.forgotten()
        else:
            pace.strained(now - passed, now, pause=event == "pause", retry_after=passed if event == "pause" else None)
        assert 1 <= pace.limit <= ceiling
        assert pace.room(now) <= max(0, ceiling - pace.under_way)
        assert pace.under_way >= 0


# What is asked again

HEAD, GET = Ask(Method.HEAD, "http://mirror.example.com/a"), Ask(Method.GET, "http://mirror.example.com/a", 0, 0)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504, 507])
def test_what_passes_is_asked_again(status: int) -> None:
    assert again.failed_in_passing(HEAD, Answer(status))
    assert again.failed_in_passing(GET, Answer(status))


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 405, 410, 416, 451])
def test_what_will_not_pass_is_not(status: int) -> None:
    assert not again.failed_in_passing(HEAD, Answer(status))
    assert not again.failed_in_passing(GET, Answer(status))


@pytest.mark.parametrize("status", [500, 501])
def test_a_server_error_that_only_head_meets_is_left_to_the_conversation(status: int) -> None:
    assert not again.failed_in_passing(HEAD, Answer(status))
    assert again.failed_in_passing(GET, Answer(status))


@pytest.mark.parametrize("trouble", list(Trouble))
def test_only_troubles_of_the_moment_are_asked_again(trouble: Trouble) -> None:
    passing = trouble in {Trouble.TIMEOUT, Trouble.RESET, Trouble.REFUSED, Trouble.DNS}
    assert again.failed_in_passing(HEAD, NoAnswer(trouble)) == passing


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Sun, 09 Sep 2001 01:46:50 GMT", 10.0),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("Sun, 99 Sep 2001 01:46:30 GMT", None),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert again.retry_after(Answer(503, {"retry-after": value}, at=1_000_000_000.0)) == seconds


def test_no_answer_wants_no_pause() -> None:
    assert again.retry_after(NoAnswer(Trouble.TIMEOUT)) is None


@given(st.integers(1, 10), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 30)))
def test_the_delay_is_bounded_and_never_less_than_wanted(attempt: int, share: float, wanted: float | None) -> None:
    assert (wanted or 0.0) <= again.delay(attempt, share, wanted) <= (wanted or 0.0) + 2.0


def test_repetitions_stay_below_a_tenth_of_what_is_asked_and_a_small_floor() -> None:
    budget, repeated = again.RetryBudget(), 0
    for asked in range(1, 5001):
        while budget.allows(asked, 0.0):
            repeated += 1
    assert 500 <= repeated <= 515


def test_a_quiet_proxy_may_repeat_again_after_a_while() -> None:
    budget = again.RetryBudget()
    assert sum(budget.allows(0, 0.0) for _ in range(50)) == 10
    assert sum(budget.allows(0, 3.0) for _ in range(50)) == 3
    assert sum(budget.allows(0, 1000.0) for _ in range(50)) == 10
