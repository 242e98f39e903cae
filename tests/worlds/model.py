"""The description of a made-up world, and how it gets into a stand-in mirror."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.wheels import make_sdist, make_wheel

UNIVERSAL = ("-none-any.whl", ".tar.gz")
"""How the names of files end that serve every platform."""


class Metadata(StrEnum):
    """Of which files the mirror offers the core metadata apart (PEP 658)."""

    OFFERED = "of all files"
    OF_GOOD_FILES = "of files that it delivers"
    NOT_OFFERED = "of none"


@dataclass(frozen=True)
class MadeFile:
    """A file of a release. Where it is `dead`, the mirror lists it and answers 404 for it."""

    filename: str
    dead: bool = False

    @property
    def universal(self) -> bool:
        """Return whether it serves every platform."""
        return self.filename.endswith(UNIVERSAL)


@dataclass(frozen=True)
class MadeRelease:
    """A release; `requires` are the requirements in its metadata, `extras` the extras that it provides."""

    project: str
    version: str
    files: tuple[MadeFile, ...]
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    requires_python: str | None = None
    yanked: bool = False

    def core_metadata(self, edition: str) -> str:
        """Return the text of METADATA or PKG-INFO in this version of the format."""
        lines = [f"Metadata-Version: {edition}", f"Name: {self.project}", f"Version: {self.version}"]
        lines += [] if self.requires_python is None else [f"Requires-Python: {self.requires_python}"]
        lines += [f"Provides-Extra: {each}" for each in self.extras] + [f"Requires-Dist: {each}" for each in self.requires]
        return "\n".join([*lines, ""])

    def content(self, filename: str) -> bytes:
        """Return the bytes of a file of this release."""
        if filename.endswith(".whl"):
            return make_wheel(filename, metadata=self.core_metadata("2.1"))
        plain = [each for each in self.requires if "extra ==" not in each]
        return make_sdist(filename, requires_dist=plain, metadata=self.core_metadata("2.2"))


@dataclass(frozen=True)
class MadeProject:
    """A project and its releases, the oldest first."""

    name: str
    releases: tuple[MadeRelease, ...]


@dataclass(frozen=True)
class MadeWorld:
    """Projects, and what somebody requires of them. It can be solved without the dead files."""

    projects: tuple[MadeProject, ...]
    roots: tuple[str, ...]
    metadata: Metadata = Metadata.OFFERED

    @property
    def releases(self) -> Iterator[MadeRelease]:
        """All releases."""
        return (release for project in self.projects for release in project.releases)

    @property
    def dead(self) -> frozenset[str]:
        """The names of the files that the mirror lists and has not."""
        return frozenset(file.filename for release in self.releases for file in release.files if file.dead)

    def files_of(self, project: str, version: str) -> frozenset[str]:
        """Return the names of a release's files."""
        return frozenset(
            file.filename for release in self.releases if (release.project, release.version) == (project, version) for file in release.files
        )

    def pour(self, mirror: BrokenMirror, *, without_dead: bool = False) -> BrokenMirror:
        """Let `mirror` list this world, and return it; `without_dead` leaves the dead files off its pages."""
        for release in self.releases:
            for file in release.files:
                if file.dead and without_dead:
                    continue
                mirror.add(
                    file.filename,
                    _content_of(release, file.filename),
                    project=release.project,
                    requires_python=release.requires_python,
                    yanked=release.yanked,
                    upload_time="2024-03-01T10:00:00Z",
                    core_metadata=self.metadata is not Metadata.NOT_OFFERED and file.filename.endswith(".whl"),
                )
        dead = self.dead
        if dead and not without_dead:
            names = dead if self.metadata is not Metadata.OF_GOOD_FILES else dead | {f"metadata:{name}" for name in dead}
            mirror.fault(names.__contains__, artifactory_404())
        return mirror

    def __str__(self) -> str:
        lines = [f"requires {', '.join(self.roots)}; metadata {self.metadata.value}"]
        for release in self.releases:
            facts = "".join(
                [
                    " (yanked)" if release.yanked else "",
                    f" (Python {release.requires_python})" if release.requires_python else "",
                    f" requires {', '.join(release.requires)}" if release.requires else "",
                ]
            )
            tags = [file.filename.split("-", 2)[-1] + (" DEAD" if file.dead else "") for file in release.files]
            lines.append(f"  {release.project} {release.version}{facts}\n    {'  '.join(tags)}")
        return "\n".join(lines)


def _content_of(release: MadeRelease, filename: str) -> Callable[[], bytes]:
    return lambda: release.content(filename)
