"""From verdicts to findings about files: what the proxy would drop, and what could not be told.

Rules for this file: pure, and it judges nothing: verdicts come from the verifier, and what leaves the page from `settle`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from proxy.audit.findings import Exchange, Fault, Finding, Level
from proxy.audit.wanted import Place
from proxy.core.flows.evidence import Evidence
from proxy.core.page import File, Page
from proxy.core.platform import platform_of
from proxy.core.verdict.explain import Standings, reason_of
from proxy.core.verdict.judge import Cause, Kind, Verdict, latest_denial
from proxy.core.verdict.settle import Mended


def file_findings(
    page: Page,
    verdicts: Mapping[str, Verdict],
    mended: Mended,
    exchange_of: Callable[[str, Evidence], Exchange],
    places: Mapping[str, Place],
    *,
    rescuable: Collection[Cause] = (),
) -> Iterator[Finding]:
    """Gives a finding for each file that is undeliverable or unknown, release by release, newest first.

    `mended` is the page as the proxy would settle it now; `places` say by release where it is wanted.
    `rescuable` are the causes for which a second index would be asked for a file.
    """
    standings = Standings(mended, rescuable)
    for release in page.releases:
        for file in release.files:
            verdict = verdicts.get(file.key)
            if verdict is None or verdict.kind is Kind.DELIVERABLE:
                continue
            denied = verdict.kind is Kind.UNDELIVERABLE
            cause, evidence = latest_denial(verdict, file.size)
            yield Finding(
                Level.ERROR if denied else Level.WARNING,
                Fault.FILE_UNDELIVERABLE if denied else Fault.FILE_UNKNOWN,
                page.project,
                reason_of(verdict, file.size),
                release.spelling,
                file.filename,
                platform_of(file),
                cause.value,
                standings.of(file, verdict)[1],
                exchange_of(file.url, evidence),
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
