"""One project under audit: what was fetched, asked and found so far, and the report that can be made of it at any moment."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from proxy.audit.files import counted, file_findings
from proxy.audit.findings import Exchange, Finding, Level, ProjectReport
from proxy.audit.locked import Pinned, lock_findings, pinned_on, unmet_findings
from proxy.audit.matrix import Row, make_row
from proxy.audit.overheard import OverheardMirror
from proxy.audit.pages import page_findings
from proxy.audit.wanted import Bound, Place, Want
from proxy.core.identity import SHARED
from proxy.core.page import File, Page
from proxy.core.verdict.judge import Cause, Kind, Verdict
from proxy.core.verdict.plan import resolver_picks
from proxy.core.verdict.settle import Mended
from proxy.index.project import Project
from proxy.upstream import FetchedPage


@dataclass(slots=True)
class Subject:
    """The knowledge of the wanted project. `page` is None until it was read; `whole` says that nothing is left to ask.

    `asked` are the files that were asked about, by their keys.
    """

    want: Want
    url: str
    project: Project = field(init=False)
    page: Page | None = None
    fetched: FetchedPage | None = None
    exchange: Exchange | None = None
    pinned: list[Pinned] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    whole: bool = False
    asked: dict[str, File] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = Project(self.want.project, SHARED)

    def read(self, page: Page, fetched: FetchedPage, exchange: Exchange) -> None:
        """Notes the page, and what it says by itself."""
        if self.page is not None:
            # Two requirements led to it at once.
            return
        self.page, self.fetched, self.exchange = page, fetched, exchange
        self.pinned = pinned_on(page, self.want)
        self.findings += page_findings(page, fetched.body, fetched.content_type, exchange, self.want.place)
        self.findings += lock_findings(page, self.pinned, exchange)
        self.findings += unmet_findings(page, self.want.bounds, exchange)

    def require(self, specifier: str) -> None:
        """Note a requirement that is met on the way, and that no listed release meets: a resolver may find another way."""
        if self.page is None or self.exchange is None or specifier in {"", *(each.specifier for each in self.want.bounds)}:
            return
        found = unmet_findings(self.page, [Bound(f"{self.want.project}{specifier}", specifier)], self.exchange)
        notes = [replace(each, level=Level.NOTE, says=f"{each.says}, which a requirement leads to") for each in found]
        self.findings += [each for each in notes if each not in self.findings]

    @property
    def releases(self) -> list[str] | None:
        """The spellings of the pinned releases, None where none is pinned."""
        return [each.spelling for each in self.pinned] if self.want.pins else None

    @property
    def places(self) -> dict[str, Place]:
        """Where each release is wanted."""
        return {each.spelling: each.pin.place for each in self.pinned if each.pin.place is not None}

    def pinned_files(self) -> Iterator[File]:
        """Gives the files of the pinned releases that can be asked about, first those that a resolver reads; a file may come twice."""
        page = self.page
        if page is None:
            return
        wanted = set(self.releases or ())
        for release in page.releases:
            if release.spelling in wanted:
                yield from (file for file in (*resolver_picks(release), *release.files) if file.probeable)

    def of_head_alone(self) -> list[File]:
        """Return the files that were asked about by nothing but HEAD, or of which nothing is known since that lied."""
        verdicts = self.project.verdicts
        return [file for key, file in self.asked.items() if key not in verdicts or verdicts[key].rests_on_head]

    def report(
        self, settled: Callable[[Page, Mapping[str, Verdict]], Mended], mirror: OverheardMirror, rescuable: Collection[Cause]
    ) -> ProjectReport:
        """Return what is known now; `settled` says what the proxy would make of a page.

        `rescuable` are the causes for which it would ask a second index for a file.
        """
        page = self.page
        if page is None or self.fetched is None:
            return ProjectReport(self.want.project, self.url, whole=self.whole, findings=tuple(self.findings))
        verdicts = self.project.verdicts
        mended = settled(page, verdicts)
        looked_at = {file.key: file for file in (self.pinned_files() if self.want.pins else page.files) if file.probeable}
        counts = counted(looked_at.values(), verdicts)
        findings = [*self.findings, *file_findings(page, verdicts, mended, mirror.exchange_of, self.places, rescuable=rescuable)]
        return ProjectReport(
            self.want.project,
            self.url,
            page.form.value,
            (self.fetched.content_type or "")[:100],
            len(page.files),
            len(looked_at),
            counts[Kind.DELIVERABLE],
            counts[Kind.UNDELIVERABLE],
            counts[Kind.UNKNOWN],
            self.whole,
            tuple(findings),
        )

    def rows(self, pythons: tuple[tuple[int, int], ...]) -> Iterator[Row]:
        """Gives the rows of the platform matrix, one for each pin."""
        listed = self.pinned or [Pinned(pin, pin.version, ()) for pin in self.want.pins]
        for each in listed:
            yield make_row(self.want.project, each.pin, each.files, self.project.verdicts, pythons)
