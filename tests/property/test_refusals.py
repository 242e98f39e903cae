"""Whatever a mirror answers in whatever order, and however its clock runs, a file is rescued only if it is denied last."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.verdict.file_refusals import NOTHING_REFUSED, REFUSALS, FileRefusals
from proxy.core.verdict.judge import Cause, cause_of

CAUSES = {Cause.ABSENT, Cause.NO_FILE}
_statuses = st.sampled_from([401, 403, 407, 451, 404, 410, 429, 500, 503, 400, None])
_answers = st.builds(
    Evidence,
    asked=st.sampled_from([Asked.GET, Asked.RANGE]),
    status=_statuses,
    at=st.floats(1, 2e9),
    head=st.none() | st.sampled_from([0, 401, 403, 404, 405, 503]),
)


def told(evidences: list[Evidence]) -> FileRefusals:
    known = NOTHING_REFUSED
    for each in evidences:
        known = known.after(each, cause_of(each, None))
    return known


@given(st.lists(_answers, max_size=8))
def test_a_rescue_is_permitted_exactly_if_the_last_word_of_get_and_of_head_is_no_refusal(evidences: list[Evidence]) -> None:
    words = [each.status for each in evidences if each.status in REFUSALS or (each.status in {404, 410} and each.asked is Asked.GET)]
    heads = [each.head for each in evidences if each.head is not None]
    denied = bool(words) and words[-1] in {404, 410}
    known = told(evidences)
    assert known.permit(CAUSES, by_head=False) == denied
    assert known.permit(CAUSES, by_head=True) == (denied and bool(heads) and heads[-1] not in REFUSALS)
    refused = bool(words) and words[-1] in REFUSALS
    assert known.refuse(by_head=False) == refused
    assert known.refuse(by_head=True) == (refused or (bool(heads) and heads[-1] in REFUSALS))


@given(st.lists(st.lists(_answers, max_size=4), min_size=3, max_size=3))
def test_replicas_come_to_the_same_in_whatever_order_they_hear_of_each_other(rows: list[list[Evidence]]) -> None:
    replicas = [told(each) for each in rows]
    joined = {one.merged(two).merged(three) for one, two, three in itertools.permutations(replicas)}
    assert len({(each.refused, each.denied, each.head_refused, each.head_passed) for each in joined}) == 1
    assert all(each.merged(each) == each for each in replicas)
