"""Cold locks by real clients name no file that the mirror has not, also where the newest releases are forbidden.

Each lock is the first thing that a proxy is asked for: nothing was learned before, from anybody. More worlds: `python -m tests.worlds`.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, write_project
from tests.mirror import BrokenMirror
from tests.programs import Programs
from tests.worlds.clients import Locker, UvLocker, locker
from tests.worlds.drawing import chain, siblings, world_of
from tests.worlds.model import MadeWorld
from tests.worlds.trial import UNHURRIED, lock_direct, lock_through_proxy

pytestmark = pytest.mark.timeout(300)

ROUNDS = 3
CHAINS = {
    "macOS dead, sdists kept": chain("macosx"),
    "manylinux dead, pure wheels kept": chain("manylinux", kept="py3-none-any.whl"),
}
SEEDS: Mapping[str, tuple[int, ...]] = {"uv": (1, 5, 6, 8), "poetry": (5,), "pdm": (5,)}
"""Worlds of which each client would lock dead files if only the newest releases were looked at."""


@pytest.fixture(params=["uv", "poetry", "pdm"])
def client_name(request: pytest.FixtureRequest) -> str:
    """The name of a client."""
    name: str = request.param
    return name


@pytest.fixture
def client(client_name: str, programs: Programs) -> Locker:
    """The client itself."""
    return locker(client_name, programs)


async def holds(world: MadeWorld, client: Locker, folder: Path) -> None:
    """Lock `world` in proxies that have just started: the same versions and files as where nothing dead is listed."""
    right = await lock_direct(world, client, folder / "right", without_dead=True)
    assert not right.complaint()
    assert right.lock.files
    for number in range(ROUNDS):
        trial = await lock_through_proxy(world, client, folder / f"{number}")
        assert not (complaint := trial.complaint(right.lock)), complaint


@pytest.mark.parametrize("world", CHAINS.values(), ids=CHAINS)
async def test_a_chain_whose_newest_releases_are_forbidden_is_locked_without_dead_files(
    world: MadeWorld, client: Locker, tmp_path: Path
) -> None:
    assert len(world.projects) == 12
    await holds(world, client, tmp_path / "locks")


async def test_the_same_chain_asked_for_at_once_is_locked_by_uv_without_dead_files(tmp_path: Path) -> None:
    await holds(siblings("macosx"), UvLocker(), tmp_path / "locks")


async def test_drawn_worlds_are_locked_without_dead_files(client_name: str, client: Locker, tmp_path: Path) -> None:
    for seed in SEEDS[client_name]:
        await holds(world_of(seed), client, tmp_path / f"locks-{seed}")


async def test_what_uv_locked_cold_with_manylinux_dead_it_installs(uv: Uv, tmp_path: Path) -> None:
    world = CHAINS["manylinux dead, pure wheels kept"]
    project = write_project(tmp_path / "project", list(world.roots))
    async with BrokenMirror() as mirror, ProxyProcess(world.pour(mirror).url, tmp_path, environment=UNHURRIED) as proxy:
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        installed = await uv.sync(project, proxy.simple, "--locked", UV_HTTP_RETRIES="0")
        assert installed.ok, installed
