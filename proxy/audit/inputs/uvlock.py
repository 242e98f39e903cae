"""A uv.lock: its packages with their files, and where each of them is needed.

The format is uv's own: `[[package]]` tables with `name`, `version`, `source`, `dependencies` with markers, `sdist` and `wheels`.
What comes from no registry (the project itself, Git, paths, URLs) is no matter of a mirror.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker

from proxy.audit.inputs.toml import lines_of_tables, read_toml
from proxy.audit.platforms import environments, holds, pythons_of
from proxy.audit.wanted import LockedFile, Order, Pin, Place, Source, Unreadable, Want
from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

Package: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[str, str]


def read_uv_lock(path: Path, upstream: str) -> Order:
    """Gives what a uv.lock names; raises Unreadable. `upstream` chooses among several registries."""
    content, text = read_toml(path)
    packages = content.get("package")
    if not isinstance(packages, list) or not isinstance(content.get("version"), int):
        raise Unreadable(path, "it is no uv.lock: it has no version and no packages")
    requires_python = str(content.get("requires-python", ""))
    try:
        return _order(path, packages, lines_of_tables(text, "package"), requires_python, upstream)
    except (KeyError, TypeError, AttributeError, InvalidProjectName) as error:
        raise Unreadable(path, f"it is no uv.lock that is understood ({error}); make it anew with a current uv") from error


def _order(path: Path, packages: Sequence[Package], lines: Sequence[int], requires_python: str, upstream: str) -> Order:
    ours = _registry(packages, upstream)
    needed = _needed(packages, requires_python)
    wants: dict[str, Want] = {}
    elsewhere = 0
    for number, package in enumerate(packages):
        registry = package["source"].get("registry")
        if registry is None:
            continue
        if ours is not None and registry != ours:
            elsewhere += 1
            continue
        name = normalised_name(package["name"])
        place = Place(str(path), lines[number] if number < len(lines) else 1)
        pin = Pin(str(package["version"]), place, tuple(_files(package)), needed=needed.get((name, str(package["version"])), frozenset()))
        known = wants.get(name)
        wants[name] = Want(name, package["name"], (*known.pins, pin) if known is not None else (pin,), place)
    return Order(tuple(wants.values()), (Source("uv.lock", str(path), elsewhere),), requires_python, matrix=True)


def _registry(packages: Sequence[Package], upstream: str) -> str | None:
    """Gives the registry that is the mirror, where the lock has several; None where all packages come from one."""
    registries = {str(each["source"]["registry"]) for each in packages if "registry" in each["source"]}
    if len(registries) <= 1:
        return None
    return next((each for each in registries if _plain(each) == _plain(upstream)), None)


def _plain(url: str) -> str:
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port}{parts.path.rstrip('/')}"


def _files(package: Package) -> Iterator[LockedFile]:
    for file in (*package.get("wheels", ()), *((package["sdist"],) if "sdist" in package else ())):
        address = file.get("url") or file.get("path") or file.get("filename") or ""
        filename = unquote(urlsplit(str(address)).path.rpartition("/")[2])
        algorithm, _, digest = str(file.get("hash", "")).partition(":")
        size = file.get("size")
        yield LockedFile(filename, {algorithm: digest} if digest else {}, size if isinstance(size, int) else None)


def _needed(packages: Sequence[Package], requires_python: str) -> dict[Key, frozenset[tuple[str, str]]]:
    """Gives for each package the pairs of platform and Python that need it: what can be reached from the project by markers that hold.

    Every extra and every group of the project counts.
    """
    by_name: dict[str, list[Package]] = {}
    for package in packages:
        by_name.setdefault(normalised_name(package["name"]), []).append(package)
    roots = [package for package in packages if "registry" not in package["source"]]
    markers: dict[str, Marker | None] = {}
    found: dict[Key, set[tuple[str, str]]] = {}
    for pair, environment in environments(pythons_of(requires_python)):
        for key in _reached(roots or packages, by_name, environment, markers):
            found.setdefault(key, set()).add(pair)
    return {key: frozenset(pairs) for key, pairs in found.items()}


def _reached(
    roots: Sequence[Package], by_name: Mapping[str, list[Package]], environment: Mapping[str, str], markers: dict[str, Marker | None]
) -> set[Key]:
    reached: set[Key] = set()
    seen: set[tuple[Key, str]] = set()
    waiting: list[tuple[Package, str]] = [(root, part) for root in roots for part in ("", *_parts(root))]
    while waiting:
        package, part = waiting.pop()
        key = (normalised_name(package["name"]), str(package.get("version", "")))
        if (key, part) in seen:
            continue
        seen.add((key, part))
        reached.add(key)
        for dependency in _dependencies(package, part):
            if not holds(_marker(dependency.get("marker"), markers), environment):
                continue
            for target in by_name.get(normalised_name(dependency["name"]), ()):
                if "version" not in dependency or str(dependency["version"]) == str(target.get("version")):
                    waiting += [(target, each) for each in ("", *dependency.get("extra", ()))]
    return reached


def _parts(package: Package) -> Iterator[str]:
    yield from package.get("optional-dependencies", {})
    yield from (f"group {name}" for name in package.get("dev-dependencies", {}))


def _dependencies(package: Package, part: str) -> Sequence[Mapping[str, Any]]:
    if not part:
        found = package.get("dependencies", ())
    elif part.startswith("group "):
        found = package["dev-dependencies"].get(part.removeprefix("group "), ())
    else:
        found = package.get("optional-dependencies", {}).get(part, ())
    listed: Sequence[Mapping[str, Any]] = found
    return listed


def _marker(text: str | None, known: dict[str, Marker | None]) -> Marker | None:
    if text is None:
        return None
    if text not in known:
        try:
            known[text] = Marker(text)
        except InvalidMarker:
            known[text] = None
    return known[text]
