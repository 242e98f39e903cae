"""A project's releases by what their files are for: what of each is delivered, dropped, unknown, or was not asked about."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.core.page import File, Page
from proxy.core.platform import platform_of
from proxy.core.verdict.judge import Kind, Verdict
from proxy.core.verdict.settle import Mended

RELEASES = 40
"""Releases that are shown at a time, the newest first."""

_FIRST_COLUMNS = ("any", "Linux", "Alpine", "macOS", "Windows")
_LAST_COLUMNS = ("sdist", "legacy")


class State(StrEnum):
    """What is known of a file."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    HELD = "held"
    """Found undeliverable, and listed all the same: a second confirmation is missing, or the page would be empty."""
    RESCUED = "rescued"
    """Found undeliverable, and listed since a second index has it."""
    UNKNOWN = "unknown"
    UNASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Known:
    """A file, its state, and the verdict behind it, if any."""

    file: File
    state: State
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Row:
    """A release: its files by column."""

    release: str
    files: Mapping[str, tuple[Known, ...]]

    def counts(self, column: str) -> Mapping[State, int]:
        """How many files of a column are in each state."""
        return Counter(known.state for known in self.files.get(column, ()))


@dataclass(frozen=True, slots=True)
class Grid:
    """The releases shown, the columns that they have files for, and how many releases are left out."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: int


def grid_of(page: Page, mended: Mended, verdicts: Mapping[str, Verdict]) -> Grid:
    """Gives the newest releases of the mirror's `page` as a grid; `mended` is what is served of it."""
    apart = {each.file.key: State.DROPPED for each in mended.dropped} | {file.key: State.RESCUED for file in mended.rescued}
    rows = []
    for release in page.releases[:RELEASES]:
        files: dict[str, list[Known]] = {}
        for file in release.files:
            verdict = verdicts.get(file.key)
            files.setdefault(platform_of(file), []).append(Known(file, _state(file, verdict, apart), verdict))
        rows.append(Row(release.spelling, {column: tuple(known) for column, known in files.items()}))
    columns = {column for row in rows for column in row.files}
    return Grid(tuple(sorted(columns, key=_place)), tuple(rows), max(0, len(page.releases) - RELEASES))


def _state(file: File, verdict: Verdict | None, apart: Mapping[str, State]) -> State:
    if file.key in apart:
        return apart[file.key]
    if verdict is None:
        return State.UNASKED
    return {Kind.DELIVERABLE: State.DELIVERED, Kind.UNDELIVERABLE: State.HELD, Kind.UNKNOWN: State.UNKNOWN}[verdict.kind]


def _place(column: str) -> tuple[int, str]:
    if column in _LAST_COLUMNS:
        return len(_FIRST_COLUMNS) + 1 + _LAST_COLUMNS.index(column), column
    system = column.partition(" ")[0]
    return _FIRST_COLUMNS.index(system) if system in _FIRST_COLUMNS else len(_FIRST_COLUMNS), column
