"""From verdicts to findings about files: what the proxy would drop, and what could not be told.

Rules for this file: pure, and it judges nothing: verdicts come from the verifier, and what leaves the page from `settle`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from proxy.audit.findings import Effect, Exchange, Fault, Finding, Level
from proxy.audit.platforms import platform_of
from proxy.audit.wanted import Place
from proxy.core.flows.evidence import Evidence
from proxy.core.page import File, Page
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


def file_findings(
    page: Page,
    verdicts: Mapping[str, Verdict],
    mended: Mended,
    exchange_of: Callable[[str, Evidence], Exchange],
    places: Mapping[str, Place],
) -> Iterator[Finding]:
    """Gives a finding for each file that is undeliverable or unknown, release by release, newest first.

    `mended` is the page as the proxy would settle it now; `places` say by release where it is wanted.
    """
    dropped = {each.file.filename for each in mended.dropped}
    awaiting = {file.filename for file in mended.awaiting}
    for release in page.releases:
        for file in release.files:
            verdict = verdicts.get(file.filename)
            if verdict is None or verdict.kind is Kind.DELIVERABLE:
                continue
            denied = verdict.kind is Kind.UNDELIVERABLE
            effect = Effect.DROPPED if file.filename in dropped else Effect.AWAITING if file.filename in awaiting else Effect.KEPT
            if denied and mended.held is Held.EMPTY and effect is Effect.KEPT:
                effect = Effect.HELD
            yield Finding(
                Level.ERROR if denied else Level.WARNING,
                Fault.FILE_UNDELIVERABLE if denied else Fault.FILE_UNKNOWN,
                page.project,
                said_of(verdict.cause, verdict.evidence, file.size) + (_unproven(verdict) if not denied else ""),
                release.spelling,
                file.filename,
                platform_of(file),
                verdict.cause.value,
                effect,
                exchange_of(file.url, verdict.evidence),
                places.get(release.spelling),
            )


def _unproven(verdict: Verdict) -> str:
    return ", but delivered no other file at that time that would prove it" if verdict.cause in PROOF else ""


def said_of(cause: Cause, evidence: Evidence, size: int | None) -> str:
    """Says in half a sentence what `evidence` of a file of `size` bytes shows."""
    if cause is Cause.AVAILABLE:
        return "the mirror delivers it"
    what = evidence.media_type or "no content type"
    if evidence.length is not None:
        what += f", {evidence.length} bytes" + (f" where the page says {size}" if size is not None and evidence.length != size else "")
    return _SAYS[cause].format(answer=evidence.trouble if evidence.status is None else evidence.status, what=what)


def counted(files: Iterable[File], verdicts: Mapping[str, Verdict]) -> dict[Kind, int]:
    """Counts the verdicts on `files` by their kind."""
    counts = dict.fromkeys(Kind, 0)
    for file in files:
        verdict = verdicts.get(file.filename)
        if verdict is not None:
            counts[verdict.kind] += 1
    return counts
