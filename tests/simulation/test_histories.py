"""Whatever a mirror does, and whenever: what it delivers to someone who asks alone stays on its page, and what is gone leaves it.

Each test runs histories of a simulated mirror in virtual time. A failing one names its seeds; `python -m tests.simulation --seed N -v`,
with `--behaviour` where the test names some, shows all that happened.
"""

from collections.abc import Iterable, Sequence

import pytest

from tests.simulation.contents import Dead
from tests.simulation.crowds import LimitAtOnce, Nodes, NodesByConnection
from tests.simulation.history import Drawn, run_history
from tests.simulation.report import Report
from tests.simulation.seeds import FOUND

SEEDS = 25
CHANCE = 1e-4
"""The share of a file's views in which chance may take a healthy file off its page."""


def lived(behaviours: Sequence[Drawn] | None, seeds: Iterable[int], size: int | None = None) -> list[Report]:
    """Run these histories, and fail with the first one in which a promise was broken."""
    reports = [run_history(seed, behaviours, size=size) for seed in seeds]
    broken = [report for report in reports if not report.sound]
    if broken:
        words = f"{len(broken)} of {len(reports)} histories break a promise, with seeds {[report.seed for report in broken]}"
        pytest.fail(f"{words}; the first:\n{broken[0]}", pytrace=False)
    return reports


def nearly_none_lost(reports: list[Report]) -> None:
    """Fail where chance took more healthy files off their pages than may be."""
    drops, views = sum(len(report.tally.drops) for report in reports), sum(report.tally.file_views for report in reports)
    seeds = [report.seed for report in reports if report.tally.drops]
    assert drops <= views * CHANCE, f"{drops} healthy files are dropped in {views} views of a file, with seeds {seeds}"


# Crowds ---------------------------------------------------------------------------------------------------------------------------------


def test_a_limit_on_simultaneous_requests_loses_no_file() -> None:
    lived(["limit"], range(2 * SEEDS))


def test_a_limit_on_simultaneous_requests_hides_no_dead_file_and_loses_no_other() -> None:
    lived(["dead", "limit"], range(SEEDS))


def test_a_cache_that_fetches_few_files_at_a_time_loses_none() -> None:
    lived(["cold-cache"], range(SEEDS))


@pytest.mark.parametrize(("limit", "told"), [(18, 403), (24, 404), (18, "page"), (5, 503), (3, 429)])
def test_a_release_of_182_healthy_files_is_whole_at_a_mirror_that_bears_few_requests(limit: int, told: int | str) -> None:
    lived([lambda stage: LimitAtOnce(stage, limit, told, pages=False)], range(4), size=182)


def test_28_dead_files_leave_and_90_healthy_ones_stay_at_a_mirror_that_bears_few_requests() -> None:
    lived([lambda stage: Dead(stage, 28, 404), lambda stage: LimitAtOnce(stage, 24, 404, pages=False)], range(4), size=118)


@pytest.mark.parametrize("nodes", [Nodes, NodesByConnection])
def test_60_files_are_whole_where_one_of_two_nodes_lacks_them_all(nodes: type[Nodes]) -> None:
    nearly_none_lost(lived([lambda stage: nodes(stage, 1.0, 404, count=2)], range(8), size=60))


def test_a_limit_on_requests_per_second_loses_no_file() -> None:
    lived(["rate"], range(SEEDS))


@pytest.mark.parametrize("behaviour", ["nodes", "nodes-by-connection", "random-denials"])
def test_what_some_node_or_some_try_delivers_is_hardly_ever_lost(behaviour: str) -> None:
    nearly_none_lost(lived([behaviour], range(2 * SEEDS)))


# Ways of asking, and of answering -------------------------------------------------------------------------------------------------------


def test_files_that_only_get_delivers_stay_listed() -> None:
    lived(["head-refused"], range(SEEDS))


def test_files_that_only_a_request_without_range_delivers_stay_listed() -> None:
    lived(["range-refused"], range(SEEDS))


def test_files_that_only_a_plain_get_delivers_stay_listed() -> None:
    lived(["head-and-range-refused"], range(SEEDS))


def test_files_typed_as_pages_stay_listed() -> None:
    lived(["typed-as-page"], range(SEEDS))


def test_a_mirror_that_answers_203_is_as_good_as_one_that_answers_200() -> None:
    lived(["status-203"], range(SEEDS))


@pytest.mark.parametrize(
    "behaviour", ["head-with-body", "range-ignored", "wrong-lengths", "redirects", "path-failures", "resets", "hiccups"]
)
def test_odd_answers_take_no_file_off_a_page(behaviour: str) -> None:
    lived([behaviour], range(SEEDS))


# Time -----------------------------------------------------------------------------------------------------------------------------------


def test_files_that_lag_behind_their_page_are_back_soon() -> None:
    lived(["lag"], range(2 * SEEDS))


def test_what_is_deleted_and_restored_comes_back() -> None:
    lived(["absences"], range(SEEDS))


@pytest.mark.parametrize("besides", ["new-release", "lag", "absences", "dead"])
def test_a_clock_that_jumps_freezes_nothing(besides: str) -> None:
    lived(["clock", besides], range(SEEDS))


def test_a_slow_page_makes_no_other_stale() -> None:
    lived(["slow-page"], range(SEEDS))


# Outages and restarts -------------------------------------------------------------------------------------------------------------------


def test_an_outage_takes_nothing_away() -> None:
    lived(["outage"], range(2 * SEEDS))


def test_an_outage_with_a_restart_in_it_takes_nothing_away() -> None:
    lived(["outage", "restart"], range(2 * SEEDS))


def test_a_mirror_that_denies_everything_takes_nothing_away_though_the_proxy_restarts() -> None:
    lived(["denying-outage", "restart"], range(2 * SEEDS))


def test_a_quarantined_project_is_no_longer_served() -> None:
    lived(["quarantine"], range(3 * SEEDS))


def test_a_file_of_an_older_page_can_still_be_had() -> None:
    lived(["older-page"], range(2 * SEEDS))


def test_a_page_that_looks_otherwise_each_time_loses_nothing() -> None:
    lived(["page-forms"], range(SEEDS))


def test_one_file_that_wants_a_pause_holds_back_nothing_else() -> None:
    lived(["asks-for-pause"], range(SEEDS))


# Metadata, identities, and the control --------------------------------------------------------------------------------------------------


def test_metadata_is_the_files_own_once_that_can_be_had() -> None:
    lived(["metadata-and-ranges-fail"], range(2 * SEEDS))


def test_core_metadata_that_fails_takes_nothing_away() -> None:
    lived(["metadata-fails"], range(SEEDS))


def test_what_one_identity_may_see_no_other_does() -> None:
    lived(["rights"], range(SEEDS))
    lived(["rights", "restart"], range(SEEDS))


def test_credentials_that_are_not_checked_yet_take_nothing_away() -> None:
    lived(["cold-credentials"], range(SEEDS))


def test_what_is_really_dead_leaves_the_page() -> None:
    lived(["dead"], range(2 * SEEDS))


# Everything together --------------------------------------------------------------------------------------------------------------------


def test_whatever_a_mirror_does_nothing_is_lost() -> None:
    nearly_none_lost(lived(None, range(1000, 1200)))


@pytest.mark.parametrize(("seed", "behaviours", "shows"), FOUND, ids=[shows.replace(" ", "-") for _, _, shows in FOUND])
def test_what_was_found_once_holds(seed: int, behaviours: Sequence[str] | None, shows: str) -> None:
    nearly_none_lost(lived(behaviours, [seed]))


def test_a_history_is_a_function_of_its_seed() -> None:
    for seed in range(5):
        one, other = run_history(seed, verbose=True), run_history(seed, verbose=True)
        assert str(one) == str(other)


def test_links_that_are_signed_for_some_minutes_lose_no_file() -> None:
    lived(["signed-links"], range(2 * SEEDS))
