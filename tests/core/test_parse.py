"""Pages of real mirrors' shapes, and the slips that they make."""

import json
from urllib.parse import urljoin

import pytest

from proxy.core.errors import PageUnreadable
from proxy.core.page import File, Page, Sha256, SourceForm
from proxy.core.parse import parse_page
from proxy.core.parse.links import Joiner, are_filenames, is_base
from proxy.core.render import Form, proxied_links, render_page
from tests.core.files import each

URL = "https://mirror.example.com/artifactory/api/pypi/pypi/simple/demo/"
SHA256 = "0123456789abcdef" * 4
WHEEL = "demo-1.0-py3-none-any.whl"


def html(body: str, **details: str) -> Page:
    return parse_page(f"<!DOCTYPE html><html><body>{body}</body></html>".encode(), details.get("type"), details.get("url", URL), "demo")


def entry(**fields: object) -> File | None:
    """The one file of a JSON page."""
    page = {"meta": {"api-version": "1.1"}, "name": "demo", "files": [{"filename": WHEEL, "url": WHEEL, "hashes": {}, **fields}]}
    return next(iter(parse_page(json.dumps(page).encode(), None, URL, "demo").files), None)


def test_artifactorys_links_are_joined_to_the_page_and_their_hashes_read() -> None:
    (file,) = html(f'<a href="../../packages/packages/ab/cd/{WHEEL}#sha256={SHA256}" data-requires-python="&gt;=3.8">x</a>').files
    assert file.url == f"https://mirror.example.com/artifactory/api/pypi/pypi/packages/packages/ab/cd/{WHEEL}"
    assert file.hashes == {"sha256": SHA256}
    assert file.requires_python == ">=3.8"


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/octet-stream", "application/json; charset=utf-8", "text/html"])
def test_the_body_tells_the_form_whatever_the_content_type_says(kind: str | None) -> None:
    as_json = parse_page(b'\n {"files": [], "meta": {"api-version": "1.0"}, "name": "demo"}', kind, URL, "demo")
    as_html = parse_page(f"<a href={WHEEL}>x</a>".encode(), kind, URL, "demo")
    assert (as_json.form, as_html.form) == (SourceForm.JSON, SourceForm.HTML)


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Sign in</title><form action=/login><input type=password></form></html>",
        b"<html><body><h1>Index of /</h1><a href=../>../</a><a href=logs/>logs/</a></body></html>",
        b"<html><title>503 Service Unavailable</title></html>",
        b"<html><script src=app.js></script><div id=root></div></html>",
        b"just words",
        b"",
        b" \n",
        b'{"errors": [{"status": 404}]}',
        b'{"files": "none"}',
        b'{"files": [], "meta": {"api-version": "2.0"}}',
    ],
)
def test_what_is_no_page_of_a_project_is_unreadable_and_not_empty(body: bytes) -> None:
    with pytest.raises(PageUnreadable):
        parse_page(body, "text/html", URL, "demo")


@pytest.mark.parametrize("body", [b"<html><body><h1>Links for demo</h1></body></html>", b"<!DOCTYPE html><html></html>"])
def test_a_page_without_files_can_be_a_page(body: bytes) -> None:
    assert parse_page(body, "text/html", URL, "demo").files == ()


def test_a_doubly_escaped_requires_python_is_mended() -> None:
    (file,) = html(f'<a href="{WHEEL}" data-requires-python="&amp;gt;=3.8">x</a>').files
    assert file.requires_python == ">=3.8"


def test_junk_anchors_are_skipped_alone() -> None:
    page = html(f'<a>no href</a><a href="../">up</a><a href="mailto:a@b">m</a><a href="{WHEEL}">x</a><a href="javascript:x.whl">j</a>')
    assert [file.filename for file in page.files] == [WHEEL]
    assert page.skipped == 4


def test_a_base_is_heeded_also_a_relative_one() -> None:
    (file,) = html(f'<base href="../../files/"><a href="demo/{WHEEL}">x</a>').files
    assert file.url == f"https://mirror.example.com/artifactory/api/pypi/pypi/files/demo/{WHEEL}"


def test_yanked_metadata_and_signatures_are_read_in_every_spelling() -> None:
    (one, two, three) = html(
        f'<a href="a-{WHEEL}" data-yanked data-dist-info-metadata="true">x</a>'
        f'<a href="b-{WHEEL}" data-yanked="bad &lt;b&gt;" data-core-metadata="sha256={SHA256}" data-dist-info-metadata="true">x</a>'
        f'<a href="c-{WHEEL}" data-gpg-sig="true">x</a>'
    ).files
    assert (one.yanked, one.core_metadata) == (True, True)
    assert (two.yanked, two.core_metadata) == ("bad <b>", Sha256(SHA256))
    assert (three.yanked, three.core_metadata, three.gpg_sig) == (None, None, True)


@pytest.mark.parametrize("spelling", ["#sha256={}", "#sha256-{}", "#md5=0&sha256={}"])
def test_hashes_in_fragments_are_read_and_wrong_ones_left_out(spelling: str) -> None:
    (file,) = html(f'<a href="{WHEEL}{spelling.format(SHA256.upper())}">x</a>').files
    assert file.hashes == {"sha256": SHA256}


@pytest.mark.parametrize("path", ["demo-1.0%2Blocal-py3-none-any.whl", "demo-1.0+local-py3-none-any.whl", "demo%21-1.0.tar.gz"])
def test_escapes_of_addresses_are_left_as_the_mirror_wrote_them(path: str) -> None:
    (file,) = html(f'<a href="/x/{path}">x</a>').files
    assert file.url == f"https://mirror.example.com/x/{path}"


@pytest.mark.parametrize("path", ["a%00b.whl", "%2e%2e.tar.gz", "x%0d%0a.whl", "..%5Cetc.whl"])
def test_names_that_lead_out_of_their_folder_or_into_headers_are_no_files(path: str) -> None:
    assert html(f'<a href="/x/{path}">x</a><a href="{WHEEL}">x</a>').files[0].filename == WHEEL


@pytest.mark.parametrize("key", ["size", "upload-time", "requires-python", "yanked", "gpg-sig", "core-metadata", "provenance"])
def test_a_null_is_left_out(key: str) -> None:
    file = entry(**{key: None})
    assert file is not None
    assert key not in file.fields


@pytest.mark.parametrize("hashes", [None, {}, {"sha256": "short"}, {"sha256": 5}, "sha256", {"sha256": None}])
def test_missing_and_impossible_hashes_become_an_empty_object(hashes: object) -> None:
    file = entry(hashes=hashes)
    assert file is not None
    assert file.fields["hashes"] == {}


@pytest.mark.parametrize("bad", [{"filename": None}, {"url": None}, {"url": "file:///etc/passwd"}, {"filename": "../x.whl"}])
def test_an_entry_that_cannot_be_used_is_skipped_alone(bad: dict[str, object]) -> None:
    assert entry(**bad) is None


@pytest.mark.parametrize("bad", [{"size": -1}, {"size": "5"}, {"size": True}, {"upload-time": 5}, {"gpg-sig": "yes"}, {"provenance": []}])
def test_a_value_of_the_wrong_type_is_left_out(bad: dict[str, object]) -> None:
    file = entry(**bad)
    assert file is not None
    assert not set(bad) & set(file.fields)


def test_old_spellings_of_core_metadata_are_understood() -> None:
    for key in ("core-metadata", "dist-info-metadata", "data-dist-info-metadata"):
        file = entry(**{key: {"sha256": SHA256}})
        assert file is not None
        assert file.core_metadata == Sha256(SHA256)
        assert key not in file.fields


def test_versions_without_a_file_leave_with_the_file() -> None:
    files = [{"filename": f"demo-{version}-py3-none-any.whl", "url": "x.whl", "hashes": {}, "size": 1} for version in ("1.0", "2.0")]
    body = {"meta": {"api-version": "1.1"}, "name": "demo", "versions": ["0.5", "1.0", "2.0"], "files": files}
    page = parse_page(json.dumps(body).encode(), None, URL, "demo")
    assert page.without({"demo-2.0-py3-none-any.whl"}).versions == ("0.5", "1.0")


@pytest.mark.parametrize("number", ["1e400", "1" * 400, "-0.10", "123456789012345678901234567890"])
def test_numbers_that_nobody_here_understands_pass_as_they_are_written(number: str) -> None:
    body = f'{{"files": [{{"filename": "{WHEEL}", "url": "{WHEEL}", "hashes": {{}}, "x-number": {number}}}]}}'
    (file,) = parse_page(body.encode(), None, URL, "demo").files
    assert f'"x-number":{number}'.encode() in (file.rest or b"")


@pytest.mark.parametrize(
    "body", ['<a href="demo-1.0.tar.gz" data-yanked="\udcff">x</a>', '{"files": [{"filename": "x\udcff.whl", "url": "x"}]}']
)
def test_bytes_that_are_no_utf_8_cost_neither_the_page_nor_an_error(body: str) -> None:
    page = parse_page(body.encode(errors="surrogateescape"), None, URL, "demo")
    for form in Form:
        assert render_page(page, form, proxied_links("demo"), each(lambda _: None))


def test_pypis_own_shape_is_read_and_its_older_spelling_of_core_metadata_counts_where_the_newer_says_nothing() -> None:
    more = {"requires-python": None, "provenance": None, "yanked": False, "size": 5, "upload-time": "2024-01-02T03:04:05.678901Z"}
    new = entry(hashes={"sha256": SHA256}, **{"core-metadata": {"sha256": SHA256}, "data-dist-info-metadata": False}, **more)
    old = entry(hashes={"sha256": SHA256}, **{"data-dist-info-metadata": {"sha256": SHA256}}, **more)
    assert new is not None
    assert old is not None
    assert new.core_metadata == old.core_metadata == Sha256(SHA256)
    assert new.fields == {"hashes": {"sha256": SHA256}, "yanked": False, "size": 5, "upload-time": more["upload-time"]}


@pytest.mark.parametrize(
    "odd",
    [{"url": "../x/demo.whl#sha256=" + SHA256, "hashes": {}}, {"size": None}, {"hashes": {"md5": "0" * 32}}, {"url": "../../../../x.whl"}],
)
def test_an_unusual_entry_changes_nothing_for_those_around_it(odd: dict[str, object]) -> None:
    plain = [
        {"filename": f"demo-{number}.0-py3-none-any.whl", "url": f"../../p/{number}/{WHEEL}", "hashes": {"sha256": SHA256}}
        for number in range(9)
    ]
    body = {"files": [*plain[:4], {**plain[4], **odd}, *plain[5:]]}
    alone = parse_page(json.dumps({"files": [body["files"][4]]}).encode(), None, URL, "demo").files
    rest = parse_page(json.dumps({"files": [*plain[:4], *plain[5:]]}).encode(), None, URL, "demo").files
    assert parse_page(json.dumps(body).encode(), None, URL, "demo").files == (*rest[:4], *alone, *rest[4:])


@pytest.mark.parametrize(
    "start",
    [
        "../../p/",
        "/p/",
        "p/",
        "https://mirror.example.com/p/",
        "http://other.example.com/",
        "./p/",
        "../../../../../../p/",
        "//mirror.example.com/p/",
    ],
)
@pytest.mark.parametrize("odd", ["", "x/../", "%2e%2e/", "a b/", "?q=/./"])
def test_links_are_joined_alike_whether_one_by_one_or_many_at_once(start: str, odd: str) -> None:
    links = [f"{start}{number}/{WHEEL}" for number in range(5)] + [f"{start}{odd}{WHEEL}"]
    joined = Joiner(URL).join_plain(links)
    assert joined is None or joined == [Joiner(URL).join(link) for link in links] == [urljoin(URL, link) for link in links]


@pytest.mark.parametrize("start", ["../../p/", "/p/", "p/", "https://mirror.example.com/p/", "http://other.example.com/"])
def test_links_of_common_shapes_are_joined_at_one_go(start: str) -> None:
    assert Joiner(URL).join_plain([f"{start}{number}/{WHEEL}" for number in range(5)])


@pytest.mark.parametrize("other", ["p/", "../p/", "/p/", "https://mirror.example.com/p/", "x../../p/"])
def test_links_are_not_joined_at_one_go_where_one_begins_otherwise(other: str) -> None:
    links = [f"../../p/{number}/{WHEEL}" for number in range(5)]
    for place in range(1, 6):
        assert Joiner(URL).join_plain([*links[:place], f"{other}{WHEEL}", *links[place:]]) is None


@pytest.mark.parametrize("odd", ["", ".whl", "-1.whl", "+1.whl", "!.whl", "a/b.whl", "a\nb.whl", "b.whl\n", "b", f"{'b' * 297}.whl"])
def test_names_are_plain_only_where_each_of_them_is(odd: str) -> None:
    plain = ["demo-1.0.tar.gz", "_demo-1.0+local.whl", "9demo.zip"]
    assert are_filenames(plain)
    assert are_filenames([])
    assert not any(are_filenames([*plain[:place], odd, *plain[place:]]) for place in range(4))


MOMENTS = {
    "2024-01-02T03:04:05.678901Z": True,
    "2024-02-29T00:00:00Z": True,
    "2000-02-29T23:59:59.123456789Z": True,
    "0001-01-01T00:00:00Z": True,
    "2024-01-02 03:04:05+00:00": True,
    "2024-01-02t03:04z": True,
    "2024-01-02T03:04:05+0100": True,
    "yesterday": False,
    "": False,
    "2024-01-02": False,
    "2024-01-02T03:04:05": False,
    "2023-02-29T00:00:00Z": False,
    "1900-02-29T00:00:00Z": False,
    "2024-04-31T00:00:00Z": False,
    "2024-01-02T24:00:00Z": False,
    "9999-12-31T23:59:59Z": False,
    "2024-01-02T03:04:05.1234567891Z": False,
    "2024-01-02T03:04:05.Z": False,
    "2024-1-2T03:04:05Z": False,
    "2024-01-02T03:04:05Z\n": False,
}


@pytest.mark.parametrize(("said", "sound"), MOMENTS.items())
def test_an_upload_time_that_says_no_moment_is_left_out_and_others_pass_as_they_are_written(said: str, sound: bool) -> None:
    file = entry(hashes={"sha256": SHA256}, **{"upload-time": said})
    assert file is not None
    assert file.upload_time == (said if sound else None)


UNUSUAL_MOMENTS = {
    "20240102T030405Z": "2024-01-02T03:04:05Z",
    "2024-01-02T03Z": "2024-01-02T03:00:00Z",
    "2024-03-01T03:04:05,25+25:59": "2024-02-29T01:05:05.25Z",
    "2024-12-31T23:59:60-00:00:01": "2025-01-01T00:00:00Z",
    "+002024-01-02T03:04:05Z": "2024-01-02T03:04:05Z",
    "2024-01-02T03:04:05+00:00[Europe/Berlin]": "2024-01-02T03:04:05Z",
    "9999-12-30T22:00:00Z": "9999-12-30T22:00:00Z",
    "-000001-01-01T00:00:00Z": None,
}


@pytest.mark.parametrize(("said", "kept"), UNUSUAL_MOMENTS.items())
def test_a_moment_that_uv_reads_in_a_form_of_its_own_is_written_as_others_read_it(said: str, kept: str | None) -> None:
    file = entry(hashes={"sha256": SHA256}, **{"upload-time": said})
    assert file is not None
    assert file.upload_time == kept


SPECIFIERS = {
    ">=3.8": ">=3.8",
    "": "",
    ">= '3.6',": ">= '3.6',",
    ">=3.8 <4": ">=3.8 <4",
    "&gt;=3.8": ">=3.8",
    "&gt;=3.x": "&gt;=3.x",
    " ": " ",
    ">=3.x": ">=3.x",
    "nonsense": "nonsense",
    "1." * 20_000: "1." * 20_000,
    ">" * 20_000: ">" * 20_000,
}


@pytest.mark.parametrize(("said", "kept"), SPECIFIERS.items(), ids=lambda value: repr(value)[:20])
def test_a_requires_python_that_makes_no_sense_is_left_to_the_client(said: str, kept: str) -> None:
    file = entry(hashes={"sha256": SHA256}, **{"requires-python": said})
    assert file is not None
    assert file.requires_python == kept


def test_half_a_character_costs_no_page() -> None:
    body = json.dumps({"files": [{"filename": WHEEL, "url": WHEEL, "hashes": {}, "yanked": "\ud800 \U0001f600", "x": "\\ud800"}]}).encode()
    (file,) = parse_page(body, None, URL, "demo").files
    assert (file.yanked, file.fields["x"]) == ("\ufffd \U0001f600", "\\ud800")


@pytest.mark.parametrize("said", ["x", "", "0.9", "one"])
def test_a_version_of_the_api_that_makes_no_sense_costs_no_page(said: str) -> None:
    body = json.dumps({"meta": {"api-version": said}, "files": [{"filename": WHEEL, "url": WHEEL, "hashes": {}}]}).encode()
    assert parse_page(body, None, URL, "demo").api_version == "1.0"
    assert html(f'<meta name="pypi:repository-version" content="{said}"><a href="{WHEEL}">x</a>').api_version == "1.0"


@pytest.mark.parametrize("size", [2**63, 2**64, 10**30, 1e30])
def test_a_size_that_no_file_has_is_left_out(size: float) -> None:
    file = entry(hashes={"sha256": SHA256}, size=size)
    assert file is not None
    assert file.size is None


@pytest.mark.parametrize("digits", [40, 64, 128])
def test_a_blake2b_digest_has_the_length_that_pypi_gives_it(digits: int) -> None:
    file = entry(hashes={"blake2b": "a" * digits})
    assert file is not None
    assert file.hashes == ({"blake2b": "a" * 64} if digits == 64 else {})


STATUSES = {
    '"archived"': None,
    "null": None,
    "3": None,
    "[]": None,
    "{}": None,
    '{"status": null}': None,
    '{"status": 1, "reason": "r"}': {"reason": "r"},
    '{"status": "archived", "reason": 2}': {"status": "archived"},
    '{"status": "archived", "reason": "r"}': {"status": "archived", "reason": "r"},
}


@pytest.mark.parametrize(("said", "passed"), STATUSES.items())
def test_of_a_status_only_what_clients_accept_passes(said: str, passed: dict[str, str] | None) -> None:
    page = parse_page(f'{{"files": [], "project-status": {said}}}'.encode(), None, URL, "demo")
    assert json.loads(render_page(page, Form.JSON, proxied_links("demo"), each(lambda _: None))).get("project-status") == passed


@pytest.mark.parametrize("said", ['"1.²"', '"1.٣"', '"1.x"', "1", '"1."'])
def test_a_version_of_the_api_that_is_none_is_read_as_the_first(said: str) -> None:
    body = f'{{"meta": {{"api-version": {said}}}, "files": [], "versions": []}}'
    assert parse_page(body.encode(), None, URL, "demo").api_version == "1.0"


@pytest.mark.parametrize("number", ["1e400", "1" * 400])
def test_numbers_that_only_json_can_hold_cost_no_form_of_the_page(number: str) -> None:
    listed = f'{{"filename": "{WHEEL}", "url": "{WHEEL}", "hashes": {{}}, "x": {number}}}'
    body = f'{{"meta": {{"x": {number}}}, "x": {number}, "files": [{listed}]}}'
    page = parse_page(body.encode(), None, URL, "demo")
    assert page.files[0].hashes == {}
    for form in Form:
        assert WHEEL in render_page(page, form, proxied_links("demo"), each(lambda _: None)).decode()
    assert render_page(page, Form.JSON, proxied_links("demo"), each(lambda _: None)).count(number.encode()) == 3


@pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
@pytest.mark.parametrize("digest", ["A" * 64, "g" * 64])
def test_a_digest_of_core_metadata_is_as_sound_as_that_of_a_file(key: str, digest: str) -> None:
    file = entry(hashes={"sha256": SHA256}, **{key: {"sha256": digest}})
    assert file is not None
    assert file.core_metadata == (Sha256("a" * 64) if digest == "A" * 64 else True)


@pytest.mark.parametrize("base", ["ftp://other.example.com/x/", "javascript:x", "http://[", "http://", "/a\x01b/", "  "])
def test_a_base_that_leads_nowhere_is_passed_over(base: str) -> None:
    (file,) = html(f'<base href="{base}"><a href="../p/{WHEEL}">x</a>').files
    assert file.url == urljoin(URL, f"../p/{WHEEL}")


def test_blanks_in_a_base_are_escaped_as_in_links() -> None:
    (file,) = html(f'<base href="/a b/"><a href="{WHEEL}">x</a>').files
    assert file.url == f"https://mirror.example.com/a%20b/{WHEEL}"


@pytest.mark.parametrize(
    "link",
    ["", "#", "#sha256=short", "?", " ", ".", "./", "..", "../", "../../simple/demo/", "/", URL, URL + "#x", "//", "http://", "\t\n"],
)
@pytest.mark.parametrize("start", ["", "../../packages/", "https://mirror.example.com/packages/", "/packages/"])
def test_an_entry_that_leads_to_the_page_itself_or_above_it_is_no_file(link: str, start: str) -> None:
    files = [{"filename": f"demo-{number}.0-py3-none-any.whl", "hashes": {"sha256": SHA256}} for number in (1, 2)]
    links = (f"{start}{files[0]['filename']}", link)
    body = {"files": [{**file, "url": url} for file, url in zip(files, links, strict=True)]}
    page = parse_page(json.dumps(body).encode(), None, URL, "demo")
    assert ([each.filename for each in page.files], page.skipped) == ([files[0]["filename"]], 1)


@pytest.mark.parametrize("link", ["?file=demo-1.0-py3-none-any.whl", "x", "demo/", "../other/", "/simple/demo/", f"{WHEEL}/", "%23"])
def test_an_entry_that_leads_elsewhere_is_a_file_whatever_its_address(link: str) -> None:
    assert entry(url=link) is not None


@pytest.mark.parametrize(
    "base", ["mailto:x", "data:,x", "x:/y/", "ftp://h/x/", "http:", "http://a b/", "http://h:x/", "http://h:99999/", "http://1.2.3.999/"]
)
def test_a_base_that_no_link_can_be_joined_to_is_passed_over(base: str) -> None:
    (file,) = html(f'<base href="{base}"><a href="{WHEEL}">x</a>').files
    assert file.url == URL + WHEEL


@pytest.mark.parametrize(
    "base",
    ["http://h/", "HTTP://h:80/", "http:\\\\h\\", "https://u:p@h/", "http://[::1]/", "http://1.2.3.4/", "http://0x7f.1/", "http://%41/"],
)
def test_an_address_of_http_is_a_base(base: str) -> None:
    assert is_base(base)
