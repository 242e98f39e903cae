"""`mirrormend lock` and the release of uv: one that would pass the proxy by is refused before anything is changed."""

from pathlib import Path

import pytest

from tests.clients import Uv, write_project
from tests.e2e.test_lock_command import Mirrormend, index
from tests.mirror import BrokenMirror


@pytest.fixture
def mend(mirror: BrokenMirror, tmp_path: Path) -> Mirrormend:
    """The command in a project, with a folder for a uv of the test's own first on the PATH."""
    mirror.add("storm-6.4.2-py3-none-any.whl")
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    (tmp_path / "bin").mkdir()
    uv.environment["PATH"] = f"{tmp_path / 'bin'}:{uv.environment['PATH']}"
    return Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index(mirror.url)))


def stand_in(mend: Mirrormend, version: str) -> Path:
    """Puts a uv on the PATH that only tells this version, and writes a lock that names nothing; gives its path."""
    path = mend.project.parent / "bin" / "uv"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\necho "version = 1" > uv.lock\n', encoding="utf-8"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("said", ["uv 0.4.22", "uv 0.4.0 (d9bd3bc7a 2024-08-28)", "uv 0.2.37"])
async def test_a_uv_that_ignores_the_variables_is_refused_with_the_release_that_is_needed(
    mirror: BrokenMirror, mend: Mirrormend, said: str
) -> None:
    path = stand_in(mend, said)
    mend.file.write_text("# as it was\n", encoding="utf-8")
    done = await mend.lock()
    assert done.returncode == 1
    assert done.stderr == (
        f"mirrormend: {path} is uv {said.split()[1]}, which ignores UV_DEFAULT_INDEX and would not go through the proxy; "
        "install uv 0.4.23 or newer, such as by: pip install --upgrade uv\n"
    )
    assert mend.file.read_text(encoding="utf-8") == "# as it was\n"
    assert mirror.asked == []


@pytest.mark.parametrize("said", ["uv 0.4.23", "uv 0.13.9 (x86_64-unknown-linux-gnu)", "uv 1.0.0", "a wrapper"])
async def test_any_other_uv_is_run(mend: Mirrormend, said: str) -> None:
    stand_in(mend, said)
    done = await mend.lock()
    assert done.ok, done
