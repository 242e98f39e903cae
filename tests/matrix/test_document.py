"""docs/faults.md tells of every row, and is current."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def written() -> str:
    """What the command writes."""
    done = subprocess.run([sys.executable, "-m", "tests.matrix"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_it_is_current(written: str) -> None:
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == written, "run: python -m tests.matrix > docs/faults.md"


@pytest.mark.parametrize("number", range(1, 25))
def test_every_row_has_a_test(written: str, number: int) -> None:
    assert f"\n| {number} | " in written
