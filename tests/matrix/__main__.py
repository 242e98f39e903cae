"""Writes docs/faults.md to stdout: the rows of all tests in this folder."""

import importlib
import sys
from pathlib import Path

from tests.matrix.rows import document

if __name__ == "__main__":
    for each in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.matrix.{each.stem}")
    sys.stdout.write(document())
