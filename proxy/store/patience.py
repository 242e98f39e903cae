"""How long one page waits for the store, over all that it asks of it: a store that answers just in time each time is slow as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass


@dataclass(slots=True)
class Patience:
    """The seconds that are left."""

    seconds: float


_left: ContextVar[Patience | None] = ContextVar("left", default=None)


_WITHIN = 0.5


@contextmanager
def patience_of_a_page() -> Iterator[None]:
    """Let all that the block asks of the store, itself and in tasks that it begins, be waited for half a second in all."""
    before = _left.set(Patience(_WITHIN))
    try:
        yield
    finally:
        _left.reset(before)


def patience_left() -> Patience | None:
    """Return what is left for the work of which this is a part, None if nobody waits for it."""
    return _left.get()


def patience_anew() -> None:
    """Let all that this task asks of the store from now on be waited for half a second in all."""
    _left.set(Patience(_WITHIN))


def context_of_nobody() -> Context:
    """Return a copy of the context, for work that nobody waits for."""
    context = copy_context()
    context.run(_left.set, None)
    return context
