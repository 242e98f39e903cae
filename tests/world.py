"""A stand-in as large as life: what `jupyter` needs, 99 projects with 31,047 files, listed as real index pages listed them.

`data/jupyter/` holds the facts: of each file the name, `requires-python`, `yanked` and `upload-time`, and the core metadata of the versions
that uv chose. Wheels and sdists of these versions are made from that metadata; all other files follow from their
names. All are tiny, and what a page tells of their sizes and hashes is true.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from packaging.version import Version

from proxy.core.page import File, parsed_version
from tests.clients import write_project
from tests.listing import JSON_TYPE, Content, Listed, Project, content_by_name, path_by_name
from tests.mirror import BrokenMirror
from tests.wheels import make_sdist, make_wheel

_DATA = Path(__file__).parent / "data"

# The lock was made for Python 3.12 and later; said in this way, an older Python can make it again.
_ENVIRONMENTS = """
[tool.uv]
environments = ["python_full_version >= '3.12'"]
"""


def MACOS(name: str) -> bool:  # noqa: N802 - used as a value, in the place of a pattern
    """Matches the wheels for macOS, and their metadata: what a mirror fed by Linux machines alone cannot deliver."""
    return "macosx" in name


@dataclass(frozen=True)
class World:
    """The projects by name, and the versions that uv chooses of them."""

    projects: Mapping[str, Project]
    chosen: Mapping[str, str]

    @staticmethod
    @cache
    def load(name: str = "jupyter") -> "World":
        """Gives the world of this name. It is made once, and its pages are written once, for all mirrors that it fills."""
        metadata = {row["name"]: row for row in _rows(_DATA / name / "metadata.jsonl.gz")}
        projects = {row["name"]: _project(row, metadata[row["name"]]) for row in _rows(_DATA / name / "pages.jsonl.gz")}
        for project in projects.values():
            project.page(JSON_TYPE)
        return World(projects, {project: row["version"] for project, row in metadata.items()})

    def fill(self, mirror: BrokenMirror) -> None:
        """Lists everything at the mirror, which may be changed without changing the world."""
        for project in self.projects.values():
            mirror.add_project(project)

    def wheels(self, project: str, version: str | None = None) -> list[str]:
        """The names of a project's wheels, those of its chosen version where none is given, in the order in which uv tries them."""
        wanted = parsed_version(version or self.chosen[project])
        return sorted(name for name in self.projects[project].files if name.endswith(".whl") and _version(name, project) == wanted)

    @staticmethod
    def write_project(folder: Path) -> Path:
        """Writes the project whose lock the world holds; gives its folder."""
        return write_project(folder, ["jupyter"], extra=_ENVIRONMENTS)


def _project(row: dict[str, Any], metadata: dict[str, str]) -> Project:
    name, chosen, text = row["name"], parsed_version(metadata["version"]), metadata["metadata"]
    project = Project(name)
    for filename, requires_python, yanked, upload_time in zip(
        row["filename"], row["requires-python"], row["yanked"], row["upload-time"], strict=True
    ):
        content = _content(filename, text) if _version(filename, name) == chosen else partial(content_by_name, filename)
        project.files[filename] = Listed(filename, path_by_name(filename), content, requires_python, yanked, upload_time)
    return project


def _content(filename: str, metadata: str) -> Content:
    if filename.endswith(".whl"):
        return partial(make_wheel, filename, metadata=metadata)
    if filename.endswith(".tar.gz"):
        requires_dist = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
        return partial(make_sdist, filename, metadata=metadata, requires_dist=requires_dist)
    return partial(content_by_name, filename)


def _version(filename: str, project: str) -> Version | None:
    text = File(filename, "").version_text(project)
    return None if text is None else parsed_version(text)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
