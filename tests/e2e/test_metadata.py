"""Real clients and the metadata of files: what they decide by it is what they would decide at the mirror itself."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients import Pip, Uv, write_project
from tests.conftest import MakeClient
from tests.faults import status
from tests.mirror import BrokenMirror
from tests.wheels import make_sdist, make_wheel

OWN, ANOTHER, NEEDED = "acme-1.0-py3-none-any.whl", "acme-1.0-cp39-cp39-win_amd64.whl", "needed-1.0-py3-none-any.whl"
SDIST = "acme-2.0.tar.gz"


@pytest.fixture
def unlike(mirror: BrokenMirror) -> BrokenMirror:
    """A release of two wheels, of which only one requires something."""
    mirror.add(OWN, make_wheel(OWN, requires_dist=["needed"]), core_metadata="hash")
    mirror.add(ANOTHER)
    mirror.add(NEEDED)
    return mirror


def fails_in_passing(mirror: BrokenMirror) -> None:
    mirror.fault(OWN, status(503))
    mirror.fault(f"metadata:{OWN}", status(503))


async def simple(app_client: MakeClient, **sections: Any) -> str:
    client = await app_client(upstream={"retries": 0}, **sections)
    return str(client.make_url("/simple/"))


async def test_pip_installs_all_that_a_wheel_requires_once_the_mirror_delivers_its_metadata_again(
    unlike: BrokenMirror, app_client: MakeClient, pip: Pip
) -> None:
    index = await simple(app_client)
    fails_in_passing(unlike)
    # pip keeps what it may keep.
    options = ("install", "--index-url", index, "--no-input", "--cache-dir", str(pip.venv.parent / "pip-cache"))
    decided = await pip.run(*options, "--dry-run", "acme")
    unlike.heal()
    installed = await pip.run(*options, "acme")
    assert installed.ok, (decided, installed)
    assert "needed" in installed.stdout
    assert (await pip.run("check")).ok


async def test_uv_locks_all_that_a_wheel_requires_once_the_mirror_delivers_its_metadata_again(
    unlike: BrokenMirror, app_client: MakeClient, uv: Uv, tmp_path: Path
) -> None:
    index = await simple(app_client)
    fails_in_passing(unlike)
    before = await uv.lock(write_project(tmp_path / "before", ["acme"]), index)
    assert before.ok, before
    unlike.heal()
    # With the cache of the run before.
    after = await uv.lock(write_project(tmp_path / "after", ["acme"]), index)
    assert set(after.packages) == {"acme", "needed"}, after


async def test_pip_does_not_build_an_sdist_of_which_the_mirror_has_the_metadata(
    mirror: BrokenMirror, app_client: MakeClient, pip: Pip, tmp_path: Path
) -> None:
    built = tmp_path / "built"
    said = "Metadata-Version: 2.1\nName: acme\nVersion: 2.0\nRequires-Dist: nowhere-to-be-found\n"
    mirror.add(OWN)
    mirror.add(SDIST, make_sdist(SDIST, dynamic=["Requires-Dist"], touch=built), extra={"core-metadata": True})
    mirror.fault(f"metadata:{SDIST}", status(200, body=said.encode()))
    for index in (mirror.url, await simple(app_client)):
        installed = await pip.run(
            "install", "--index-url", index, "--no-input", "--no-cache-dir", "--no-build-isolation", "--dry-run", "acme"
        )
        assert "Would install acme-1.0" in installed.stdout, installed
        assert not built.exists(), f"the build backend ran, with {index}"


@pytest.mark.parametrize(
    ("name", "version"),
    [(OWN, "1.0+cu118"), ("acme-1.0+cu118-py3-none-any.whl", "1.0"), ("acme-1.0+cu.118-py3-none-any.whl", "1.0.0+CU_118")],
    ids=["in METADATA only", "in the file's name only", "spelled otherwise"],
)
@pytest.mark.parametrize("advertised", [False, "hash"])
async def test_uv_locks_a_wheel_whose_local_version_stands_in_one_place_only(
    mirror: BrokenMirror, app_client: MakeClient, uv: Uv, tmp_path: Path, name: str, version: str, advertised: Any
) -> None:
    said = f"Metadata-Version: 2.1\nName: acme\nVersion: {version}\n"
    mirror.add(name, make_wheel(name, metadata=said), core_metadata=advertised)
    direct = await uv.lock(write_project(tmp_path / "direct", ["acme"]), mirror.url)
    uv.fresh_cache()
    proxied = await uv.lock(write_project(tmp_path / "proxied", ["acme"]), await simple(app_client))
    assert proxied.ok, proxied
    assert proxied.packages == direct.packages
