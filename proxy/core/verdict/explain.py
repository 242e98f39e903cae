"""Why a file is listed, or is not: what is known of it, in the words of whoever asks.

Rules for this file: pure; it decides nothing, what leaves a page is told by `settle`.
"""

import difflib
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.core.flows.evidence import Evidence
from proxy.core.page import File, Page
from proxy.core.twins import file_at
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict
from proxy.core.verdict.settle import Held, Mended

_SAYS = {
    Cause.ABSENT: "the mirror lists it and answers {answer}",
    Cause.BLOCKED: "the mirror lists it and refuses it with {answer}",
    Cause.NO_FILE: "what the mirror delivers is no distribution file: {answer}, {what}",
    Cause.AUTHENTICATION: "the mirror wants credentials for it ({answer})",
    Cause.MIRROR_ERROR: "the mirror failed with {answer}",
    Cause.NO_ANSWER: "no answer came: {answer}",
    Cause.NOT_UNDERSTOOD: "the answer {answer} does not tell whether it is there",
}
_NEAR = 3
_COMPARED = 40


class OnPage(StrEnum):
    """How a file stands on the mended page. The values are part of what `/explain/` answers."""

    LISTED = "listed"
    DROPPED = "dropped"
    DROPPED_WITH_RELEASE = "dropped-with-its-release"
    AWAITING = "listed-until-confirmed"
    HELD = "listed-since-nothing-else-is-left"
    RESCUED = "listed-since-a-second-index-has-it"
    UNKNOWN = "not-on-the-mirrors-page"

    @property
    def listed(self) -> bool:
        """Whether clients see it."""
        return self not in {OnPage.DROPPED, OnPage.DROPPED_WITH_RELEASE, OnPage.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of `filename`: `file` is None where the mirror's page does not list it, and `nearest` are names that it does list.

    `verdict` is None where the mirror was not asked yet. `says` is the reason in a sentence.
    """

    project: str
    filename: str
    standing: OnPage
    says: str
    release: str = ""
    file: File | None = None
    verdict: Verdict | None = None
    nearest: tuple[str, ...] = ()


def said_of(cause: Cause, evidence: Evidence, size: int | None) -> str:
    """Says in half a sentence what `evidence` of a file of `size` bytes shows."""
    if cause is Cause.AVAILABLE:
        return "the mirror delivers it"
    what = evidence.media_type or "no content type"
    if evidence.length is not None:
        what += f", {evidence.length} bytes" + (f" where the page says {size}" if size is not None and evidence.length != size else "")
    return _SAYS[cause].format(answer=evidence.trouble if evidence.status is None else evidence.status, what=what)


def unproven(verdict: Verdict) -> str:
    """Gives what to add where an absence was seen and not proven."""
    denied = verdict.kind is Kind.UNKNOWN and verdict.cause in PROOF
    return ", but delivered no other file at that time that would prove it" if denied else ""


def explain(page: Page, key: str, verdicts: Mapping[str, Verdict], mended: Mended) -> Explanation:
    """Explains the file with this key or name: `page` is the mirror's, and `mended` what became of it by the `verdicts`."""
    file, filename = file_at(page, key), key.rpartition("/")[2]
    if file is None:
        return Explanation(page.project, filename, OnPage.UNKNOWN, "the mirror's page lists no such file", nearest=_near(page, filename))
    verdict = verdicts.get(file.key)
    standing = _standing(file, verdict, mended)
    return Explanation(page.project, filename, standing, _says(file, verdict, standing), page.release_of(file).spelling, file, verdict)


def _near(page: Page, filename: str) -> tuple[str, ...]:
    """Gives names that may have been meant, of those around it in the alphabet: to compare it with thousands takes a second."""
    names = sorted(page.by_filename)
    place = bisect(names, filename)
    return tuple(difflib.get_close_matches(filename, names[max(0, place - _COMPARED) : place + _COMPARED], n=_NEAR, cutoff=0.8))


def _standing(file: File, verdict: Verdict | None, mended: Mended) -> OnPage:
    dropped = next((each for each in mended.dropped if each.file.key == file.key), None)
    if dropped is not None:
        return OnPage.DROPPED_WITH_RELEASE if dropped.verdict is None else OnPage.DROPPED
    for files, standing in ((mended.awaiting, OnPage.AWAITING), (mended.rescued, OnPage.RESCUED)):
        if any(each.key == file.key for each in files):
            return standing
    denied = verdict is not None and verdict.kind is Kind.UNDELIVERABLE
    return OnPage.HELD if denied and mended.held is Held.EMPTY else OnPage.LISTED


def _says(file: File, verdict: Verdict | None, standing: OnPage) -> str:
    if standing is OnPage.DROPPED_WITH_RELEASE:
        return "its release has no wheel left that the mirror delivers, and is dropped as a whole (sdist_only = drop-release)"
    if verdict is None:
        return "the mirror was not asked about it yet" if file.probeable else "files of this kind are passed on, and never asked about"
    said = said_of(verdict.cause, verdict.evidence, file.size) + unproven(verdict)
    if standing is OnPage.AWAITING:
        return f"{said}; it is the last of its release, which is dropped once a later answer confirms this one"
    if standing is OnPage.RESCUED:
        return f"{said}; it comes from the second index, checked against the hash on the mirror's page"
    return f"{said}; nothing else would be left of the page" if standing is OnPage.HELD else said
