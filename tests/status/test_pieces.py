"""The pieces of the status page: history, chart, grid, settings, without a server."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Settings
from proxy.config.showing import shown_settings
from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.page import File, Page
from proxy.core.verdict.judge import Cause, Kind, Verdict
from proxy.core.verdict.reason import Reason
from proxy.core.verdict.settle import Policy, settle
from proxy.status.chart import chart_of
from proxy.status.grid import State, grid_of
from proxy.status.history import MINUTES, History, Minute
from proxy.status.page import REASONS, overview, problem_page, project_page
from proxy.status.snapshot import MirrorStatus, MissingFile, PriceStatus, Status, Totals
from proxy.telemetry.counts import MirrorCounts
from proxy.telemetry.price import Price

NOON = 1_800_000_000.0 // 60 * 60
HOSTILE = "<script>alert(1)</script>\"'&"


def counted(probes: int, dropped: int = 0) -> dict[str, MirrorCounts]:
    return {"default": MirrorCounts(probes=Counter({("HEAD", "available"): probes}), dropped=Counter({"absent": dropped}))}


def test_what_happened_between_two_looks_belongs_to_the_minute_of_the_second() -> None:
    history = History()
    history.look(NOON, counted(0))
    history.look(NOON + 5, counted(10, 1))
    history.look(NOON + 65, counted(25, 1))
    *_, last = history.minutes(NOON + 65)
    before = history.minutes(NOON + 65)[-2]
    assert before == Minute(int(NOON), 10, 1)
    assert last == Minute(int(NOON) + 60, 15, 0)


def test_minutes_without_anything_are_there_and_old_ones_go() -> None:
    history = History()
    for minute in range(3 * MINUTES):
        history.look(NOON + 60 * minute, counted(minute))
    seen = history.minutes(NOON + 60 * (3 * MINUTES + 4))
    assert len(seen) == MINUTES
    assert [minute.began for minute in seen] == sorted(minute.began for minute in seen)
    assert [minute.probes for minute in seen[-5:]] == [0, 0, 0, 0, 0]
    assert sum(minute.probes for minute in seen) == MINUTES - 5


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4)), max_size=MINUTES))
def test_bars_stay_inside_of_the_picture_and_what_is_not_nothing_can_be_seen(rows: list[tuple[int, int]]) -> None:
    minutes = [Minute(int(NOON) + 60 * place, *row) for place, row in enumerate(rows)]
    chart = chart_of(minutes)
    assert len(chart.bars) == sum((probes > 0) + (dropped > 0) for probes, dropped in rows)
    for bar in chart.bars:
        assert bar.height >= 2
        assert 0 <= bar.x <= bar.x + bar.width <= chart.width
        assert 0 <= bar.y <= bar.y + bar.height <= chart.base + 0.2


def verdict(kind: Kind, cause: Cause, since: float = 0.0, at: float = 1000.0) -> Verdict:
    return Verdict(kind, cause, Evidence(Asked.RANGE, 404, at), at, since)


def test_the_grid_says_of_each_release_and_platform_what_is_known() -> None:
    names = [
        "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl",
        "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "demo-2.0-py3-none-any.whl",
        "demo-2.0.tar.gz",
        "demo-1.0-py3-none-any.whl",
    ]
    page = Page("demo", "demo", tuple(File(name, f"http://mirror.example.com/{name}") for name in names))
    verdicts = {
        names[0]: verdict(Kind.UNDELIVERABLE, Cause.ABSENT),
        names[1]: verdict(Kind.DELIVERABLE, Cause.AVAILABLE),
        names[2]: verdict(Kind.UNKNOWN, Cause.NO_ANSWER),
        names[4]: verdict(Kind.UNDELIVERABLE, Cause.ABSENT, since=999.0),
    }
    grid = grid_of(page, settle(page, verdicts, Policy()), verdicts)
    assert grid.columns == ("any", "Linux x86_64", "macOS arm64", "sdist")
    newest, oldest = grid.rows
    assert newest.release == "2.0"
    assert newest.counts("macOS arm64") == {State.DROPPED: 1}
    assert newest.counts("Linux x86_64") == {State.DELIVERED: 1}
    assert newest.counts("any") == {State.UNKNOWN: 1}
    assert newest.counts("sdist") == {State.UNASKED: 1}
    assert oldest.counts("any") == {State.HELD: 1}, "the last file of a release waits for a second confirmation"
    assert oldest.counts("sdist") == {}


SECRETS = ("pa55", "t0ken", "s3cret")


def test_no_secret_is_shown_and_every_key_is() -> None:
    settings = Settings.model_validate(
        {
            "upstream": [
                {"name": "a", "url": "https://user:pa55@mirror.example.com/simple/", "token": "t0ken"},
                {
                    "name": "b",
                    "url": "https://mirror.example.com/simple/",
                    "username": "u",
                    "password": "s3cret",
                    "proxy": "http://u:pa55@p:3128",
                },
            ],
            "store": {"location": "redis://:pa55@redis:6379/0"},
        }
    )
    rows = shown_settings(settings)
    said = "\n".join(f"{row.section} {row.key} {row.value}" for row in rows)
    assert not [secret for secret in SECRETS if secret in said]
    assert "upstream a url https://mirror.example.com/simple/" in said
    assert "store location redis://redis:6379/0" in said
    assert [row.key for row in rows if row.section == "probe"] == list(type(settings.probe).model_fields)
    patience = next(row for row in rows if row.key == "patience")
    assert (patience.value, patience.default) == ("3", True)


def status(word: str) -> Status:
    price = PriceStatus(1, 2, 3, Price().costs)
    mirror = MirrorStatus(word, word, "auto", "fails", True, 1.0, word, 2.0, 3, 4, 5, 6, 7, price)
    missing = MissingFile(word, word, word, word, word, 404, word, 1.0, 2.0)
    return Status(word, NOON, NOON - 100, (mirror,), Totals(1, 2, 3, 4, 5), (missing,), 900, (Minute(int(NOON), 1, 1),), ())


def test_each_reason_is_told_in_words_with_settings_that_there_are() -> None:
    assert REASONS.keys() == set(Reason)
    settings = Settings.model_validate({"upstream": {"url": "https://mirror.example.com/simple/"}})
    for _, setting in REASONS.values():
        section, _, keys = setting.removeprefix("[").partition("] ")
        assert set(keys.split(", ")) <= type(getattr(settings, section)).model_fields.keys()


@pytest.mark.parametrize("word", [HOSTILE, "{{ 7 * 7 }}"])
def test_nothing_that_a_mirror_or_a_client_says_becomes_markup(word: str) -> None:
    name = word.replace("/", "_")
    page = Page(word, word, (File(f"{name}-1.0-py3-none-any.whl", "http://mirror.example.com/x"),))
    mended = settle(page, {}, Policy())
    pages = (
        overview(status(word)),
        project_page(word, word, [word, "other"], grid_of(page, mended, {}), mended, may_verify=True, now=NOON),
        problem_page(word, word, [word], word, word),
    )
    for html in pages:
        assert "<script" not in html
        assert "49" not in html
        assert "onerror" not in html
