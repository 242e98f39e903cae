"""Links of pages to other things than wheels and sdists, and the ways in which links are written: nothing that works direct is lost."""

import json
from typing import Any

import pytest

from proxy.core.page import Packaging, Page
from proxy.core.parse import parse_page
from proxy.core.render import Form, proxied_links, render_page
from tests.core.files import each

URL = "https://mirror.example.com/simple/demo/"
WHEEL = "demo-1.0-py3-none-any.whl"
SHA256, MD5 = "0123456789abcdef" * 4, "0123456789abcdef" * 2


def html(*links: str, head: str = "") -> Page:
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    return parse_page(f"<html><head>{head}</head><body>{anchors}</body></html>".encode(), None, URL, "demo")


def of_json(*entries: dict[str, Any], **keys: Any) -> Page:
    files = [{"filename": WHEEL, "url": WHEEL, "hashes": {}, **entry} for entry in entries]
    return parse_page(json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": files, **keys}).encode(), None, URL, "demo")


def written(page: Page, form: Form) -> str:
    return render_page(page, form, proxied_links("demo"), each(lambda _: None)).decode()


def as_json(page: Page) -> Any:
    return json.loads(written(page, Form.JSON))


OTHERS = [
    "demo-1.0-variants.json",
    "demo-1.0.tbz",
    "demo-1.0.txz",
    "demo-1.0.tlz",
    "demo-1.0.tar.lz",
    "demo-1.0.tar.lzma",
    "demo-1.0.tar.zst",
    "demo-1.0.tar.gz.asc",
    "demo-1.0-py2.7.egg",
    "demo-1.0.win32.exe",
    "demo-1.0.tar.gz.sigstore",
    "Demo-1.0.custom",
]


@pytest.mark.parametrize("name", OTHERS)
def test_a_link_to_what_is_no_known_file_is_listed_and_a_page_of_nothing_else_is_a_page(name: str) -> None:
    for page in (html(name), of_json({"filename": name, "url": name})):
        assert [(file.filename, file.url) for file in page.files] == [(name, URL + name)]
        assert page.skipped == 0
        assert [entry["filename"] for entry in as_json(page)["files"]] == [name]
        assert f'href="../../files/demo/{name}"' in written(page, Form.HTML)


@pytest.mark.parametrize("name", ["demo-1.0.tbz", "demo-1.0.txz", "demo-1.0.tlz", "demo-1.0.tar.lz", "demo-1.0.tar.zst"])
def test_archives_that_pip_or_uv_install_from_are_sdists_of_their_release(name: str) -> None:
    (file,) = html(name).files
    assert (file.packaging, file.version_text("demo")) == (Packaging.SDIST, "1.0")


@pytest.mark.parametrize(
    "link", ["about.html", "demo-1.0.html", "https://demo.zip", "//demo.zip/", "demo-1.0/", "other-1.0.custom", "style.css"]
)
def test_a_link_to_no_file_is_left_out_and_counted(link: str) -> None:
    page = html(link, WHEEL)
    assert ([file.filename for file in page.files], page.skipped) == ([WHEEL], 1)


@pytest.mark.parametrize(
    "link",
    [
        "git+https://git.example.com/demo.git@v1#egg=demo-1.0",
        "git+ssh://git@git.example.com/demo.git",
    ],
)
def test_a_link_that_pip_installs_from_and_that_is_no_file_stays_in_html_as_it_is(link: str) -> None:
    page = html(link)
    assert f'<a href="{link}">x</a>' in written(page, Form.HTML)
    assert as_json(page)["files"] == []
    assert (page.files, page.skipped) == ((), 0)


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (f"pool%2Fa/{WHEEL}", f"pool%2Fa/{WHEEL}"),
        (f"pool%2F{WHEEL}", f"pool%2F{WHEEL}"),
        (f"pool%2f..%2F{WHEEL}", f"pool%2f..%2F{WHEEL}"),
        (f"{WHEEL}/", f"{WHEEL}/"),
        (f"{WHEEL}?token=a/b&amp;x=%23", f"{WHEEL}?token=a/b&x=%23"),
        (f"a b/{WHEEL}", f"a%20b/{WHEEL}"),
        (f"{WHEEL}?q=1#sha256%3D{SHA256}", f"{WHEEL}?q=1"),
    ],
)
def test_the_name_is_the_end_of_the_decoded_path_and_the_address_keeps_its_escapes(link: str, address: str) -> None:
    (file,) = html(link).files
    assert (file.filename, file.url) == (WHEEL, URL + address)


def test_raw_blanks_in_an_address_in_json_are_escaped_and_the_name_is_the_one_that_is_told() -> None:
    (file,) = of_json({"url": "pool a/b c.whl?x=1"}).files
    assert (file.filename, file.url) == (WHEEL, URL + "pool%20a/b%20c.whl?x=1")


@pytest.mark.parametrize(
    "fragment", [f"sha256%3D{SHA256}", f"sha256={SHA256}&md5={MD5}", f"md5={MD5}&sha256={SHA256}&size=5", f"sha256={SHA256}#md5={MD5}"]
)
def test_hashes_of_a_fragment_are_read_and_sha256_goes_first(fragment: str) -> None:
    (file,) = html(f"{WHEEL}#{fragment}").files
    assert next(iter(file.hashes.items())) == ("sha256", SHA256)
    assert f'{WHEEL}#sha256={SHA256}"' in written(html(f"{WHEEL}#{fragment}"), Form.HTML)


@pytest.mark.parametrize("name", ["blake2", "blake2b_256", "crc32", "size", "shake_256", "sha999"])
def test_what_is_no_hash_that_clients_know_is_left_out_since_pip_fails_on_it(name: str) -> None:
    digest = "0" * 64
    assert as_json(html(f"{WHEEL}#{name}={digest}"))["files"][0]["hashes"] == {}
    assert as_json(of_json({"hashes": {name: digest, "md5": MD5, "sha256": SHA256}}))["files"][0]["hashes"] == {
        "sha256": SHA256,
        "md5": MD5,
    }
    assert list(of_json({"hashes": {"md5": MD5, "sha256": SHA256}}).files[0].hashes) == ["sha256", "md5"]


def test_a_page_is_clearer_in_html_to_pip_where_blake2b_is_the_only_hash_of_a_link() -> None:
    assert html(f"{WHEEL}#blake2b={SHA256}").clearer_in_html
    assert html(f"{WHEEL}#blake2b={SHA256}").files[0].hashes == {"blake2b": SHA256}
    for page in (html(f"{WHEEL}#blake2b={SHA256}&sha256={SHA256}"), html(WHEEL), of_json({"hashes": {"blake2b": SHA256}})):
        assert not page.clearer_in_html


def test_a_rare_hash_is_kept_in_html_where_there_is_no_other() -> None:
    assert f"#sha3_256={SHA256}" in written(of_json({"hashes": {"sha3_256": SHA256}}), Form.HTML)


@pytest.mark.parametrize("kept", ["egg=demo-1.0", "subdirectory=python", "egg=demo&subdirectory=a/b"])
def test_what_pip_reads_in_a_fragment_besides_hashes_stays_in_both_forms(kept: str) -> None:
    for page in (
        html(f"archive.zip#sha256={SHA256}&{kept}"),
        of_json({"filename": "archive.zip", "url": f"archive.zip#{kept}", "hashes": {"sha256": SHA256}}),
    ):
        assert as_json(page)["files"][0]["url"] == f"../../files/demo/archive.zip#{kept}"
        assert f'"../../files/demo/archive.zip#sha256={SHA256}&amp;{kept.replace("&", "&amp;")}"' in written(page, Form.HTML)
        assert "#" not in page.files[0].url


def test_an_egg_that_makes_pip_give_up_is_left_out() -> None:
    assert as_json(html("archive.zip#egg=demo[extra]"))["files"][0]["url"] == "../../files/demo/archive.zip"


def test_upload_times_and_sizes_of_html_are_kept_in_both_forms() -> None:
    anchors = (
        f'<a href="{WHEEL}" data-upload-time="2024-01-02T03:04:05Z" data-size="123">x</a>'
        '<a href="demo-1.0.tar.gz" data-size="x" data-upload-time="soon">x</a>'
    )
    page = parse_page(anchors.encode(), None, URL, "demo")
    one, other = as_json(page)["files"]
    assert (one["upload-time"], one["size"]) == ("2024-01-02T03:04:05Z", 123)
    assert not {"upload-time", "size"} & set(other)
    assert 'data-size="123" data-upload-time="2024-01-02T03:04:05Z"' in written(page, Form.HTML)
    assert as_json(page)["meta"]["api-version"] == "1.0"


def test_upload_times_and_sizes_of_json_are_kept_in_html() -> None:
    again = parse_page(written(of_json({"size": 5, "upload-time": "2024-01-02T03:04:05.678Z"}), Form.HTML).encode(), None, URL, "demo")
    assert (again.files[0].size, again.files[0].upload_time) == (5, "2024-01-02T03:04:05.678Z")


HEAD = """<meta name="pypi:repository-version" content="1.4"><meta name="pypi:tracks" content="https://one.example.com/">
<meta name="pypi:tracks" content="https://two.example.com/"><meta name="pypi:alternate-locations" content="https://three.example.com/">
<meta name="pypi:project-status" content="archived"><meta name="generator" content="an <index>">"""


def test_what_the_head_of_an_html_page_says_is_kept_in_both_forms() -> None:
    page = html(WHEEL, head=HEAD)
    told = as_json(page)
    assert told["meta"] == {"api-version": "1.0", "tracks": ["https://one.example.com/", "https://two.example.com/"]}
    assert told["alternate-locations"] == ["https://three.example.com/"]
    assert told["project-status"] == {"status": "archived"}
    again = parse_page(written(page, Form.HTML).encode(), None, URL, "demo")
    assert (again.api_version, again.meta, again.extra, again.metas) == ("1.4", page.meta, page.extra, (("generator", "an <index>"),))


def test_what_a_json_page_says_of_itself_is_kept_in_both_forms_whatever_its_version() -> None:
    meta = {"api-version": "1.2", "tracks": ["https://one.example.com/"], "_last-serial": 77}
    page = of_json({}, meta=meta, versions=["1.0", "0.9"], **{"alternate-locations": ["https://three.example.com/"]})
    told = as_json(page)
    assert (told["versions"], told["meta"]["tracks"], told["alternate-locations"]) == (
        ["1.0", "0.9"],
        meta["tracks"],
        ["https://three.example.com/"],
    )
    again = parse_page(written(page, Form.HTML).encode(), None, URL, "demo")
    assert (again.api_version, as_json(again)["meta"]["tracks"], as_json(again)["alternate-locations"]) == (
        "1.2",
        meta["tracks"],
        told["alternate-locations"],
    )
    assert page.serial == "77"


@pytest.mark.parametrize("locations", [5, None, {"a": 1}, [1, None], "x"])
def test_locations_that_are_none_cost_no_form_of_the_page(locations: Any) -> None:
    page = of_json({}, meta={"api-version": "1.2", "tracks": locations}, **{"alternate-locations": locations})
    for form in Form:
        assert WHEEL in written(page, form)


@pytest.mark.parametrize("status", ["active", "archived", "quarantined", "deprecated"])
def test_a_projects_status_is_read_in_both_forms(status: str) -> None:
    for page in (
        html(head=f'<meta name="pypi:project-status" content="{status}"><title>Links for demo</title>'),
        of_json(**{"project-status": {"status": status}}),
    ):
        for again in (
            page,
            parse_page(written(page, Form.JSON).encode(), None, URL, "demo"),
            parse_page(written(page, Form.HTML).encode(), None, URL, "demo"),
        ):
            assert (again.status, again.quarantined) == (status, status == "quarantined")


def test_a_page_that_tells_no_status_is_active() -> None:
    assert html(WHEEL).status == of_json({}).status == "active"


@pytest.mark.parametrize("before", ["", "\n  words before it ", "\\"])
def test_anchors_are_found_whatever_stands_before_the_page_and_inside_their_tags(before: str) -> None:
    assert parse_page(f'{before}<!doctype html><a\n href="{WHEEL}"\n>x</a>'.encode(), None, URL, "demo").files[0].filename == WHEEL


def test_an_anchor_left_open_in_a_list_is_listed_once() -> None:
    body = f'<ul>\n<li> <a href="{WHEEL}" data-yanked>x</li>\n<li> <a href="demo-1.0.tar.gz">y</li>\n</ul>\n'
    page = parse_page(body.encode(), None, URL, "demo")
    assert [file.filename for file in page.files] == [WHEEL, "demo-1.0.tar.gz"]


def test_the_character_set_of_the_content_type_is_heeded_where_the_bytes_are_not_utf_8() -> None:
    body = f'<a href="{WHEEL}" data-yanked="café">x</a>'
    for charset in ("iso-8859-1", "utf-8", "UTF-8", "nonsense"):
        told = parse_page(body.encode("iso-8859-1" if charset == "iso-8859-1" else "utf-8"), f"text/html; charset={charset}", URL, "demo")
        assert told.files[0].yanked == "café"


@pytest.mark.parametrize("link", ["https://git.example.com/demo/tarball/develop", "tarball/develop"])
def test_a_link_that_only_its_egg_names_is_a_file_as_pip_takes_it(link: str) -> None:
    page = html(f"{link}#egg=demo-dev")
    assert [file.filename for file in page.files] == ["develop"]
    assert as_json(page)["files"][0]["url"] == "../../files/demo/develop#egg=demo-dev"


def test_line_breaks_in_an_address_are_passed_over() -> None:
    for page in (html(f"pool/\n{WHEEL}"), of_json({"url": f"pool/\r\n\t{WHEEL}"})):
        assert page.files[0].url == f"{URL}pool/{WHEEL}"


def test_a_long_signature_in_an_address_costs_no_entry() -> None:
    for page in (html(f"{WHEEL}?s={'a' * 6000}"), of_json({"url": f"{WHEEL}?s={'a' * 6000}"})):
        assert len(page.files) == 1


def test_anchors_in_a_template_are_read_as_clients_read_them() -> None:
    assert parse_page(f'<template><a href="{WHEEL}">x</a></template>'.encode(), None, URL, "demo").files[0].filename == WHEEL


@pytest.mark.parametrize("key", ["meta", "name", "versions"])
@pytest.mark.parametrize("value", [None, 5, [], [None], {}, "x"])
def test_what_a_json_page_says_of_itself_costs_no_entry_whatever_its_type(key: str, value: Any) -> None:
    page = of_json({}, **{key: value})
    assert [file.filename for file in page.files] == [WHEEL]
    for form in Form:
        assert WHEEL in written(page, form)
