"""From verdicts to findings about files: what the proxy would drop, and what could not be told.

Rules for this file: pure, and it judges nothing: verdicts come from the verifier, and what leaves the page from `settle`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from proxy.audit.findings import Effect, Exchange, Fault, Finding, Level
from proxy.audit.wanted import Place
from proxy.core.flows.evidence import Evidence
from proxy.core.page import File, Page
from proxy.core.platform import platform_of
from proxy.core.verdict.explain import said_of, unproven
from proxy.core.verdict.judge import Kind, Verdict
from proxy.core.verdict.settle import Held, Mended


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
    dropped = {each.file.key for each in mended.dropped}
    awaiting = {file.key for file in mended.awaiting}
    for release in page.releases:
        for file in release.files:
            verdict = verdicts.get(file.key)
            if verdict is None or verdict.kind is Kind.DELIVERABLE:
                continue
            denied = verdict.kind is Kind.UNDELIVERABLE
            effect = Effect.DROPPED if file.key in dropped else Effect.AWAITING if file.key in awaiting else Effect.KEPT
            if denied and mended.held is Held.EMPTY and effect is Effect.KEPT:
                effect = Effect.HELD
            yield Finding(
                Level.ERROR if denied else Level.WARNING,
                Fault.FILE_UNDELIVERABLE if denied else Fault.FILE_UNKNOWN,
                page.project,
                said_of(verdict.cause, verdict.evidence, file.size) + unproven(verdict),
                release.spelling,
                file.filename,
                platform_of(file),
                verdict.cause.value,
                effect,
                exchange_of(file.url, verdict.evidence),
                places.get(release.spelling),
            )


def counted(files: Iterable[File], verdicts: Mapping[str, Verdict]) -> dict[Kind, int]:
    """Counts the verdicts on `files` by their kind."""
    counts = dict.fromkeys(Kind, 0)
    for file in files:
        verdict = verdicts.get(file.key)
        if verdict is not None:
            counts[verdict.kind] += 1
    return counts
