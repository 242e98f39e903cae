"""Where a lock can be installed from this mirror: packages by platforms, judged by the files that the mirror delivers.

Rules for this file: pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from proxy.audit.platforms import PLATFORMS, Platform, fits, spelled_python
from proxy.audit.wanted import LockedFile, Pin
from proxy.core.page import File, Packaging
from proxy.core.verdict.judge import Kind, Verdict


class Cell(StrEnum):
    """How a package can be installed on a platform."""

    WHEEL = "wheel"
    SDIST = "sdist"
    """Only by a build."""
    NONE = "none"
    UNKNOWN = "unknown"
    """The files that would do were not asked about, or gave no good answer."""
    NOT_NEEDED = "not-needed"


_WORST_FIRST = (Cell.NONE, Cell.UNKNOWN, Cell.SDIST, Cell.WHEEL, Cell.NOT_NEEDED)


@dataclass(frozen=True, slots=True)
class Row:
    """A package of the lock: a cell by platform name and Python, such as `3.12`."""

    project: str
    version: str
    cells: Mapping[str, Mapping[str, Cell]]

    def worst(self, platform: str) -> Cell:
        """Gives the worst that any Python meets there."""
        return worst(self.cells[platform].values())

    def pythons(self, platform: str) -> tuple[str, ...]:
        """Gives the Pythons that meet the worst there."""
        return tuple(python for python, cell in self.cells[platform].items() if cell is self.worst(platform))

    def beside_other_indexes(self) -> "Row":
        """Return the row of a package that another index may have as well: what is not here is not known."""
        cells = {
            platform: {python: Cell.UNKNOWN if cell is Cell.NONE else cell for python, cell in row.items()}
            for platform, row in self.cells.items()
        }
        return replace(self, cells=cells)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The rows by project, and the names of Pythons that the columns are made for."""

    pythons: tuple[str, ...]
    rows: tuple[Row, ...]

    def verdict(self, platform: str) -> Cell:
        """Gives whether the whole lock can be installed there: the worst of all rows."""
        return worst(row.worst(platform) for row in self.rows)

    def beside_other_indexes(self) -> "Matrix":
        """Return the matrix for a lock that may take from another index what is not here: no cell says that nothing fits."""
        return Matrix(self.pythons, tuple(row.beside_other_indexes() for row in self.rows))

    def worst_first(self) -> list[Row]:
        """Gives the rows, those that cannot be installed somewhere before those that can be."""
        places = list(_WORST_FIRST)
        return sorted(self.rows, key=lambda row: places.index(worst(map(row.worst, row.cells))))


def worst(cells: Iterable[Cell]) -> Cell:
    """Gives the worst of some cells."""
    found = set(cells)
    return next((each for each in _WORST_FIRST if each in found), Cell.NOT_NEEDED)


def make_row(project: str, pin: Pin, files: Sequence[File], verdicts: Mapping[str, Verdict], pythons: Sequence[tuple[int, int]]) -> Row:
    """Gives the row of one package: `files` are those of its release on the mirror's page that it may be installed from."""
    return Row(
        project,
        pin.version,
        {
            platform.name: {spelled_python(python): _cell(pin, files, verdicts, platform, python) for python in pythons}
            for platform in PLATFORMS
        },
    )


def _cell(pin: Pin, files: Sequence[File], verdicts: Mapping[str, Verdict], platform: Platform, python: tuple[int, int]) -> Cell:
    if pin.needed is not None and (platform.name, spelled_python(python)) not in pin.needed:
        return Cell.NOT_NEEDED
    fitting = [file for file in files if fits(file, platform, python)]
    for packaging, cell in ((Packaging.WHEEL, Cell.WHEEL), (Packaging.SDIST, Cell.SDIST)):
        kinds = [_kind(verdicts, file) for file in fitting if file.packaging is packaging]
        if Kind.DELIVERABLE in kinds:
            return cell
        if Kind.UNKNOWN in kinds:
            return Cell.UNKNOWN
    return Cell.NONE


def _kind(verdicts: Mapping[str, Verdict], file: File) -> Kind:
    verdict = verdicts.get(file.key)
    return Kind.UNKNOWN if verdict is None else verdict.kind


def allowed_files(pin: Pin, files: Iterable[File]) -> list[File]:
    """Gives the files of a release that the lock allows: those it names, or those of which it has the hash, or all."""
    if pin.files:
        named: dict[str, LockedFile] = {each.filename: each for each in pin.files}
        return [file for file in files if file.filename in named]
    if pin.hashes:
        return [file for file in files if any(f"{name}:{digest}" in pin.hashes for name, digest in file.hashes.items())]
    return list(files)
