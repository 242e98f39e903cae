"""Locks of all programs: which one wrote a lock is told by its name, else by what stands in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from proxy.audit.inputs.origins import KnownMirror
from proxy.audit.inputs.pdm import read_pdm_lock
from proxy.audit.inputs.pipfile import read_pipfile_lock
from proxy.audit.inputs.poetry import read_poetry_lock
from proxy.audit.inputs.pylock import read_pylock
from proxy.audit.inputs.toml import parsed_json, parsed_toml, read_text
from proxy.audit.inputs.uvlock import read_uv_lock
from proxy.audit.wanted import Order, Unreadable

_Read: TypeAlias = Callable[[Path, Mapping[str, Any], str, KnownMirror], Order]

_BY_NAME: Mapping[str, _Read] = {"uv.lock": read_uv_lock, "poetry.lock": read_poetry_lock, "pdm.lock": read_pdm_lock}
_KNOWN = "a uv.lock, pylock.toml, poetry.lock, pdm.lock, Pipfile.lock, requirements.txt or pyproject.toml"
_OTHERS = {
    "Pipfile": "it is what Pipenv locks; give the Pipfile.lock",
    "Cargo.lock": "it is a lock of Rust packages",
    "package-lock.json": "it is a lock of JavaScript packages",
    "pixi.lock": "it is a lock of conda packages, which come from no Python package index",
    "conda-lock.yml": "it is a lock of conda packages, which come from no Python package index",
    "environment.yml": "it is an environment of conda packages, which come from no Python package index",
    "setup.py": "dependencies of a setup.py can be told by running it alone; lock them, and give the lock",
    "setup.cfg": "dependencies of a setup.cfg are not read; lock them, and give the lock",
    "uv.toml": "it holds settings of uv; give the uv.lock",
    "poetry.toml": "it holds settings of Poetry; give the poetry.lock",
    "pdm.toml": "it holds settings of PDM; give the pdm.lock",
}
_SUFFIXES = (".lock", ".toml")


def is_named_as_lock(path: Path) -> bool:
    """Return whether a file has the name that a program gives to its lock or its project, so that it holds no requirements."""
    return path.name in {*_BY_NAME, "Pipfile.lock", "pyproject.toml"} or _is_pylock(path)


def read_lock(path: Path, mirror: KnownMirror) -> Order:
    """Return what a lock names; raises Unreadable."""
    if path.name in _OTHERS:
        raise Unreadable(path, _OTHERS[path.name])
    why = _why_no_file(path)
    if why:
        raise Unreadable(path, why)
    if not path.name.endswith(_SUFFIXES):
        raise Unreadable(path, f"this is no lock that is known; give {_KNOWN}")
    text = read_text(path)
    if not text.strip():
        raise Unreadable(path, "it is empty; check that it is the right file")
    if path.name == "Pipfile.lock" or text.lstrip().startswith("{"):
        content = parsed_json(path, text)
        if not isinstance(content, dict):
            raise Unreadable(path, "it is no Pipfile.lock; lock anew with Pipenv")
        return read_pipfile_lock(path, content, text, mirror)
    content = parsed_toml(path, text)
    read = _BY_NAME.get(path.name) or _by_content(content)
    if _is_pylock(path):
        read = read_pylock
    if read is None:
        raise Unreadable(path, f"this is no lock that is known; give {_KNOWN}")
    return read(path, content, text, mirror)


def _why_no_file(path: Path) -> str:
    try:
        if path.is_dir():
            return "it is a folder; give a file in it, such as the uv.lock or the pyproject.toml"
        if path.exists() and not path.is_file():
            return "it is no regular file; save it as a file with the name that the lock's program gives it"
    except (OSError, ValueError):
        # No file has this name.
        return ""
    return "standard input is not read; save the lock as a file" if str(path) == "-" else ""


def _is_pylock(path: Path) -> bool:
    return path.name.startswith("pylock.") and path.name.endswith(".toml")


def _by_content(content: Mapping[str, Any]) -> _Read | None:
    metadata = content.get("metadata")
    if isinstance(metadata, Mapping):
        if "lock_version" in metadata:
            return read_pdm_lock
        if "lock-version" in metadata or "content-hash" in metadata:
            return read_poetry_lock
    if "lock-version" in content:
        return read_pylock
    return read_uv_lock if "version" in content and "package" in content else None
