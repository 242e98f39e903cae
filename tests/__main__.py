"""`python -m tests`: every check of the project, one after the other. The status is 0 only where all of them are content.

Arguments go to pytest, after its own: `python -m tests -k store --no-cov` runs the other checks whole and the tests of stores.
"""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COVERED = 85
"""The percentage of lines and branches below which the tests count as failed."""

# The scripts of this interpreter, not the ones that come first on the PATH.
_SCRIPTS = Path(sysconfig.get_path("scripts"))

CHECKS: Mapping[str, Sequence[str]] = {
    "format": (sys.executable, "-m", "ruff", "format", "--check"),
    "lint": (sys.executable, "-m", "ruff", "check"),
    "types": (sys.executable, "-m", "mypy"),
    "layers": (str(_SCRIPTS / "lint-imports"),),
    "tests": (sys.executable, "-m", "pytest", "--cov", f"--cov-fail-under={COVERED}"),
}


def run_checks(checks: Mapping[str, Sequence[str]]) -> int:
    """Runs all commands, also after one that failed; says at the end how each went, and gives 1 where one failed, else 0."""
    went = {name: _run(name, command) for name, command in checks.items()}
    _say()
    for name, (status, seconds) in went.items():
        _say(f"{name:8}{'passed' if status == 0 else f'FAILED ({status})':14}{seconds:7.1f} s")
    return int(any(status for status, _ in went.values()))


def _run(name: str, command: Sequence[str]) -> tuple[int, float]:
    _say(f"\n# {name}: {' '.join([Path(command[0]).name, *command[1:]])}")
    started = time.monotonic()
    try:
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    except OSError as error:
        _say(f"{command[0]} cannot be run: {error.strerror}")
        status = 127
    return status, time.monotonic() - started


def _say(text: str = "") -> None:
    # Flushed, since the commands write to the same place.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run_checks(dict(CHECKS) | {"tests": (*CHECKS["tests"], *sys.argv[1:])}))
