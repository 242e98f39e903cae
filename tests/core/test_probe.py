"""The probe: one HEAD where HEAD is believable, one ranged byte where it is not."""

import pytest

from proxy.core.flows.evidence import Asked, Beginning, beginning_of, content_range, evidence_of, whole_length
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.core.flows.probe import plain_probe, probe
from tests.core.conversations import converse

URL = "https://mirror.example.com/packages/a-1.0-py3-none-any.whl"


def test_a_good_head_is_all_that_is_asked() -> None:
    evidence, asked = converse(probe(URL, size=10), [Answer(200, {"content-length": "10"}, at=5.0)])
    assert asked == [Ask(Method.HEAD, URL)]
    assert (evidence.asked, evidence.status, evidence.length, evidence.at) == (Asked.HEAD, 200, 10, 5.0)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 451, 500, 501])
def test_a_denial_of_head_is_never_believed_but_asked_again_with_one_ranged_byte(status: int) -> None:
    evidence, asked = converse(probe(URL), [Answer(status), Answer(206, {"content-range": "bytes 0-0/77"})])
    assert asked[1] == Ask(Method.GET, URL, first=0, last=0, read=1)
    assert (evidence.asked, evidence.status, evidence.length) == (Asked.RANGE, 206, 77)


@pytest.mark.parametrize("status", [401, 407, 408, 425, 429, 502, 503, 504])
def test_what_passes_is_not_asked_again_by_the_probe_itself(status: int) -> None:
    evidence, asked = converse(probe(URL), [Answer(status)])
    assert len(asked) == 1
    assert evidence.status == status


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/html; charset=utf-8"}, {"content-length": "0"}, {"content-length": "9"}],
    ids=["a page", "nothing", "too short"],
)
def test_a_head_that_tells_of_no_distribution_file_is_checked_by_a_get(headers: dict[str, str]) -> None:
    _, asked = converse(probe(URL, size=10), [Answer(200, headers), Answer(404)])
    assert [ask.method for ask in asked] == [Method.HEAD, Method.GET]


@pytest.mark.parametrize("headers", [{"content-type": "text/html"}, {"content-length": "0"}, {"content-length": "9"}])
def test_what_looks_like_no_distribution_file_is_told_by_its_first_bytes(headers: dict[str, str]) -> None:
    wheel = Answer(206, {"content-type": "text/html", "content-range": "bytes 0-7/77"}, b"PK\x03\x04....")
    evidence, asked = converse(probe(URL, size=10), [Answer(200, headers), wheel])
    assert asked[1] == Ask(Method.GET, URL, first=0, last=7, read=8)
    assert evidence.begins is Beginning.ARCHIVE


def test_a_ranged_answer_that_looks_like_a_page_is_asked_for_its_first_bytes_too() -> None:
    page = Answer(200, {"content-type": "text/html"}, b"<")
    evidence, asked = converse(probe(URL, head=False), [page, Answer(200, {"content-type": "text/html"}, b"<!DOCTYP")])
    assert [ask.last for ask in asked] == [0, 7]
    assert evidence.begins is Beginning.TEXT


def test_an_ordinary_get_is_hung_up_on_after_the_first_bytes() -> None:
    evidence, asked = converse(plain_probe(URL), [Answer(200, {"content-length": "77"}, b"\x1f\x8b\x08\0\0\0\0\0")])
    assert asked == [Ask(Method.GET, URL, read=8)]
    assert (evidence.asked, evidence.length, evidence.begins) == (Asked.GET, 77, Beginning.GZIP)


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (b"", Beginning.UNREAD),
        (b"P", Beginning.UNREAD),
        (b"PK\x03\x04", Beginning.ARCHIVE),
        (b"\x1f\x8b\x08", Beginning.GZIP),
        (b"BZh91AY", Beginning.ARCHIVE),
        (b"<html>", Beginning.TEXT),
        (b"\xef\xbb\xbf  \r\n<!DOC", Beginning.TEXT),
        (b'{"errors', Beginning.TEXT),
        (b"PKWARE i", Beginning.OTHER),
        (b"Please l", Beginning.OTHER),
    ],
)
def test_the_first_bytes_tell_an_archive_from_a_page(body: bytes, begins: Beginning) -> None:
    assert beginning_of(body) is begins


def test_the_first_bytes_of_a_coded_body_tell_nothing() -> None:
    coded = Answer(200, {"content-encoding": "gzip"}, b"\x1f\x8b\x08\0\0\0\0\0")
    assert evidence_of(Asked.GET, coded).begins is Beginning.UNREAD


@pytest.mark.parametrize(("first", "begins"), [(0, Beginning.TEXT), (100, Beginning.OTHER)])
def test_the_first_bytes_of_a_later_part_tell_nothing(first: int, begins: Beginning) -> None:
    part = Answer(206, {"content-range": f"bytes {first}-{first + 3}/200"}, b"<a> ")
    assert evidence_of(Asked.RANGE, part).begins is begins


def test_no_answer_leaves_its_trouble_in_the_evidence() -> None:
    evidence, _ = converse(probe(URL), [NoAnswer(Trouble.TIMEOUT, at=3.0)])
    assert (evidence.status, evidence.trouble, evidence.at) == (None, "timeout", 3.0)


def test_a_mirror_whose_head_lies_is_asked_for_one_byte_at_once() -> None:
    _, asked = converse(probe(URL, head=False), [Answer(206)])
    assert [ask.method for ask in asked] == [Method.GET]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-0/10", (0, 0, 10)),
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes */10", (0, -1, 10)),
        ("bytes 5-10/10", None),
        ("bytes 6-5/10", None),
        ("bytes 0-0/*", None),
        ("items 0-0/10", None),
        ("", None),
    ],
)
def test_only_a_sound_content_range_is_understood(value: str, expected: tuple[int, int, int] | None) -> None:
    assert content_range(Answer(206, {"content-range": value})) == expected


def test_an_encoded_body_tells_nothing_of_the_length_of_the_file() -> None:
    assert whole_length(Answer(200, {"content-length": "10", "content-encoding": "gzip"})) is None
    assert whole_length(Answer(200, {"content-length": "10", "content-encoding": "identity"})) == 10


GOOD = Answer(200, {"content-length": "10"})


def test_a_head_that_is_not_believed_is_followed_by_a_get() -> None:
    evidence, asked = converse(probe(URL, size=10, believe_head=False), [GOOD, Answer(206, {"content-range": "bytes 0-0/10"})])
    assert [ask.method for ask in asked] == [Method.HEAD, Method.GET]
    assert (evidence.asked, evidence.status, evidence.head) == (Asked.RANGE, 206, 200)


@pytest.mark.parametrize("reply", [Answer(503), NoAnswer(Trouble.TIMEOUT)])
def test_so_is_one_that_fails(reply: Answer | NoAnswer) -> None:
    evidence, _ = converse(probe(URL, believe_head=False), [reply, Answer(206, {"content-range": "bytes 0-0/10"})])
    assert (evidence.status, evidence.head) == (206, reply.status if isinstance(reply, Answer) else 0)


@pytest.mark.parametrize("denial", [Answer(404), Answer(403), Answer(200, {"content-length": "0"})], ids=["404", "403", "nothing"])
def test_where_head_promises_what_a_range_is_denied_an_ordinary_get_decides(denial: Answer) -> None:
    replies = {
        (Method.HEAD, False): GOOD,
        (Method.GET, True): denial,
        (Method.GET, False): Answer(200, {"content-length": "10"}, b"PK\3\4...."),
    }
    evidence, asked = converse(probe(URL, size=10, believe_head=False), lambda ask: replies[ask.method, ask.first is not None])
    assert (evidence.asked, evidence.status, evidence.head) == (Asked.GET, 200, 200)
    assert asked[-1].first is None
    replies[Method.GET, False] = Answer(404)
    evidence, _ = converse(probe(URL, size=10, believe_head=False), lambda ask: replies[ask.method, ask.first is not None])
    assert (evidence.asked, evidence.status, evidence.head) == (Asked.RANGE, denial.status, 200)
