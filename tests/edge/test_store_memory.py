"""The parts of the store that touch nothing: the form of documents, the bounded memory, what waits to be written, the circuit."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.store.circuit import Circuit
from proxy.store.envelope import COMPRESSED_FROM, header_of, seal, unseal
from proxy.store.memory import ENTRY_COST, BoundedMemory
from proxy.store.pending import Change, Pending

Result = TypeVar("Result")


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs what must not wait for anything: it ends at its first step."""
    with pytest.raises(StopIteration) as ended:
        work.send(None)
    result: Result = ended.value.value
    return result


# The form of documents


@given(st.binary(max_size=3000), st.integers(1, 3))
def test_what_is_sealed_comes_back(document: bytes, times: int) -> None:
    document *= times
    assert unseal(seal(document, written=1.0, expires=3.0), now=2.0) == document


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_a_document_with_any_flipped_bit_in_its_content_is_absent(document: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(document, written=1.0, expires=3.0))
    header = len(seal(b"", written=1.0, expires=3.0))
    sealed[data.draw(st.integers(header, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert unseal(bytes(sealed), now=2.0) is None


@given(st.binary(max_size=200))
def test_bytes_of_anyone_else_are_absent_and_no_error(anything: bytes) -> None:
    assert unseal(anything, now=0.0) is None


def test_another_version_of_the_form_is_absent() -> None:
    sealed = bytearray(seal(b"from the future", written=1.0, expires=3.0))
    sealed[4] += 1
    assert header_of(bytes(sealed)) is None
    assert unseal(bytes(sealed), now=2.0) is None


def test_a_document_is_absent_from_the_moment_it_expires() -> None:
    sealed = seal(b"page", written=1.0, expires=3.0)
    assert unseal(sealed, now=2.999) == b"page"
    assert unseal(sealed, now=3.0) is None


def test_only_documents_worth_it_are_compressed() -> None:
    header = len(seal(b"", written=1.0, expires=3.0))
    assert len(seal(b"a" * COMPRESSED_FROM, written=1.0, expires=3.0)) == header + COMPRESSED_FROM
    assert len(seal(b"a" * (COMPRESSED_FROM + 1), written=1.0, expires=3.0)) < 100


# The bounded memory


KEYS = st.sampled_from(["a", "b", "c", "default/tornado", "ü"])


class BoundedMemoryAgainstADict(RuleBasedStateMachine):
    """A dict in order of use, from which the first is taken while the sum is too large, is all that the memory may be."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = 5 * ENTRY_COST
        self.memory = BoundedMemory(self.limit, clock=lambda: self.now)
        self.model: dict[str, tuple[bytes, float]] = {}

    def cost(self) -> int:
        return sum(len(key) + len(value) + ENTRY_COST for key, (value, _until) in self.model.items())

    @rule(key=KEYS, value=st.integers(0, 6 * ENTRY_COST).map(bytes), ttl=st.none() | st.floats(0.5, 5))
    def set(self, key: str, value: bytes, ttl: float | None) -> None:
        at_once(self.memory.set(key, value, ttl=ttl))
        self.model.pop(key, None)
        if len(key) + len(value) + ENTRY_COST <= self.limit:
            self.model[key] = (value, float("inf") if ttl is None else self.now + ttl)
            while self.cost() > self.limit:
                del self.model[next(iter(self.model))]

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        value, until = self.model.pop(key, (None, 0.0))
        if value is not None and until > self.now:
            self.model[key] = (value, until)
        else:
            value = None
        assert at_once(self.memory.get(key)) == value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert at_once(self.memory.delete(key)) == (1 if self.model.pop(key, None) is not None else 0)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def age(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        assert 0 <= self.memory.age(key) <= self.now

    @invariant()
    def the_bound_holds_and_the_sum_is_right(self) -> None:
        assert self.memory.size == self.cost() <= self.limit
        assert len(self.memory) == len(self.model)


BoundedMemoryAgainstADict.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBoundedMemoryAgainstADict = BoundedMemoryAgainstADict.TestCase


def test_the_memory_speaks_aiocaches_other_verbs_too() -> None:
    memory = BoundedMemory(10_000)
    at_once(memory.multi_set([("a", b"1"), ("b", b"2")]))
    assert at_once(memory.multi_get(["a", "x", "b"])) == [b"1", None, b"2"]
    assert at_once(memory.multi_get([])) == []
    assert at_once(memory.add("c", b"3")) is True
    with pytest.raises(ValueError, match="already exists"):
        memory.add("a", b"other").send(None)
    assert at_once(memory.exists("c"))
    assert not at_once(memory.exists("x"))


def test_the_bound_holds_under_ten_thousand_documents_and_the_last_ones_stay() -> None:
    memory = BoundedMemory(100_000)
    largest = 0
    for number in range(10_000):
        at_once(memory.set(f"default/project-{number}", bytes(number % 3000)))
        largest = max(largest, memory.size)
    assert largest <= 100_000
    assert at_once(memory.exists("default/project-9999"))
    assert not at_once(memory.exists("default/project-0"))


# What waits to be written


def put(slot: str, size: int = 0) -> Change:
    return Change(slot, 0.0, 1.0, document=bytes(size))


def test_the_last_change_of_a_document_wins_and_keeps_its_place() -> None:
    pending = Pending(1_000_000)
    for change in (put("a", 1), put("b", 1), put("a", 2)):
        pending.add(change)
    assert [(change.slot, change.document) for change in pending.batch(10, 10_000, fresh_only=True)] == [("a", bytes(2)), ("b", bytes(1))]


def test_a_change_that_was_overtaken_while_it_was_written_still_waits() -> None:
    pending = Pending(1_000_000)
    first, second = put("a", 1), put("a", 2)
    pending.add(first)
    pending.add(second)
    pending.done(first)
    assert not pending.settle(first, Change("a", 0.0, 1.0, sealed=b"1"))
    assert pending.get("a") is second
    pending.done(second)
    assert (len(pending), pending.size) == (0, 0)


def test_what_waits_is_bounded_the_oldest_goes_first_and_forgetting_last() -> None:
    pending = Pending(10 * ENTRY_COST)
    pending.add(Change("forget", 0.0, 0.0))
    dropped = sum(pending.add(put(f"put-{number:02}")) for number in range(20))
    assert pending.size <= 10 * ENTRY_COST
    assert dropped == 21 - len(pending)
    assert pending.get("forget") is not None
    assert pending.get("put-00") is None
    assert pending.get("put-19") is not None


def test_the_newest_change_waits_however_large_it_is() -> None:
    pending = Pending(1000)
    pending.add(put("small"))
    assert pending.add(put("large", 100_000)) == 1
    assert pending.get("large") is not None


def test_a_batch_is_bounded_in_documents_and_in_bytes() -> None:
    pending = Pending(1_000_000)
    for number in range(10):
        pending.add(put(str(number), 1000))
    assert len(pending.batch(3, 1_000_000, fresh_only=False)) == 3
    assert len(pending.batch(10, 3000, fresh_only=False)) == 3


# The circuit


def test_the_pause_doubles_with_each_failure_up_to_its_bound_and_is_forgotten_after_real_work() -> None:
    circuit = Circuit(first_pause=1.0, longest_pause=5.0)
    circuit.failed()
    pauses = [circuit.pause]
    for _ in range(4):
        circuit.tried_in_vain()
        pauses.append(circuit.pause)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]
    circuit.reached()
    circuit.worked()
    circuit.failed()
    assert circuit.pause == 1.0


def test_calls_that_were_under_way_when_it_went_away_are_one_outage_even_where_they_fail_after_its_return() -> None:
    circuit = Circuit(first_pause=1.0, longest_pause=60.0)
    began = circuit.outages
    for _ in range(50):
        circuit.failed(began)
    assert (circuit.open, circuit.pause, circuit.outages) == (True, 1.0, 1)
    circuit.reached()
    circuit.worked()
    assert not circuit.failed(began)
    assert not circuit.open
    assert circuit.failed(circuit.outages)
    assert circuit.open


def test_a_backend_that_answers_a_ping_and_hangs_again_is_no_news_and_waits_longer() -> None:
    circuit = Circuit(first_pause=1.0, longest_pause=60.0)
    assert circuit.failed()
    circuit.reached()
    assert not circuit.open
    assert not circuit.failed()
    assert circuit.pause == 2.0


def test_its_return_is_news_once() -> None:
    circuit = Circuit()
    assert not circuit.worked()
    circuit.failed()
    circuit.reached()
    assert circuit.worked()
    assert not circuit.worked()
