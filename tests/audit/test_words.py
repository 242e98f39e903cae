"""What the commands of the audit say of themselves: help, and completion in a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.audit.conftest import ROOT, command

COMMANDS = ("check", "explain", "warm")


def said(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, env={**kept, "COLUMNS": "80", **variables}, cwd=ROOT
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_tells_the_exit_statuses_and_an_example(name: str) -> None:
    done = said(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Exit status:\n    0  " in done.stdout
    assert f"mirrormend {name} " in done.stdout.partition("Example")[2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mirrormend che", "check"),
        ("mirrormend check --for", "--format"),
        ("mirrormend warm --clo", "--closure"),
        ("mirrormend explain --pr", "--proxy"),
    ],
)
def test_a_shell_completes_what_is_typed(typed: str, offered: str) -> None:
    words = typed.split()
    done = said(_MIRRORMEND_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))
    assert f"plain,{offered}" in done.stdout.splitlines()


def test_a_shell_completes_the_forms_of_the_report() -> None:
    done = said(_MIRRORMEND_COMPLETE="bash_complete", COMP_WORDS="mirrormend check --format j", COMP_CWORD="3")
    assert set(done.stdout.split()) == {"plain,json", "plain,junit"}


def test_the_manual_tells_of_every_option_of_check() -> None:
    manual = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    for option in ("--lock", "-r FILE", "--closure", "--budget", "--format", "--output"):
        assert option in manual, option
    assert Path(ROOT / "docs" / "check-report.schema.json").exists()
