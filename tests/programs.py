"""Programs that do not fit into one environment together: each is installed by name, into a virtual environment of its own.

To install them is all that the tests do with a network. It goes where the pip of this machine goes: the index, the proxy and the
certificates that it is set up with count, as they did when the project itself was installed.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from venv import EnvBuilder

import pytest

_ELSEWHERE = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH"}
_PATIENCE = 240.0


class Programs:
    """The programs of one run of the tests, in environments below `folder`; pip runs with `environment`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {name: value for name, value in environment.items() if name not in _ELSEWHERE}
        self._installed: dict[str, Path] = {}

    def commands(self, requirement: str) -> Path:
        """Gives the folder with the commands of a package, which is installed when it is asked for first.

        Fails the test where it cannot be installed: that no test ran the real program is no success.
        """
        if requirement not in self._installed:
            self._installed[requirement] = self._install(requirement)
        return self._installed[requirement]

    def _install(self, requirement: str) -> Path:
        folder = self._folder / f"{len(self._installed)}"
        EnvBuilder(symlinks=True).create(folder)
        commands = folder / "bin"
        pip = [sys.executable, "-m", "pip", "--python", str(commands / "python"), "install", "--quiet", "--no-input", "--no-compile"]
        try:
            done = subprocess.run(
                [*pip, requirement], env=self._environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"{requirement} was not installed within {_PATIENCE:.0f} s: these tests need the real one")
        if done.returncode != 0:
            pytest.fail(f"{requirement} could not be installed, and these tests need the real one:\n{done.stderr}")
        return commands
