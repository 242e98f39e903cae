"""Fixtures of the differential: one proxy before one stand-in for the pages of a module."""

from collections.abc import Iterator

import pytest

from tests.differential.background import InBackground


@pytest.fixture(scope="module")
def run() -> Iterator[InBackground]:
    """A running differential, in a thread of its own."""
    with InBackground() as running:
        yield running
