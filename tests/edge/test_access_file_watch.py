"""A changed file is read once nobody writes to it any more."""

import pytest

from proxy.server.access.file_watch import Change, FileWatch, Marks


def marks(state: str) -> Marks:
    """Return what a file with this much in it is known by."""
    return ((ord(state), 0, 0),)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("aaa", "..."),
        ("abb", ".sr"),
        ("abbbbcc", ".sr..sr"),
        ("abcc", ".ssr"),
        ("aba", ".s."),
        ("abab", ".s.s"),
        ("abcdefghijkk", ".sssscsssscr"),
    ],
)
def test_a_change_is_read_when_two_looks_see_the_same(states: str, expected: str) -> None:
    words = {".": Change.NONE, "s": Change.LOOK_SOON, "r": Change.READ, "c": Change.READ_COMPLETE_LINES}
    watch = FileWatch(marks("a"))
    assert [watch.look(marks(each)) for each in states] == [words[each] for each in expected]


def test_without_a_state_that_was_read_the_first_one_is_a_change() -> None:
    watch = FileWatch(None)
    assert [watch.look(marks("a")) for _ in range(3)] == [Change.LOOK_SOON, Change.READ, Change.NONE]
