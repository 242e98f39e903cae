"""One file, looked at now: is it listed, what does the mirror say to every way of asking, and what would the proxy make of it."""

from dataclasses import dataclass
from typing import Any

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from proxy.audit.findings import Exchange, Finding
from proxy.audit.metadata import MetadataCheck
from proxy.audit.survey import Survey
from proxy.audit.wanted import Want
from proxy.core.errors import MirrormendError
from proxy.core.flows.evidence import Evidence, asked_as, evidence_of
from proxy.core.flows.exchange import Ask, Flow, Method
from proxy.core.identity import SHARED
from proxy.core.page import File, Packaging
from proxy.core.verdict.explain import explain
from proxy.core.verdict.judge import Kind
from proxy.index.explaining import explanation_data


class ProjectUnknown(MirrormendError):
    """The name of a file does not tell which project it is of."""

    def __init__(self, filename: str) -> None:
        self.filename = filename

    def __str__(self) -> str:
        return f"{self.filename!r} is no name of a wheel or an sdist; name its project with --project"


def project_of(filename: str) -> str:
    """Gives the normalised name of the project that a file is of (PyPA specifications, file names); raises ProjectUnknown."""
    try:
        return str(parse_wheel_filename(filename)[0] if filename.endswith(".whl") else parse_sdist_filename(filename)[0])
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise ProjectUnknown(filename) from error


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What was found of a file: `told` as a proxy tells it, None where there is no page, and each answer of the mirror.

    `metadata` is what is wrong with its metadata (None: nothing, or not asked); `metadata_asked` says whether that was looked at.
    """

    told: dict[str, Any] | None
    asked: tuple[Exchange, ...] = ()
    failure: Finding | None = None
    metadata: Finding | None = None
    metadata_asked: bool = False


async def look_at(survey: Survey, project: str, filename: str) -> LookedAt:
    """Asks the mirror of `survey` for the page, and for the file in every way; for its metadata where it is a wheel that is delivered."""
    subject = await survey.subject(Want(project, project))
    page = subject.page
    if page is None:
        return LookedAt(None, failure=subject.findings[0] if subject.findings else None)
    file = page.by_filename.get(filename)
    asked: tuple[Exchange, ...] = ()
    found: list[Finding] = []
    looked = False
    if file is not None and file.probeable:
        asked = tuple([await _asked(survey, file, method) for method in (Method.HEAD, Method.GET)])
        await survey.verifier.ask(subject.project, [file])
        verdict = subject.project.verdicts.get(file.key)
        looked = file.packaging is Packaging.WHEEL and verdict is not None and verdict.kind is Kind.DELIVERABLE
        if looked:
            await MetadataCheck(survey.mirror, found.append).check(page, [file], {})
    verdicts = subject.project.verdicts
    explanation = explain(page, filename, verdicts, survey.settled(page, verdicts))
    storm, last_good = survey.verifier.storm(SHARED), survey.verifier.last_good(SHARED)
    told = explanation_data(explanation, survey.mirror.url, storm=storm, last_good=last_good)
    return LookedAt(told, asked, None, found[0] if found else None, looked)


async def _asked(survey: Survey, file: File, method: Method) -> Exchange:
    one = Ask(method, file.url) if method is Method.HEAD else Ask(method, file.url, first=0, last=0, read=1)
    return survey.mirror.exchange_of(file.url, await survey.mirror.converse(_once(one), SHARED))


def _once(ask: Ask) -> Flow[Evidence]:
    reply = yield ask
    return evidence_of(asked_as(ask), reply)
