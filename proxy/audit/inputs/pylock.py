"""A pylock.toml (PyPA specifications, pylock.toml), read by `packaging`."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock, PylockUnsupportedVersionError, PylockValidationError

from proxy.audit.inputs.toml import lines_of_tables, read_toml
from proxy.audit.platforms import environments, holds, pythons_of
from proxy.audit.wanted import LockedFile, Order, Pin, Place, Source, Unreadable, Want


def read_pylock(path: Path, upstream: str) -> Order:
    """Gives what a pylock.toml names; raises Unreadable. `upstream` chooses among several indexes."""
    content, text = read_toml(path)
    try:
        lock = Pylock.from_dict(content)
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise Unreadable(path, f"it is no pylock.toml that is understood ({error})") from error
    requires_python = str(lock.requires_python or "")
    lines = lines_of_tables(text, "packages")
    indexes = {_plain(each.index) for each in lock.packages if each.index}
    ours = _plain(upstream) if len(indexes) > 1 and _plain(upstream) in indexes else None
    wants: dict[str, Want] = {}
    elsewhere = 0
    for number, package in enumerate(lock.packages):
        if package.version is None or not (package.wheels or package.sdist):
            continue
        if ours is not None and package.index and _plain(package.index) != ours:
            elsewhere += 1
            continue
        place = Place(str(path), lines[number] if number < len(lines) else 1)
        pin = Pin(str(package.version), place, tuple(_files(package)), needed=_needed(package, requires_python))
        known = wants.get(package.name)
        wants[package.name] = Want(package.name, package.name, (*known.pins, pin) if known is not None else (pin,), place)
    return Order(tuple(wants.values()), (Source("pylock.toml", str(path), elsewhere),), requires_python, matrix=True)


def _plain(url: str) -> str:
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}{parts.path.rstrip('/')}"


def _files(package: Package) -> Iterator[LockedFile]:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ()), *((package.sdist,) if package.sdist else ())]
    for file in files:
        filename = file.name or unquote(urlsplit(file.url or file.path or "").path.rpartition("/")[2])
        yield LockedFile(filename, dict(file.hashes), file.size)


def _needed(package: Package, requires_python: str) -> frozenset[tuple[str, str]] | None:
    if package.marker is None:
        return None
    marker = package.marker
    # The marker may ask for extras and groups of the lock; what asks for one that is not chosen here counts as needed.
    return frozenset(pair for pair, environment in environments(pythons_of(requires_python)) if holds(marker, environment))
