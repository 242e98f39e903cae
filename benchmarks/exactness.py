"""Dead files named by cold locks of made-up worlds: through the proxy, against direct.

    python benchmarks/exactness.py [--worlds N] [--client uv|poetry|pdm] [--first SEED] [--projects N] [--releases N]

Each world has a mirror of its own that lists files which it has not, and a proxy that has just started. The chain of twelve projects, each
of which requires the next one `<4`, comes twice besides: with macOS wheels dead, and with manylinux wheels dead.
A lock that fails names nothing; so the locks that failed are counted, too. What it costs is counted at the mirror until the lock is made.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.programs import Programs
from tests.worlds.clients import Locker, locker
from tests.worlds.drawing import chain, world_of
from tests.worlds.model import MadeWorld
from tests.worlds.trial import Trial, lock_direct, lock_through_proxy


async def measure(name: str, worlds: Sequence[MadeWorld], client: Locker, folder: Path) -> None:
    """Prints what the locks of these worlds named, and what they cost."""
    direct, proxied, right = [], [], []
    for number, world in enumerate(worlds):
        place = folder / name / f"{number}"
        right.append(await lock_direct(world, client, place / "right", without_dead=True))
        direct.append(await lock_direct(world, client, place / "direct", without_dead=False))
        proxied.append(await lock_through_proxy(world, client, place / "proxied"))
    print(f"{name}: {len(worlds)} locked cold")
    for how, trials in (("direct", direct), ("proxy", proxied)):
        print(f"  {how:7}{_told(trials, right)}")


def _told(trials: Sequence[Trial], right: Sequence[Trial]) -> str:
    named = sum(len(each.lock.files) for each in trials)
    dead = sum(len(each.dead) for each in trials)
    spoilt = sum(bool(each.dead) for each in trials)
    failed = sum(not each.lock.completed.ok for each in trials)
    lost = sum(len(good.lock.files - each.lock.files) for each, good in zip(trials, right, strict=True) if each.lock.completed.ok)
    # Of what the lock should name and what it names besides: the files of the releases that were locked.
    released = sum(len(each.world.files_of(project, version)) for each in right for project, version in each.lock.versions.items())
    share = 100 * dead / named if named else 0.0
    asked, touched = sum(each.asked for each in trials), sum(each.touched for each in trials)
    return (
        f"dead files named {dead:4} of {named:5} ({share:4.1f} %) in {spoilt} locks; {failed} failed; {lost} good files missing; "
        f"for each file of a locked release {asked / released:.2f} requests for files, {touched / released:.2f} distinct files touched"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", choices=("uv", "poetry", "pdm"), default="uv")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first world")
    parser.add_argument("--projects", type=int, default=9, help="projects of a world, at most")
    parser.add_argument("--releases", type=int, default=6, help="releases of a project, at most")
    words = parser.parse_args()
    drawn = [
        world_of(seed, most_projects=words.projects, most_releases=words.releases)
        for seed in range(words.first, words.first + words.worlds)
    ]
    chains = [chain("macosx"), chain("manylinux", kept="py3-none-any.whl")]
    with tempfile.TemporaryDirectory() as name:
        client = locker(words.client, Programs(Path(name, "programs"), os.environ))
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        asyncio.run(measure("chains", chains, client, Path(name)))
        asyncio.run(measure("drawn worlds", drawn, client, Path(name)))


if __name__ == "__main__":
    main()
