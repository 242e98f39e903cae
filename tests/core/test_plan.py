"""Which files are asked about, and in which order."""

import pytest

from proxy.core.page import Page
from proxy.core.verdict.client import client_platform, fitness, runs_on
from proxy.core.verdict.judge import Verdict, VerdictRules
from proxy.core.verdict.plan import Plan, awaited_releases, due, newest, outlived, plan, plan_in_steps, reading_picks, resolver_picks
from proxy.core.verdict.reason import Reason
from proxy.index.flights import finished
from tests.core.files import file, no, page, unknown, yes

RULES = VerdictRules()
UV = (
    'uv/0.13.9 {"installer":{"name":"uv","version":"0.13.9"},"python":"3.12.1","implementation":{"name":"CPython","version":"3.12.1"},'
    '"distro":{"name":"Debian","libc":{"lib":"glibc","version":"2.36"}},"system":{"name":"Linux","release":"6"},"cpu":"x86_64"}'
)
MAC = "demo-{}-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-{}-cp312-cp312-manylinux_2_28_x86_64.whl"
WINDOWS = "demo-{}-cp312-cp312-win_amd64.whl"


def release(version: str) -> list[str]:
    return [each.format(version) for each in (WINDOWS, MAC, LINUX)]


FOUR = page(*(name for version in ("1.0", "2.0", "3.0", "4.0") for name in release(version)))


def planned(on: Page, verdicts: dict[str, Verdict] | None = None, now: float = 200.0, **details: object) -> Plan:
    return plan(on, verdicts or {}, now, rules=RULES, **{"budget": None, **details})  # type: ignore[arg-type]


def names(files: object) -> list[str]:
    return [each.filename for each in files]  # type: ignore[attr-defined]


def test_the_whole_newest_final_release_is_waited_for_since_a_lock_will_name_it_and_first_what_a_resolver_reads_of_it() -> None:
    assert names(planned(FOUR).first) == [name.format("4.0") for name in (MAC, WINDOWS, LINUX)]


def test_the_releases_that_satisfy_what_was_read_are_waited_for_the_likeliest_first_and_each_file_has_its_reason() -> None:
    wanted = planned(FOUR, awaited=awaited_releases(FOUR, {}, None, specifiers=("<3",), demanded=("1.0",)))
    assert names(wanted.first[:3]) == [MAC.format(version) for version in ("2.0", "4.0", "1.0")]
    reasons = {each.filename: wanted.reason(each) for each in wanted.files}
    for version, reason in (
        ("2.0", Reason.CONSTRAINT),
        ("4.0", Reason.AWAITED),
        ("1.0", Reason.DEMAND),
        ("3.0", Reason.BACKGROUND),
    ):
        assert [reasons[name] for name in release(version)] == [reason] * 3


def test_a_requirement_that_may_not_hold_makes_no_release_the_likeliest() -> None:
    assert list(awaited_releases(FOUR, {}, None, specifiers=("<3", ">1"), certain=(">1",))) == ["4.0", "2.0"]


def test_a_release_that_is_demanded_and_left_the_page_is_not_waited_for() -> None:
    assert planned(FOUR, awaited=awaited_releases(FOUR, {}, None, demanded=("9.9",))).first == planned(FOUR).first


def test_what_is_read_next_is_of_the_likeliest_release() -> None:
    likely = FOUR.release("2.0")
    assert likely is not None
    assert names(reading_picks(FOUR, {}, None, likely=(likely,))) == [MAC.format("2.0")]


def test_where_there_are_pre_releases_only_the_newest_of_them_is_waited_for() -> None:
    early = page(*(f"demo-{version}-py3-none-any.whl" for version in ("1.0a1", "1.0a2")))
    assert names(planned(early).first) == ["demo-1.0a2-py3-none-any.whl"]


def test_what_the_asking_client_would_install_comes_before_it() -> None:
    wanted = planned(FOUR, client=client_platform(UV))
    assert names(wanted.first)[:2] == [LINUX.format("4.0"), MAC.format("4.0")]


def test_then_come_the_picks_of_the_next_two_releases_the_rest_of_these_the_picks_of_older_ones_and_all_else() -> None:
    rest = names(planned(FOUR).rest)
    assert rest[:2] == [MAC.format(version) for version in ("3.0", "2.0")]
    assert rest[2:6] == [name.format(version) for version in ("3.0", "2.0") for name in (WINDOWS, LINUX)]
    assert rest[6:] == [MAC.format("1.0"), WINDOWS.format("1.0"), LINUX.format("1.0")]


def test_every_file_is_asked_about_once() -> None:
    wanted = planned(FOUR)
    assert sorted(names((*wanted.first, *wanted.rest))) == sorted(names(FOUR.files))


def test_the_budget_bounds_what_is_asked_now_and_the_rest_is_left_for_later_in_the_same_order() -> None:
    bounded, free = planned(FOUR, budget=4), planned(FOUR)
    assert len(bounded.first) + len(bounded.rest) == 4
    assert names(bounded.files) == names(free.files)[:4]
    assert (bounded.more, free.more) == (True, False)
    assert (planned(FOUR, budget=0).files, planned(FOUR, budget=0).more) == ((), True)


def test_what_the_page_waits_for_can_be_planned_alone() -> None:
    alone = planned(FOUR, awaited_only=True)
    assert (alone.first, alone.rest) == (planned(FOUR).first, ())


def nothing_is_asked(on: Page, verdicts: dict[str, Verdict] | None = None, now: float = 200.0) -> bool:
    wanted = planned(on, verdicts, now)
    return not wanted.files and not wanted.more


def test_legacy_files_are_never_asked_about() -> None:
    assert nothing_is_asked(page("demo-1.0.win32.exe", "demo-1.0-py2.7.egg"))


def test_what_stays_unknown_is_asked_ever_more_rarely_but_as_often_as_a_no() -> None:
    wheel = "demo-1.0-py3-none-any.whl"
    one = page(wheel)

    def since_the_beginning(checked: float) -> dict[str, Verdict]:
        seen = unknown(0.0)
        return {wheel: Verdict(seen.kind, seen.cause, seen.evidence, checked, 0.0)}

    assert nothing_is_asked(one, since_the_beginning(200.0), now=399.0)
    assert not nothing_is_asked(one, since_the_beginning(200.0), now=400.0)
    assert nothing_is_asked(one, since_the_beginning(80_000.0), now=80_599.0)
    assert not nothing_is_asked(one, since_the_beginning(80_000.0), now=80_600.0)


def test_a_yes_is_asked_again_after_a_week_a_no_after_a_minute_and_later_after_ten_an_unknown_after_one() -> None:
    one = page("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz")
    wheel, sdist = names(one.files)
    assert nothing_is_asked(one, {wheel: yes(0.0), sdist: yes(0.0)}, now=6 * 86400.0)
    assert not nothing_is_asked(one, {wheel: yes(0.0), sdist: yes(0.0)}, now=7 * 86400.0)
    assert nothing_is_asked(one, {wheel: no(0.0), sdist: yes(0.0)}, now=59.0)
    assert names(planned(one, {wheel: no(0.0), sdist: yes(0.0)}, now=60.0).first) == [wheel]
    assert nothing_is_asked(one, {wheel: no(0.0, at=120.0), sdist: yes(0.0)}, now=239.0)
    assert not nothing_is_asked(one, {wheel: no(0.0, at=120.0), sdist: yes(0.0)}, now=240.0)
    assert nothing_is_asked(one, {wheel: no(0.0, at=3600.0), sdist: yes(0.0)}, now=4199.0)
    assert not nothing_is_asked(one, {wheel: no(0.0, at=3600.0), sdist: yes(0.0)}, now=4200.0)
    assert nothing_is_asked(one, {wheel: unknown(0.0), sdist: yes(0.0)}, now=59.0)
    assert not nothing_is_asked(one, {wheel: unknown(0.0), sdist: yes(0.0)}, now=60.0)


def test_a_no_for_a_file_uploaded_within_the_hour_is_asked_again_after_a_minute() -> None:
    young = file("demo-1.0-py3-none-any.whl", upload_time="1970-01-01T00:10:00.000000Z")
    on = Page("demo", "demo", (young, file("demo-1.0.tar.gz")))
    verdicts = {young.filename: no(1000.0), "demo-1.0.tar.gz": yes(1000.0)}
    assert not nothing_is_asked(on, verdicts, now=1060.0)


def test_the_last_file_of_a_release_is_asked_again_as_soon_as_its_second_denial_counts() -> None:
    one = page("demo-1.0-py3-none-any.whl")
    assert nothing_is_asked(one, {one.files[0].filename: no(0.0)}, now=179.0)
    assert not nothing_is_asked(one, {one.files[0].filename: no(0.0)}, now=180.0)


def test_what_was_denied_comes_before_what_was_never_asked_but_not_before_what_is_waited_for() -> None:
    wanted = planned(FOUR, {WINDOWS.format("1.0"): no(0.0)}, now=1000.0)
    assert names(wanted.rest)[0] == WINDOWS.format("1.0")
    assert WINDOWS.format("1.0") not in names(wanted.first)


def test_a_prerelease_newer_than_all_finals_belongs_to_the_newest() -> None:
    on = page(*(f"demo-{version}-py3-none-any.whl" for version in ("1.0", "2.0", "3.0", "4.0", "5.0rc1", "5.0b1", "3.5rc1")))
    assert [each.spelling for each in newest(on)] == ["5.0rc1", "4.0", "3.0", "2.0"]


def test_the_resolver_reads_a_wheel_with_a_build_tag_first_and_one_for_each_python() -> None:
    files = ("demo-1.0-cp311-cp311-win_amd64.whl", "demo-1.0-cp311-cp311-macosx_11_0_arm64.whl", "demo-1.0-1-cp311-cp311-win32.whl")
    on = page(*files, "demo-1.0-cp312-cp312-win_amd64.whl")
    assert names(resolver_picks(on.releases[0])) == ["demo-1.0-1-cp311-cp311-win32.whl", "demo-1.0-cp312-cp312-win_amd64.whl"]


def test_the_wheel_read_ahead_is_the_first_by_name_that_runs_on_the_clients_python() -> None:
    on = page("demo-1.0-cp311-cp311-macosx_11_0_arm64.whl", *release("1.0"), "demo-1.1rc1-py3-none-any.whl")
    assert names(reading_picks(on, {}, client_platform(UV))) == [MAC.format("1.0")]
    assert names(reading_picks(on, {MAC.format("1.0"): no()}, client_platform(UV))) == [LINUX.format("1.0")]
    assert names(reading_picks(on, {}, client_platform(UV), lacks=lambda file: "macos" in file.filename)) == [LINUX.format("1.0")]
    assert names(reading_picks(on, {}, client_platform(UV), lacks=lambda _: True)) == [MAC.format("1.0")], "it may be a first impression"


def test_a_client_tells_where_it_installs_and_nothing_breaks_when_it_does_not() -> None:
    client = client_platform(UV)
    assert client is not None
    assert (client.python, client.system, client.machine, client.musl) == ((3, 12), "linux", "x86_64", False)
    for odd in ("", "curl/8", "uv/1 {", "uv/1 []", 'uv/1 {"python": 3}', 'uv/1 {"python":"x","system":{"name":"Linux"}}', "{" * 5000):
        assert client_platform(odd) is None


def test_only_wheels_for_the_clients_python_system_and_processor_fit() -> None:
    client = client_platform(UV)
    assert client is not None
    fits = {
        "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl": True,
        "demo-1.0-cp38-abi3-manylinux2014_x86_64.whl": True,
        "demo-1.0-py2.py3-none-any.whl": True,
        "demo-1.0-cp313-cp313-manylinux_2_28_x86_64.whl": False,
        "demo-1.0-cp312-cp312-manylinux_2_28_aarch64.whl": False,
        "demo-1.0-cp312-cp312-musllinux_1_2_x86_64.whl": False,
        "demo-1.0-cp312-cp312-win_amd64.whl": False,
        "demo-1.0.tar.gz": False,
    }
    assert {name: fitness(file(name), client) is not None for name in fits} == fits


def test_requires_python_is_heeded_where_the_page_gives_it() -> None:
    client = client_platform(UV)
    assert client is not None
    assert not runs_on(file("demo-1.0-py3-none-any.whl", requires_python=">=3.13"), client)
    assert runs_on(file("demo-1.0-py3-none-any.whl", requires_python=">=3.12.4"), client)
    assert runs_on(file("demo-1.0-py3-none-any.whl", requires_python="nonsense"), client)


def test_a_no_of_more_than_a_day_ago_is_outlived_where_nobody_asks_again() -> None:
    old, asked, lately, good = (f"demo-{version}.0-py3-none-any.whl" for version in range(1, 5))
    verdicts = {old: no(0.0), asked: no(0.0), lately: no(100.0), good: yes(0.0)}
    assert outlived(page(old, asked, lately, good), verdicts, 86_400.0, RULES, {asked}) == [old]
    assert outlived(page(old, asked, lately, good), verdicts, 86_399.0, RULES, {asked}) == []


@pytest.mark.parametrize("verdict", [yes(100.0), no(100.0), unknown(100.0)], ids=["good", "denied", "unknown"])
def test_a_verdict_from_the_future_is_due_since_the_clock_went_back(verdict: Verdict) -> None:
    assert due(file(MAC.format("1.0")), verdict, 50.0, RULES)


def test_a_denied_file_is_asked_for_again_after_a_minute_within_the_hour_in_which_its_page_listed_it_first() -> None:
    denied = file(MAC.format("1.0"))
    assert not due(denied, no(900.0, at=2000.0), 2059.0, RULES, seen_since=900.0)
    assert due(denied, no(900.0, at=2000.0), 2060.0, RULES, seen_since=900.0)
    assert not due(denied, no(900.0, at=5000.0), 5060.0, RULES, seen_since=900.0)
    assert not due(denied, no(900.0, at=2000.0), 2060.0, RULES)


def test_files_that_were_asked_about_since_then_are_left_out_of_a_plan() -> None:
    steps = plan_in_steps(FOUR, {MAC.format("4.0"): no(150.0)}, 200.0, rules=VerdictRules(no=0.0), budget=None, asked_since=140.0)
    planned = None
    while planned is None:
        planned = finished(steps)
    assert MAC.format("4.0") not in names(planned.files)
    assert len(planned.files) == len(FOUR.files) - 1


def test_thousands_of_releases_are_sorted_in_steps_and_newest_first() -> None:
    versions = [f"{number * 7919 % 1300}.{number % 3}" for number in range(1300)]
    on = page(*(f"demo-{version}-py3-none-any.whl" for version in [*versions[:700], "no-version", *versions[700:]]))
    steps = sum(1 for _ in on.prepare())
    assert steps > len(versions) / 500
    known = [each.version for each in on.releases if each.version is not None]
    assert len(known) == len(versions)
    assert known == sorted(known, reverse=True)
    assert [each.version for each in on.releases[len(known) :]] == [None]
