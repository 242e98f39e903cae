"""Many sign in at once, while others guess: no honest user is refused."""

import asyncio
import base64
import hmac
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from proxy.server.access import doorkeeper
from proxy.server.access.admission import ADMISSION
from proxy.server.access.sign_in_queue import OF_ONE_USER_AND_CLIENT, SignInQueue
from tests.mirror import BrokenMirror
from tests.waiting import until
from tests.web.test_warm import WHEEL, Running, running

USERS = 50
OFFICE = "127.0.0.2"
GUESSERS = [f"127.0.0.{number}" for number in range(11, 20)]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Passwords:
    """Stands in for bcrypt: a check takes `seconds` of a thread, whatever the machine; a user's password is the user's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, seconds: float) -> None:
        self.checked = 0
        self.seconds = seconds
        self.free = threading.Event()
        self.free.set()
        hashes = {f"user-{number}": bcrypt.hashpw(b"", bcrypt.gensalt(4)) for number in range(USERS)}
        names = {hashed: user.encode() for user, hashed in hashes.items()}

        def checkpw(password: bytes, hashed: bytes) -> bool:
            self.checked += 1
            self.free.wait()
            time.sleep(self.seconds)
            return hmac.compare_digest(password, names[hashed])

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)
        # However slow the machine: it is the order that is tested here.
        monkeypatch.setattr(doorkeeper, "_PATIENCE", 300.0)
        (folder / "users").write_text("".join(f"{user}:{hashed.decode()}\n" for user, hashed in hashes.items()), encoding="utf-8")
        self.access: dict[str, Any] = {"htpasswd": folder / "users"}


@pytest.fixture
def passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Passwords]:
    passwords = Passwords(monkeypatch, tmp_path, 0.02)
    yield passwords
    # Also where a test fails while it holds them: Python ends with its threads.
    passwords.free.set()


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    mirror.add(WHEEL)
    return mirror


@asynccontextmanager
async def session_from(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as session:
        yield session


def queue_of(server: Running) -> SignInQueue:
    return server.runner.app[ADMISSION]._doorkeeper._queue


async def status_of(session: aiohttp.ClientSession, server: Running, user: str, password: str) -> int:
    async with session.get(f"http://127.0.0.1:{server.port}/simple/demo/", headers=basic(user, password)) as response:
        return response.status


async def office_signs_in(server: Running) -> Counter[int]:
    async with session_from(OFFICE) as session:
        names = [f"user-{number}" for number in range(USERS)]
        return Counter(await asyncio.gather(*(status_of(session, server, name, name) for name in names)))


async def test_fifty_users_behind_one_address_sign_in_at_once(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords
) -> None:
    async with running(stocked, monkeypatch, access=passwords.access) as server:
        assert await office_signs_in(server) == {200: USERS}
        assert await office_signs_in(server) == {200: USERS}
        assert passwords.checked == USERS


NAMES = {"a new name for each guess": "nobody-{}", "one user": "user-7", "all users in turn": None}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_fifty_users_sign_in_while_nine_addresses_guess_at_full_speed(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords, name: str | None
) -> None:
    answers: Counter[int] = Counter()

    async def guess(server: Running, session: aiohttp.ClientSession) -> None:
        for number in count():
            user = f"user-{number % USERS}" if name is None else name.format(number)
            answers[await status_of(session, server, user, f"guess {number} of {id(session)}")] += 1

    async with running(stocked, monkeypatch, access=passwords.access) as server, asyncio.TaskGroup() as group:
        guessing = []
        for address in GUESSERS:
            session = await (guesser := session_from(address)).__aenter__()
            guessing.append((guesser, [group.create_task(guess(server, session)) for _ in range(OF_ONE_USER_AND_CLIENT + 4)]))
        await until(lambda: passwords.checked > len(GUESSERS) * 4, within=60)
        assert await office_signs_in(server) == {200: USERS}
        for guesser, tasks in guessing:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await guesser.__aexit__(None, None, None)
    assert set(answers) <= {401, 429}
    assert answers[401]


async def test_a_guesser_who_asks_for_files_takes_no_place_of_downloads(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords
) -> None:
    monkeypatch.setattr("proxy.server.access.admission.DOWNLOADS", 2)
    passwords.free.clear()
    token = "0123456789abcdef-token"
    access = passwords.access | {"tokens": [token]}
    async with running(stocked, monkeypatch, access=access) as server, session_from(GUESSERS[0]) as guesser:
        address = f"http://127.0.0.1:{server.port}/files/demo/{WHEEL}"
        waiting = queue_of(server)
        guesses = [asyncio.create_task(guesser.get(address, headers=basic(f"nobody-{number}", "x"))) for number in range(8)]
        # One at least is under way, and all others wait: those are asked for of which a place was taken before.
        await until(lambda: passwords.checked > 0 and passwords.checked + len(waiting) == len(guesses))
        async with session_from(OFFICE) as honest, honest.get(address, headers=basic("__token__", token)) as response:
            assert response.status == 200
        passwords.free.set()
        for answer in await asyncio.gather(*guesses):
            assert answer.status == 401
            answer.close()


async def test_a_refused_password_is_told_when_to_come_again(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords
) -> None:
    passwords.free.clear()
    refused = []
    async with running(stocked, monkeypatch, access=passwords.access) as server, session_from(GUESSERS[0]) as guesser:
        address = f"http://127.0.0.1:{server.port}/simple/demo/"

        async def ask(number: int) -> int:
            async with guesser.get(address, headers=basic("user-1", f"guess {number}")) as response:
                if response.status == 429:
                    refused.append((response.headers.get("Retry-After"), await response.json(content_type="application/problem+json")))
                return response.status

        asked = [asyncio.create_task(ask(number)) for number in range(OF_ONE_USER_AND_CLIENT + 3)]
        await until(lambda: len(refused) == 3)
        passwords.free.set()
        assert Counter(await asyncio.gather(*asked)) == {401: OF_ONE_USER_AND_CLIENT, 429: 3}
    assert all(int(retry or 0) >= 1 and "passwords" in problem["title"] for retry, problem in refused)


async def test_a_client_that_went_away_is_not_checked(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords) -> None:
    monkeypatch.setattr("proxy.server.access.admission.usable_cores", lambda: 1)
    passwords.free.clear()
    async with running(stocked, monkeypatch, access=passwords.access) as server:
        connections = server.runner.server
        assert connections is not None
        async with session_from(GUESSERS[0]) as leaves:
            asked = [asyncio.create_task(status_of(leaves, server, f"user-{number}", "x")) for number in range(8)]
            await until(lambda: passwords.checked == 1 and len(connections.connections) == 8)
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: all(each.transport is None for each in connections.connections))
        passwords.free.set()
        async with session_from(OFFICE) as session:
            assert await status_of(session, server, "user-9", "user-9") == 200
    assert passwords.checked == 2


async def test_the_places_of_clients_that_went_away_are_free_for_others(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, passwords: Passwords
) -> None:
    monkeypatch.setattr("proxy.server.access.admission.usable_cores", lambda: 1)
    monkeypatch.setattr(doorkeeper, "_LOOK_FOR_GONE_EVERY", 0.05)
    passwords.free.clear()
    async with running(stocked, monkeypatch, access=passwords.access) as server:
        waiting = queue_of(server)
        async with session_from(OFFICE) as stays:
            under_way = asyncio.create_task(status_of(stays, server, "user-0", "user-0"))
            await until(lambda: passwords.checked == 1)
            async with session_from(GUESSERS[0]) as leaves:
                guesses = [
                    asyncio.create_task(status_of(leaves, server, "user-1", f"guess {number}")) for number in range(OF_ONE_USER_AND_CLIENT)
                ]
                await until(lambda: len(waiting) == OF_ONE_USER_AND_CLIENT)
                for each in guesses:
                    each.cancel()
                await asyncio.gather(*guesses, return_exceptions=True)
            await until(lambda: len(waiting) == 0)
            passwords.free.set()
            assert await under_way == 200
    assert passwords.checked == 1
