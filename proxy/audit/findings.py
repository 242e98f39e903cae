"""What an audit found: the nouns of the report.

Frozen, and free of secrets: addresses come without user information and query.
Rules for this file: nouns, and what follows from them alone.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.audit.matrix import Matrix
from proxy.audit.wanted import LeftOut, Place, Source
from proxy.core.verdict.explain import Effect
from proxy.telemetry.price import Cost


class Level(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """It breaks a client, or the proxy would mend it."""
    WARNING = "warning"
    """It may break a client, or could not be told."""
    NOTE = "note"
    """It is allowed, and worth knowing."""
    UNCHECKED = "unchecked"
    """The project could not be looked at."""


class Fault(StrEnum):
    """What kind of thing was found. The values are part of the JSON report's schema."""

    FILE_UNDELIVERABLE = "file-undeliverable"
    FILE_UNKNOWN = "file-unknown"
    METADATA_UNDELIVERABLE = "metadata-undeliverable"
    METADATA_WRONG = "metadata-wrong"
    METADATA_UNKNOWN = "metadata-unknown"
    WHEEL_UNREADABLE = "wheel-unreadable"
    PROJECT_ABSENT = "project-absent"
    PAGE_FAILED = "page-failed"
    PAGE_UNREADABLE = "page-unreadable"
    PAGE_MISLABELLED = "page-mislabelled"
    PAGE_ENTRY_SKIPPED = "page-entry-skipped"
    PAGE_ENTRY_INVALID = "page-entry-invalid"
    PAGE_INVALID = "page-invalid"
    PAGE_FILE_IGNORED = "page-file-ignored"
    PAGE_VALUE_IGNORED = "page-value-ignored"
    PAGE_LACKS_HASHES = "page-lacks-hashes"
    PAGE_LACKS_UPLOAD_TIME = "page-lacks-upload-time"
    PAGE_LACKS_SIZE = "page-lacks-size"
    PAGE_LACKS_REQUIRES_PYTHON = "page-lacks-requires-python"
    PAGE_HTML_ONLY = "page-html-only"
    PAGE_EMPTY = "page-empty"
    RELEASE_ABSENT = "release-absent"
    FILE_NOT_LISTED = "file-not-listed"
    HASH_DIFFERS = "hash-differs"
    SIZE_DIFFERS = "size-differs"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The request that showed a finding, and the answer.

    `asked` is HEAD, `GET bytes=0-0` or GET; `status` is None where no answer came, and then `trouble` says why.
    `at` is in seconds since the epoch. `headers` are those of the answer that tell something, with lower-case names.
    `credentials` is `basic` or `bearer` where the request carried such ones, else empty; `accept` is what a page was asked for with.
    """

    url: str
    asked: str
    status: int | None
    at: float
    trouble: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: str = ""
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where: of `filename` in `release`, of a page where both are empty.

    `cause` is what the answer shows, in a word, and `says` in a sentence. `platform` is that of the file.
    """

    level: Level
    fault: Fault
    project: str
    says: str
    release: str = ""
    filename: str = ""
    platform: str = ""
    cause: str = ""
    effect: Effect = Effect.NONE
    exchange: Exchange | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class ProjectReport:
    """What was found of one project. `files` are those on its page that can be asked about, or those of the wanted releases.

    `whole` says that all that was to be asked was.
    """

    name: str
    url: str
    form: str = ""
    content_type: str = ""
    listed: int = 0
    files: int = 0
    deliverable: int = 0
    undeliverable: int = 0
    unknown: int = 0
    whole: bool = True
    findings: tuple[Finding, ...] = ()

    @property
    def unasked(self) -> int:
        """How many files were not asked about: the budget ended before, or somebody did it."""
        return max(0, self.files - self.deliverable - self.undeliverable - self.unknown)

    @property
    def checked(self) -> bool:
        """Whether its page could be looked at."""
        return not any(each.level is Level.UNCHECKED for each in self.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """All that an audit found. Times are in seconds since the epoch; `mirror` is its address without credentials, `kind` its product."""

    mirror: str
    kind: str
    sources: tuple[Source, ...]
    began: float
    ended: float
    projects: tuple[ProjectReport, ...]
    interrupted: bool = False
    unreached: int = 0
    """How many projects were not come to."""
    requests: int = 0
    price: tuple[Cost, ...] = ()
    """The requests for files, and of how many, by reason."""
    matrix: Matrix | None = None
    version: str = ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, project by project."""
        return tuple(finding for project in self.projects for finding in project.findings)

    @property
    def by_level(self) -> Counter[Level]:
        """How many findings there are of each level."""
        return Counter(finding.level for finding in self.findings)

    @property
    def incomplete(self) -> tuple[LeftOut, ...]:
        """The entries of the files that may lead to more packages of the mirror."""
        return tuple(each for source in self.sources for each in source.incomplete)

    @property
    def exit_status(self) -> int:
        """0 where the mirror is sound, 1 where something was found, 2 where nothing was but not all could be checked."""
        levels = self.by_level
        if levels[Level.ERROR] or levels[Level.WARNING]:
            return 1
        return 2 if levels[Level.UNCHECKED] or self.interrupted or self.incomplete else 0
