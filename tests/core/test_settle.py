"""What verdicts take from a page, and what they never take."""

from proxy.core.verdict.settle import Held, Mended, Policy, settle
from tests.core.files import no, page, unknown, yes

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
SDIST = "demo-2.0.tar.gz"
OLD = "demo-1.0-py3-none-any.whl"


def names(mended: Mended) -> list[str]:
    return [file.filename for file in mended.page.files]


def test_a_file_proven_undeliverable_leaves_and_all_else_stays_in_its_order() -> None:
    mended = settle(page(OLD, MAC, LINUX), {MAC: no(), LINUX: yes(), OLD: unknown()}, Policy())
    assert names(mended) == [OLD, LINUX]
    assert [each.file.filename for each in mended.dropped] == [MAC]
    assert (dict(mended.causes), dict(mended.unknown)) == ({"absent": 1}, {"mirror-error": 1})


def test_files_that_nobody_asked_about_stay_and_are_counted() -> None:
    mended = settle(page(OLD, MAC), {}, Policy())
    assert names(mended) == [OLD, MAC]
    assert mended.unasked == 2


def test_the_last_file_of_a_release_leaves_only_on_a_second_denial() -> None:
    once = settle(page(OLD, MAC), {MAC: no(100.0), OLD: yes()}, Policy())
    assert names(once) == [OLD, MAC]
    assert [file.filename for file in once.awaiting] == [MAC]
    twice = settle(page(OLD, MAC), {MAC: no(100.0, at=300.0), OLD: yes()}, Policy())
    assert names(twice) == [OLD]
    assert twice.lost == ("2.0",)


def test_what_left_before_the_rest_of_its_release_was_denied_does_not_come_back_while_that_waits() -> None:
    verdicts = {MAC: no(100.0), LINUX: no(160.0), SDIST: no(161.0), OLD: yes()}
    mended = settle(page(OLD, MAC, LINUX, SDIST), verdicts, Policy())
    assert names(mended) == [OLD, LINUX, SDIST]
    assert [file.filename for file in mended.awaiting] == [LINUX, SDIST]


def test_files_of_a_release_that_are_denied_together_wait_together() -> None:
    mended = settle(page(OLD, MAC, LINUX), {MAC: no(100.0), LINUX: no(104.0), OLD: yes()}, Policy())
    assert names(mended) == [OLD, MAC, LINUX]


def test_a_page_is_never_emptied_unless_the_operator_wants_it() -> None:
    verdicts = {MAC: no(100.0, at=300.0), OLD: no(100.0, at=300.0)}
    kept = settle(page(OLD, MAC), verdicts, Policy())
    assert names(kept) == [OLD, MAC]
    assert kept.held is Held.EMPTY
    assert not kept.dropped
    assert names(settle(page(OLD, MAC), verdicts, Policy(empty="drop"))) == []


def test_a_page_of_which_only_installers_would_be_left_counts_as_emptied() -> None:
    verdicts = {MAC: no(100.0, at=300.0)}
    assert names(settle(page(MAC, "demo-2.0.win32.exe"), verdicts, Policy())) == [MAC, "demo-2.0.win32.exe"]


def test_a_release_with_only_its_sdist_left_is_kept_and_named_by_default() -> None:
    verdicts = {MAC: no(), SDIST: yes(), OLD: yes()}
    kept = settle(page(OLD, MAC, SDIST), verdicts, Policy())
    assert names(kept) == [OLD, SDIST]
    assert kept.sdist_only == ("2.0",)


def test_a_release_with_only_its_sdist_left_goes_where_the_operator_wants_no_builds() -> None:
    verdicts = {MAC: no(), SDIST: yes(), OLD: yes()}
    dropped = settle(page(OLD, MAC, SDIST), verdicts, Policy(sdist_only="drop-release"))
    assert names(dropped) == [OLD]
    assert dropped.lost == ("2.0",)


def test_a_release_that_never_had_a_wheel_is_not_called_sdist_only() -> None:
    assert settle(page(OLD, SDIST), {}, Policy()).sdist_only == ()


def test_a_file_that_can_be_had_elsewhere_stays_and_is_named() -> None:
    mended = settle(page(OLD, MAC, LINUX, SDIST), {MAC: no(), LINUX: no(), SDIST: yes()}, Policy(), rescued={MAC})
    assert names(mended) == [OLD, MAC, SDIST]
    assert [file.filename for file in mended.rescued] == [MAC]
    assert [each.file.filename for each in mended.dropped] == [LINUX]


def test_a_file_that_the_mirror_delivers_is_not_called_rescued() -> None:
    assert settle(page(OLD, MAC), {MAC: yes()}, Policy(), rescued={MAC, OLD}).rescued == ()


def test_a_release_of_which_a_file_is_rescued_is_not_lost() -> None:
    mended = settle(page(MAC, LINUX), {MAC: no(), LINUX: no()}, Policy(), rescued={MAC})
    assert (names(mended), mended.awaiting, mended.lost) == ([MAC], (), ())


def test_a_page_of_which_all_can_be_rescued_is_not_held() -> None:
    mended = settle(page(MAC, OLD), {MAC: no(), OLD: no()}, Policy(), rescued={MAC, OLD})
    assert (names(mended), mended.held) == ([MAC, OLD], Held.NOTHING)
