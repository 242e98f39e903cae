"""Locks whose constraints stand in sdists only name no dead file, at a proxy that knows nothing yet, by the real uv."""

from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, write_project
from tests.mirror import BrokenMirror, artifactory_404
from tests.wheels import make_sdist

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.5", "3.0", "4.0", "5.0")
PYTHONS = range(8, 15)
PLATFORMS = ("macosx_11_0_arm64", "macosx_10_9_x86_64", "manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64")
TAILS = ("tail0", "tail1", "tail2", "tail3")
CHOSEN = "3.0"


def add_world(mirror: BrokenMirror, *, with_dead_wheels: bool) -> None:
    """Add a chain of sdists, whose last one forbids the two newest releases of projects with more files than a page waits for.

    With `with_dead_wheels`, each sdist has wheels beside it that the mirror does not deliver.
    """
    chain = ("first", "second", "third")
    for name, requires in zip(chain, (["second<4"], ["third<4"], [f"{tail}<4" for tail in TAILS]), strict=True):
        for version in VERSIONS:
            sdist = f"{name}-{version}.tar.gz"
            mirror.add(sdist, make_sdist(sdist, requires_dist=requires))
            if with_dead_wheels:
                mirror.add(f"{name}-{version}-cp311-cp311-macosx_11_0_arm64.whl")
    for tail in TAILS:
        for version in VERSIONS:
            for minor in PYTHONS:
                for platform in PLATFORMS:
                    mirror.add(f"{tail}-{version}-cp3{minor}-cp3{minor}-{platform}.whl")


@pytest.mark.parametrize("with_dead_wheels", [False, True], ids=["sdists only", "sdists beside dead wheels"])
async def test_a_chain_of_sdists_whose_end_forbids_the_newest_releases_locks_cold_without_a_dead_file(
    tmp_path: Path, *, with_dead_wheels: bool
) -> None:
    async with BrokenMirror() as mirror:
        add_world(mirror, with_dead_wheels=with_dead_wheels)
        mirror.fault("*macosx*", artifactory_404())
        async with ProxyProcess(mirror.url, tmp_path) as proxy:
            locked = await Uv(tmp_path).lock(write_project(tmp_path / "project", ["first<4"]), proxy.simple)
    assert locked.ok, locked
    assert locked.packages == dict.fromkeys(("first", "second", "third", *TAILS), CHOSEN)
    assert [name for name in locked.files if "macosx" in name] == []
    assert len([name for name in locked.files if name.startswith("tail")]) > 0
