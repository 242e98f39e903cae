"""The made-up worlds: what is promised of each, and that the oracle sees a proxy that does not do its work."""

import asyncio
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import assume, given, settings

from tests.clients import Completed
from tests.mirror import BrokenMirror
from tests.worlds.__main__ import main
from tests.worlds.clients import Lock
from tests.worlds.drawing import chain, world_of
from tests.worlds.model import MadeWorld, Metadata
from tests.worlds.resolver import TooHard
from tests.worlds.simulated import resolve_cold
from tests.worlds.strategies import worlds
from tests.worlds.trial import Trial

CHAIN = chain("macosx", projects=3)


@given(worlds())
def test_every_release_keeps_a_good_file_for_every_platform(world: MadeWorld) -> None:
    assert all(any(file.universal and not file.dead for file in release.files) for release in world.releases)


@settings(max_examples=20)
@given(worlds())
def test_a_world_can_be_solved_without_its_dead_files(world: MadeWorld) -> None:
    try:
        made = asyncio.run(resolve_cold(world, without_dead=True))
    except TooHard:
        assume(False)
    assert made.versions
    assert made.listed
    assert not made.listed & world.dead


def test_a_seed_says_all_of_a_world_and_the_worlds_are_of_all_kinds() -> None:
    drawn = [world_of(seed) for seed in range(60)]
    assert drawn == [world_of(seed) for seed in range(60)]
    assert {world.metadata for world in drawn} == set(Metadata)
    assert any(not world.dead for world in drawn)
    assert any(release.yanked for world in drawn for release in world.releases)
    told = "\n".join(map(str, drawn))
    for word in (
        "macosx_11_0_arm64.whl DEAD",
        "win_amd64.whl DEAD",
        "tar.gz DEAD",
        "rc1",
        "[fast]",
        "extra ==",
        "sys_platform",
        "3.99",
        "!=",
    ):
        assert word in told


async def test_what_is_dead_is_listed_and_answers_404_and_can_be_left_off(mirror: BrokenMirror) -> None:
    listed = CHAIN.pour(mirror).projects["link00"].files
    assert CHAIN.dead & set(listed) == {f"link00-{each}" for each in _dead_of_link()}
    mirror.projects.clear()
    assert not CHAIN.dead & set(CHAIN.pour(mirror, without_dead=True).projects["link00"].files)


def _dead_of_link() -> list[str]:
    versions = ("1.0", "2.0", "3.0", "3.1", "4.0", "5.0", "6.0")
    return [f"{version}-cp39-abi3-macosx_{system}.whl" for version in versions for system in ("11_0_arm64", "10_12_x86_64")]


async def test_the_chain_leads_past_the_forbidden_releases_and_a_proxy_that_asks_nothing_is_found_out() -> None:
    made = await resolve_cold(CHAIN, probe={"budget": 0})
    assert {str(version) for version in made.versions.values()} == {"3.1"}
    assert len(made.listed & CHAIN.dead) == 6
    assert not (await resolve_cold(CHAIN, without_dead=True)).listed & CHAIN.dead


@pytest.mark.parametrize(
    ("code", "version", "lacks", "names_dead", "complaint"),
    [
        (0, "3.1", 0, False, ""),
        (1, "3.1", 0, False, "the lock failed"),
        (0, "3.1", 0, True, "1 of 4 files are dead"),
        (0, "3.0", 0, False, "not the versions link00==3.1, but link00==3.0"),
        (0, "3.1", 1, False, "good files were left out: link00-3.1-cp39-abi3-manylinux"),
    ],
)
def test_a_lock_is_blamed_for_what_is_wrong_with_it(code: int, version: str, lacks: int, names_dead: bool, complaint: str) -> None:
    good = sorted(CHAIN.files_of("link00", "3.1") - CHAIN.dead)
    assert len(good) == 3
    done = Completed((), code, "", "")
    files = frozenset(islice(good, lacks, None)) | (frozenset(sorted(CHAIN.dead)[:1]) if names_dead else frozenset())
    said = Trial(CHAIN, Lock(done, {"link00": version}, files), 0, 0).complaint(Lock(done, {"link00": "3.1"}, frozenset(good)))
    assert said.startswith(complaint)
    assert bool(said) == bool(complaint)


def test_the_command_locks_by_real_uv_and_its_status_tells_how_it_went(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Nothing of world 2 is dead, so every proxy gets it right.
    assert not world_of(2).dead
    assert main(["--seed", "2", "-v"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 2: requires pkg1<2.1.3, pkg0;")
    assert said.endswith("1 of 1 locks were right\n")
