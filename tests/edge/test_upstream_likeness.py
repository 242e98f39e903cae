"""Heads that are alike are read by one pattern, and nothing is read otherwise than line by line."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.fastlane import likeness as module
from proxy.upstream.fastlane.answers import AnswerReader, parsed_head
from proxy.upstream.fastlane.likeness import Likeness, likeness
from proxy.upstream.fastlane.words import Malformed

_NAMES = ["Server", "Date", "Content-Type", "Content-Length", "ETag", "X-Checksum-Sha256", "Connection", "X-Odd"]
_VALUES = ["", "a", "nginx", "a b", "a  b", " a", "a ", "a\tb", "keep-alive", "close", "\xe9", "\x7f", '"6743-1"', "12", "x" * 300]


def head(*lines: str) -> bytes:
    """Gives a head of these lines, with a good status."""
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode("latin-1")


def read_on(reader: AnswerReader, data: bytes) -> tuple[bool, int, dict[str, str], bool, bool]:
    """Gives what a reader understands of the next answer to HEAD."""
    reader.expect(True, 0)
    return reader.feed(data), reader.status, reader.headers, reader.reusable, reader.excess


def learned(*heads: bytes) -> Likeness:
    """Gives the likeness that was learned of these heads."""
    module._known.clear()
    found = None
    for each in heads:
        status, headers = parsed_head(each[:-4])
        found = likeness(each[:-4], status, headers, reusable=True)
    assert found is not None
    return found


@given(
    st.lists(st.sampled_from(_NAMES), max_size=6).flatmap(
        lambda names: st.lists(
            st.tuples(*[st.sampled_from(_VALUES)] * len(names)).map(
                lambda values: head(*(f"{name}: {value}" for name, value in zip(names, values, strict=True)))
            ),
            min_size=1,
            max_size=12,
        )
    )
)
def test_a_reader_that_knows_likenesses_understands_what_a_new_one_does(heads: Sequence[bytes]) -> None:
    """Whatever came before, on a connection that goes on, each head is understood as by a reader that has seen none."""
    module._known.clear()
    reader = AnswerReader()
    for each in heads:
        fresh = AnswerReader()
        try:
            expected = read_on(fresh, each)
        except Malformed:
            with pytest.raises(Malformed):
                read_on(reader, each)
            reader = AnswerReader()
        else:
            assert read_on(reader, each) == expected


def test_the_second_head_teaches_what_differs_and_the_third_is_read_by_it() -> None:
    """Sizes and tags, and checksums that some products send with each file, are learned to differ."""
    known = learned(*(head("Server: s", f"ETag: {number}", f"X-Checksum-Sha256: {number}") for number in range(2)))
    assert known.read(head("Server: s", "ETag: 7", "X-Checksum-Sha256: 8")) == {"server": "s", "etag": "7", "x-checksum-sha256": "8"}
    assert known.status == 200


@pytest.mark.parametrize(
    "data",
    [
        head("Server: another", "ETag: 7"),
        head("ETag: 7", "Server: s"),
        head("Server: s", "ETag:  7"),
        head("Server: s", "ETag: 7 "),
        head("Server: s", "ETag: \xe9"),
        head("Server: s", "ETag: 7\n8"),
        head("Server: s", "ETag: 7", "More: m"),
        head("Server: s", "ETag: 7") + b"x",
        head("Server: s", "ETag: 7")[:-1],
        head("Server: s", "ETag: 7").replace(b"200", b"404"),
    ],
)
def test_what_is_not_alike_to_the_last_byte_is_read_line_by_line(data: bytes) -> None:
    """What needs any care is none of the pattern's business."""
    known = learned(head("Server: s", "ETag: 1"), head("Server: s", "ETag: 2"))
    assert known.read(head("Server: s", "ETag: 7")) == {"server": "s", "etag": "7"}
    assert known.read(data) is None


def test_heads_that_differ_in_what_becomes_of_the_connection_are_never_alike() -> None:
    """Whether a connection serves again is read anew for each answer."""
    one, other = head("Connection: keep-alive", "ETag: 1"), head("Connection: close", "ETag: 1")
    known = learned(one, other, one)
    assert known.read(one) is None
    assert known.read(other) is None


def test_a_body_after_such_a_head_is_noticed() -> None:
    """What follows an answer to HEAD cannot be told from the next answer, so the connection is not used again."""
    module._known.clear()
    reader = AnswerReader()
    for number in range(3):
        assert read_on(reader, head("Server: s", f"ETag: {number}"))[3:] == (True, False)
    assert read_on(reader, head("Server: s", "ETag: 4") + b"HTTP/1.1 200 OK\r\n\r\n")[3:] == (False, True)


def test_what_is_remembered_is_bounded_in_number_in_size_and_in_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that makes up ever new headers costs no more memory, and one whose headers always differ compiles no pattern any more."""
    module._known.clear()
    for number in range(3 * module._MEMORY):
        assert likeness(head(f"X-{number}: 1")[:-4], 200, {f"x-{number}": "1"}, reusable=True) is not None
    assert len(module._known) <= module._MEMORY
    assert likeness(head("X" * 4000 + ": 1")[:-4], 200, {"x" * 4000: "1"}, reusable=True) is None
    compiled = []
    original = module._pattern
    monkeypatch.setattr(module, "_pattern", lambda line, *, differs: compiled.append(line) or original(line, differs=differs))
    learned(*(head(*(f"X-{name}: {number if name <= number else 0}" for name in range(30))) for number in range(40)))
    assert len(compiled) <= module._TRIES * 31
