"""Pages of known and of made-up shapes, locked by real uv: each version in a fork of its own, each file by its own address."""

import asyncio
from pathlib import Path

import pytest

from tests.differential.background import InBackground
from tests.differential.commands import of_made_up_pages
from tests.differential.more_shapes import MORE_PAGES
from tests.differential.observations import describe
from tests.differential.shapes import PAGES
from tests.differential.templates import PageTemplate
from tests.differential.uv_runs import UvRuns, compare_page

MADE_UP, SEED = 60, 1
NOT_READ_BY_UV = {"a line break within an address"}
"""Shapes with an address that uv leaves out at the mirror itself, and reads from the proxy, which writes it properly; pip reads both."""


@pytest.fixture(scope="module")
def uv_runs(tmp_path_factory: pytest.TempPathFactory) -> UvRuns:
    """Runs of the real uv that share a cache."""
    return UvRuns(tmp_path_factory.mktemp("uv-runs"))


@pytest.mark.parametrize("page", [page for page in PAGES + MORE_PAGES if page.title not in NOT_READ_BY_UV], ids=lambda page: page.title)
def test_uv_locks_through_the_proxy_what_it_locks_at_the_mirror(run: InBackground, uv_runs: UvRuns, page: PageTemplate) -> None:
    differences = run.wait(compare_page(uv_runs, run.started, run.listed(page)))
    assert not differences, "\n" + describe(differences)


def test_uv_of_made_up_pages_what_it_locks_at_the_mirror(tmp_path: Path) -> None:
    pages, differences = asyncio.run(of_made_up_pages(MADE_UP, SEED, (), UvRuns(tmp_path)))
    assert pages == MADE_UP
    assert not differences, "\n" + describe(differences)
