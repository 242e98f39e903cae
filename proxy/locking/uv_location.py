"""The place that uv works at: its working directory, its project, and a script.

As uv finds them (0.9 to 0.13): it changes to UV_WORKING_DIR, else UV_WORKING_DIRECTORY, and takes all other paths from there;
`--project` comes before UV_PROJECT. Both may name a pyproject.toml as well, and a tilde is a name like any other.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy.locking.project import NoProject

_DIRECTORY = ("UV_WORKING_DIR", "UV_WORKING_DIRECTORY")
_PROJECT = "UV_PROJECT"


@dataclass(frozen=True, slots=True)
class UvLocation:
    """The `directory` that uv's relative paths start from, the `folder` of the project, and the `script` if one is locked.

    `environ` is the environment without the variables that lead there: whoever uses it is at the `directory` already.
    """

    directory: Path
    folder: Path
    script: Path | None
    environ: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path | None, script: Path | None, environ: Mapping[str, str]) -> Self:
        """Find the place from what was typed and from the environment; raise NoProject."""
        named = next((variable for variable in _DIRECTORY if environ.get(variable)), None)
        directory = _absolute(_current(), environ[named]) if named else _current()
        if named and not directory.is_dir():
            raise NoProject(directory, f"there is no such folder; correct {named}")
        project = _absolute(directory, folder or environ.get(_PROJECT) or ".")
        if project.is_file():
            project = project.parent
        found = None if script is None else _absolute(directory, script)
        if found is not None and not found.is_file():
            raise NoProject(found, "there is no such script; give one with --script FILE")
        rest = {name: value for name, value in environ.items() if name not in {*_DIRECTORY, _PROJECT}}
        if rest.get("UV_CONFIG_FILE"):
            rest["UV_CONFIG_FILE"] = str(_absolute(directory, rest["UV_CONFIG_FILE"]))
        return cls(directory, project, found, rest)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that tell uv all this without a doubt."""
        script = () if self.script is None else ("--script", str(self.script))
        return ("--project", str(self.folder), *script)


def _absolute(start: Path, path: Path | str) -> Path:
    # As uv does, dots are resolved by the words and not by the links that they lead through.
    return Path(os.path.normpath(start / path))


def _current() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise NoProject(Path(), "the current folder was removed; change to another one") from None
