"""`python -m tests.worlds`: locks drawn worlds cold through fresh proxies by a real client, and says which locks are not right.

python -m tests.worlds --seeds 20 --client uv       so many worlds, each in a fresh proxy; Poetry and PDM are installed first
python -m tests.worlds --seed 7 --rounds 3 -v       one world, in three fresh proxies, and what it is
python -m tests.worlds --simulated --seeds 200      by the simulated resolver, without processes
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.programs import Programs
from tests.worlds.clients import Locker, locker
from tests.worlds.drawing import world_of
from tests.worlds.model import MadeWorld
from tests.worlds.resolver import TooHard
from tests.worlds.simulated import resolve_cold
from tests.worlds.trial import lock_direct, lock_through_proxy


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 where every lock was right, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.worlds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--client", choices=("uv", "poetry", "pdm"), default="uv")
    parser.add_argument("--simulated", action="store_true", help="no real client, and the proxy in this process")
    parser.add_argument("--seeds", type=int, default=None, metavar="N", help="how many worlds")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="the only world, or the first of several")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="fresh proxies for each world")
    parser.add_argument("--projects", type=int, default=9, metavar="N", help="projects of a world, at most")
    parser.add_argument("--releases", type=int, default=6, metavar="N", help="releases of a project, at most; 10 are the most")
    parser.add_argument("-v", "--verbose", action="store_true", help="describe each world")
    words = parser.parse_args(arguments)
    # The proxy in this process would tell each request.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first = words.seed or 0
    count = words.seeds if words.seeds is not None else (1 if words.seed is not None else 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = None if words.simulated else locker(words.client, Programs(folder / "programs", os.environ))
        worlds = {seed: _drawn(seed, words) for seed in range(first, first + count)}
        wrong = sum(_wrong(seed, world, client, folder, words) for seed, world in worlds.items())
    sys.stdout.write(f"{count * words.rounds - wrong} of {count * words.rounds} locks were right\n")
    return int(bool(wrong))


def _drawn(seed: int, words: argparse.Namespace) -> MadeWorld:
    return world_of(seed, most_projects=words.projects, most_releases=words.releases)


def _wrong(seed: int, world: MadeWorld, client: Locker | None, folder: Path, words: argparse.Namespace) -> int:
    if words.verbose:
        sys.stdout.write(f"seed {seed}: {world}\n")
    locks = _simulated(world, words.rounds) if client is None else _really(world, client, folder / f"{seed}", words.rounds)
    complaints = asyncio.run(locks)
    for each in complaints:
        sys.stdout.write(f"seed {seed}: {each.splitlines()[0]}\n")
        sys.stdout.flush()
    return len(complaints)


async def _really(world: MadeWorld, client: Locker, folder: Path, rounds: int) -> list[str]:
    right = await lock_direct(world, client, folder / "right", without_dead=True)
    if not right.lock.completed.ok:
        return [f"the world cannot be locked: {right.lock.completed}".replace("\n", " ")] * rounds
    trials = [await lock_through_proxy(world, client, folder / f"{number}") for number in range(rounds)]
    return [complaint for each in trials if (complaint := each.complaint(right.lock))]


async def _simulated(world: MadeWorld, rounds: int) -> list[str]:
    try:
        right = await resolve_cold(world, without_dead=True)
        made = [await resolve_cold(world) for _ in range(rounds)]
    except TooHard:
        return []
    return [f"{dict(right.versions)}: {', '.join(sorted(each.listed ^ right.listed))}" for each in made if each != right]


if __name__ == "__main__":
    sys.exit(main())
