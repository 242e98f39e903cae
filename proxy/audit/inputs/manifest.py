"""One pyproject.toml: the tables that name dependencies, each in the shape that its specification gives it, else Unreadable.

The tables are those of the PyPA specifications (PEP 621, PEP 735) and uv's own below `[tool.uv]`, as uv's documentation describes them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, TypeVar

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from proxy.audit.inputs.indexes import Index
from proxy.audit.inputs.other_tools import OtherTools
from proxy.audit.inputs.toml import read_toml
from proxy.audit.wanted import Omission, Place, Unreadable

T = TypeVar("T")

_NAME = re.compile(r"\s*([\w.-]+)")
_KINDS = {
    "workspace": Omission.WORKSPACE,
    "path": Omission.PATH,
    "git": Omission.GIT,
    "url": Omission.URL,
    "index": Omission.INDEX,
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A requirement as it is written, and the extra or the group that it belongs to."""

    text: str
    extra: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `[tool.uv.sources]`: from where a package comes if `marker` holds, for all or for one `extra` or `group`."""

    omission: Omission
    target: str
    marker: Marker | None
    extra: str = ""
    group: str = ""
    index: Index | None = None
    """The index itself, where it is not one of `[[tool.uv.index]]` that `target` names."""


class Manifest:
    """A pyproject.toml; the constructor and every method raise Unreadable where a table has another shape than it must."""

    def __init__(self, path: Path) -> None:
        content, self._text = read_toml(path)
        self.path = path
        self.folder = path.parent
        project = self._table(content, "project", "[project]")
        tool = self._table(content, "tool", "[tool]")
        uv = self._table(tool, "uv", "[tool.uv]")
        self.name = canonicalize_name(self._value(project, "name", str, "the name in [project]") or "")
        self.requires_python = self._python(project)
        dynamic = self._texts(project, "dynamic", "dynamic in [project]")
        self.dynamic = [each for each in dynamic if each in {"dependencies", "optional-dependencies"}]
        self.is_static = "project" in content
        self.dependencies = self._texts(project, "dependencies", "dependencies in [project]")
        self.extras = self._lists(project, "optional-dependencies", "[project.optional-dependencies]")
        self.groups = self._groups(content)
        self.groups.setdefault("dev", []).extend(self._texts(uv, "dev-dependencies", "dev-dependencies in [tool.uv]"))
        self.constraints = self._texts(uv, "constraint-dependencies", "constraint-dependencies in [tool.uv]")
        self.overrides = self._texts(uv, "override-dependencies", "override-dependencies in [tool.uv]")
        self.excluded = self._texts(uv, "exclude-dependencies", "exclude-dependencies in [tool.uv]")
        self.has_conflicts = bool(self._value(uv, "conflicts", list, "conflicts in [tool.uv]"))
        self.others = OtherTools(tool)
        self.indexes = [*self.indexes_of(uv), *self.others.indexes]
        self.environments = tuple(self._environments(uv))
        self.no_index = bool(self._value(uv, "no-index", bool, "no-index in [tool.uv]"))
        self.find_links = self._texts(uv, "find-links", "find-links in [tool.uv]")
        self._sources: dict[str, list[Binding]] = {
            canonicalize_name(name): self._bindings(name, value) for name, value in self._table(uv, "sources", "[tool.uv.sources]").items()
        }
        self.is_workspace = "workspace" in uv
        workspace = self._table(uv, "workspace", "[tool.uv.workspace]")
        self._members = self._texts(workspace, "members", "members in [tool.uv.workspace]")
        self._apart = self._texts(workspace, "exclude", "exclude in [tool.uv.workspace]")
        self.needs_poetry = "poetry" in tool
        build = self._table(content, "build-system", "[build-system]")
        self.build_requires = self._texts(build, "requires", "requires in [build-system]")

    def declared(self) -> Iterator[Declared]:
        """Return all requirements: of the project, of its extras and of its groups."""
        yield from map(Declared, self.dependencies)
        yield from (Declared(text, extra=extra) for extra, texts in self.extras.items() for text in texts)
        yield from (Declared(text, group=group) for group, texts in self.groups.items() for text in texts)

    def bindings(self, name: str, declared: Declared) -> list[Binding] | None:
        """Return the sources of a requirement on the project `name`, None if it has none in this file."""
        found = self._sources.get(name)
        if found is None:
            others = self.others.bindings(name)
            return [Binding(each.omission, each.target, self._known_marker(each.markers), index=each.index) for each in others] or None
        return [each for each in found if each.extra in {"", declared.extra} and each.group in {"", declared.group}]

    def unread(self) -> list[str]:
        """Return the tables of other programs with dependencies that are not read."""
        names = (canonicalize_name(found[0]) for each in self.declared() if (found := _NAME.match(each.text)) is not None)
        return self.others.unread(set(names))

    def place(self, text: str) -> Place:
        """Return the line at which `text` stands."""
        line = next((number for number, each in enumerate(self._text.splitlines(), 1) if text in each), 1)
        return Place(str(self.path), line)

    def members(self) -> list[Path]:
        """Return the folders of the workspace's members, if this file is the root of a workspace."""
        try:
            found = {folder for each in self._members for folder in self._matching(each)}
            found -= {folder for each in self._apart for folder in self._matching(each)}
        except (ValueError, OSError, RecursionError) as error:
            raise Unreadable(self.path, "a pattern in [tool.uv.workspace] matches no folder that can be had") from error
        return sorted(folder for folder in found if (folder / "pyproject.toml").is_file())

    def indexes_of(self, settings: Mapping[str, Any]) -> list[Index]:
        """Return the indexes in the settings of uv, those of its older keys included."""
        found = []
        for each in self._value(settings, "index", list, "[[tool.uv.index]]") or []:
            if not isinstance(each, dict) or not isinstance(each.get("url"), str):
                raise Unreadable(self.path, "[[tool.uv.index]] has no url")
            name = self._value(each, "name", str, "the name in [[tool.uv.index]]") or ""
            found.append(Index(each["url"], name, each.get("explicit") is True, each.get("default") is True))
        extra = self._texts(settings, "extra-index-url", "extra-index-url in [tool.uv]")
        default = self._value(settings, "index-url", str, "index-url in [tool.uv]")
        return [*found, *map(Index, extra), *([] if default is None else [Index(default, default=True)])]

    def _matching(self, pattern: str) -> list[Path]:
        matching = glob(pattern, root_dir=self.folder, recursive=True)  # noqa: PTH207 - Path.glob refuses "." and absolute patterns
        return [(self.folder / each).resolve() for each in matching]

    def _python(self, project: Mapping[str, Any]) -> str:
        text = self._value(project, "requires-python", str, "requires-python in [project]") or ""
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise Unreadable(self.path, "requires-python in [project] is no version specifier; write it as in '>=3.11'") from error
        return text

    def _environments(self, uv: Mapping[str, Any]) -> list[str]:
        """Return the markers of the environments that uv locks for, none for all."""
        value = uv.get("environments")
        texts = [value] if isinstance(value, str) else self._texts(uv, "environments", "environments in [tool.uv]")
        for each in texts:
            if self._known_marker(each) is None:
                raise Unreadable(self.path, f"environments in [tool.uv] has {each[:80]!r}, which is no marker")
        return texts

    def _known_marker(self, text: str) -> Marker | None:
        try:
            return Marker(text) if text else None
        except (InvalidMarker, RecursionError):
            return None

    def _groups(self, content: Mapping[str, Any]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        includes: dict[str, list[str]] = {}
        for name, entries in self._table(content, "dependency-groups", "[dependency-groups]").items():
            group: str = canonicalize_name(name)
            if group in groups:
                raise Unreadable(self.path, f"the dependency group {group!r} is there twice")
            if not isinstance(entries, list):
                raise Unreadable(self.path, f"the dependency group {name!r} is no list")
            groups[group] = [each for each in entries if isinstance(each, str)]
            includes[group] = [self._included(name, each) for each in entries if not isinstance(each, str)]
        for group, included in includes.items():
            for each in included:
                if each not in groups:
                    raise Unreadable(self.path, f"the dependency group {group!r} includes {each!r}, which is not there")
        self._refuse_cycles(includes)
        return groups

    def _included(self, group: str, entry: object) -> str:
        if isinstance(entry, dict) and list(entry) == ["include-group"] and isinstance(entry["include-group"], str):
            return canonicalize_name(entry["include-group"])
        raise Unreadable(self.path, f"the dependency group {group!r} has an entry that is neither a requirement nor an include-group")

    def _refuse_cycles(self, includes: Mapping[str, list[str]]) -> None:
        left = dict(includes)
        while left:
            ends = [group for group, included in left.items() if not any(each in left for each in included)]
            if not ends:
                raise Unreadable(self.path, f"its dependency groups include each other: {', '.join(map(repr, sorted(left)))}")
            for group in ends:
                del left[group]

    def _bindings(self, name: str, value: object) -> list[Binding]:
        entries = value if isinstance(value, list) else [value]
        if not entries:
            raise Unreadable(self.path, f"{name!r} in [tool.uv.sources] has no source")
        return [self._binding(name, each) for each in entries]

    def _binding(self, name: str, entry: object) -> Binding:
        where = f"{name!r} in [tool.uv.sources]"
        if not isinstance(entry, dict):
            raise Unreadable(self.path, f"{where} is no table")
        key = next((each for each in _KINDS if each in entry), None)
        if key is None:
            raise Unreadable(self.path, f"{where} has none of git, url, path, index and workspace")
        if key == "workspace" and entry[key] is not True:
            raise Unreadable(self.path, f"{where} can only have workspace = true")
        target = "" if key == "workspace" else self._value(entry, key, str, f"{key} of {where}") or ""
        text = self._value(entry, "marker", str, f"marker of {where}")
        try:
            marker = None if text is None else Marker(text)
        except (InvalidMarker, RecursionError) as error:
            raise Unreadable(self.path, f"marker of {where} is no marker") from error
        extra, group = (canonicalize_name(self._value(entry, each, str, f"{each} of {where}") or "") for each in ("extra", "group"))
        return Binding(_KINDS[key], target, marker, extra, group)

    def _table(self, parent: Mapping[str, Any], key: str, what: str) -> dict[str, Any]:
        return self._value(parent, key, dict, what) or {}

    def _lists(self, parent: Mapping[str, Any], key: str, what: str) -> dict[str, list[str]]:
        table = self._table(parent, key, what)
        return {canonicalize_name(name): self._texts(table, name, f"{name!r} in {what}") for name in table}

    def _texts(self, parent: Mapping[str, Any], key: str, what: str) -> list[str]:
        found: list[Any] = self._value(parent, key, list, what) or []
        if not all(isinstance(each, str) for each in found):
            raise Unreadable(self.path, f"{what} is no list of strings")
        return list(found)

    def _value(self, parent: Mapping[str, Any], key: str, kind: type[T], what: str) -> T | None:
        """Return the value of a key, None if there is none."""
        value = parent.get(key)
        if value is None or isinstance(value, kind):
            return value
        shape = {dict: "a table", list: "a list", str: "a string", bool: "true or false"}[kind]
        raise Unreadable(self.path, f"{what} is not {shape}")
