"""Refusals and denials of a file: the latest answer decides whether it may be rescued."""

from typing import Any

import msgspec
import pytest

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.verdict.file_refusals import NOTHING_REFUSED, FileRefusals
from proxy.core.verdict.judge import Cause, cause_of
from proxy.index.documents import PROOF_RULES, VerdictsDocument, decode, encode

CAUSES = {Cause.ABSENT, Cause.NO_FILE}


def told(*answers: tuple[Asked, int | None] | tuple[Asked, int | None, int], at: float = 1000.0, step: float = 1.0) -> FileRefusals:
    """Return the knowledge after these answers, each with the status of HEAD before it, if any."""
    known = NOTHING_REFUSED
    for asked, status, *head in answers:
        evidence = Evidence(asked, status, at, head=head[0] if head else None)
        known = known.after(evidence, cause_of(evidence, None))
        at += step
    return known


def permitted(known: FileRefusals, **more: Any) -> bool:
    return known.permit(CAUSES, **({"by_head": True} | more))


def test_a_rescue_needs_a_denial_of_the_whole_and_no_refusal_of_head() -> None:
    assert not permitted(NOTHING_REFUSED)
    assert not permitted(told((Asked.RANGE, 404, 404)))
    assert permitted(told((Asked.GET, 404, 404)))
    assert permitted(told((Asked.GET, 410, 0)))
    assert not permitted(told((Asked.GET, 404)))
    assert permitted(told((Asked.GET, 404)), by_head=False)
    assert not permitted(told((Asked.GET, 404, 403)))


@pytest.mark.parametrize("status", [401, 403, 407, 451])
@pytest.mark.parametrize("step", [1.0, 0.0, -50.0])
def test_the_latest_answer_decides_whatever_the_clock_says(status: int, step: float) -> None:
    denied, refused = (Asked.GET, 404, 404), (Asked.GET, status)
    assert not permitted(told(denied, refused, step=step))
    assert not permitted(told(denied, (Asked.RANGE, status), step=step))
    assert permitted(told(denied, refused, denied, step=step))
    assert not permitted(told(denied, refused, denied, refused, step=step))
    assert told(denied, refused, step=step).refuse(by_head=True)
    assert not told(denied, refused, denied, step=step).refuse(by_head=True)


@pytest.mark.parametrize("lifting", [(Asked.RANGE, 404, 404), (Asked.GET, None), (Asked.GET, 503), (Asked.GET, 429), (Asked.GET, 400)])
def test_a_refusal_is_lifted_by_no_lesser_answer(lifting: tuple[Asked, int | None]) -> None:
    assert not permitted(told((Asked.GET, 404, 404), (Asked.GET, 403), lifting))


def test_a_denial_for_another_cause_than_those_chosen_permits_nothing() -> None:
    assert not told((Asked.GET, 404, 404)).permit({Cause.NO_FILE}, by_head=True)


def test_a_refusal_of_head_is_lifted_by_head_alone_and_counts_only_where_head_does() -> None:
    known = told((Asked.GET, 404, 403), (Asked.GET, 404))
    assert known.refuse(by_head=True)
    assert not known.refuse(by_head=False)
    assert permitted(known.after_head(404, 2000.0))


def test_what_replicas_know_is_joined_in_either_order() -> None:
    one, other = told((Asked.GET, 404, 404)), told((Asked.GET, 403), at=1500.0)
    assert one.merged(other) == other.merged(one)
    assert not permitted(one.merged(other))
    assert one.merged(one) == one


def test_documents_keep_them_and_older_ones_are_read_still() -> None:
    known = {"demo-1.0-py3-none-any.whl": told((Asked.GET, 404, 404), (Asked.GET, 403))}
    kept = decode(encode(VerdictsDocument("digest", {}, PROOF_RULES, known)), VerdictsDocument)
    assert kept is not None
    assert kept.refusals == known
    older = decode(msgspec.msgpack.encode(["digest", {}, PROOF_RULES]), VerdictsDocument)
    assert older is not None
    assert older.refusals == {}
