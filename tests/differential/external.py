"""Folders of test data that are not part of the project: they are found by a variable, or beside the checkout."""

import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
# Read at once: tests run without the settings of this machine.
_NAMED = {name: os.environ.get(f"DIFFERENTIAL_{name.upper()}") for name in ("pages", "packse")}


def external_folder(name: str) -> Path | None:
    """Return the folder `../shared/NAME` beside the checkout, or that of the variable DIFFERENTIAL_NAME; None where there is none."""
    named = _NAMED[name]
    folder = Path(named) if named else _CHECKOUT.parent / "shared" / name
    return folder if folder.is_dir() else None
