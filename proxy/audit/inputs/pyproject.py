"""A pyproject.toml: the dependencies of its project, of its extras and groups (PyPA specifications; PEP 621, PEP 735).

They are followed to their ends by `closure`, since nobody has chosen releases yet.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from proxy.audit.inputs.toml import read_toml
from proxy.audit.wanted import Order, Place, Source, Unreadable, Want
from proxy.core.page import normalised_name


def read_pyproject(path: Path) -> Order:
    """Gives what a pyproject.toml depends on; raises Unreadable."""
    content, text = read_toml(path)
    lines = text.splitlines()
    wants: dict[str, Want] = {}
    closure = []
    own = normalised_name(str(content.get("project", {}).get("name", "unnamed")))
    for written in _dependencies(path, content):
        try:
            requirement = Requirement(written)
        except InvalidRequirement as error:
            raise Unreadable(path, f"{written!r} is no requirement ({' '.join(str(error).split())[:120]})") from error
        name = normalised_name(requirement.name)
        if requirement.url is not None or name == own:
            continue
        line = next((number for number, each in enumerate(lines, 1) if written in each), 1)
        wants.setdefault(name, Want(name, requirement.name, (), Place(str(path), line)))
        closure.append(written)
    if not wants:
        raise Unreadable(path, "it has no dependencies: none in [project], its extras or its groups")
    requires_python = str(content.get("project", {}).get("requires-python", ""))
    return Order(tuple(wants.values()), (Source("pyproject", str(path)),), requires_python, closure=tuple(closure))


def _dependencies(path: Path, content: Mapping[str, Any]) -> Iterator[str]:
    project = content.get("project", {})
    groups = content.get("dependency-groups", {})
    lists = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values(), *groups.values()]
    for listed in lists:
        if not isinstance(listed, list):
            raise Unreadable(path, "its dependencies are no list")
        # What is no text includes another group, which is read by itself.
        yield from (each for each in listed if isinstance(each, str))
