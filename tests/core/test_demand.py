"""What is remembered of the releases that clients asked for."""

from proxy.index.demand import REMEMBERED_FOR, Demand

NOW = 1e9


def test_the_releases_that_clients_asked_for_are_remembered_for_weeks_the_latest_first() -> None:
    demand = Demand()
    demand.note("1.0", NOW)
    demand.note("2.0", NOW + 5)
    assert demand.lately(NOW + 10) == ("2.0", "1.0")
    assert demand.lately(NOW + REMEMBERED_FOR + 2) == ("2.0",)


def test_the_last_few_are_kept_and_no_name_of_a_release_is_long() -> None:
    demand = Demand()
    for number in range(100):
        demand.note(f"{number}.0", NOW + number)
    demand.note("9" * 1000, NOW + 200)
    assert demand.lately(NOW + 200) == tuple(f"{number}.0" for number in range(99, 91, -1))


def test_not_every_download_is_news() -> None:
    demand = Demand()
    demand.note("1.0", NOW)
    demand.kept()
    demand.note("1.0", NOW + 60)
    assert not demand.has_news
    demand.note("1.0", NOW + 2 * 86400)
    assert demand.has_news


def test_what_the_store_has_is_added_and_what_came_after_now_counts_as_now() -> None:
    demand = Demand()
    demand.note("2.0", NOW)
    demand.take_over({"1.0": NOW - 50, "3.0": NOW + 1e9}, NOW + 1)
    assert demand.lately(NOW + 1) == ("3.0", "2.0", "1.0")
    assert "3.0" not in demand.lately(NOW + 2 * REMEMBERED_FOR)
