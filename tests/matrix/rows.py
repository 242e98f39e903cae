"""The rows of the table of faults, and which test proves each; `python -m tests.matrix > docs/faults.md` writes them down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])


@dataclass(frozen=True)
class Row:
    """A fault of mirrors by its number, what is seen of it on the wire, what mirrormend does, and the test that proves it."""

    number: int
    fault: str
    answer: str
    test: str


ROWS: list[Row] = []


def row(number: int, fault: str, answer: str) -> Callable[[Test], Test]:
    """Says of a test which row of the table it proves."""

    def note(test: Test) -> Test:
        place = test.__module__.rpartition(".")[2]
        ROWS.append(Row(number, fault, answer, f"tests/matrix/{place}.py::{test.__name__}"))
        return test

    return note


_HEAD = """\
# Faults of mirrors

<!-- Made by `python -m tests.matrix > docs/faults.md`; change the tests in tests/matrix/ instead. -->

What real mirrors do wrong, what a client gets through mirrormend, and the test that shows it on a real socket.

| # | the fault | what mirrormend does | shown by |
|---|---|---|---|
"""


def document() -> str:
    """Gives the text of docs/faults.md."""
    rows = sorted(ROWS, key=lambda each: (each.number, each.test))
    return _HEAD + "".join(f"| {each.number} | {each.fault} | {each.answer} | `{each.test}` |\n" for each in rows)
