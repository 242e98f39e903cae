"""Odd entries, odd pages and odd requests, as a client gets them through the proxy."""

import json
from typing import Any
from urllib.parse import urljoin

import pytest
from yarl import URL

from tests.conftest import MakeClient
from tests.faults import status, wrong_type
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PIP = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
UV = {"Accept": PIP, "User-Agent": "uv/0.13.9"}
WHEEL = "demo-1.0-py3-none-any.whl"
PATH = "../../packages/packages/"
LISTING = '<html><title>Index of /simple/demo/</title><body><h1>Index of /simple/demo/</h1><pre><a href="../">../</a>{}</pre></body></html>'


def tell(mirror: BrokenMirror, *links: str, head: str = "", headers: dict[str, str] | None = None) -> None:
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    mirror.set_page("demo", f"<html><head>{head}</head><body>{anchors}</body></html>".encode(), headers=headers)


async def got(client: Any, path: str = "/simple/demo/", **headers: str) -> tuple[int, dict[str, str], str]:
    async with client.get(URL(path, encoded=True), headers=headers, allow_redirects=False) as response:
        return response.status, dict(response.headers), await response.text()


async def files(client: Any) -> list[dict[str, Any]]:
    code, _, body = await got(client, Accept=JSON)
    assert code == 200, body
    return list(json.loads(body)["files"])


async def fetched(client: Any, url: str) -> tuple[int, bytes]:
    async with client.get(urljoin("/simple/demo/", url)) as response:
        return response.status, await response.read()


@pytest.mark.parametrize(
    "name", ["demo-1.0-variants.json", "demo-1.0.tar.zst", "demo-1.0.txz", "demo-1.0.tar.gz.asc", "demo-1.0.win32.exe"]
)
async def test_what_stands_beside_distributions_is_listed_and_served_as_it_is(
    mirror: BrokenMirror, app_client: MakeClient, name: str
) -> None:
    mirror.add(name, b"its bytes", project="demo", path=name)
    tell(mirror, PATH + name)
    client = await app_client()
    (entry,) = await files(client)
    assert entry["filename"] == name
    assert await fetched(client, entry["url"]) == (200, b"its bytes")


async def test_the_signature_of_a_file_that_is_said_to_have_one_is_served_though_no_page_lists_it(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(f"{WHEEL}.asc", b"signature", project="elsewhere", path=f"{WHEEL}.asc")
    mirror.add(WHEEL, path=WHEEL)
    client = await app_client()
    assert (await fetched(client, f"/files/demo/{WHEEL}.asc"))[0] == 404
    mirror.set_page("demo", f'<a href="{PATH}{WHEEL}" data-gpg-sig="true">x</a>'.encode())
    client = await app_client()
    assert await fetched(client, f"/files/demo/{WHEEL}.asc") == (200, b"signature")


async def test_links_that_are_left_out_are_counted_in_a_header(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL, path=WHEEL)
    tell(mirror, PATH + WHEEL, "about.html", "mailto:a@example.com")
    client = await app_client()
    assert (await got(client, Accept=JSON))[1]["Mirrormend-Skipped"] == "2"
    tell(mirror, PATH + WHEEL)
    assert "Mirrormend-Skipped" not in (await got(await app_client(), Accept=JSON))[1]


async def test_pip_gets_html_where_a_link_to_version_control_has_no_place_in_json(mirror: BrokenMirror, app_client: MakeClient) -> None:
    link = "git+https://git.example.com/demo.git@v2#egg=demo-2.0"
    tell(mirror, link)
    client = await app_client()
    pip = {"Accept": PIP, "User-Agent": "pip/26.3 {}"}
    _, headers, body = await got(client, **pip)
    assert (headers["Content-Type"], headers["Vary"]) == (HTML, "Accept, Accept-Encoding, Authorization, User-Agent")
    assert f'href="{link}"' in body
    for asked in (
        got(client, **UV),
        got(client, **{**pip, "Accept": JSON}),
        got(client, f"/simple/demo/?format={JSON.replace('+', '%2B')}", **pip),
    ):
        _, headers, body = await asked
        assert (headers["Content-Type"], json.loads(body)["files"]) == (JSON, [])


@pytest.mark.parametrize("link", ["pool%2F{}", "{}/", "a%20b/{}", "a b/{}", "{}?token=%2F", "{}?q=1#sha256%3Dabc"])
async def test_a_file_is_asked_for_by_the_address_as_the_mirror_wrote_it(mirror: BrokenMirror, app_client: MakeClient, link: str) -> None:
    tell(mirror, PATH + link.format(WHEEL))
    mirror.fault(lambda name: name in {WHEEL, ""}, wrong_type(b"PK the bytes"))
    client = await app_client(probe={"budget": 0})
    (entry,) = await files(client)
    assert entry["filename"] == WHEEL
    await fetched(client, entry["url"])
    path = f"/artifactory/api/pypi/pypi/packages/packages/{link.format(WHEEL).partition('#')[0].partition('?')[0].replace(' ', '%20')}"
    assert path in {each.path for each in mirror.asked}


@pytest.mark.parametrize("accept", ["application/json", "application/json; charset=utf-8", "application/json, text/plain;q=0.5"])
async def test_who_asks_for_json_gets_it_under_the_name_by_which_clients_of_the_simple_api_know_it(
    mirror: BrokenMirror, app_client: MakeClient, accept: str
) -> None:
    mirror.add(WHEEL)
    code, headers, body = await got(await app_client(), Accept=accept)
    assert (code, headers["Content-Type"]) == (200, JSON)
    assert json.loads(body)["files"][0]["filename"] == WHEEL


async def test_who_asks_for_xhtml_gets_html(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    code, headers, body = await got(await app_client(), Accept="application/xhtml+xml")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert WHEEL in body


@pytest.mark.parametrize("path", ["/simple/De.Mo/", "/simple/De.Mo", "/simple/demo", "/simple"])
async def test_a_redirect_keeps_the_query_as_it_was_written(app_client: MakeClient, path: str) -> None:
    code, headers, _ = await got(await app_client(), f"{path}?x=%23y%26z&a=%2F+b")
    assert code == 301
    assert headers["Location"].endswith("/?x=%23y%26z&a=%2F+b")


@pytest.mark.parametrize("body", ["<a href=x.whl>x</a>", "<a href=x.whl>x</a><!--SERIAL 77-->"])
async def test_the_mirrors_last_serial_is_passed_on(mirror: BrokenMirror, app_client: MakeClient, body: str) -> None:
    mirror.set_page("demo", body.encode(), headers={} if "SERIAL" in body else {"X-PyPI-Last-Serial": "77"})
    assert (await got(await app_client(), Accept=JSON))[1]["X-PyPI-Last-Serial"] == "77"


async def test_the_last_serial_outlives_a_restart(mirror: BrokenMirror, app_client: MakeClient, tmp_path: Any) -> None:
    mirror.set_page("demo", b"<a href=x.whl>x</a>", headers={"X-PyPI-Last-Serial": "77"})
    for _ in range(2):
        client = await app_client(store={"location": f"sqlite:{tmp_path / 'store'}"})
        assert (await got(client, Accept=JSON))[1]["X-PyPI-Last-Serial"] == "77"
        await client.close()


async def test_an_empty_folder_is_a_project_without_files(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.set_page("demo", LISTING.format("").encode())
    assert await files(await app_client()) == []


@pytest.mark.parametrize("refused", [True, False], ids=["a folder that is refused", "a folder that is listed"])
async def test_an_index_page_inside_of_a_folder_is_found_and_the_next_project_is_asked_for_there(
    mirror: BrokenMirror, app_client: MakeClient, refused: bool
) -> None:
    mirror.add(WHEEL, path=WHEEL)
    for name in ("demo", "other"):
        mirror.set_page(name, LISTING.format('<a href="index.html">index.html</a>').encode())
    if refused:
        mirror.fault("page:*", status(403))
    mirror.fault("index.html", wrong_type(f'<a href="{PATH}{WHEEL}">x</a>'.encode()))
    client = await app_client()
    (entry,) = await files(client)
    assert entry["filename"] == WHEEL
    assert (await fetched(client, entry["url"]))[0] == 200
    mirror.forget()
    assert (await got(client, "/simple/other/", Accept=JSON))[0] == 200
    assert [each.path.rpartition("/simple/")[2] for each in mirror.asked if "/simple/" in each.path] == ["other/index.html"]


async def test_a_folder_that_is_refused_and_has_no_page_inside_stays_refused(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.fault("page:*", status(403))
    client = await app_client()
    for number in range(6):
        assert (await got(client, f"/simple/p{number}/", Accept=JSON))[0] == 403
    assert sum(each.name == "index.html" for each in mirror.asked) == 3


@pytest.mark.parametrize(
    "body", ["<html><body><p>Please try later</p></body></html>", "<title>Quota exceeded</title>", "", '{"errors": []}']
)
async def test_a_page_for_people_is_an_error_and_no_project_without_files(mirror: BrokenMirror, app_client: MakeClient, body: str) -> None:
    mirror.set_page("demo", body.encode())
    code, headers, _ = await got(await app_client(), Accept=JSON)
    assert (code, headers["Content-Type"].partition(";")[0]) == (502, "application/problem+json")


async def test_metadata_files_that_a_folder_lists_itself_are_served(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add("demo-1.0.custom.metadata", b"its bytes", project="demo", path="demo-1.0.custom.metadata")
    mirror.fault("metadata:*", wrong_type(b"its bytes"))
    tell(mirror, PATH + "demo-1.0.custom.metadata")
    client = await app_client()
    (entry,) = await files(client)
    assert (await fetched(client, entry["url"]))[0] in {200, 502}


async def test_a_name_of_nothing_but_endings_is_not_listed(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    assert (await fetched(await app_client(), "/files/demo/x" + ".asc" * 1500))[0] == 404
