"""Who is let in, and what guessing brings: nothing, not even a hint, and it shuts nobody else out."""

import asyncio
import base64
import hashlib
import hmac
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import bcrypt
import pytest

from proxy.config import AccessSection, SettingsError
from proxy.core.errors import TooManyRequests, TooManySignIns
from proxy.server.access import doorkeeper as module
from proxy.server.access import file_watch
from proxy.server.access.accounts import Accounts, marks_of, read_accounts, read_accounts_as_of, read_accounts_at_rest
from proxy.server.access.cores import usable_cores
from proxy.server.access.doorkeeper import Doorkeeper
from proxy.server.access.sign_in_queue import OF_ONE_USER, OF_ONE_USER_AND_CLIENT
from tests.waiting import BEYOND_ANY_TEST, until

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
            self._free.wait()
            return checkpw(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", counted)
        self.hold, self.let_go = self._free.clear, self._free.set


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    checks = Checks(monkeypatch)
    yield checks
    # Also where a test fails while it holds them: Python ends with its threads.
    checks.let_go()


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
    await until(lambda: checks.count == 2)
    keeper.change(Accounts((), {"bob": ADA.encode()}))
    asked_again = asyncio.create_task(keeper.knows(basic("ada", "lovelace"), "")) if meanwhile else None
    await asyncio.sleep(0)
    checks.let_go()
    assert asked_again is None or not await asked_again
    await under_way
    assert not await keeper.knows(basic("ada", "lovelace"), "")
    assert not await keeper.knows(f"Bearer {TOKEN}", "")
    assert await keeper.knows(basic("bob", "lovelace"), "")


async def test_when_the_last_user_is_struck_off_all_who_wait_are_refused_and_no_thread_is_lost(checks: Checks) -> None:
    keeper = Doorkeeper(Accounts((TOKEN,), {"ada": ADA.encode()}), threads=1)
    checks.hold()
    asked = [asyncio.create_task(keeper.knows(basic(user, "lovelace"), user)) for user in ("ada", "bob", "eve", "joe")]
    await until(lambda: checks.count == 1 and len(keeper._queue) == 3)
    keeper.change(Accounts((TOKEN,), {}))
    checks.let_go()
    assert await asyncio.gather(*asked) == [False] * 4
    assert checks.count == 1
    assert await keeper.knows(f"Bearer {TOKEN}", "")
    keeper.change(Accounts((TOKEN,), {"ada": ADA.encode()}))
    assert await keeper.knows(basic("ada", "lovelace"), "")
    keeper.close()


USERS = 12


def hashes(count: int, cost: int = 4) -> dict[str, bytes]:
    """Give so many users the password of their own name."""
    return {f"user-{number}": bcrypt.hashpw(f"user-{number}".encode(), bcrypt.gensalt(cost)) for number in range(count)}


async def test_as_many_passwords_are_checked_at_once_as_there_are_threads(checks: Checks) -> None:
    keeper = Doorkeeper(Accounts((), hashes(USERS)), threads=3)
    checks.hold()
    asked = [asyncio.create_task(keeper.knows(basic(f"user-{number}", f"user-{number}"), "office")) for number in range(USERS)]
    await until(lambda: checks.count == 3)
    assert keeper._under_way == 3
    checks.let_go()
    assert all(await asyncio.gather(*asked))
    assert checks.count == USERS
    keeper.close()


async def test_somebody_unknown_costs_as_much_as_the_dearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[bytes] = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda _, hashed: bool(costs.append(hashed[4:6])))
    cheap, dear = ADA.encode(), bcrypt.hashpw(b"x", bcrypt.gensalt(6))
    for known in ({"ada": cheap, "bob": dear, "eve": cheap}, {"bob": dear, "ada": cheap}):
        keeper = Doorkeeper(Accounts((), known))
        assert not await keeper.knows(basic("nobody", "x"), "")
        keeper.close()
    assert costs == [b"06", b"06"]


async def test_a_yes_outlives_a_file_that_is_read_again_and_a_no_does_not(keeper: Doorkeeper, checks: Checks) -> None:
    assert await keeper.knows(basic("ada", "lovelace"), "")
    assert not await keeper.knows(basic("ada", "wrong"), "")
    keeper.change(Accounts((TOKEN,), {"bob": ADA.encode(), "ada": ADA.encode()}))
    assert await keeper.knows(basic("ada", "lovelace"), "")
    assert checks.count == 2
    assert not await keeper.knows(basic("ada", "wrong"), "")
    assert checks.count == 3
    again = bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4))
    keeper.change(Accounts((TOKEN,), {"ada": again}))
    assert await keeper.knows(basic("ada", "lovelace"), "")
    assert checks.count == 4


async def test_a_yes_in_use_is_renewed_before_it_ends_and_nobody_waits_for_it(keeper: Doorkeeper, checks: Checks, clock: Clock) -> None:
    assert await keeper.knows(basic("ada", "lovelace"), "")
    clock.now = 290.0
    checks.hold()
    for _ in range(3):
        assert await keeper.knows(basic("ada", "lovelace"), "")
    await until(lambda: checks.count == 2)
    checks.let_go()
    await until(lambda: not keeper._checks)
    clock.now = 450.0
    assert await keeper.knows(basic("ada", "lovelace"), "")
    assert checks.count == 2


async def test_whoever_was_right_before_is_checked_before_all_who_guess(checks: Checks, clock: Clock) -> None:
    keeper = Doorkeeper(Accounts((), {"ada": ADA.encode()}), clock=clock, threads=1)
    assert await keeper.knows(basic("ada", "lovelace"), "home")
    clock.now = 301.0
    checks.hold()
    order: list[str] = []

    async def ask(user: str, client: str) -> None:
        with suppress(TooManyRequests):
            await keeper.knows(basic(user, "lovelace"), client)
            order.append(user)

    guesses = [asyncio.create_task(ask(f"nobody-{number}", f"address-{number % 9}")) for number in range(100)]
    await until(lambda: checks.count == 2)
    regular = asyncio.create_task(ask("ada", "address-1"))
    await asyncio.sleep(0)
    checks.let_go()
    await asyncio.gather(regular, *guesses)
    assert order.index("ada") <= 1
    keeper.close()


async def test_a_password_whose_turn_does_not_come_is_refused_and_can_be_sent_again(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    keeper = Doorkeeper(Accounts((), hashes(2)), threads=1)
    checks.hold()
    first = asyncio.create_task(keeper.knows(basic("user-0", "user-0"), ""))
    await until(lambda: checks.count == 1)
    with pytest.raises(TooManySignIns) as refused:
        await keeper.knows(basic("user-1", "user-1"), "")
    assert refused.value.seconds > 0
    checks.let_go()
    # The one that was under way had its time.
    assert await first
    assert await keeper.knows(basic("user-1", "user-1"), "")
    keeper.close()


@pytest.mark.parametrize("how", ["cancelled", "gone"])
async def test_a_password_for_which_nobody_waits_any_more_is_not_checked(checks: Checks, how: str) -> None:
    keeper = Doorkeeper(Accounts((), hashes(3)), threads=1)
    checks.hold()
    first = asyncio.create_task(keeper.knows(basic("user-0", "user-0"), ""))
    await until(lambda: checks.count == 1)
    connected = True
    leaves = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), "", lambda: connected))
    stays = asyncio.create_task(keeper.knows(basic("user-2", "user-2"), ""))
    await asyncio.sleep(0)
    assert len(keeper._queue) == 2
    if how == "cancelled":
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        assert len(keeper._queue) == 1
    connected = False
    checks.let_go()
    assert await first
    assert await stays
    await asyncio.gather(leaves, return_exceptions=True)
    assert checks.count == 2
    assert not keeper._checks
    keeper.close()


async def test_each_request_waits_its_own_time_also_if_others_with_the_same_password_come_later(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Doorkeeper(Accounts((), hashes(2)), threads=1)
    checks.hold()
    under_way = asyncio.create_task(keeper.knows(basic("user-0", "user-0"), ""))
    await until(lambda: checks.count == 1)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    early = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), ""))
    await until(lambda: len(keeper._queue) == 1)
    monkeypatch.setattr(module, "_PATIENCE", BEYOND_ANY_TEST)
    late = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), ""))
    with pytest.raises(TooManySignIns):
        await early
    assert not late.done()
    assert len(keeper._queue) == 1
    checks.let_go()
    assert await asyncio.gather(under_way, late) == [True, True]
    keeper.close()


async def test_a_client_that_goes_away_frees_its_place_while_others_wait_on(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_FOR_GONE_EVERY", 0.02)
    keeper = Doorkeeper(Accounts((), hashes(2)), threads=1)
    checks.hold()
    gone = False

    def guess(number: int) -> "asyncio.Task[bool]":
        return asyncio.create_task(keeper.knows(basic("user-1", f"guess {number}"), "home", lambda: not gone))

    under_way = asyncio.create_task(keeper.knows(basic("user-0", "user-0"), "office"))
    await until(lambda: checks.count == 1)
    guesses = [guess(number) for number in range(OF_ONE_USER_AND_CLIENT)]
    # Somebody else still waits for one of them.
    kept = asyncio.create_task(keeper.knows(basic("user-1", "guess 0"), "home"))
    await until(lambda: len(keeper._queue) == OF_ONE_USER_AND_CLIENT)
    with pytest.raises(TooManySignIns):
        await guess(99)
    gone = True
    await until(lambda: len(keeper._queue) == 1)
    right = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), "home"))
    await until(lambda: len(keeper._queue) == 2)
    checks.let_go()
    assert await asyncio.gather(under_way, right, kept) == [True, True, False]
    await asyncio.gather(*guesses, return_exceptions=True)
    assert checks.count == 3
    keeper.close()


async def test_a_client_that_hangs_up_and_asks_again_at_once_keeps_its_place(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_FOR_GONE_EVERY", BEYOND_ANY_TEST)
    keeper = Doorkeeper(Accounts((), hashes(3)), threads=1)
    checks.hold()
    under_way = asyncio.create_task(keeper.knows(basic("user-0", "user-0"), "office"))
    await until(lambda: checks.count == 1)
    connected = True
    first = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), "home", lambda: connected))
    await until(lambda: len(keeper._queue) == 1)
    (check,) = (each for each in keeper._checks.values() if each.waits)
    connected = False
    keeper._look_for_gone()
    again = asyncio.create_task(keeper.knows(basic("user-1", "user-1"), "home"))
    await until(lambda: len(check.present) == 2)
    keeper._look_for_gone()
    assert check.waits
    checks.let_go()
    assert await asyncio.gather(under_way, first, again) == [True] * 3
    assert checks.count == 2
    keeper.close()


async def test_a_token_waits_for_no_password(keeper: Doorkeeper, checks: Checks) -> None:
    checks.hold()
    waiting = asyncio.create_task(keeper.knows(basic("ada", "lovelace"), ""))
    await until(lambda: checks.count == 1)
    assert await keeper.knows(f"Bearer {TOKEN}", "")
    assert not waiting.done()
    checks.let_go()
    assert await waiting


async def test_a_token_may_stand_in_the_file_as_its_digest() -> None:
    keeper = Doorkeeper(Accounts((), {}, hashed_tokens=(hashlib.sha256(TOKEN.encode()).digest(),)))
    assert await keeper.knows(f"Bearer {TOKEN}", "")
    assert await keeper.knows(basic("x", TOKEN), "")
    assert not await keeper.knows(f"Bearer {TOKEN[:-1]}", "")
    assert not await keeper.knows(f"Bearer {hashlib.sha256(TOKEN.encode()).hexdigest()}", "")
    keeper.close()


class TestCores:
    """As many threads as the process has cores."""

    def test_without_a_bound_of_the_container_it_is_the_cores_of_the_process(self, tmp_path: Path) -> None:
        assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))

    @pytest.mark.parametrize(("quota", "expected"), [("max 100000", None), ("50000 100000", 1), ("150000 100000", 2), ("100000 0", None)])
    def test_the_quota_of_a_container_is_a_bound(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int | None
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
        (tmp_path / "cpu.max").write_text(f"{quota}\n", encoding="ascii")
        assert usable_cores(tmp_path) == (expected or 16)
        (tmp_path / "cpu.max").unlink()
        (tmp_path / "cpu").mkdir()
        for name, value in zip(("cpu.cfs_quota_us", "cpu.cfs_period_us"), quota.replace("max", "-1").split(), strict=True):
            (tmp_path / "cpu" / name).write_text(f"{value}\n", encoding="ascii")
        assert usable_cores(tmp_path) == (expected or 16)


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

    def test_a_hashed_token_is_read_and_the_beginning_of_one_is_none(self, tmp_path: Path) -> None:
        digest = hashlib.sha256(TOKEN.encode())
        line = f"sha256:{digest.hexdigest()}"
        accounts = self.read(tmp_path, tokens_file=f"{line}\nsha256:{digest.hexdigest().upper()}")
        assert accounts.hashed_tokens == (digest.digest(), digest.digest())
        assert accounts.tokens == ()
        for length in range(1, len(line)):
            with pytest.raises(SettingsError) as caught:
                self.read(tmp_path, tokens_file=f"{TOKEN}\n{line[:length]}")
            assert "line 2" in str(caught.value)
            assert length < 20 or line[:length] not in str(caught.value)

    def test_the_beginning_of_a_user_with_a_hash_is_never_one(self, tmp_path: Path) -> None:
        for length in range(1, len(f"bob:{ADA}")):
            with pytest.raises(SettingsError):
                self.read(tmp_path, htpasswd=f"ada:{ADA}\n{f'bob:{ADA}'[:length]}")

    @pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
    def test_a_file_at_rest_counts_to_its_end_with_or_without_a_line_break(
        self, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it was written long ago"))
        (tmp_path / "tokens").write_text(f"{TOKEN}{ending}", encoding="utf-8")
        os.utime(tmp_path / "tokens", (1e9, 1e9))
        section = AccessSection.model_validate({"tokens_file": tmp_path / "tokens"})
        accounts = read_accounts_at_rest(section)
        assert (accounts.tokens, accounts.cut_short) == ((TOKEN,), ())

    def test_a_file_without_a_line_break_that_was_just_written_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "tokens"
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) < 3:
                with file.open("a", encoding="utf-8") as more:
                    more.write("abcdef")

        monkeypatch.setattr(time, "sleep", sleep)
        file.write_text(TOKEN, encoding="utf-8")
        section = AccessSection.model_validate({"tokens_file": file})
        assert read_accounts_at_rest(section).tokens == (f"{TOKEN}abcdefabcdef",)
        assert waited == [file_watch.AT_REST] * 3

    def test_of_a_file_that_is_written_to_all_the_time_whole_lines_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "tokens"

        def sleep(_: float) -> None:
            with file.open("a", encoding="utf-8") as more:
                more.write("abcdef")

        monkeypatch.setattr(time, "sleep", sleep)
        file.write_text(f"{TOKEN}\nanother-token-of-length", encoding="utf-8")
        accounts = read_accounts_at_rest(AccessSection.model_validate({"tokens_file": file}))
        assert (accounts.tokens, accounts.cut_short) == ((TOKEN,), (file,))

    @pytest.mark.parametrize("moment", ["before", "while", "at the end"])
    @pytest.mark.parametrize("written", ["another-token", "half", ""], ids=["half a token", "less than one", "nothing"])
    def test_what_somebody_begins_to_write_while_it_is_read_does_not_count(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, written: str
    ) -> None:
        file = tmp_path / "tokens"
        file.write_text(f"{TOKEN}\n{TOKEN}2\n", encoding="utf-8")
        section = AccessSection.model_validate({"tokens_file": file})
        marks = marks_of(section)
        assert read_accounts_as_of(section, marks) is not None
        read_bytes = Path.read_bytes

        def begins_to_write() -> None:
            # As an editor does that writes the file anew.
            file.write_text(f"{TOKEN}\n{written}" if written else "", encoding="utf-8")

        def overtaken(path: Path) -> bytes:
            if moment == "while":
                begins_to_write()
            content = read_bytes(path)
            if moment == "at the end":
                begins_to_write()
            return content

        if moment == "before":
            begins_to_write()
        monkeypatch.setattr(Path, "read_bytes", overtaken)
        assert read_accounts_as_of(section, marks) is None

    def test_what_is_wrong_in_a_file_that_nobody_writes_to_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / "tokens"
        section = AccessSection.model_validate({"tokens_file": file})
        for content, why in (("", "nobody would be let in"), ("short", "a token h")):
            file.write_text(content, encoding="utf-8")
            with pytest.raises(SettingsError, match=why):
                read_accounts_as_of(section, marks_of(section))

    def test_half_a_letter_at_the_end_of_a_file_that_is_being_written_is_no_error(self, tmp_path: Path) -> None:
        file = tmp_path / "users"
        file.write_bytes(f"ada:{ADA}\r\nzo\u00eb".encode()[:-1])
        section = AccessSection.model_validate({"htpasswd": file})
        assert read_accounts(section, complete_lines_only=True).hashes == {"ada": ADA.encode()}
        with pytest.raises(SettingsError, match="not UTF-8"):
            read_accounts(section)

    @pytest.mark.parametrize(
        ("content", "replaced", "counts"),
        [
            (f"{TOKEN}\nanother-token-of", False, False),
            ("another-token-of", False, False),
            (f"{TOKEN}\nanother-token-of\n", False, True),
            (f"{TOKEN}\n# another-token-of", False, True),
            (f"{TOKEN}\nsha256:{'0' * 64}", False, True),
            ("another-token-of", True, True),
            (f"{TOKEN}\nanother-token-of", True, True),
        ],
    )
    def test_a_last_line_without_the_line_break_that_it_had_counts_only_in_another_file(
        self, tmp_path: Path, content: str, replaced: bool, counts: bool
    ) -> None:
        file, new = tmp_path / "tokens", tmp_path / "new"
        section = AccessSection.model_validate({"tokens_file": file})
        file.write_text(f"{TOKEN}\n", encoding="utf-8")
        before = read_accounts(section)
        (new if replaced else file).write_text(content, encoding="utf-8")
        if replaced:
            new.rename(file)
        if counts:
            assert read_accounts_as_of(section, marks_of(section), before) is not None
        else:
            with pytest.raises(SettingsError, match="no line break ends the last line any more"):
                read_accounts_as_of(section, marks_of(section), before)

    def test_a_file_that_never_had_a_line_break_at_its_end_needs_none(self, tmp_path: Path) -> None:
        file = tmp_path / "tokens"
        section = AccessSection.model_validate({"tokens_file": file})
        before = None
        for content in (TOKEN, "another-token-of-length", f"{TOKEN}\nanother-token-of-length"):
            file.write_text(content, encoding="utf-8")
            before = read_accounts_as_of(section, marks_of(section), before)
            assert before is not None

    @pytest.mark.parametrize(("age", "waits"), [(0.0, True), (10.0, False), (-3600.0, False)], ids=["now", "earlier", "in the future"])
    def test_only_a_file_that_was_written_just_now_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, waits: bool
    ) -> None:
        file = tmp_path / "tokens"
        file.write_text(TOKEN, encoding="utf-8")
        written = 1_700_000_000 * 10**9
        os.utime(file, ns=(written, written))
        monkeypatch.setattr(time, "time_ns", lambda: written + int(age * 1e9))
        waited: list[float] = []
        monkeypatch.setattr(time, "sleep", waited.append)
        assert read_accounts_at_rest(AccessSection.model_validate({"tokens_file": file})).tokens == (TOKEN,)
        assert bool(waited) is waits
