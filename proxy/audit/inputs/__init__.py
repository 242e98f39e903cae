"""Reading what is to be looked at: names, locks of several programs, requirements or a pyproject.toml.

Rules for this folder: files are read, nothing is asked of a mirror, and what cannot be used is told as `Unreadable`, on one line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from proxy.audit.inputs.locks import is_named_as_lock, read_lock
from proxy.audit.inputs.origins import KnownMirror
from proxy.audit.inputs.pyproject import read_pyproject
from proxy.audit.inputs.requirements import read_requirements, wants_of_words
from proxy.audit.wanted import Order, Unreadable, Want

__all__ = ["KnownMirror", "read_order"]


def read_order(
    words: Sequence[str], locks: Iterable[Path], requirements: Iterable[Path], mirror: KnownMirror | str, *, closure: bool = False
) -> Order:
    """Return all that is asked for: requirements on the command line, locks of any kind, and requirements files.

    With `closure` what requirements lead to is to be followed; that of a pyproject.toml always is.
    `mirror`, or the address of its simple API, tells which packages of a lock are looked at: those that come from there.
    Raises Unreadable, InvalidProjectName.
    """
    known = KnownMirror(mirror) if isinstance(mirror, str) else mirror
    orders = [wants_of_words(words)] if words else []
    orders += [_used(path, _read(path, known)) for path in locks]
    orders += [_used(path, _read(path, known) if is_named_as_lock(path) else read_requirements(path, known.url)) for path in requirements]
    if not any(order.wants for order in orders):
        # Files without a want were refused before.
        raise Unreadable(Path("the command line"), "nothing of it comes from the mirror: all that it names comes from a URL or a path")
    return _joined([order if closure or order.sources[0].kind == "pyproject" else replace(order, closure=()) for order in orders])


def _read(path: Path, mirror: KnownMirror) -> Order:
    if path.name == "pyproject.toml":
        return read_pyproject(path, mirror.url)
    # Some programs call pinned requirements requirements.lock.
    if path.name.endswith((".txt", ".in")) or path.name.startswith("requirements"):
        return read_requirements(path, mirror.url)
    return read_lock(path, mirror)


def _used(path: Path, order: Order) -> Order:
    """Return `order`; raises Unreadable where nothing is left to look at."""
    if order.wants:
        return order
    elsewhere = sum(each.elsewhere for each in order.sources)
    if elsewhere:
        raise Unreadable(
            path,
            f"nothing of it is to be looked at, since all of its {elsewhere} packages come from elsewhere than this mirror; "
            "check --upstream and --mirror, or give --lock-index URL with an index whose packages the mirror should have",
        )
    raise Unreadable(path, "it names no package, so that nothing is to be looked at; check that it is the right file")


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
        tuple(each for order in orders for each in order.constraints),
        tuple(each for order in orders for each in order.overrides),
        frozenset(each for order in orders for each in order.withheld),
        any(order.other_indexes for order in orders),
        _environments([order for order in orders if order.closure]),
    )


def _environments(orders: Sequence[Order]) -> tuple[str, ...]:
    """Return the environments of all orders whose requirements are followed: all there are as soon as one is for all."""
    return tuple(each for order in orders for each in order.environments) if all(order.environments for order in orders) else ()


def _united(one: Want, other: Want) -> Want:
    """Return both wants as one: where a lock pins a project, its releases are what matters, whoever else wants it."""
    named, bounds = one.named or other.named, tuple(dict.fromkeys((*one.bounds, *other.bounds)))
    if bool(one.pins) != bool(other.pins):
        return replace(one, pins=one.pins or other.pins, named=named, bounds=bounds)
    pins = {(pin.version, pin.place): pin for pin in (*one.pins, *other.pins)}
    return replace(one, pins=tuple(pins.values()), named=named, bounds=bounds)
