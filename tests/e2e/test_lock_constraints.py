"""Locks whose constraints forbid the newest releases name no dead file, at a proxy that knows nothing yet, by the real uv."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, write_project
from tests.mirror import BrokenMirror, artifactory_404
from tests.wheels import make_wheel

LENGTH = 12
VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.5", "3.0", "4.0", "5.0")
PLATFORMS = ("macosx_11_0_arm64", "manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64")


def link(number: int) -> str:
    return f"link{number:02}"


def _wheel(filename: str, number: int) -> Callable[[], bytes]:
    requires = [f"{link(number + 1)}<4"] if number + 1 < LENGTH else []
    return lambda: make_wheel(filename, requires_dist=requires)


def add_chain(mirror: BrokenMirror) -> None:
    """Add projects of which each requires the next one `<4`, which forbids the two newest releases."""
    for number in range(LENGTH):
        for version in VERSIONS:
            for platform in PLATFORMS:
                filename = f"{link(number)}-{version}-cp311-cp311-{platform}.whl"
                mirror.add(filename, _wheel(filename, number))


@pytest.mark.parametrize("dead", ["*macosx*", "*manylinux*x86_64*"])
@pytest.mark.parametrize("fresh_proxy", range(3))
async def test_a_chain_whose_newest_releases_are_forbidden_locks_cold_without_a_dead_file(
    tmp_path: Path, dead: str, fresh_proxy: int
) -> None:
    async with BrokenMirror() as mirror:
        add_chain(mirror)
        mirror.fault(dead, artifactory_404())
        async with ProxyProcess(mirror.url, tmp_path) as proxy:
            locked = await Uv(tmp_path).lock(write_project(tmp_path / f"project{fresh_proxy}", [f"{link(0)}<4"]), proxy.simple)
            assert locked.ok, locked
            assert locked.packages == {link(number): "3.0" for number in range(LENGTH)}
            late = [line for line in proxy.log if line.get("event") == "absence-proven-late"]
    named = sorted(name for name in locked.files if dead.strip("*").split("*")[0] in name and dead.strip("*").split("*")[-1] in name)
    assert not named
    assert len(locked.files) == LENGTH * (len(PLATFORMS) - 1)
    assert not late
