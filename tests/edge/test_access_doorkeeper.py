"""Who is let in, and what guessing brings: nothing, not even a hint, and it shuts nobody else out."""

import asyncio
import base64
import hmac
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from proxy.config import AccessSection, SettingsError
from proxy.core.errors import TooManyRequests
from proxy.server.access.accounts import Accounts, read_accounts
from proxy.server.access.doorkeeper import Doorkeeper
from proxy.server.access.sign_in_queue import OF_ONE_USER, OF_ONE_USER_AND_CLIENT

TOKEN = "0123456789abcdef-token"
ADA = bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Checks:
    """Counts the passwords that are really checked, and can hold the checks up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._free = threading.Event()
        self._free.set()
        checkpw = bcrypt.checkpw

        def counted(password: bytes, hashed: bytes) -> bool:
            self.count += 1
            self._free.wait(10)
            return checkpw(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", counted)
        self.hold, self.let_go = self._free.clear, self._free.set


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(monkeypatch)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(clock: Clock) -> Iterator[Doorkeeper]:
    keeper = Doorkeeper(Accounts((TOKEN, "another-token-of-length"), {"ada": ADA.encode()}), clock=clock)
    yield keeper
    keeper.close()


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"Bearer {TOKEN}", True),
        (basic("anybody", TOKEN), True),
        (basic(TOKEN, ""), True),
        (basic(TOKEN, "x"), True),
        (basic("ada", "lovelace"), True),
        (basic("ada", "another-token-of-length"), True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer lovelace", False),
        (f"Bearer {ADA}", False),
        (basic("ada", "lovelac"), False),
        (basic("ada", ""), False),
        (basic("ada", ADA), False),
        (basic("bob", "lovelace"), False),
        (basic("", ""), False),
        (basic("ada", "nul\0byte"), False),
        ("Digest username=ada", False),
    ],
)
async def test_a_token_or_a_user_with_the_right_password_is_let_in_and_nobody_else(keeper: Doorkeeper, header: str, known: bool) -> None:
    assert await keeper.knows(header, "192.0.2.1") is known


async def test_a_password_longer_than_bcrypt_reads_is_taken_as_htpasswd_takes_it() -> None:
    long = "x" * 100
    keeper = Doorkeeper(Accounts((), {"ada": bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4))}))
    assert await keeper.knows(basic("ada", long), "")
    keeper.close()


async def test_many_requests_at_once_with_the_same_password_are_checked_once(keeper: Doorkeeper, checks: Checks) -> None:
    answers = await asyncio.gather(*(keeper.knows(basic("ada", "lovelace"), "192.0.2.1") for _ in range(50)))
    assert all(answers)
    assert checks.count == 1


async def test_a_yes_is_remembered_for_minutes_and_a_no_for_seconds(keeper: Doorkeeper, checks: Checks, clock: Clock) -> None:
    async def asked(password: str) -> int:
        before = checks.count
        await keeper.knows(basic("ada", password), "192.0.2.1")
        return checks.count - before

    assert [await asked("lovelace"), await asked("wrong")] == [1, 1]
    clock.now = 9.0
    assert [await asked("lovelace"), await asked("wrong")] == [0, 0]
    clock.now = 11.0
    assert [await asked("lovelace"), await asked("wrong")] == [0, 1]
    clock.now = 301.0
    assert await asked("lovelace") == 1


async def test_nothing_that_was_sent_is_kept_in_clear(keeper: Doorkeeper) -> None:
    header = basic("ada", "lovelace")
    await keeper.knows(header, "192.0.2.1")
    kept = repr(vars(keeper))
    assert keeper._remembered
    assert not [each for each in (header, header.split()[1], "lovelace", TOKEN, ADA) if each in kept]


async def test_somebody_unknown_takes_a_check_like_somebody_known(keeper: Doorkeeper, checks: Checks) -> None:
    await keeper.knows(basic("bob", "lovelace"), "192.0.2.1")
    assert checks.count == 1


async def test_every_token_is_compared_in_constant_time_whichever_fits(keeper: Doorkeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    compare_digest = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        nonlocal compared
        compared += 1
        return compare_digest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for token in (TOKEN, "another-token-of-length", "none-of-them"):
        compared = 0
        await keeper.knows(f"Bearer {token}", "192.0.2.1")
        assert compared == 2


async def test_whoever_guesses_many_passwords_waits_alone(keeper: Doorkeeper) -> None:
    guesses = [asyncio.create_task(keeper.knows(basic("ada", f"guess {number}"), "192.0.2.66")) for number in range(50)]
    assert await keeper.knows(basic("ada", "lovelace"), "192.0.2.1")
    ends = await asyncio.gather(*guesses, return_exceptions=True)
    assert ends.count(False) == OF_ONE_USER_AND_CLIENT
    assert sum(isinstance(end, TooManyRequests) for end in ends) == 50 - OF_ONE_USER_AND_CLIENT
    assert await keeper.knows(basic("ada", "lovelace"), "192.0.2.66")


async def test_guesses_from_everywhere_have_a_bound_as_well(keeper: Doorkeeper) -> None:
    guesses = [keeper.knows(basic("ada", f"guess {number}"), f"192.0.2.{number}") for number in range(50)]
    ends = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(end, TooManyRequests) for end in ends) == 50 - OF_ONE_USER


async def test_the_event_loop_turns_while_a_password_is_checked() -> None:
    keeper = Doorkeeper(Accounts((), {"ada": bcrypt.hashpw(b"lovelace", bcrypt.gensalt(11))}))
    check = asyncio.create_task(keeper.knows(basic("ada", "lovelace"), ""))
    turns = 0
    while not check.done():
        turns += 1
        await asyncio.sleep(0)
    keeper.close()
    assert turns > 10


@pytest.mark.parametrize("meanwhile", [True, False], ids=["asking again", "not asking"])
async def test_who_is_struck_off_is_out_although_a_yes_was_remembered_or_under_way(
    keeper: Doorkeeper, checks: Checks, clock: Clock, meanwhile: bool
) -> None:
    assert await keeper.knows(basic("ada", "lovelace"), "")
    keeper.change(Accounts((), {"ada": ADA.encode()}))
    clock.now = 301.0
    checks.hold()
    under_way = asyncio.create_task(keeper.knows(basic("ada", "lovelace"), ""))
    while checks.count < 2:  # noqa: ASYNC110 - it is a thread that counts
        await asyncio.sleep(0.001)
    keeper.change(Accounts((), {"bob": ADA.encode()}))
    asked_again = asyncio.create_task(keeper.knows(basic("ada", "lovelace"), "")) if meanwhile else None
    await asyncio.sleep(0)
    checks.let_go()
    assert asked_again is None or not await asked_again
    await under_way
    assert not await keeper.knows(basic("ada", "lovelace"), "")
    assert not await keeper.knows(f"Bearer {TOKEN}", "")
    assert await keeper.knows(basic("bob", "lovelace"), "")


class TestAccounts:
    """The files of accounts are understood, or it is said where they are not."""

    @staticmethod
    def read(folder: Path, **files: str) -> Accounts:
        for key, content in files.items():
            (folder / key).write_text(content, encoding="utf-8")
        return read_accounts(AccessSection.model_validate({key: folder / key for key in files}))

    def test_files_are_read_line_by_line(self, tmp_path: Path) -> None:
        accounts = self.read(tmp_path, htpasswd=f"# who\n\nada:{ADA}\nada:{ADA[:-1]}x\n", tokens_file="")
        assert accounts.hashes == {"ada": ADA.encode()}

    def test_tokens_stand_on_lines(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, tokens_file=f"# of ci\n{TOKEN}\n\n  another-token-of-length  \n").tokens == (
            TOKEN,
            "another-token-of-length",
        )

    @pytest.mark.parametrize(
        "line",
        [
            "ada:$apr1$salt$hash",
            "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "ada:lovelace",
            "ada",
            f":{ADA}",
            f"ada:{ADA}x",
            f"ada:$2y$04${'x' * 53}",
        ],
    )
    def test_a_password_that_is_no_bcrypt_is_named_by_its_line_and_not_told(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(SettingsError, match=r"htpasswd: .*, line 2: only USER:HASH with a bcrypt hash") as caught:
            self.read(tmp_path, htpasswd=f"bob:{ADA}\n{line}\n")
        assert "lovelace" not in str(caught.value)

    @pytest.mark.parametrize("token", ["short", "with a blank in the middle", "with:a:colon:in:the:middle"])
    def test_a_weak_token_is_named_by_its_line_and_not_told(self, tmp_path: Path, token: str) -> None:
        with pytest.raises(SettingsError, match=r"tokens_file: .*, line 1: a token h") as caught:
            self.read(tmp_path, tokens_file=token)
        assert token not in str(caught.value)

    def test_files_that_name_nobody_are_no_accounts(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="nobody would be let in"):
            self.read(tmp_path, htpasswd="# soon\n")

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"\[access\] htpasswd: .*none cannot be read"):
            read_accounts(AccessSection.model_validate({"htpasswd": tmp_path / "none"}))
        (tmp_path / "latin").write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match="not UTF-8"):
            read_accounts(AccessSection.model_validate({"htpasswd": tmp_path / "latin"}))
