"""Histories in which a promise was broken once: the seed, the mirror's behaviours (None: drawn as well), and what it shows."""

from collections.abc import Sequence

FOUND: tuple[tuple[int, Sequence[str] | None, str], ...] = ((4, ("limit",), "a burst of confirmations recreates the overload"),)
