"""What may leave a page, whatever the verdicts; and what may become a verdict, whatever the evidence."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.page import Packaging, Page
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, VerdictRules, cause_of, judge
from proxy.core.verdict.plan import plan
from proxy.core.verdict.settle import Policy, settle
from tests.property.strategies import pages

RULES = VerdictRules()
times = st.floats(0, 10**6)
evidence = st.builds(
    Evidence,
    st.sampled_from(Asked),
    st.none() | st.integers(100, 599),
    times,
    st.sampled_from(["", "text/html", "application/octet-stream"]),
    st.none() | st.integers(0, 100),
)
verdicts = st.builds(
    lambda kind, cause, seen, since: Verdict(kind, cause, seen, seen.at, min(since, seen.at)),
    st.sampled_from(Kind),
    st.sampled_from(Cause),
    evidence,
    times,
)
policies = st.builds(Policy, st.sampled_from(["keep", "drop"]), st.sampled_from(["keep-sdist", "drop-release"]), st.just(180.0))


@st.composite
def judged_pages(draw: st.DrawFn) -> tuple[Page, dict[str, Verdict]]:
    page = draw(pages())
    return page, {file.filename: draw(verdicts) for file in page.files if draw(st.booleans())}


@given(judged_pages(), policies)
def test_settling_never_adds_never_reorders_and_drops_only_what_is_undeliverable_or_goes_with_its_release(
    judged: tuple[Page, dict[str, Verdict]], policy: Policy
) -> None:
    page, known = judged
    mended = settle(page, known, policy)
    left = [file.filename for file in mended.page.files]
    assert left == [file.filename for file in page.files if file.filename in set(left)]
    for each in mended.dropped:
        by_verdict = known.get(each.file.filename) is not None and known[each.file.filename].kind is Kind.UNDELIVERABLE
        assert by_verdict or policy.sdist_only == "drop-release"
    assert len(left) + len(mended.dropped) == len(page.files)


@given(judged_pages(), policies)
def test_a_page_is_never_emptied_unless_wanted(judged: tuple[Page, dict[str, Verdict]], policy: Policy) -> None:
    page, known = judged
    had = any(file.packaging is not Packaging.LEGACY for file in page.files)
    has = any(file.packaging is not Packaging.LEGACY for file in settle(page, known, policy).page.files)
    assert has or not had or policy.empty == "drop"


@given(judged_pages(), policies)
def test_no_release_is_lost_on_one_answer_alone(judged: tuple[Page, dict[str, Verdict]], policy: Policy) -> None:
    page, known = judged
    mended = settle(page, known, policy)
    for release in page.releases:
        if release.spelling in mended.lost and policy.sdist_only == "keep-sdist":
            last = max(known[file.filename].since for file in release.files)
            assert all(
                known[file.filename].confirmed_for(policy.confirm) for file in release.files if known[file.filename].since >= last - 10.0
            )


@given(evidence, st.none() | st.integers(0, 100), st.none() | verdicts, st.booleans())
def test_undeliverable_needs_proof_now_or_earlier(seen: Evidence, size: int | None, previous: Verdict | None, proven: bool) -> None:
    cause = cause_of(seen, size)
    verdict = judge(cause, seen, previous, proven=proven, rules=RULES)
    if verdict.kind is Kind.UNDELIVERABLE:
        assert (cause in PROOF and proven) or (previous is not None and previous.kind is Kind.UNDELIVERABLE)
    if seen.status in {401, 407, 408, 425, 429, None} or (seen.status or 0) >= 500:
        assert cause not in PROOF


@given(judged_pages(), times, st.none() | st.integers(0, 20))
def test_a_plan_asks_about_listed_files_once_and_keeps_to_the_budget(
    judged: tuple[Page, dict[str, Verdict]], now: float, budget: int | None
) -> None:
    page, known = judged
    wanted = plan(page, known, now, rules=RULES, budget=budget)
    names = [file.filename for file in wanted.files]
    assert len(names) == len(set(names))
    assert set(names) <= {file.filename for file in page.files if file.packaging is not Packaging.LEGACY}
    assert budget is None or len(names) <= budget
    free = plan(page, known, now, rules=RULES, budget=None)
    assert names == [file.filename for file in free.files][: len(names)]
    assert wanted.more == (len(free.files) > len(names))
