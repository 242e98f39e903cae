"""Programs in environments of their own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.programs import Programs
from tests.wheels import make_wheel


def test_what_cannot_be_installed_fails_the_test_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no-such\.whl could not be installed, and these tests need the real one"):
        Programs(tmp_path, os.environ).commands(str(tmp_path / "no-such.whl"))


def test_each_is_installed_once_in_an_environment_of_its_own_wherever_the_machine_would_have_pip_install(tmp_path: Path) -> None:
    wheels = [tmp_path / f"{name}-1.0-py3-none-any.whl" for name in ("gale", "hail")]
    for wheel in wheels:
        wheel.write_bytes(make_wheel(wheel.name))
    programs = Programs(tmp_path / "programs", os.environ | {"PIP_TARGET": str(tmp_path / "elsewhere")})
    commands = [programs.commands(str(wheel)) for wheel in wheels]
    assert programs.commands(str(wheels[0])) == commands[0]
    for folder, module, other in zip(commands, ("gale", "hail"), ("hail", "gale"), strict=True):
        code = f"import importlib.util, {module}; raise SystemExit(importlib.util.find_spec('{other}') is not None)"
        assert subprocess.run([folder / "python", "-c", code], cwd=tmp_path, check=False).returncode == 0
    assert not (tmp_path / "elsewhere").exists()
