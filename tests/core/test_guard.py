"""The storm guard tells a mirror in trouble from a mirror that lacks files."""

from proxy.core.verdict.guard import StormGuard


def test_a_404_counts_only_with_a_witness_of_the_last_seconds() -> None:
    guard = StormGuard()
    assert not guard.witnessed(100.0, 10.0)
    guard.good(95.0)
    assert guard.witnessed(100.0, 10.0)
    assert not guard.witnessed(106.0, 10.0)


def test_one_known_good_file_that_is_gone_is_a_deletion() -> None:
    guard = StormGuard()
    guard.good(95.0)
    guard.known_good_failed("a", 100.0)
    guard.known_good_failed("a", 101.0)
    guard.known_good_failed("b", 101.0)
    assert not guard.storm


def test_three_known_good_files_that_fail_are_a_storm_until_a_file_is_delivered() -> None:
    guard = StormGuard()
    guard.good(99.0)
    for name in "abc":
        guard.known_good_failed(name, 100.0)
    assert guard.storm
    assert not guard.witnessed(100.0, 10.0)
    guard.good(99.5)
    assert guard.storm
    guard.good(101.0)
    assert not guard.storm


def test_failures_far_apart_are_no_storm() -> None:
    guard = StormGuard()
    for day, name in enumerate("abcdef"):
        guard.known_good_failed(name, 86400.0 * day)
    assert not guard.storm
