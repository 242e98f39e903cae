"""How many users sign in with a password in a second, against bcrypt alone in as many threads.

`python benchmarks/sign_in.py` starts a proxy whose users all come at once from one address; with `--guessers 9` so many other addresses
send wrong passwords at full speed meanwhile. Rounds of the proxy and of bcrypt alone take turns.
"""

import argparse
import asyncio
import base64
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp
import bcrypt

from proxy.server.access.cores import usable_cores
from tests.clients import ProxyProcess

PATH = "/simple/no/such/address"
"""There is nothing here: the answer is 404 as soon as the user is known."""


def hashes(users: int, cost: int) -> dict[str, bytes]:
    """Give so many users, each with its name as the password."""
    # One salt serves for all: each check costs the same.
    salt = bcrypt.gensalt(cost)
    return {f"user-{number}": bcrypt.hashpw(f"user-{number}".encode(), salt) for number in range(users)}


def alone(known: dict[str, bytes]) -> float:
    """Return the seconds that bcrypt takes for all passwords, in a thread for each core."""
    began = time.perf_counter()
    with ThreadPoolExecutor(usable_cores()) as threads:
        assert all(threads.map(lambda user: bcrypt.checkpw(user.encode(), known[user]), known))
    return time.perf_counter() - began


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header for a user with a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@asynccontextmanager
async def session_from(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session whose connections come from `address`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0), limit=0)) as session:
        yield session


async def guess(proxy: ProxyProcess, address: str, answers: Counter[int]) -> None:
    """Send wrong passwords at full speed, eight at a time, for users that are not known."""

    async def one(session: aiohttp.ClientSession, of: int) -> None:
        for number in count():
            async with session.get(proxy.url + PATH, headers=basic(f"nobody-{of}-{number}", "wrong")) as answer:
                answers[answer.status] += 1

    async with session_from(address) as session:
        await asyncio.gather(*(one(session, number) for number in range(8)))


async def signed_in(proxy: ProxyProcess, known: dict[str, bytes]) -> tuple[float, Counter[int]]:
    """Return the seconds until all users are answered who come at once, and the statuses."""
    async with session_from("127.0.0.2") as session:

        async def one(user: str) -> int:
            async with session.get(proxy.url + PATH, headers=basic(user, user)) as answer:
                return answer.status

        began = time.perf_counter()
        statuses = Counter(await asyncio.gather(*map(one, known)))
        return time.perf_counter() - began, statuses


async def measured(known: dict[str, bytes], guessers: int) -> tuple[float, Counter[int], Counter[int]]:
    """Return what `signed_in` does at a proxy of its own, and the statuses that the guessers got meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder) / "users"
        users.write_text("".join(f"{user}:{hashed.decode()}\n" for user, hashed in known.items()), encoding="utf-8")
        environment = {"MIRRORMEND_ACCESS_HTPASSWD": str(users)}
        async with ProxyProcess("http://127.0.0.1:9/simple/", Path(folder), environment=environment) as proxy:
            guessed: Counter[int] = Counter()
            guessing = [asyncio.create_task(guess(proxy, f"127.0.0.{11 + number}", guessed)) for number in range(guessers)]
            await asyncio.sleep(3.0 if guessers else 0.0)
            seconds, statuses = await signed_in(proxy, known)
            for each in guessing:
                each.cancel()
            await asyncio.gather(*guessing, return_exceptions=True)
            return seconds, statuses, guessed


async def main() -> int:
    """Measure each cost, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs", type=int, nargs="+", default=[10, 12])
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--guessers", type=int, default=0)
    chosen = parser.parse_args()
    sys.stdout.write(
        f"{usable_cores()} threads, {chosen.users} users at once, {chosen.guessers} guessing addresses; medians of {chosen.rounds}\n"
    )
    for cost in chosen.costs:
        known = hashes(chosen.users, cost)
        limits, times = [], []
        total: Counter[int] = Counter()
        guessed: Counter[int] = Counter()
        for _ in range(chosen.rounds):
            limits.append(alone(known))
            seconds, statuses, guesses = await measured(known, chosen.guessers)
            times.append(seconds)
            total += statuses
            guessed += guesses
        limit, seconds = statistics.median(limits), statistics.median(times)
        sys.stdout.write(
            f"cost {cost}: {chosen.users / seconds:6.1f} sign-ins a second, bcrypt alone {chosen.users / limit:6.1f}, "
            f"ratio {limit / seconds:.2f}; all in after {seconds:.1f} s; users {dict(total)}, guesses {dict(guessed)}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
