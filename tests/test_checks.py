"""`python -m tests` and `.ci/run`: what they do beside running what they name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import CHECKS, COVERED, ROOT, run_checks

COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m tests"
INSTALLED = "nginx redis-server curl promtool buildah debootstrap chromium"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_all_checks_run_even_where_one_fails_and_the_table_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    checks = {"first": python("print('one'); raise SystemExit(3)"), "second": ("/no/such/command",), "third": python("print('three')")}
    assert run_checks(checks) == 1
    said = capfd.readouterr().out.splitlines()
    assert {"one", "three"} <= set(said)
    assert [line.split()[:2] for line in said[-3:]] == [["first", "FAILED"], ["second", "FAILED"], ["third", "passed"]]


def test_where_all_are_content_the_status_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_checks({"only": python("")}) == 0


def test_the_tests_come_last_and_their_coverage_has_a_floor() -> None:
    assert list(CHECKS) == ["format", "lint", "types", "layers", "tests"]
    assert f"--cov-fail-under={COVERED}" in CHECKS["tests"]


@pytest.mark.parametrize("where", [".ci/run", "README.md"])
def test_the_same_line_runs_the_checks_by_hand_and_in_ci(where: str) -> None:
    assert COMMAND in (ROOT / where).read_text(encoding="utf-8").splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of `.ci/run` on a machine that has Python and nothing else; what it calls writes itself into `calls`."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "cat"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/python3", "bin/sudo", "bin/sleep", ".venv/bin/pip", ".venv/bin/python"):
        recording(tmp_path, name)
    recording(tmp_path, "bin/id", "echo 1000")
    recording(tmp_path, "bin/apt-get")
    return tmp_path


def recording(machine: Path, name: str, more: str = "") -> None:
    (machine / name).write_text(f'#!{shutil.which("bash")}\necho "${{0##*/}} $*" >> {machine}/calls\n{more}\n', encoding="utf-8")
    (machine / name).chmod(0o755)


def ran(machine: Path) -> tuple[int, list[str]]:
    environment = {"PATH": str(machine / "bin"), "PIP_INDEX_URL": "http://127.0.0.1:9/simple/", "PIP_USER": "1"}
    done = subprocess.run([str(machine / ".ci" / "run")], env=environment, check=False, capture_output=True)
    return done.returncode, (machine / "calls").read_text(encoding="utf-8").splitlines()


def test_what_is_missing_is_installed_as_root_before_the_checks_run(bare: Path) -> None:
    status, calls = ran(bare)
    assert status == 0
    update, install = [call for call in calls if call.startswith("sudo ")]
    assert "apt-get update" in update
    assert "apt-get install -y" in install
    assert {"redis-server", "buildah", "chromium"} <= set(install.split())
    assert "python3" not in install
    assert calls[-3:] == ["python3 -m venv .venv", "pip install -q -e .[test]", "python -m tests"]


def test_where_nothing_is_missing_no_package_is_asked_for(bare: Path) -> None:
    for name in INSTALLED.split():
        recording(bare, f"bin/{name}")
    status, calls = ran(bare)
    assert status == 0
    assert [call for call in calls if "apt-get" in call] == []


def test_a_mirror_of_debian_that_fails_in_passing_is_asked_again(bare: Path) -> None:
    recording(bare, "bin/sudo", f"[ -e {bare}/once ] || {{ echo > {bare}/once; exit 100; }}")
    status, calls = ran(bare)
    assert status == 0
    assert len([call for call in calls if "apt-get update" in call]) == 2


def test_a_debian_mirror_that_is_down_fails_the_run(bare: Path) -> None:
    recording(bare, "bin/sudo", "exit 100")
    status, calls = ran(bare)
    assert status == 100
    assert "python -m tests" not in calls


def test_failing_checks_fail_the_run(bare: Path) -> None:
    recording(bare, ".venv/bin/python", "exit 1")
    assert ran(bare)[0] == 1


def test_pip_is_not_sent_past_the_virtual_environment_and_keeps_its_index(bare: Path) -> None:
    recording(bare, ".venv/bin/pip", f'echo "${{PIP_INDEX_URL-none}} ${{PIP_USER-none}} $CI" >> {bare}/calls')
    assert ran(bare)[1][-2] == "http://127.0.0.1:9/simple/ none true"


def test_the_script_can_be_started() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
