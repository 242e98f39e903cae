"""Reading what is to be looked at: names, a uv.lock, a pylock.toml, requirements or a pyproject.toml.

Rules for this folder: files are read, nothing is asked of a mirror, and what cannot be used is told as `Unreadable`, on one line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from proxy.audit.inputs.pylock import read_pylock
from proxy.audit.inputs.pyproject import read_pyproject
from proxy.audit.inputs.requirements import read_requirements, wants_of_words
from proxy.audit.inputs.uvlock import read_uv_lock
from proxy.audit.wanted import Order, Unreadable, Want

__all__ = ["read_order"]


def read_order(words: Sequence[str], locks: Iterable[Path], requirements: Iterable[Path], upstream: str, *, closure: bool = False) -> Order:
    """Gives all that is asked for: requirements on the command line, locks of any kind, and requirements files.

    With `closure` what requirements lead to is to be followed; that of a pyproject.toml always is.
    `upstream` is the mirror's simple API: of a lock with several registries, only what comes from there is looked at.
    Raises Unreadable, InvalidProjectName.
    """
    orders = [wants_of_words(words)] if words else []
    orders += [_lock(path, upstream) for path in locks]
    orders += [read_requirements(path) for path in requirements]
    return _joined([order if closure or order.sources[0].kind == "pyproject" else replace(order, closure=()) for order in orders])


def _lock(path: Path, upstream: str) -> Order:
    name = path.name
    if name.startswith("pylock.") and name.endswith(".toml"):
        return read_pylock(path, upstream)
    if name.endswith(".lock"):
        return read_uv_lock(path, upstream)
    if name == "pyproject.toml":
        return read_pyproject(path)
    if name.endswith((".txt", ".in")):
        return read_requirements(path)
    raise Unreadable(path, "this is no lock that is known; give a uv.lock, pylock.toml, requirements.txt or pyproject.toml")


def _joined(orders: Sequence[Order]) -> Order:
    wants: dict[str, Want] = {}
    for order in orders:
        for want in order.wants:
            known = wants.get(want.project)
            wants[want.project] = want if known is None else _united(known, want)
    return Order(
        tuple(wants[name] for name in sorted(wants)),
        tuple(source for order in orders for source in order.sources),
        next((order.requires_python for order in orders if order.requires_python), ""),
        any(order.matrix for order in orders),
        tuple(each for order in orders for each in order.closure),
    )


def _united(one: Want, other: Want) -> Want:
    """Where a lock pins a project, its releases are what matters, whoever else wants it."""
    if bool(one.pins) != bool(other.pins):
        return replace(one, pins=one.pins or other.pins, named=one.named or other.named)
    pins = {(pin.version, pin.place): pin for pin in (*one.pins, *other.pins)}
    return replace(one, pins=tuple(pins.values()), named=one.named or other.named)
