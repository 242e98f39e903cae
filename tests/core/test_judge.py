"""Only positive proof of absence makes a file undeliverable."""

import msgspec
import pytest

from proxy.core.flows.evidence import Asked, Beginning, Evidence
from proxy.core.verdict.judge import Cause, Kind, Verdict, VerdictRules, cause_of, judge, latest_denial

RULES = VerdictRules()


def seen(
    status: int | None,
    *,
    asked: Asked = Asked.RANGE,
    at: float = 100.0,
    length: int | None = None,
    media: str = "",
    begins: Beginning = Beginning.UNREAD,
) -> Evidence:
    return Evidence(asked, status, at, media, length, "" if status else "timeout", begins)


@pytest.mark.parametrize(
    ("evidence", "size", "cause"),
    [
        (seen(200, asked=Asked.HEAD), None, Cause.AVAILABLE),
        (seen(206, length=10), 10, Cause.AVAILABLE),
        (seen(416, length=10), None, Cause.AVAILABLE),
        (seen(416, length=0), None, Cause.NO_FILE),
        (seen(416), None, Cause.NOT_UNDERSTOOD),
        (seen(200, length=0), None, Cause.NO_FILE),
        (seen(200, length=5), 10, Cause.NO_FILE),
        (seen(200, length=15), 10, Cause.NOT_UNDERSTOOD),
        (seen(200, media="text/html", length=15), None, Cause.NO_FILE),
        (seen(200, media="text/html", length=10), 10, Cause.AVAILABLE),
        (seen(203, length=10), 10, Cause.AVAILABLE),
        (seen(203, asked=Asked.HEAD), None, Cause.AVAILABLE),
        (seen(206, media="text/html", begins=Beginning.ARCHIVE), None, Cause.AVAILABLE),
        (seen(206, media="text/html", length=15, begins=Beginning.ARCHIVE), None, Cause.AVAILABLE),
        (seen(200, media="application/zip", length=15, begins=Beginning.TEXT), None, Cause.NO_FILE),
        (seen(200, media="text/html", length=15, begins=Beginning.TEXT), None, Cause.NO_FILE),
        (seen(200, media="text/html", length=15, begins=Beginning.OTHER), None, Cause.NOT_UNDERSTOOD),
        (seen(206, length=5, begins=Beginning.ARCHIVE), 10, Cause.NOT_UNDERSTOOD),
        (seen(206, length=5, begins=Beginning.GZIP), 10, Cause.NOT_UNDERSTOOD),
        (seen(206, media="text/html", begins=Beginning.GZIP), None, Cause.AVAILABLE),
        (seen(404), None, Cause.ABSENT),
        (seen(410), None, Cause.ABSENT),
        (seen(404, asked=Asked.HEAD), None, Cause.NOT_UNDERSTOOD),
        (seen(403), None, Cause.BLOCKED),
        (seen(451), None, Cause.BLOCKED),
        (seen(401), None, Cause.AUTHENTICATION),
        (seen(407), None, Cause.AUTHENTICATION),
        *((seen(status), None, Cause.MIRROR_ERROR) for status in (408, 425, 429, 500, 502, 503, 504, 507, 599)),
        (seen(None), None, Cause.NO_ANSWER),
        (seen(302), None, Cause.NOT_UNDERSTOOD),
        (seen(418), None, Cause.NOT_UNDERSTOOD),
    ],
)
def test_evidence_shows_what_the_table_says(evidence: Evidence, size: int | None, cause: Cause) -> None:
    assert cause_of(evidence, size) is cause


@pytest.mark.parametrize("cause", list(Cause))
def test_without_proof_nothing_becomes_undeliverable(cause: Cause) -> None:
    verdict = judge(cause, seen(404), None, proven=False, rules=RULES)
    assert verdict.kind is not Kind.UNDELIVERABLE


@pytest.mark.parametrize("cause", [Cause.AUTHENTICATION, Cause.MIRROR_ERROR, Cause.NO_ANSWER, Cause.NOT_UNDERSTOOD])
def test_what_passes_is_never_proof(cause: Cause) -> None:
    assert judge(cause, seen(503), None, proven=True, rules=RULES).kind is Kind.UNKNOWN


@pytest.mark.parametrize("cause", [Cause.ABSENT, Cause.BLOCKED, Cause.NO_FILE])
def test_proven_absence_is_undeliverable(cause: Cause) -> None:
    assert judge(cause, seen(404), None, proven=True, rules=RULES).kind is Kind.UNDELIVERABLE


def no(at: float) -> Verdict:
    return judge(Cause.ABSENT, seen(404, at=at), None, proven=True, rules=RULES)


def test_unknown_does_not_overturn_a_no_within_a_day_and_does_after_it() -> None:
    held = judge(Cause.NO_ANSWER, seen(None, at=100.0 + 3600), no(100.0), proven=False, rules=RULES)
    assert held.kind is Kind.UNDELIVERABLE
    assert (held.evidence.at, held.checked) == (100.0, 3700.0)
    late = judge(Cause.NO_ANSWER, seen(None, at=100.0 + 90_000), held, proven=False, rules=RULES)
    assert late.kind is Kind.UNKNOWN


def test_a_yes_overturns_a_no_at_once() -> None:
    assert judge(Cause.AVAILABLE, seen(206, at=101.0), no(100.0), proven=False, rules=RULES).kind is Kind.DELIVERABLE


def test_unknown_does_not_overturn_a_yes() -> None:
    yes = judge(Cause.AVAILABLE, seen(206), None, proven=False, rules=RULES)
    assert judge(Cause.MIRROR_ERROR, seen(503, at=200.0), yes, proven=False, rules=RULES).kind is Kind.DELIVERABLE


def test_two_denials_some_minutes_apart_confirm_each_other() -> None:
    again = judge(Cause.ABSENT, seen(404, at=400.0), no(100.0), proven=True, rules=RULES)
    assert again.confirmed_for(180.0)
    assert not again.confirmed_for(301.0)
    assert not no(100.0).confirmed_for(180.0)


def test_a_yes_in_between_breaks_the_row_of_denials() -> None:
    yes = judge(Cause.AVAILABLE, seen(206, at=200.0), no(100.0), proven=False, rules=RULES)
    assert not judge(Cause.ABSENT, seen(404, at=400.0), yes, proven=True, rules=RULES).confirmed_for(180.0)


def test_a_no_from_the_future_does_not_stand_since_the_clock_went_back() -> None:
    assert judge(Cause.NO_ANSWER, seen(None, at=50.0), no(100.0), proven=False, rules=RULES).kind is Kind.UNKNOWN


def promise(at: float = 100.0) -> Verdict:
    return judge(Cause.AVAILABLE, seen(200, asked=Asked.HEAD, at=at), None, proven=False, rules=RULES)


@pytest.mark.parametrize(
    ("status", "cause"), [(404, Cause.ABSENT), (403, Cause.BLOCKED), (503, Cause.MIRROR_ERROR), (None, Cause.NO_ANSWER)]
)
def test_a_promise_of_head_does_not_stand_against_a_get_that_fails(status: int | None, cause: Cause) -> None:
    verdict = judge(cause, seen(status, at=200.0), promise(), proven=False, rules=RULES)
    assert (verdict.kind, verdict.cause) == (Kind.UNKNOWN, cause)


def test_a_head_that_fails_does_not_overturn_what_head_promised() -> None:
    failed = seen(503, asked=Asked.HEAD, at=200.0)
    assert judge(Cause.MIRROR_ERROR, failed, promise(), proven=False, rules=RULES).kind is Kind.DELIVERABLE


def test_a_promise_of_head_overturns_nothing_that_gets_proved() -> None:
    denied = judge(Cause.ABSENT, seen(404), None, proven=True, rules=RULES)
    promised = judge(Cause.AVAILABLE, seen(200, asked=Asked.HEAD, at=200.0), denied, proven=False, rules=RULES)
    assert (promised.kind, promised.evidence, promised.checked) == (denied.kind, denied.evidence, 200.0)
    assert judge(Cause.AVAILABLE, seen(206, at=300.0), promised, proven=False, rules=RULES).kind is Kind.DELIVERABLE


@pytest.mark.parametrize(
    ("status", "cause", "kind"),
    [
        (None, Cause.NO_ANSWER, Kind.UNKNOWN),
        (503, Cause.MIRROR_ERROR, Kind.UNKNOWN),
        (404, Cause.ABSENT, Kind.UNDELIVERABLE),
        (401, Cause.AUTHENTICATION, Kind.UNDELIVERABLE),
    ],
)
def test_a_no_does_not_stand_if_head_promises_the_file_again_and_the_get_fails_in_passing(
    status: int | None, cause: Cause, kind: Kind
) -> None:
    denied = judge(Cause.ABSENT, seen(404), None, proven=True, rules=RULES)
    again = msgspec.structs.replace(seen(status, at=200.0), head=200)
    assert judge(cause, again, denied, proven=False, rules=RULES).kind is kind


@pytest.mark.parametrize(("status", "cause"), [(403, Cause.BLOCKED), (451, Cause.BLOCKED), (401, Cause.AUTHENTICATION)])
def test_an_absence_that_is_a_refusal_since_is_told_as_one(status: int, cause: Cause) -> None:
    refused = judge(cause, seen(status, at=200.0), no(100.0), proven=False, rules=RULES)
    assert (refused.kind, refused.cause, refused.evidence.at) == (Kind.UNDELIVERABLE, Cause.ABSENT, 100.0)
    assert latest_denial(refused, None) == (cause, seen(status, at=200.0))
    failed = judge(Cause.NO_ANSWER, seen(None, at=300.0), refused, proven=False, rules=RULES)
    assert latest_denial(failed, None)[0] is cause
    again = judge(Cause.ABSENT, seen(404, at=400.0), failed, proven=False, rules=RULES)
    assert latest_denial(again, None) == (Cause.ABSENT, no(100.0).evidence)
