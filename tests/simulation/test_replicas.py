"""Whatever a shared store does, and the replicas and their clocks with it: nothing that one of them knows is lost, and nobody waits for it.

Each test runs histories of one to three replicas in virtual time. A failing one names its seeds;
`python -m tests.simulation --replicas --seed N -v`, with `--behaviour` where the test names some, shows all that happened.
"""

from collections.abc import Sequence

import pytest

from tests.simulation.replica_history import run_replicas
from tests.simulation.replica_seeds import FOUND

SEEDS = 8


def lived(behaviours: Sequence[str] | None, seeds: Sequence[int] = range(SEEDS)) -> None:
    """Run these histories, and fail with the first one in which a promise was broken."""
    reports = [run_replicas(seed, behaviours) for seed in seeds]
    broken = [report for report in reports if not report.sound]
    if broken:
        words = f"{len(broken)} of {len(reports)} histories break a promise, with seeds {[report.seed for report in broken]}"
        pytest.fail(f"{words}; the first:\n{broken[0]}", pytrace=False)


# Documents that the store lost, or would not take ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("besides", [[], ["dead"], ["replicas-restarted"], ["clocks-apart"]], ids="-".join)
def test_a_store_that_is_emptied_gets_back_all_that_is_known(besides: list[str]) -> None:
    lived(["store-emptied", *besides])


@pytest.mark.parametrize("besides", [[], ["dead"], ["reloads"]], ids="-".join)
def test_single_documents_that_the_store_lost_are_written_again(besides: list[str]) -> None:
    lived(["store-loses-some", *besides])


@pytest.mark.parametrize("store", ["store-refuses", "store-refuses-some"])
@pytest.mark.parametrize("besides", [[], ["dead"], ["new-release"]], ids="-".join)
def test_what_a_store_refused_is_written_once_it_takes_it(store: str, besides: list[str]) -> None:
    lived([store, *besides])


@pytest.mark.parametrize("store", ["store-emptied", "store-refuses", "store-loses-some", "store-away"])
def test_a_project_that_was_withdrawn_does_not_come_back(store: str) -> None:
    lived(["withdrawn", store])


# A store that does not answer, or answers late ------------------------------------------------------------------------------------------


def test_an_outage_of_the_store_costs_nobody_an_answer() -> None:
    lived(["store-away"])
    lived(["store-away", "outage"])


def test_a_blip_of_the_store_is_over_soon() -> None:
    lived(["store-blips"], range(2 * SEEDS))


@pytest.mark.parametrize("store", ["store-hangs", "store-slow", "store-breaks-in-flight"])
def test_no_page_waits_long_for_the_store(store: str) -> None:
    lived([store], range(2 * SEEDS))


# Replicas -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disturbed", ["reloads", "replicas-restarted", "clients-leave", "replicas-killed", "store-stuck-leases"])
def test_no_lease_outlives_its_work(disturbed: str) -> None:
    lived([disturbed], range(2 * SEEDS))


@pytest.mark.parametrize("besides", [[], ["dead"], ["new-release"], ["absences"], ["quarantine"]], ids="-".join)
def test_replicas_whose_clocks_disagree_work_as_if_they_did_not(besides: list[str]) -> None:
    lived(["clocks-apart", *besides])


@pytest.mark.parametrize("besides", [[], ["dead"], ["new-release"]], ids="-".join)
def test_a_clock_of_a_replica_that_jumps_freezes_nothing(besides: list[str]) -> None:
    lived(["clocks-jump", *besides])


# Everything together --------------------------------------------------------------------------------------------------------------------


def test_whatever_happens_to_replicas_and_their_store_no_promise_is_broken() -> None:
    lived(None, range(1000, 1060))


@pytest.mark.parametrize(("seed", "behaviours", "shows"), FOUND, ids=[shows.replace(" ", "-") for _, _, shows in FOUND])
def test_what_was_found_once_holds(seed: int, behaviours: Sequence[str] | None, shows: str) -> None:
    lived(behaviours, [seed])


def test_a_history_of_replicas_is_a_function_of_its_seed() -> None:
    for seed in range(5):
        one, other = run_replicas(seed, verbose=True), run_replicas(seed, verbose=True)
        assert str(one) == str(other)
