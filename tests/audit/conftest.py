"""What the tests of the audit share: a mirror of one project, the audit in this process, and the command as a process."""

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from proxy.audit import Order, Report, Survey
from proxy.audit.inputs import read_order
from proxy.config import Settings
from tests.clients import Completed, clean_environment, run_command
from tests.mirror import BrokenMirror

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
OLD = "demo-1.0-py3-none-any.whl"
SDIST = "demo-2.0.tar.gz"
ROOT = Path(__file__).resolve().parent.parent.parent


class Silent:
    """Nobody is told how far it is."""

    def expects(self, projects: int) -> None: ...
    def asks(self, files: int) -> None: ...
    def answered(self) -> None: ...
    def done(self, project: str, findings: int) -> None: ...


Audit: TypeAlias = Callable[..., Awaitable[Report]]
Check: TypeAlias = Callable[..., Awaitable[Completed]]


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A healthy mirror of `demo`: the newest release for two platforms and as sdist, and an older one for all; its pages lack nothing."""
    for name in (OLD, MAC, LINUX, SDIST):
        mirror.add(name, upload_time="2024-01-01T00:00:00Z")
    return mirror


@pytest.fixture
def audit(mirror: BrokenMirror) -> Audit:
    """Gives `look(*words, lock=path, **sections)`: the report on the mirror, made in this process."""

    async def look(*words: str, lock: Path | None = None, everything: bool = False, closure: bool = False, **sections: Any) -> Report:
        upstream = {"url": mirror.url, "retries": 0} | sections.pop("upstream", {})
        settings = Settings.model_validate({"upstream": upstream, **sections})
        order: Order = read_order(words, [lock] if lock else [], [], settings.upstream[0].url, closure=closure)
        async with Survey(settings, Silent(), everything=everything) as survey:
            await survey.run(order)
            return survey.report()

    return look


def command(*words: str) -> list[str]:
    """The words that run the command as a process."""
    return [sys.executable, "-m", "proxy", *words]


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    """An environment in which that command finds the package and nothing of this machine."""
    return clean_environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables}


@pytest.fixture
def check(mirror: BrokenMirror, tmp_path: Path) -> Check:
    """Gives `run(*words, **variables)`: `mirrormend check` of the mirror as a process, to its end."""

    async def run(*words: str, **variables: str) -> Completed:
        chosen = {"MIRRORMEND_UPSTREAM": mirror.url, "MIRRORMEND_UPSTREAM_RETRIES": "0"} | variables
        return await run_command(command("check", *words), environment(tmp_path, **chosen), tmp_path)

    return run


def as_json(done: Completed) -> dict[str, Any]:
    """The JSON report that a run wrote."""
    found: dict[str, Any] = json.loads(done.stdout)
    return found
