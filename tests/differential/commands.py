"""The work of the command `python -m tests.differential`: a folder, a server, or made-up pages."""

import asyncio
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import NonInteractiveExampleWarning

from tests.differential.folders import page_files, rounds, stated_content
from tests.differential.harness import ContentOf, Differential, differential, proxied_server
from tests.differential.observations import Difference
from tests.differential.readers import READERS
from tests.differential.scenarios import FORMS, Scenario, compare_scenario
from tests.differential.standin import SourcePage
from tests.differential.strategies import page_templates
from tests.differential.templates import PageTemplate
from tests.differential.uv_runs import COMMANDS, UvRuns, Wish, compare_page, compare_runs

ALL_RUNS: tuple[tuple[str, Sequence[str]], ...] = tuple((form, COMMANDS) for form in FORMS)
"""The runs of a scenario: each command, at a mirror that speaks either form."""

_AT_ONCE = 200
"""So many made-up pages share a proxy, which then makes room for the next ones."""


async def of_folder(folder: Path, clients: Sequence[str] = tuple(READERS), runs: UvRuns | None = None) -> tuple[int, list[Difference]]:
    """Return how many pages a folder has, and how they differ; `runs` are those of uv, where it is to look at them too."""
    found: list[Difference] = []
    files = page_files(folder)
    for group in rounds(files):
        async with differential() as run:
            pages = [each.page(run.mirror.origin) for each in group]
            found += await run.pages(pages, stated_content, clients)
            found += [] if runs is None else await locks(runs, run, pages, stated_content)
    return len(files), found


async def of_server(
    url: str, projects: Sequence[str], clients: Sequence[str] = tuple(READERS), runs: UvRuns | None = None
) -> tuple[int, list[Difference]]:
    """Return how the pages of these projects, or of all, differ at a running simple API."""
    found: list[Difference] = []
    async with proxied_server(url) as run:
        names = list(projects) or await run.projects()
        for name in names:
            found += await run.project(name, clients)
            if runs is not None:
                found += (await compare_runs(runs, run, "lock", Wish((name,)), name))[1]
    return len(names), found


async def of_made_up_pages(
    count: int, first_seed: int, clients: Sequence[str] = tuple(READERS), runs: UvRuns | None = None
) -> tuple[int, list[Difference]]:
    """Return how made-up pages differ; each is named after the seed and the place where it is found again."""
    found: list[Difference] = []
    templates = made_up_pages(count, first_seed)
    for start in range(0, len(templates), _AT_ONCE):
        async with differential() as run:
            pages = [
                replace(page.page(f"demo{place}", run.mirror.origin), title=f"seed {first_seed}, page {place} ({page.title})")
                for place, page in enumerate(templates[start : start + _AT_ONCE], start)
            ]
            found += await run.pages(pages, None, clients)
            found += [] if runs is None else await locks(runs, run, pages)
    return len(templates), found


async def locks(runs: UvRuns, run: Differential, pages: Sequence[SourcePage], content: ContentOf | None = None) -> list[Difference]:
    """Return how uv's locks of these pages differ."""
    return _flat(await asyncio.gather(*(compare_page(runs, run, page, content=content) for page in pages)))


async def of_scenarios(
    scenarios: Sequence[Scenario], folder: Path, chosen: Sequence[tuple[str, Sequence[str]]] = ALL_RUNS
) -> tuple[int, list[Difference]]:
    """Return how many pairs of runs of uv were compared in `folder`, and how they differ: for each form these commands."""
    found: list[Difference] = []
    for form, commands in chosen:
        async with differential() as run:
            runs = UvRuns(folder / form)
            found += _flat(await asyncio.gather(*(compare_scenario(runs, run, each, form, commands) for each in scenarios)))
    return len(scenarios) * sum(len(commands) for _, commands in chosen), found


def _flat(found: Iterable[Iterable[Difference]]) -> list[Difference]:
    return [each for some in found for each in some]


def made_up_pages(count: int, first_seed: int) -> list[PageTemplate]:
    """Return so many pages of the strategy, the same for a seed."""
    pages: list[PageTemplate] = []

    @seed(first_seed)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(page_templates())
    def collect(page: PageTemplate) -> None:
        pages.append(page)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        collect()
    return pages
