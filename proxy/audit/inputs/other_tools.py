"""Tables of a pyproject.toml that other programs than uv read: Poetry's and PDM's sources, and dependencies outside of the specifications.

The sources bind dependencies as `[tool.uv.sources]` does. uv takes no notice of these tables, so that no shape of them is refused.
Rules for this file: pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from packaging.utils import canonicalize_name

from proxy.audit.inputs.indexes import Index
from proxy.audit.wanted import Omission

_PYPI = "pypi"
_DIRECT = {"git": Omission.GIT, "path": Omission.PATH, "url": Omission.URL}
_LISTS = (
    ("[tool.pdm.dev-dependencies]", ("pdm", "dev-dependencies")),
    ("dev-dependencies in [tool.rye]", ("rye", "dev-dependencies")),
    ("[tool.pixi.pypi-dependencies]", ("pixi", "pypi-dependencies")),
    ("requires in [tool.flit.metadata]", ("flit", "metadata", "requires")),
)


@dataclass(frozen=True, slots=True)
class ToolBinding:
    """The origin of a dependency as another program's table has it: of an `index`, where it has one, else at the address `target`."""

    omission: Omission
    target: str = ""
    index: Index | None = None
    markers: str = ""


@dataclass(frozen=True, slots=True)
class _Filter:
    """A source of PDM, and the patterns of the names that it alone is asked about, or not."""

    index: Index
    included: tuple[str, ...]
    excluded: tuple[str, ...]


class OtherTools:
    """The tables below `[tool]`. `indexes` are those that they name."""

    def __init__(self, tool: Mapping[str, Any]) -> None:
        self._tool = tool
        self._poetry = {each.name.lower(): each for each in self._poetry_sources()}
        self._filters = list(self._pdm_sources())
        self.indexes = [*self._poetry.values(), *(each.index for each in self._filters)]
        self._bound: dict[str, list[ToolBinding]] = {}
        for _, dependencies in self._poetry_tables():
            for name, value in dependencies.items():
                found = [each for entry in (value if isinstance(value, list) else [value]) for each in self._poetry_bindings(entry)]
                self._bound.setdefault(canonicalize_name(name), []).extend(found)

    def bindings(self, name: str) -> list[ToolBinding]:
        """Return the origins of the dependency `name`, none where it has no other than all have."""
        bound = self._bound.get(name)
        if bound:
            return bound
        included = [each for each in self._filters if _matches(name, each.included)]
        if included:
            return [ToolBinding(Omission.INDEX, index=each.index) for each in included]
        if any(_matches(name, each.excluded) for each in self._filters):
            asked = [each.index for each in self._filters if not _matches(name, each.excluded)]
            asked += [] if any(each.index.name == _PYPI for each in self._filters) else [_pypi()]
            return [ToolBinding(Omission.INDEX, index=each) for each in asked]
        return []

    def patterns(self) -> Iterator[tuple[str, Index]]:
        """Return the patterns of names that come from one index alone, whoever requires them."""
        for each in self._filters:
            yield from ((pattern, each.index) for pattern in each.included)

    def unread(self, declared: set[str]) -> list[str]:
        """Return the tables with dependencies that are not read; what is `declared` in the project's own tables is known from there."""
        found = [
            title
            for title, dependencies in self._poetry_tables()
            if not {canonicalize_name(each) for each in dependencies if each != "python"} <= declared
        ]
        found += [title for title, keys in _LISTS if _under(self._tool, *keys)]
        for name, environment in _table(self._tool, "hatch", "envs").items():
            if isinstance(environment, dict) and (environment.get("dependencies") or environment.get("extra-dependencies")):
                found.append(f"[tool.hatch.envs.{name}]")
        return found

    def _poetry_tables(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield "[tool.poetry.dependencies]", _table(self._tool, "poetry", "dependencies")
        yield "[tool.poetry.dev-dependencies]", _table(self._tool, "poetry", "dev-dependencies")
        for name, group in _table(self._tool, "poetry", "group").items():
            yield f"[tool.poetry.group.{name}.dependencies]", _table(group, "dependencies")

    def _poetry_sources(self) -> Iterator[Index]:
        for each in _tables(self._tool, "poetry", "source"):
            name, url, priority = (_text(each, key) for key in ("name", "url", "priority"))
            if url or name.lower() == _PYPI:
                yield Index(url, name, explicit=priority == "explicit", default=priority in {"", "primary", "default"})

    def _poetry_bindings(self, entry: object) -> Iterator[ToolBinding]:
        if not isinstance(entry, dict):
            return
        markers = _text(entry, "markers")
        direct = next((key for key in _DIRECT if key in entry), None)
        if direct is not None:
            yield ToolBinding(_DIRECT[direct], _text(entry, direct), markers=markers)
        elif source := _text(entry, "source"):
            unknown = _pypi() if source.lower() == _PYPI else Index("", source, explicit=True)
            yield ToolBinding(Omission.INDEX, index=self._poetry.get(source.lower(), unknown), markers=markers)

    def _pdm_sources(self) -> Iterator[_Filter]:
        for each in _tables(self._tool, "pdm", "source"):
            name, url = _text(each, "name"), _text(each, "url")
            if not url and name != _PYPI:
                continue
            included, excluded = (tuple(_patterns(each.get(key))) for key in ("include_packages", "exclude_packages"))
            # The source of this name takes the place of PyPI.
            yield _Filter(Index(url, name, default=name == _PYPI), included, excluded)


def _pypi() -> Index:
    """Return the index that is asked where none is named."""
    return Index("", "PyPI", default=True)


def _patterns(value: object) -> Iterator[str]:
    for each in value if isinstance(value, list) else []:
        if isinstance(each, str):
            yield each.lower().replace("_", "-").replace(".", "-")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)


def _under(parent: object, *keys: str) -> Any:
    for key in keys:
        parent = parent.get(key) if isinstance(parent, dict) else None
    return parent


def _table(parent: object, *keys: str) -> Mapping[str, Any]:
    found = _under(parent, *keys)
    return found if isinstance(found, dict) else {}


def _tables(parent: object, *keys: str) -> list[Mapping[str, Any]]:
    found = _under(parent, *keys)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""
