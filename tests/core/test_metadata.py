"""Core metadata is read out of wheels by absolute ranges, and nothing foreign or broken is ever returned."""

import gzip
import hashlib
import io
import tarfile
import zipfile

import msgspec
import pytest

from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble
from proxy.core.flows.metadata import TAIL, TAIL_OF_UNKNOWN, metadata_copy, metadata_mismatch, sdist_metadata, wheel_metadata
from tests.core.conversations import converse, serving

URL = "https://mirror.example.com/packages/demo-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\nRequires-Dist: other\n"
WHOLE = 1024 * 1024


def wheel(metadata: bytes | None = METADATA, *, payload: int = 0, metadata_first: bool = False, extra: str | None = None) -> bytes:
    """A wheel with `payload` bytes that do not compress."""
    out = io.BytesIO()
    members = [("demo/data.bin", hashlib.shake_256(b"payload").digest(payload))]
    if metadata is not None:
        members.insert(0 if metadata_first else 1, ("demo-1.0.dist-info/METADATA", metadata))
    if extra is not None:
        members.insert(0, (extra, b"Metadata-Version: 2.1\nName: vendored\nVersion: 3\n"))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def sdist(pkg_info: str) -> bytes:
    """An sdist with this PKG-INFO."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in (("demo-1.0/setup.py", b"x" * 5000), ("demo-1.0/PKG-INFO", pkg_info.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_small_wheel_costs_one_request() -> None:
    content = wheel()
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content == METADATA
    assert len(asked) == 1


def test_a_large_wheel_costs_its_tail_only() -> None:
    content = wheel(payload=500_000)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content == METADATA
    assert [(ask.first, ask.last) for ask in asked] == [(len(content) - TAIL, len(content) - 1)]


def test_metadata_at_the_beginning_costs_one_range_more() -> None:
    content = wheel(payload=500_000, metadata_first=True)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content == METADATA
    assert len(asked) == 2
    assert asked[1].first == 0


@pytest.mark.parametrize("claimed", [None, 100, 10_000_000], ids=["unknown", "too small", "too large"])
def test_a_size_that_the_page_does_not_give_or_gives_wrongly_is_learned(claimed: int | None) -> None:
    content = wheel(payload=100_000)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", claimed, WHOLE), serving(content))
    assert found.content == METADATA
    assert all(ask.method is Method.GET and ask.first is not None and ask.last is not None for ask in asked)


@pytest.mark.parametrize("payload", [0, 500_000], ids=["shorter than the end", "long"])
def test_the_end_of_a_wheel_of_unknown_size_costs_one_request(payload: int) -> None:
    content = wheel(payload=payload)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), serving(content))
    assert (found.content, found.suffix) == (METADATA, True)
    assert [ask.range for ask in asked] == [f"bytes=-{TAIL_OF_UNKNOWN}"]
    assert found.evidence.length == len(content)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 416, 500, 501])
@pytest.mark.parametrize("limit", [WHOLE, 50_000], ids=["small", "too large to be read whole"])
def test_a_wheel_of_a_mirror_that_refuses_to_give_the_end_is_read_otherwise(status: int, limit: int) -> None:
    content = wheel(payload=100_000)
    honest = serving(content)
    refusing = lambda ask: Answer(status) if ask.suffix else honest(ask)  # noqa: E731 - said at once
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, limit, suffix=True), refusing)
    assert (found.content, found.suffix) == (METADATA, False)
    assert len(asked) <= 3


def test_a_mirror_that_takes_the_end_for_the_beginning_is_asked_by_size() -> None:
    content = wheel(payload=500_000)
    honest = serving(content)
    naive = lambda ask: honest(Ask(Method.GET, URL, 0, ask.suffix, ask.suffix + 1) if ask.suffix else ask)  # noqa: E731 - said at once
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), naive)
    assert (found.content, found.suffix) == (METADATA, False)
    assert len(asked) == 2


def test_a_mirror_that_ignores_all_ranges_is_found_out_by_the_first_bytes_of_its_answer_and_read_whole() -> None:
    content = wheel(payload=100_000)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), serving(content, ranges=False))
    assert (found.content, found.suffix) == (METADATA, False)
    assert [ask.range.partition("=")[2].partition("-")[0] for ask in asked] == ["", str(len(content) - TAIL)]
    assert asked[0].read <= TAIL_OF_UNKNOWN


@pytest.mark.parametrize("told", [True, False], ids=["with its size", "of untold size"])
@pytest.mark.parametrize("limit", [WHOLE, 50_000], ids=["small", "too large to be read whole"])
def test_a_mirror_that_ignores_the_end_alone_gives_large_wheels_by_both_ends(limit: int, *, told: bool) -> None:
    content = wheel(payload=500_000)
    honest = serving(content)
    length = {"content-length": str(len(content))} if told else {}
    ignoring = lambda ask: Answer(200, length, content[: ask.read]) if ask.suffix else honest(ask)  # noqa: E731 - said at once
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, limit, suffix=True), ignoring)
    assert (found.content, found.suffix) == (METADATA, False)
    assert len(asked) == (2 if told else 3)
    assert asked[0].read <= TAIL_OF_UNKNOWN
    assert all(ask.range for ask in asked), "no wheel is read whole for the sake of a trial"


def test_a_small_wheel_that_came_whole_instead_of_its_end_is_not_asked_for_again() -> None:
    content = wheel()
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), serving(content, ranges=False))
    assert (found.content, found.suffix) == (METADATA, False)
    assert len(asked) == 1


def test_a_wheel_that_is_missing_tells_nothing_of_what_the_mirror_gives() -> None:
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), lambda _: Answer(404))
    assert (found.content, found.suffix) == (None, None)
    assert found.evidence.status == 404


def test_an_end_that_was_cut_short_tells_nothing_of_what_the_mirror_gives() -> None:
    content = wheel(payload=100_000)
    honest = serving(content)

    def cutting(ask: Ask) -> Reply:
        reply = honest(ask)
        return msgspec.structs.replace(reply, body=reply.body[:100]) if ask.suffix and isinstance(reply, Answer) else reply

    found, _ = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE, suffix=True), cutting)
    assert (found.content, found.suffix) == (METADATA, None)


def test_a_large_directory_comes_with_the_metadata_before_it() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(3000):
            archive.writestr(f"demo/a_module_with_a_name_{number}.py", b"")
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo-1.0.dist-info/RECORD", hashlib.shake_256(b"record").digest(3000 * 50))
    content = out.getvalue()
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content == METADATA
    assert len(asked) == 2
    (tail, before) = asked
    assert before.last is not None
    assert before.last + 1 == tail.first, "what is here is not asked for again"


def test_a_mirror_without_ranges_is_read_whole_where_the_wheel_is_small() -> None:
    content = wheel(payload=100_000)
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content, ranges=False))
    assert found.content == METADATA
    assert len(asked) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 416, 500, 501])
@pytest.mark.parametrize("told", [True, False], ids=["size on the page", "size unknown"])
def test_a_wheel_of_a_mirror_that_refuses_ranges_is_read_whole(status: int, told: bool) -> None:
    content = wheel()
    whole = serving(content, ranges=False)
    refusing = lambda ask: whole(ask) if ask.first is None else Answer(status)  # noqa: E731 - said at once
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", len(content) if told else None, WHOLE), refusing)
    assert found.content == METADATA
    assert len(asked) == 2


def test_a_wheel_is_read_whole_where_neither_page_nor_mirror_tells_its_length() -> None:
    content = wheel()
    found, asked = converse(wheel_metadata(URL, "demo", "1.0", None, WHOLE), lambda ask: Answer(200, {}, content[: ask.read]))
    assert found.content == METADATA
    assert len(asked) == 2


@pytest.mark.parametrize("sent", [1.0, 0.9])
def test_a_wheel_of_a_mirror_that_tells_no_length_is_read_if_it_comes_whole(sent: float) -> None:
    content = wheel()
    found, _ = converse(
        wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), lambda _: Answer(200, {}, content[: int(sent * len(content))])
    )
    assert (found.content == METADATA) == (sent == 1.0)


def test_a_mirror_without_ranges_is_not_read_whole_where_the_wheel_is_large() -> None:
    content = wheel(payload=100_000)
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", len(content), 50_000), serving(content, ranges=False))
    assert found.content is None
    assert "too large" in found.why


@pytest.mark.parametrize(
    "lie",
    [
        Answer(206, {"content-range": "bytes 0-9/100"}, b"x" * 10),
        Answer(206, {}, b"x" * 100),
        Answer(206, {"content-range": "bytes 0-99/100"}, b"x" * 50),
    ],
    ids=["another part", "no content-range", "shorter than it says"],
)
def test_a_range_answer_that_contradicts_the_question_is_not_used(lie: Answer) -> None:
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", 100, WHOLE), lambda _: lie)
    assert found.content is None


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all" * 100, wheel()[:-5]], ids=["empty", "short", "junk", "cut"])
def test_what_is_no_zip_file_gives_no_metadata(content: bytes) -> None:
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content is None
    assert found.why


def test_metadata_of_something_else_inside_the_wheel_is_not_taken_for_its_own() -> None:
    content = wheel(extra="vendored-3.dist-info/METADATA")
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content == METADATA


def test_a_wheel_that_names_another_project_gives_no_metadata() -> None:
    content = wheel(b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), serving(content))
    assert found.content is None
    assert "evil" in found.why


def test_a_denial_is_told_with_its_challenge() -> None:
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", 5, WHOLE), [Answer(401, {"www-authenticate": 'Basic realm="x"'})])
    assert (found.content, found.evidence.status, found.challenge) == (None, 401, 'Basic realm="x"')


def test_a_mirror_that_falls_silent_in_the_middle_is_told() -> None:
    content = wheel(payload=500_000, metadata_first=True)
    honest = serving(content)
    found, _ = converse(
        wheel_metadata(URL, "demo", "1.0", len(content), WHOLE), lambda ask: honest(ask) if ask.first else NoAnswer(Trouble.RESET)
    )
    assert found.content is None
    assert "reset" in found.why


def test_the_mirrors_own_copy_counts_only_with_the_hash_that_its_page_gives() -> None:
    sha256 = hashlib.sha256(METADATA).hexdigest()
    good, _ = converse(metadata_copy(URL + ".metadata", "demo", "1.0", sha256), serving(METADATA))
    bad, _ = converse(metadata_copy(URL + ".metadata", "demo", "1.0", "0" * 64), serving(METADATA))
    assert good.content == METADATA
    assert bad.content is None


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"Name: demo\n"], ids=["empty", "login page", "half"])
def test_a_copy_that_is_no_core_metadata_is_refused(body: bytes) -> None:
    found, _ = converse(metadata_copy(URL + ".metadata", "demo", "1.0", None), serving(body))
    assert found.content is None


def test_static_pkg_info_of_an_sdist_stands_in() -> None:
    info = "Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Dist: other\nDynamic: Description\n"
    found, asked = converse(sdist_metadata(URL, "demo-1.0.tar.gz", "demo", "1.0"), serving(sdist(info)))
    assert found.content == info.encode()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "info",
    [
        "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        "Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nDynamic: Requires-Dist\n",
        "Metadata-Version: 2.2\nName: demo\nVersion: 2.0\n",
    ],
    ids=["old", "dynamic", "another version"],
)
def test_pkg_info_that_a_build_may_change_is_not_served(info: str) -> None:
    found, _ = converse(sdist_metadata(URL, "demo-1.0.tar.gz", "demo", "1.0"), serving(sdist(info)))
    assert found.content is None


def test_versions_are_compared_as_versions_and_names_as_names() -> None:
    assert metadata_mismatch(b"Metadata-Version: 2.1\nName: De.Mo\nVersion: 1.0.0\n", "de-mo", "1.0") == ""


def test_a_version_of_thousands_of_digits_is_a_mismatch_and_no_failure() -> None:
    digits = "9" * 5000
    assert "is of version" in metadata_mismatch(METADATA.replace(b"1.0", digits.encode()), "demo", "1.0")
    content = sdist(f"Metadata-Version: 2.{digits}\nName: demo\nVersion: 1.0\n")
    found, _ = converse(sdist_metadata(URL, "demo-1.0.tar.gz", "demo", "1.0"), serving(content))
    assert found.content is None
    assert "older than 2.2" in found.why


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_metadata_compressed_in_a_way_that_unpacks_without_bounds_is_not_read(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
    found, _ = converse(wheel_metadata(URL, "demo", "1.0", len(out.getvalue()), WHOLE), serving(out.getvalue()))
    assert found.content is None
    assert "uv refuses" in found.why


def odd_sdist(kind: bytes = tarfile.REGTYPE, size: int = 0, times: int = 1) -> bytes:
    """An sdist whose first member, said so many times, is of this kind and claims this size; PKG-INFO follows."""
    info = tarfile.TarInfo("demo-1.0/setup.py")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    whole = gzip.decompress(sdist("Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n"))
    return gzip.compress(bytes(header) * times + whole)


ODD_SDISTS = {
    "a size that leads back": odd_sdist(size=-512),
    "a size that leads before the beginning": odd_sdist(size=-1024),
    "a size that is too large": odd_sdist(size=2**40),
    "headers within headers": odd_sdist(tarfile.XHDTYPE, times=3000),
    "names within names": odd_sdist(tarfile.GNUTYPE_LONGNAME, times=3000),
}


@pytest.mark.parametrize("content", ODD_SDISTS.values(), ids=ODD_SDISTS)
def test_an_sdist_that_leads_its_reader_astray_gives_no_metadata(content: bytes) -> None:
    found, asked = converse(sdist_metadata(URL, "demo-1.0.tar.gz", "demo", "1.0"), serving(content))
    assert found.content is None
    assert "no PKG-INFO" in found.why
    assert len(asked) == 1


def test_holes_that_an_sdist_claims_are_never_filled() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("demo-1.0/PKG-INFO")
        info.size = len(METADATA)
        info.pax_headers = {"GNU.sparse.size": str(2**36), "GNU.sparse.map": f"{2**35},{len(METADATA)}", "GNU.sparse.name": info.name}
        archive.addfile(info, io.BytesIO(METADATA))
    found, _ = converse(sdist_metadata(URL, "demo-1.0.tar.gz", "demo", "1.0"), serving(out.getvalue()))
    assert found.content is None
