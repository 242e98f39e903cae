"""One file, looked at now: is it listed, what does the mirror say to every way of asking, and what would the proxy make of it."""

from dataclasses import dataclass
from typing import Any

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from proxy.audit.findings import Exchange, Finding
from proxy.audit.metadata import MetadataCheck
from proxy.audit.overheard import OverheardMirror
from proxy.audit.survey import Survey
from proxy.audit.wanted import Want
from proxy.core.errors import MirrormendError
from proxy.core.flows.evidence import Evidence, asked_as, evidence_of
from proxy.core.flows.exchange import Answer, Flow, Reply
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.core.page import File, Packaging
from proxy.core.twins import file_at
from proxy.core.verdict.explain import explain
from proxy.core.verdict.judge import Kind
from proxy.index.explaining import explanation_data
from proxy.index.project import Project


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
    file = file_at(page, filename)
    asked: tuple[Exchange, ...] = ()
    found: list[Finding] = []
    looked = False
    if file is not None and file.probeable:
        asked = await _asked(survey, subject.project, file)
        verdict = subject.project.verdicts.get(file.key)
        looked = file.packaging is Packaging.WHEEL and verdict is not None and verdict.kind is Kind.DELIVERABLE
        if looked:
            await MetadataCheck(survey.mirror, found.append).check(page, [file], {})
    verdicts = subject.project.verdicts
    explanation = explain(page, filename, verdicts, survey.settled(page, verdicts), rescuable=survey.rescuable)
    storm, last_good = survey.verifier.storm(SHARED), survey.verifier.last_good(SHARED)
    told = explanation_data(explanation, survey.mirror.address, storm=storm, last_good=last_good)
    return LookedAt(told, asked, None, found[0] if found else None, looked)


async def _asked(survey: Survey, project: Project, file: File) -> tuple[Exchange, ...]:
    """Ask for `file` in every way, note what that shows as the proxy would, and return the answers."""
    asked: list[Exchange] = []
    flow = _noted(probe(file.url, size=file.size, believe_head=False), survey.mirror, asked)
    evidence = await survey.mirror.converse(flow, SHARED)
    await survey.verifier.correct(project, file, evidence)
    return tuple(asked)


def _noted(flow: Flow[Evidence], mirror: OverheardMirror, asked: list[Exchange]) -> Flow[Evidence]:
    """Add to `asked` each answer that `flow` gets."""
    reply: Reply | None = None
    try:
        while True:
            ask = next(flow) if reply is None else flow.send(reply)
            reply = yield ask
            headers = reply.headers if isinstance(reply, Answer) else {}
            asked.append(mirror.exchange_of(ask.url, evidence_of(asked_as(ask), reply), headers))
    except StopIteration as end:
        evidence: Evidence = end.value
        return evidence


def status_of(told: dict[str, Any], metadata: Finding | None = None) -> int:
    """Return the exit status for what was told of a file, and of its metadata: 0 if clients see it and nothing is known against it."""
    verdict = told["verdict"]
    sound = told["listed"] and (verdict is None or verdict["kind"] == Kind.DELIVERABLE.value)
    return 0 if sound and metadata is None else 1
