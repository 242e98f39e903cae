"""The order in which passwords are checked: whoever guesses waits, and nobody waits for those who guess."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

from proxy.server.access.sign_in_queue import OF_ONE_USER, OF_ONE_USER_AND_CLIENT, Entry, QueueFull, SignInQueue

TAKES = 0.1
"""Seconds of virtual time that a check takes."""


@dataclass
class Simulation:
    """Checks passwords by `threads` in virtual time; a guesser has a new guess as soon as the queue has room, all of which are wrong."""

    threads: int = 2
    queue: SignInQueue = field(default_factory=SignInQueue)
    now: float = 0.0
    checked_at: dict[Entry, float] = field(default_factory=dict)
    refused: list[Entry] = field(default_factory=list)
    _running: list[tuple[float, int, Entry]] = field(default_factory=list)
    _guessers: list[Iterator[Entry]] = field(default_factory=list)
    _guesses: set[Entry] = field(default_factory=set)
    _number: Iterator[int] = field(default_factory=count)

    def guesser(self, client: str, name: Callable[[int], str | None]) -> None:
        """Let `client` guess at full speed; `name` gives the account that its nth guess is for, None for one that nobody has."""
        self._guessers.append(Entry(client, name(number)) for number in count())

    def sign_in(self, client: str, user: str, *, proven: bool = False) -> Entry:
        """Let somebody send the right password."""
        entry = Entry(client, user, proven)
        self._join(entry)
        return entry

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            self._guess()
            while len(self._running) < self.threads and (entry := self.queue.begin(self.now)) is not None:
                heapq.heappush(self._running, (self.now + TAKES, next(self._number), entry))
            if not self._running or self._running[0][0] > until:
                self.now = until
                return
            self.now, _, entry = heapq.heappop(self._running)
            self.checked_at[entry] = self.now
            self.queue.end(entry, self.now, wrong=entry in self._guesses)

    def _guess(self) -> None:
        for guesses in self._guessers:
            for _ in range(100):
                guess = next(guesses)
                self._guesses.add(guess)
                if not self._join(guess):
                    break

    def _join(self, entry: Entry) -> bool:
        try:
            left = self.queue.join(entry, self.now)
        except QueueFull:
            self.refused.append(entry)
            return False
        if left is not None:
            self.refused.append(left)
        return True


def longest_wait(simulation: Simulation, entries: list[Entry], began: float) -> float:
    """Return how long the last of them waited; fail if one was not checked."""
    assert not [each for each in entries if each in simulation.refused]
    return max(simulation.checked_at[each] for each in entries) - began


def test_an_office_signs_in_as_fast_as_passwords_can_be_checked() -> None:
    simulation = Simulation()
    office = [simulation.sign_in("office", f"user-{number}") for number in range(50)]
    simulation.run(60)
    assert longest_wait(simulation, office, 0) == pytest.approx(50 * TAKES / 2)


NAMES: dict[str, Callable[[int], str | None]] = {
    "names that nobody has": lambda _: None,
    "one user": lambda _: "user-7",
    "all users in turn": lambda number: f"user-{number % 50}",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("guessers", [9, 60])
def test_an_office_signs_in_while_others_guess(guessers: int, name: Callable[[int], str | None]) -> None:
    simulation = Simulation()
    for number in range(guessers):
        simulation.guesser(f"guesser-{number}", name)
    simulation.run(30)
    began = simulation.now
    office = [simulation.sign_in("office", f"user-{number}") for number in range(50)]
    simulation.run(60)
    # All of it takes 2.5 s without guessers.
    assert longest_wait(simulation, office, began) < 5.0


@pytest.mark.parametrize("name", [NAMES["names that nobody has"], NAMES["one user"]], ids=["names that nobody has", "one user"])
def test_an_office_signs_in_although_somebody_guesses_behind_its_own_address(name: Callable[[int], str | None]) -> None:
    simulation = Simulation()
    for client in ("office", *(f"guesser-{number}" for number in range(9))):
        simulation.guesser(client, name)
    simulation.run(30)
    began = simulation.now
    office = [simulation.sign_in("office", f"user-{number}") for number in range(50) if number != 7]
    simulation.run(60)
    assert longest_wait(simulation, office, began) < 12.0


def test_many_addresses_that_guess_one_user_hold_up_nobody_else() -> None:
    simulation = Simulation()
    # Each address guesses once and is never seen again.
    fresh = (Entry(f"address-{number}", "ada") for number in count())
    simulation._guessers.append(fresh)
    simulation.run(30)
    began = simulation.now
    bob = simulation.sign_in("home", "bob")
    simulation.run(10)
    assert longest_wait(simulation, [bob], began) <= 2 * TAKES


def test_a_password_that_was_right_before_is_next_whoever_waits() -> None:
    simulation = Simulation()
    for number in range(20):
        simulation.guesser(f"guesser-{number}", lambda number: f"user-{number % 50}")
    simulation.run(30)
    began = simulation.now
    # Also from an address and for a user that others guess.
    regulars = [simulation.sign_in("guesser-3", f"user-{number}", proven=True) for number in range(4)]
    simulation.run(10)
    assert longest_wait(simulation, regulars, began) <= 3 * TAKES


def test_clients_have_turns_however_many_passwords_one_of_them_sends() -> None:
    simulation = Simulation(threads=1)
    office = [simulation.sign_in("office", f"user-{number}") for number in range(40)]
    home = simulation.sign_in("home", "ada")
    simulation.run(60)
    assert simulation.checked_at[home] == pytest.approx(2 * TAKES)
    assert longest_wait(simulation, office, 0) == pytest.approx(41 * TAKES)


def test_users_of_one_client_have_turns() -> None:
    simulation = Simulation(threads=1)
    for number in range(10):
        simulation.sign_in("office", "ada" if number < 9 else "bob")
    simulation.run(60)
    assert [entry.user for entry in simulation.checked_at][:3] == ["ada", "bob", "ada"]


def test_what_was_wrong_is_forgiven_after_minutes() -> None:
    simulation = Simulation(threads=1)

    def first_after_guesses_of(guesser: str, other: str) -> str:
        for _ in range(4):
            simulation._guesses.add(simulation.sign_in(guesser, guesser))
        simulation.run(10)
        both = [simulation.sign_in(guesser, "ada"), simulation.sign_in(other, "bob")]
        simulation.run(10)
        return min(both, key=lambda each: simulation.checked_at[each]).client

    assert first_after_guesses_of("office", "home") == "home"
    simulation.run(600)
    assert first_after_guesses_of("home", "office") == "office"


def test_what_waits_is_bounded_for_a_user_a_client_and_in_all() -> None:
    queue = SignInQueue(waiting_at_most=300)

    def joined(clients: Callable[[int], str], users: Callable[[int], str | None]) -> int:
        for number in range(1000):
            try:
                queue.join(Entry(clients(number), users(number)), 0.0)
            except QueueFull:
                return number
        return 1000

    assert joined(lambda _: "a", lambda _: "ada") == OF_ONE_USER_AND_CLIENT
    assert joined(lambda _: "a", lambda _: None) == OF_ONE_USER_AND_CLIENT
    assert joined(str, lambda _: "ada") == OF_ONE_USER - OF_ONE_USER_AND_CLIENT
    before = len(queue)
    # One client has at most twice as many places as are free.
    assert joined(lambda _: "b", lambda number: f"b-{number}") < 2 * (300 - before)
    assert len(queue) < 300
    joined(lambda number: f"c-{number}", lambda number: f"c-{number}")
    assert len(queue) == 300
    for number in range(5000):
        # What was right before has places of its own.
        queue.join(Entry("d", f"d-{number}", proven=True), 0.0)
    assert len(queue) == 5300


def test_whoever_guessed_makes_room_for_somebody_who_did_not() -> None:
    simulation = Simulation(threads=1, queue=SignInQueue(waiting_at_most=30))
    for number in range(9):
        simulation.guesser(f"guesser-{number}", lambda number: f"user-{number % 50}")
    simulation.run(30)
    assert len(simulation.queue) >= 29
    began = simulation.now
    office = [simulation.sign_in("office", f"honest-{number}") for number in range(10)]
    simulation.run(10)
    assert longest_wait(simulation, office, began) <= 12 * TAKES


def test_who_left_is_forgotten_and_leaves_room() -> None:
    queue = SignInQueue()
    for _ in range(30):
        entries = [Entry("a", "ada") for _ in range(OF_ONE_USER_AND_CLIENT)]
        for each in entries:
            queue.join(each, 0.0)
        with pytest.raises(QueueFull):
            queue.join(Entry("a", "ada"), 0.0)
        for each in entries:
            queue.leave(each)
    assert len(queue._heap) < 50, "nothing of them is kept"
    assert queue.begin(0.0) is None
    assert len(queue) == 0


def test_what_is_remembered_of_clients_is_bounded() -> None:
    simulation = Simulation(threads=1)
    for number in range(12_000):
        entry = Entry(f"client-{number}", None)
        simulation.queue.join(entry, 0.0)
        assert simulation.queue.begin(0.0) is entry
        simulation.queue.end(entry, 0.0, wrong=True)
    assert len(simulation.queue._records) <= 10_000
    assert not simulation.queue._pending
    assert not simulation.queue._waiting_of
