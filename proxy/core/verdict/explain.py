"""Why a file is listed, or is not: what is known of it, in the words of whoever asks.

Rules for this file: pure; it decides nothing, what leaves a page is told by `settle`.
"""

import difflib
from bisect import bisect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.core.flows.evidence import Evidence
from proxy.core.page import File, Page
from proxy.core.twins import file_at
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, latest_denial
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


class Effect(StrEnum):
    """The proxy's way with a file that is not delivered, in words that follow the reason."""

    NONE = ""
    DROPPED = "the proxy drops it"
    AWAITING = "the last of its release: the proxy drops it once a later answer confirms this one"
    HELD = "the proxy keeps it listed, since nothing else would be left of the page"
    ELSEWHERE = "the proxy keeps it listed, and gets it from another address on the page"
    RESCUED = "the proxy keeps it listed: it comes from the second index, checked against the hash on the mirror's page"
    RESCUABLE = "the proxy drops it, unless the second index has it"
    KEPT = "the proxy keeps it listed, since its absence is not proven"


class OnPage(StrEnum):
    """How a file stands on the mended page. The values are part of what `/explain/` answers."""

    LISTED = "listed"
    DROPPED = "dropped"
    DROPPED_WITH_RELEASE = "dropped-with-its-release"
    AWAITING = "listed-until-confirmed"
    HELD = "listed-since-nothing-else-is-left"
    RESCUED = "listed-since-a-second-index-has-it"
    ELSEWHERE = "listed-since-another-address-has-it"
    UNKNOWN = "not-on-the-mirrors-page"

    @property
    def listed(self) -> bool:
        """Whether clients see it."""
        return self not in {OnPage.DROPPED, OnPage.DROPPED_WITH_RELEASE, OnPage.UNKNOWN}


_EFFECTS = {
    OnPage.DROPPED: Effect.DROPPED,
    OnPage.AWAITING: Effect.AWAITING,
    OnPage.HELD: Effect.HELD,
    OnPage.RESCUED: Effect.RESCUED,
    OnPage.ELSEWHERE: Effect.ELSEWHERE,
}
_TOLD = frozenset({Effect.RESCUABLE, Effect.AWAITING, Effect.HELD, Effect.RESCUED, Effect.ELSEWHERE})
"""Effects that say why a file is listed which is not delivered."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of `filename`: `file` is None where the mirror's page does not list it, and `nearest` are names that it does list.

    `verdict` is None where the mirror was not asked yet. `says` is the reason in a sentence, `effect` is what the proxy does about it.
    """

    project: str
    filename: str
    standing: OnPage
    says: str
    release: str = ""
    file: File | None = None
    verdict: Verdict | None = None
    nearest: tuple[str, ...] = ()
    effect: Effect = Effect.NONE


def reason_of(verdict: Verdict, size: int | None) -> str:
    """Return in a sentence what the mirror said last of a file of `size` bytes, and whether that is proven."""
    return said_of(*latest_denial(verdict, size), size) + unproven(verdict)


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


def explain(page: Page, key: str, verdicts: Mapping[str, Verdict], mended: Mended, *, rescuable: Collection[Cause] = ()) -> Explanation:
    """Explain the file with this key or name: `page` is the mirror's, and `mended` what became of it by the `verdicts`.

    `rescuable` are the causes for which a second index would be asked for the file, which was not.
    """
    file, filename = file_at(page, key), key.rpartition("/")[2]
    if file is None:
        return Explanation(page.project, filename, OnPage.UNKNOWN, "the mirror's page lists no such file", nearest=_near(page, filename))
    verdict = verdicts.get(file.key)
    standing, effect = Standings(mended, rescuable).of(file, verdict)
    says = _says(file, verdict, standing, effect)
    return Explanation(page.project, filename, standing, says, page.release_of(file).spelling, file, verdict, effect=effect)


def _near(page: Page, filename: str) -> tuple[str, ...]:
    """Gives names that may have been meant, of those around it in the alphabet: to compare it with thousands takes a second."""
    names = sorted(page.by_filename)
    place = bisect(names, filename)
    return tuple(difflib.get_close_matches(filename, names[max(0, place - _COMPARED) : place + _COMPARED], n=_NEAR, cutoff=0.8))


class Standings:
    """How the files of a page stand, by what became of it.

    `rescuable` are the causes for which a second index would be asked for a file, which was not.
    """

    def __init__(self, mended: Mended, rescuable: Collection[Cause] = ()) -> None:
        self._rescuable = rescuable
        self._dropped = {each.file.key: each.verdict is None for each in mended.dropped}
        self._awaiting = {file.key for file in mended.awaiting}
        self._rescued = {file.key for file in mended.rescued}
        self._held = mended.held is Held.EMPTY

    def of(self, file: File, verdict: Verdict | None) -> tuple[OnPage, Effect]:
        """Return how `file` stands whose `verdict` is given, and what the proxy does if that says that it is not delivered."""
        standing = self._on_page(file, verdict)
        if verdict is None or verdict.kind is Kind.DELIVERABLE:
            return standing, Effect.NONE
        if standing is OnPage.DROPPED and self._rescuable and latest_denial(verdict, file.size)[0] in self._rescuable:
            return standing, Effect.RESCUABLE
        return standing, _EFFECTS.get(standing, Effect.KEPT)

    def _on_page(self, file: File, verdict: Verdict | None) -> OnPage:
        key = file.key
        if key in self._dropped:
            return OnPage.DROPPED_WITH_RELEASE if self._dropped[key] else OnPage.DROPPED
        if key in self._awaiting:
            return OnPage.AWAITING
        if key in self._rescued:
            return OnPage.RESCUED
        if verdict is None or verdict.kind is not Kind.UNDELIVERABLE:
            return OnPage.LISTED
        return OnPage.HELD if self._held else OnPage.ELSEWHERE


def _says(file: File, verdict: Verdict | None, standing: OnPage, effect: Effect) -> str:
    if standing is OnPage.DROPPED_WITH_RELEASE:
        return "its release has no wheel left that the mirror delivers, and is dropped as a whole (sdist_only = drop-release)"
    if verdict is None:
        return "the mirror was not asked about it yet" if file.probeable else "files of this kind are passed on, and never asked about"
    said = reason_of(verdict, file.size)
    return f"{said}; {effect.value}" if effect in _TOLD else said
