"""Whole resolutions by real uv: what it decides, and what it says where it cannot, is the same through the proxy."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.differential.commands import of_scenarios
from tests.differential.external import external_folder
from tests.differential.observations import describe
from tests.differential.scenarios import FORMS, Scenario, scenarios_below
from tests.differential.uv_runs import COMMANDS
from tests.differential.worlds import WORLDS

FOLDER = external_folder("packse")


def _assert_equal(scenarios: Sequence[Scenario], runs: Sequence[tuple[str, Sequence[str]]], folder: Path) -> None:
    pairs, differences = asyncio.run(of_scenarios(scenarios, folder, runs))
    assert pairs == len(scenarios) * sum(len(commands) for _, commands in runs)
    assert not differences, "\n" + describe(differences)


@pytest.mark.parametrize("form", FORMS)
def test_uv_decides_through_the_proxy_as_it_does_at_the_mirror(form: str, tmp_path: Path) -> None:
    _assert_equal(WORLDS, [(form, COMMANDS)], tmp_path)


@pytest.mark.skipif(FOLDER is None, reason="no packse scenarios: neither DIFFERENTIAL_PACKSE nor ../shared/packse beside the checkout")
def test_uv_decides_as_at_the_mirror_in_the_scenarios_that_uv_itself_is_tested_with(tmp_path: Path) -> None:
    assert FOLDER is not None
    scenarios = scenarios_below(FOLDER)
    assert len(scenarios) > 100
    # A sixth of what the command compares, which needs over a minute for all of it.
    _assert_equal(scenarios[::2], [("json", ["lock"])], tmp_path / "one")
    _assert_equal(scenarios[1::2], [("html", ["compile"])], tmp_path / "other")
