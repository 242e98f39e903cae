"""What must hold for whatever bytes come: from a mirror as pages, answers and files, from a client as headers.

Each promise takes what was sent, and raises AssertionError where it is broken; an exception of any other kind breaks it as well.
They are asked by hypothesis in `tests/property`, and by `python -m tests.fuzz`.
"""

import gzip
import html
import io
import json
import re
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from proxy.core.errors import PageUnreadable, UpstreamBroke, UpstreamOverLimit
from proxy.core.flows.evidence import Asked, evidence_of
from proxy.core.flows.exchange import Answer, Ask, Method, Reply
from proxy.core.flows.metadata import MetadataRead, metadata_copy, sdist_metadata, wheel_metadata
from proxy.core.identity import Identity
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import File, Page, normalised_name
from proxy.core.parse import parse_page
from proxy.core.parse.links import filename_of
from proxy.core.render import Form, choose_form, proxied_links, render_page
from proxy.core.render.pages import file_path
from proxy.core.requirements import required_projects, requirements, satisfies, specifiers_on
from proxy.core.verdict.client import client_platform, fitness, runs_on
from proxy.core.verdict.judge import Cause, VerdictRules, cause_of
from proxy.core.verdict.plan import plan
from proxy.core.verdict.settle import Policy, settle
from proxy.index.served import ENCODINGS
from proxy.server.encodings import choose_encoding
from proxy.server.pages import matches
from proxy.server.ranges import parse_range
from proxy.upstream.again import retry_after
from proxy.upstream.fastlane import FastLane, Unusual
from proxy.upstream.fastlane.answers import HEAD_LIMIT, LEFTOVER_LIMIT, AnswerReader
from proxy.upstream.fastlane.connection import Connection, Request
from proxy.upstream.fastlane.words import Malformed
from proxy.upstream.inflate import Inflater
from proxy.upstream.kinds import kind_by_headers
from proxy.upstream.said import said_in
from tests.core.conversations import converse, serving
from tests.core.files import each

PROJECT = "demo"
PAGE_URL = f"https://mirror.example.com/api/pypi/simple/{PROJECT}/"
FILE_URL = "https://mirror.example.com/packages/demo-1.0-py3-none-any.whl"
PAGE_LIMIT = 1024 * 1024
"""Bytes that a page may have once it is inflated: small here, so that a bomb shows itself."""

_DIGEST_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b": 64}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)", re.ASCII | re.IGNORECASE)
_LONGEST_LINE = 1024
_LONGEST_VALUE = 4096


def a_page_or_a_clear_error(body: bytes, content_type: str | None, coding: str, pieces: int = 4096) -> Page | None:
    """A mirror's answer for a page, in that content coding, is a page that clients can read, or a clear error; gives the page if it is one.

    `pieces` is how many bytes of it come at a time.
    """
    inflater = Inflater(PAGE_URL, coding, PAGE_LIMIT)
    try:
        for start in range(0, len(body), pieces):
            inflater.feed(body[start : start + pieces])
        inflated = inflater.finish()
    except (UpstreamBroke, UpstreamOverLimit) as error:
        one_line(error)
        return None
    assert len(inflated) <= PAGE_LIMIT
    try:
        page = parse_page(inflated, content_type, PAGE_URL, PROJECT, link_limit=5000)
    except (PageUnreadable, UpstreamOverLimit) as error:
        one_line(error)
        return None
    a_page_that_clients_can_read(page)
    return page


def one_line(error: Exception) -> None:
    """What is said of an error goes to a log line and into JSON."""
    said = str(error)
    assert said
    assert "\n" not in said
    json.dumps(said).encode("ascii")


def a_page_that_clients_can_read(page: Page) -> None:
    """It can be planned and settled, and what is rendered of it is valid in every form and says the same files."""
    mended = settle(page, {}, Policy("keep", "keep-sdist", 180.0))
    assert mended.page.files == page.files
    wanted = plan(page, {}, 1000.0, rules=VerdictRules(), budget=20)
    assert len(wanted.files) <= 20
    for file in page.files:
        sent_as_it_is(file)
    for offer in (True, None):
        entries_that_uv_accepts(rendered(page, Form.JSON, offer), page)
    for form in (Form.HTML, Form.LEGACY_HTML):
        anchors_that_lead_to_the_same(rendered(page, form, True), page)


def rendered(page: Page, form: Form, offer: bool | None) -> bytes:
    """The page as the proxy serves it."""
    return render_page(page, form, proxied_links(PROJECT), each(lambda file: offer and (file.core_metadata or True)))


def sent_as_it_is(file: File) -> None:
    """Its address can stand in a request line."""
    assert file.url.startswith(("https://", "http://"))
    assert not re.search(r"[\x00-\x20\x7f]", file.url)
    assert "#" not in file.url


def entries_that_uv_accepts(content: bytes, page: Page) -> None:
    """What one entry must be so that uv does not refuse the whole page."""

    def no_number(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    said: Any = json.loads(content.decode("utf-8"), parse_constant=no_number)
    assert said["name"] == PROJECT
    assert re.fullmatch(r"1\.[0-9]+", said["meta"]["api-version"])
    assert all(isinstance(version, str) for version in said.get("versions", []))
    assert [entry["filename"] for entry in said["files"]] == [file.filename for file in page.files]
    for entry in said["files"]:
        assert isinstance(entry["url"], str)
        hashes_that_uv_accepts(entry["hashes"])
        for key, kinds in {"requires-python": str, "upload-time": str, "yanked": (bool, str), "gpg-sig": bool, "provenance": str}.items():
            assert key not in entry or isinstance(entry[key], kinds), key
        if "upload-time" in entry:
            assert _MOMENT.fullmatch(entry["upload-time"]), entry["upload-time"]
        if "size" in entry:
            assert type(entry["size"]) is int
            assert 0 <= entry["size"] < 2**64
        offered = entry.get("core-metadata", True)
        assert offered is True or (offered is not False and hashes_that_uv_accepts(offered))
        assert not {"dist-info-metadata", "data-dist-info-metadata", "data-core-metadata"} & set(entry)
        assert None not in entry.values()


def hashes_that_uv_accepts(hashes: Any) -> bool:
    """A digest of a wrong length makes uv refuse the whole page."""
    assert isinstance(hashes, dict)
    for name, digest in hashes.items():
        assert re.fullmatch(r"[0-9a-f]+", digest)
        assert len(digest) == _DIGEST_LENGTHS.get(name, len(digest))
    return True


def anchors_that_lead_to_the_same(content: bytes, page: Page) -> None:
    """Read as a browser reads it, each anchor is one file; read as a mirror's page, it has the same files with the same facts."""
    content.decode("utf-8")
    anchors = LexborHTMLParser(content).css("a")
    texts = [*(file.filename for file in page.files), *(text for _, text in page.links)]
    assert [anchor.text() for anchor in anchors] == [text.replace("\x00", "\ufffd") for text in texts]
    again = parse_page(content, None, "http://127.0.0.1:8080/simple/demo/", PROJECT)
    # JSON says of anything that it is a file; of a link that is told by its ending.
    known = [file for file in page.files if filename_of(file_path(file.filename), PROJECT) == file.filename]
    assert [file.filename for file in again.files] == [file.filename for file in known]
    for one, other in zip(known, again.files, strict=True):
        assert (one.yanked or None) == (other.yanked or None) or one.yanked == ""
        # Mirrors escape this one twice, so it is read so.
        assert html.unescape(one.requires_python or "") == html.unescape(other.requires_python or "")
        assert "sha256" not in one.hashes or one.hashes["sha256"] == other.hashes["sha256"]


# What a mirror answers -----------------------------------------------------------------------------------------------------------------


class _Transport:
    """Takes what a connection writes, and nothing more."""

    def write(self, data: bytes) -> None:
        """Is asio's."""

    def abort(self) -> None:
        """As well."""


async def _nowhere() -> list[tuple[int, str]]:
    raise AssertionError("nobody dials here")


Outcome = tuple[Any, ...]


def an_answer_or_none(sent: bytes, *, method: Method = Method.GET, read: int = 1, pieces: int | None = None) -> Reply | Unusual:
    """A lean connection that is sent these bytes and then closed gives an Answer, an Unusual or a NoAnswer, once, and holds few bytes.

    `pieces` is how many bytes come at a time; all where it is None.
    """
    told: list[Reply | Unusual] = []
    lane = FastLane(
        host="mirror.example.com",
        port=443,
        tls=None,
        server_hostname=None,
        connections=1,
        connect_timeout=1.0,
        read_timeout=1.0,
        headers={},
        resolver=_nowhere,
        clock=lambda: 0.0,
    )
    # No loop runs here that would let it take its turn.
    lane._turn_due = True
    connection = Connection(lane)
    connection.connection_made(_Transport())  # type: ignore[arg-type]  # as much of a transport as is needed
    request = Request(Ask(method, FILE_URL, read=read), b"", told.append, 0.0)
    # It was sent before, on a connection that had gone stale: so nothing is dialled for it here.
    request.again = True
    connection.send(request)
    at = 0
    while at < len(sent) and not connection.closed:
        buffer = connection.get_buffer(-1)
        part = sent[at : at + min(len(buffer), pieces or len(sent))]
        buffer[: len(part)] = part
        connection.buffer_updated(len(part))
        at += len(part)
        assert held_by(connection.reader) <= HEAD_LIMIT + LEFTOVER_LIMIT + read + len(buffer) + 1024
    connection.connection_lost(None)
    lane._turn()
    assert len(told) == 1
    (reply,) = told
    if isinstance(reply, Answer):
        assert 200 <= reply.status <= 599
        assert len(reply.body) <= read
        an_answer_that_is_understood(reply)
    return reply


def held_by(reader: AnswerReader) -> int:
    """How many bytes it keeps."""
    return len(reader._held) + len(reader._body.getvalue()) + len(reader._chunks._held) + len(reader._chunks.body)


def alike_in_pieces(sent: bytes, *, method: Method = Method.GET, read: int = 1, pieces: int = 1) -> None:
    """What comes in pieces is read as what comes whole."""
    whole = an_answer_or_none(sent, method=method, read=read)
    parts = an_answer_or_none(sent, method=method, read=read, pieces=pieces)
    assert type(whole) is type(parts), (whole, parts)
    if isinstance(whole, Answer) and isinstance(parts, Answer):
        assert (whole.status, whole.headers, whole.body) == (parts.status, parts.headers, parts.body)


def nothing_is_taken_for_the_next_answer(sent: bytes, *, read: int = 1) -> None:
    """Where a reader says that its connection can serve again, it took all that came."""
    reader = AnswerReader()
    reader.expect(bare=False, read=read)
    with suppress(Malformed):
        if reader.feed(sent) and reader.reusable:
            assert held_by(reader) <= read + LEFTOVER_LIMIT
            head, _, body = sent.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 ")
            assert len(body) <= read + LEFTOVER_LIMIT or b"ransfer" in head.lower()


def an_answer_that_is_understood(answer: Answer) -> None:
    """Whatever an answer says, it can be made evidence, and a cause."""
    for asked in Asked:
        evidence = evidence_of(asked, answer)
        assert evidence.length is None or evidence.length >= 0
        for size in (None, 0, 1000):
            assert isinstance(cause_of(evidence, size), Cause)
    wait = retry_after(answer)
    assert wait is None or 0 <= wait < float("inf")
    kind_by_headers(answer.headers)
    said = said_in(answer.body)
    assert len(said) <= _LONGEST_LINE
    assert said.isprintable()


# What files hold -----------------------------------------------------------------------------------------------------------------------


def metadata_or_a_reason(content: bytes, *, ranges: bool = True, claimed: int | None = None) -> MetadataRead:
    """The bytes of a wheel give metadata of this release, or a reason; the mirror is asked a few times and never for much."""
    asked: list[Ask] = []

    def reply(ask: Ask) -> Reply:
        asked.append(ask)
        return serving(content, ranges=ranges)(ask)

    found, _ = converse(wheel_metadata(FILE_URL, PROJECT, "1.0", claimed, PAGE_LIMIT), reply)
    assert len(asked) <= 16
    assert all(ask.first is None or (0 <= ask.first <= (ask.last or 0)) for ask in asked)
    nothing_that_zipfile_reads_otherwise(content, found)
    return a_metadata_that_is_right(found)


def nothing_that_zipfile_reads_otherwise(content: bytes, found: MetadataRead) -> None:
    """Our reader of zip files passes over what it does not look for; what it finds is what the standard library finds there."""
    with suppress(zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError, RuntimeError, struct.error):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(".dist-info/METADATA")]
            contents = [archive.read(each) for each in members]
        assert found.content is None or found.content in contents


def metadata_of_any_answers(replies: list[Reply]) -> MetadataRead:
    """As above, of a mirror that answers whatever it likes."""
    script = iter(replies)
    found, _ = converse(wheel_metadata(FILE_URL, PROJECT, "1.0", None, PAGE_LIMIT), lambda _: next(script, NO_MORE))
    return a_metadata_that_is_right(found)


NO_MORE = Answer(404)


def sdist_metadata_or_a_reason(content: bytes) -> MetadataRead:
    """The bytes of an sdist give static metadata of this release, or a reason."""
    found, asked = converse(sdist_metadata(FILE_URL, "demo-1.0.tar.gz", PROJECT, "1.0"), serving(content))
    assert len(asked) == 1
    return a_metadata_that_is_right(found)


def metadata_copy_or_a_reason(content: bytes) -> MetadataRead:
    """The mirror's own copy of metadata is taken as it is, or not at all."""
    found, _ = converse(metadata_copy(FILE_URL + ".metadata", PROJECT, "1.0", None), serving(content))
    if content.startswith(b"\x1f\x8b"):
        # It came in a coding that nobody asked for.
        assert found.content is None or found.content == gzip.decompress(content)
    else:
        assert found.content in {None, content}
    return a_metadata_that_is_right(found)


def a_metadata_that_is_right(found: MetadataRead) -> MetadataRead:
    """It is of this release, or there is a reason why there is none."""
    if found.content is None:
        assert found.why
        json.dumps(found.why)
    else:
        assert not found.why
        lines = found.content.lower().replace(b"\r", b"\n")
        assert b"name" in lines
        headers = MetadataHeaders(found.content)
        assert normalised_name(headers.get("Name") or "") == PROJECT
        assert all(len(each) <= _LONGEST_VALUE for each in headers.get_all("Requires-Dist"))
        names = required_projects(found.content, (3, 12))
        for specifier in specifiers_on(requirements(found.content), (3, 12)):
            satisfies(specifier, "1.0")
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    return found


# What clients send ---------------------------------------------------------------------------------------------------------------------

_SOME_FILE = File("demo-1.0-cp312-abi3-manylinux_2_28_x86_64.whl", FILE_URL, requires_python=">=3.8")


def any_header_is_read(value: str) -> None:
    """No header of a client breaks anything, whatever it holds (what is no UTF-8 comes as surrogates)."""
    assert choose_form(value, None) in {None, *Form}
    assert choose_form(None, value) in {None, *Form}
    assert choose_encoding(value) in ENCODINGS
    assert matches(value, '"tag"') in {True, False}
    asked = parse_range(value)
    for length in (0, 1, 1000):
        inside = None if asked is None else asked.within(length)
        assert inside is None or 0 <= inside[0] <= inside[1] < length
    client = client_platform(value)
    if client is not None:
        fitness(_SOME_FILE, client)
        runs_on(_SOME_FILE, client)
    who = Identity.of(value, b"secret")
    assert not who.shared
    assert value not in repr(who) or len(value) < 8
