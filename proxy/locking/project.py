"""The project that is locked: where its workspace begins, and the files in which uv's settings for it stand.

As uv finds them (its documentation: projects, workspaces, configuration files): the project is the nearest pyproject.toml, and of those
above it the nearest one alone may be that of its workspace. Settings are in the workspace's uv.toml, else in `[tool.uv]` of its
pyproject.toml, else in the nearest such file above; after these in the user's and the system's uv.toml.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from proxy.core.errors import MirrormendError

_SCRIPT_METADATA = re.compile(r"(?m)^# /// script[ \t]*\r?\n(?P<content>(?:#(?:| .*)\r?\n)+)# ///[ \t]*\r?$")

Tables = list[tuple[str, Mapping[str, Any]]]


class NoProject(MirrormendError):
    """There is nothing to lock in `folder`, because of `why`."""

    def __init__(self, folder: Path, why: str) -> None:
        self.folder = folder
        self.why = why

    def __str__(self) -> str:
        return f"{self.folder}: {self.why}"


@dataclass(frozen=True, slots=True)
class Project:
    """A project of uv, or a script: `folder` is where the project was looked for, `root` where its lock is; a script has its own."""

    folder: Path
    root: Path
    script: Path | None = None

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Find the project that `folder` is in; raise NoProject."""
        folder = folder.absolute()
        if not folder.is_dir():
            raise NoProject(folder, "there is no such folder; give one with --project DIR")
        nearest = next(_projects_around(folder), None)
        if nearest is None:
            raise NoProject(folder, "neither this folder nor one above it has a pyproject.toml; give the project's with --project DIR")
        if _workspace(nearest) is not None:
            return cls(folder, nearest)
        above = next(_projects_around(nearest.parent), None) if nearest != nearest.parent else None
        return cls(folder, nearest if above is None or not _is_workspace_of(above, nearest) else above)

    @classmethod
    def of_script(cls, script: Path, folder: Path) -> Self:
        """Find what uv takes besides the settings in the `script`: those of the project that `folder` is in, if any; raise NoProject."""
        if folder.is_dir() and not any(_projects_around(folder)):
            return cls(folder, folder, script)
        around = cls.at(folder)
        return cls(around.folder, around.root, script)

    @property
    def lock(self) -> Path:
        """Where uv writes the lock."""
        return self.root / "uv.lock" if self.script is None else self.script.with_name(f"{self.script.name}.lock")

    @property
    def other_locks(self) -> tuple[Path, ...]:
        """The locks that uv writes if it takes another folder for the project's root than this says."""
        folders = {self.root, *_projects_around(self.folder)}
        return tuple(sorted({each / "uv.lock" for each in folders} - {self.lock}))

    def projects(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield `[tool.uv]` of every project that is locked together: the root, its members, and what they take from folders.

        What cannot be read is passed over: uv has words of its own for it.
        """
        left, seen = [self.root, *_members(self.root)], set[Path]()
        while left:
            folder = left.pop(0)
            path = folder / "pyproject.toml"
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            with suppress(NoProject, OSError):
                table = _tool_uv(folder)
                yield os.path.relpath(path, self.root), table
                left += [folder / each for each in _folders_of(table.get("sources"))]

    def settings(self, environ: Mapping[str, str]) -> Tables:
        """Return uv's settings by the name of their file, the strongest first; raise NoProject where one cannot be read."""
        # Whatever else is named, a script's own settings come first.
        own = [] if self.script is None else [(str(self.script), _tool_uv_of_script(self.script))]
        return [*own, *self._settings_around(environ)]

    def _settings_around(self, environ: Mapping[str, str]) -> Tables:
        named = environ.get("UV_CONFIG_FILE")
        if named:
            return [(named, _read(Path(named)))]
        if is_true(environ.get("UV_NO_CONFIG", "")):
            return []
        return [*self._nearest_settings(), *(table for path in _shared(environ) for table in _table(path))]

    def _nearest_settings(self) -> Tables:
        for folder in (self.root, *self.root.parents):
            own = list(_table(folder / "uv.toml"))
            if own:
                return own
            path = folder / "pyproject.toml"
            # A file above the project is nobody's business unless it can be read.
            with suppress(*([] if folder == self.root else [NoProject])):
                table = _table_of_uv(_read(path)) if path.is_file() else None
                if table is not None:
                    return [(path.name if folder == self.root else str(path), table)]
        return []


def _projects_around(folder: Path) -> Iterator[Path]:
    return (each for each in (folder, *folder.parents) if (each / "pyproject.toml").is_file())


def _workspace(root: Path) -> Mapping[str, Any] | None:
    workspace = _tool_uv(root).get("workspace")
    return workspace if isinstance(workspace, dict) else None


def _is_workspace_of(root: Path, project: Path) -> bool:
    workspace = _workspace(root)
    return workspace is not None and project in _matching(root, workspace.get("members")) - _matching(root, workspace.get("exclude"))


def _matching(root: Path, patterns: object) -> set[Path]:
    words = [each.rstrip("/") for each in patterns if isinstance(each, str) and each.strip("./")] if isinstance(patterns, list) else []
    found: set[Path] = set()
    for each in words:
        # uv has words of its own for a pattern that is none.
        with suppress(ValueError, NotImplementedError, OSError):
            found.update(root.glob(each))
    return found


def is_true(value: str) -> bool:
    """Return whether uv takes the value of a variable for a yes."""
    return value.lower() in {"1", "true", "yes", "on", "y", "t"}


def _tool_uv_of_script(script: Path) -> Mapping[str, Any]:
    try:
        found = _SCRIPT_METADATA.search(script.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise NoProject(script, f"it cannot be read ({error.strerror})") from error
    if found is None:
        # uv has words of its own for it.
        return {}
    lines = (line.removeprefix("#").removeprefix(" ") for line in found["content"].replace("\r\n", "\n").split("\n"))
    try:
        return _table_of_uv(tomllib.loads("\n".join(lines))) or {}
    except tomllib.TOMLDecodeError as error:
        raise NoProject(script, f"its metadata is no TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise NoProject(script, "its metadata has a number or a nesting that is beyond reason") from error


def _members(root: Path) -> list[Path]:
    workspace = _workspace(root)
    if workspace is None:
        return []
    members = _matching(root, workspace.get("members")) - _matching(root, workspace.get("exclude"))
    return sorted(each for each in members if (each / "pyproject.toml").is_file())


def _folders_of(sources: object) -> Iterator[str]:
    for source in sources.values() if isinstance(sources, dict) else ():
        for each in source if isinstance(source, list) else [source]:
            if isinstance(each, dict) and isinstance(each.get("path"), str):
                yield each["path"]


def _tool_uv(folder: Path) -> Mapping[str, Any]:
    path = folder / "pyproject.toml"
    return (_table_of_uv(_read(path)) if path.is_file() else None) or {}


def _table_of_uv(table: object) -> Mapping[str, Any] | None:
    for key in ("tool", "uv"):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _table(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.is_file():
        yield str(path), _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        # One byte order mark is passed over, as uv does.
        return tomllib.loads(path.read_text(encoding="utf-8").removeprefix("\ufeff"))
    except (OSError, UnicodeDecodeError) as error:
        raise NoProject(path, f"it cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8'})") from error
    except tomllib.TOMLDecodeError as error:
        raise NoProject(path, f"it is no TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise NoProject(path, "it has a number or a nesting that is beyond reason") from error


def _shared(environ: Mapping[str, str]) -> Iterator[Path]:
    if sys.platform == "win32":
        folders = [environ.get("APPDATA", ""), environ.get("PROGRAMDATA", "")]
    else:
        home = environ.get("HOME", "")
        folders = [environ.get("XDG_CONFIG_HOME", "") or (f"{home}/.config" if home else "")]
        folders += [*(environ.get("XDG_CONFIG_DIRS", "") or "/etc/xdg").split(":"), "/etc"]
    yield from (Path(folder) / "uv" / "uv.toml" for folder in folders if folder)
