"""Whether the core metadata that a page offers can be had, and whether a wheel gives it up at all: asked for what a resolver reads first.

uv asks for nothing else where metadata is advertised, and gives up where it fails; it reads the wheel's end where it is not.
"""

from collections.abc import Callable, Iterable, Sequence

from proxy.audit.findings import Fault, Finding, Level
from proxy.audit.overheard import OverheardMirror
from proxy.audit.wanted import Place
from proxy.core.flows.exchange import Flow
from proxy.core.flows.metadata import MetadataRead, inline, metadata_copy, wheel_metadata
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import File, Packaging, Page, Release, Sha256
from proxy.core.platform import platform_of
from proxy.core.verdict.judge import Cause, Kind, cause_of
from proxy.core.verdict.plan import newest, resolver_picks
from proxy.core.verdict.reason import Reason
from proxy.index.gate import WHOLE_LIMIT, metadata_url
from proxy.index.project import Project

_PASSING = {Cause.MIRROR_ERROR, Cause.NO_ANSWER, Cause.AUTHENTICATION}


def read_first(page: Page, releases: Iterable[str] | None, project: Project) -> list[File]:
    """Gives the wheels of which a resolver would read the metadata: of the `releases` named, else of the newest; no dead ones."""
    chosen: Sequence[Release] = newest(page) if releases is None else [each for each in page.releases if each.spelling in set(releases)]
    picks = []
    for release in chosen:
        alive = [file for file in resolver_picks(release) if _alive(project, file)]
        picks += [file for file in alive if file.packaging is Packaging.WHEEL][:1]
    return picks


def _alive(project: Project, file: File) -> bool:
    verdict = project.verdicts.get(file.key)
    return verdict is not None and verdict.kind is Kind.DELIVERABLE


class MetadataCheck:
    """Asks one mirror for metadata; `learned` is told what is wrong."""

    def __init__(self, mirror: OverheardMirror, learned: Callable[[Finding], None]) -> None:
        self._mirror = mirror
        self._learned = learned

    async def check(self, page: Page, files: Sequence[File], places: dict[str, Place]) -> None:
        """Looks at the metadata of `files`, of which the mirror has just delivered each; `places` say by release where it is wanted."""
        flows = [(file, self._flow(page, file)) for file in files]
        found: list[tuple[File, MetadataRead]] = []
        await self._mirror.converse_all(flows, SHARED, learned=lambda file, read: found.append((file, read)), reason=Reason.AWAITED)
        for file, read in found:
            if read.content is not None:
                self._compare(page, file, read.content, places)
            else:
                await self._complain(page, file, read, places)

    def _flow(self, page: Page, file: File) -> Flow[MetadataRead]:
        version = page.release_of(file).spelling
        if not file.core_metadata:
            return inline(wheel_metadata(file.url, page.project, version, file.size, WHOLE_LIMIT))
        sha256 = file.core_metadata.sha256 if isinstance(file.core_metadata, Sha256) else None
        return inline(metadata_copy(metadata_url(file.url), page.project, version, sha256))

    async def _complain(self, page: Page, file: File, read: MetadataRead, places: dict[str, Place]) -> None:
        url = metadata_url(file.url) if file.core_metadata else file.url
        exchange = self._mirror.exchange_of(url, read.evidence)
        cause = cause_of(read.evidence, None)
        if cause in _PASSING:
            fault, level, says = Fault.METADATA_UNKNOWN, Level.WARNING, f"its metadata could not be had: {read.why}"
        elif not file.core_metadata:
            fault, level = Fault.WHEEL_UNREADABLE, Level.WARNING
            says = f"its metadata is not advertised, and cannot be read out of it: {read.why}"
        elif read.evidence.status == 200:
            fault, level, says = Fault.METADATA_WRONG, Level.ERROR, f"its metadata is advertised, and wrong: {read.why}"
        elif await self._witnessed(file):
            fault, level = Fault.METADATA_UNDELIVERABLE, Level.ERROR
            says = f"its metadata is advertised, and {read.why}: uv gives up over it"
        else:
            fault, level = Fault.METADATA_UNKNOWN, Level.WARNING
            says = f"its metadata is advertised, and {read.why}, but so was the wheel itself just now"
        release = page.release_of(file).spelling
        self._learned(
            Finding(
                level,
                fault,
                page.project,
                says,
                release,
                file.filename,
                platform_of(file),
                cause.value,
                exchange=exchange,
                place=places.get(release),
            )
        )

    async def _witnessed(self, file: File) -> bool:
        """Tell whether the mirror delivers the wheel now: then its answer for the metadata is about the metadata."""
        evidence = await self._mirror.converse(probe(file.url, size=file.size, head=False), SHARED, reason=Reason.WITNESS)
        return cause_of(evidence, file.size) is Cause.AVAILABLE

    def _compare(self, page: Page, file: File, content: bytes, places: dict[str, Place]) -> None:
        said = MetadataHeaders(content).get("Requires-Python")
        if said and not file.requires_python:
            says = f"the page does not say its requires-python, which is {said[:60]!r}: a resolver may choose it for another Python"
            release = page.release_of(file).spelling
            self._learned(
                Finding(
                    Level.WARNING,
                    Fault.PAGE_LACKS_REQUIRES_PYTHON,
                    page.project,
                    says,
                    release,
                    file.filename,
                    platform_of(file),
                    "lacking",
                    place=places.get(release),
                )
            )
