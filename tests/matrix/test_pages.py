"""Faults of pages: what they say, how they say it, and how they fail to come."""

import asyncio
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest

from tests.faults import Fault, Target, artifactory_404, cut, hang, redirects, reset, status, wrong_type
from tests.listing import content_by_name
from tests.matrix.names import ALL, JSON, LINUX, MAC, OLD, SDIST, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror

FRESH = 0.05
PATH = "../../packages/packages/"
IN_PASSING = {"reset": reset(), "cut": cut(), "503": status(503), "502": status(502), "500": status(500)}


def entry(name: str, **details: Any) -> dict[str, Any]:
    """An entry of a JSON page for a file that the mirror has."""
    return {
        "filename": name,
        "url": f"../../packages/packages/{name}",
        "hashes": {"sha256": sha256(content_by_name(name)).hexdigest()},
        **details,
    }


def tell(mirror: BrokenMirror, *entries: Mapping[str, Any], content_type: str = JSON) -> None:
    """Lets the mirror answer with this JSON page, and have the files."""
    for each in entries:
        mirror.add(each["filename"], project="demo", path=each["filename"])
    body = {"meta": {"api-version": "1.0"}, "name": "demo", "files": list(entries)}
    mirror.set_page("demo", json.dumps(body).encode(), content_type)


@row(2, "pages without `upload-time`", "never invents one")
async def test_02_no_upload_time_is_invented(stocked: BrokenMirror, site: MakeSite) -> None:
    assert not any("upload-time" in file for file in (await (await site()).page())["files"])


@row(2, "pages without `upload-time`", "fills it by sha256 from a second index, where one is configured: `exclude-newer` works again")
async def test_02_upload_time_is_filled_from_a_reference(stocked: BrokenMirror, site: MakeSite) -> None:
    async with BrokenMirror() as whole:
        for name in (OLD, LINUX, "demo-3.0-py3-none-any.whl"):
            whole.add(name, upload_time="2024-02-02T00:00:00Z" if name == OLD else "2026-02-02T00:00:00Z")
        proxied = await site(reference={"url": whole.url})
        files = {file["filename"]: file.get("upload-time") for file in (await proxied.page())["files"]}
        assert files == {OLD: "2024-02-02T00:00:00Z", MAC: None, LINUX: "2026-02-02T00:00:00Z", SDIST: None}
        assert (await proxied.lock(exclude_newer="2025-01-01T00:00:00Z")).packages == {"demo": "1.0"}
    assert not (await (await site()).lock(exclude_newer="2025-01-01T00:00:00Z")).ok


@pytest.mark.parametrize("fault", IN_PASSING.values(), ids=IN_PASSING)
@row(4, "a page fails by a reset, a cut or 5xx, once", "asks again, and the client does not notice")
async def test_04_a_page_fails_once(stocked: BrokenMirror, site: MakeSite, fault: Fault) -> None:
    stocked.fault("page:demo", fault, times=1)
    assert await (await site()).names() == ALL


@pytest.mark.parametrize("fault", IN_PASSING.values(), ids=IN_PASSING)
@row(4, "pages fail for long", "serves what it has, marked as stale; what it has not is a 5xx that says why")
async def test_04_pages_fail_for_long(stocked: BrokenMirror, site: MakeSite, fault: Fault) -> None:
    proxied = await site(upstream={"fresh": FRESH, "retries": 0})
    assert await proxied.names() == ALL
    stocked.fault("page:*", fault)
    await asyncio.sleep(FRESH)
    code, headers, _ = await proxied.get("/simple/demo/", Accept=JSON)
    assert code == 200
    assert {"mirrormend-stale", "age", "warning"} <= headers.keys()
    assert (await proxied.problem("/simple/other/"))["status"] in {502, 503}


@row(4, "the mirror hangs", "answers within the deadline, with what it has or with a 504")
async def test_04_the_mirror_hangs(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site(upstream={"fresh": FRESH}, probe={"deadline": 0.5, "patience": 0.3})
    assert await proxied.names() == ALL
    stocked.fault("page:*", hang(20))
    await asyncio.sleep(FRESH)
    assert "mirrormend-stale" in (await proxied.get("/simple/demo/"))[1]
    assert (await proxied.problem("/simple/other/"))["status"] == 504


HASHES = {
    "none": {},
    "null": None,
    "md5 only": {"md5": "0123456789abcdef" * 2},
    "too short": {"sha256": "0123"},
    "sha512 besides": {"sha256": sha256(content_by_name(LINUX)).hexdigest(), "sha512": "ab" * 64},
    "upper case": {"sha256": sha256(content_by_name(LINUX)).hexdigest().upper()},
}


@pytest.mark.parametrize("hashes", HASHES.values(), ids=HASHES)
@row(11, "hashes of other kinds, malformed, or none", "normalises them to what clients accept, and invents none")
async def test_11_hashes_are_odd(mirror: BrokenMirror, site: MakeSite, hashes: Any) -> None:
    tell(mirror, entry(LINUX, hashes=hashes))
    proxied = await site()
    locked = await proxied.lock()
    assert locked.packages == {"demo": "2.0"}, locked
    ((served),) = (await proxied.page())["files"]
    assert set(served["hashes"].items()) <= {(name, digest.lower()) for name, digest in (hashes or {}).items()}


@row(11, "`sha256-` for `sha256=` in the fragment of a link", "reads both")
async def test_11_hashes_with_a_dash(mirror: BrokenMirror, site: MakeSite) -> None:
    digest = sha256(content_by_name(LINUX)).hexdigest()
    mirror.add(LINUX, path=LINUX)
    mirror.set_page("demo", f'<a href="{PATH}{LINUX}#sha256-{digest}">x</a>'.encode())
    assert (await (await site()).page())["files"][0]["hashes"] == {"sha256": digest}


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "text/plain", "application/json", "Application/VND.pypi.simple.v1+JSON"])
@row(12, "a page with a wrong Content-Type or none", "looks at the body, and labels it rightly")
async def test_12_a_page_is_mislabelled(mirror: BrokenMirror, site: MakeSite, kind: str) -> None:
    tell(mirror, entry(LINUX), content_type=kind)
    proxied = await site()
    assert (await proxied.get("/simple/demo/", Accept=JSON))[1]["content-type"] == JSON
    assert (await proxied.lock()).packages == {"demo": "2.0"}


@row(12, "a login page or a directory with status 200", "is an error that says so, not a project without files")
async def test_12_a_page_for_people(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault("page:demo", wrong_type(b"<html><title>Sign in</title><form><input type=password></form></html>"))
    proxied = await site()
    assert (await proxied.problem("/simple/demo/"))["status"] == 502
    assert "package index page" in (await proxied.lock()).stderr


@row(13, "HTML with slips: double escapes, raw `#`, junk links, a relative base", "reads it leniently, and writes it correctly")
async def test_13_html_with_slips(mirror: BrokenMirror, site: MakeSite) -> None:
    for name in (LINUX, OLD):
        mirror.add(name, path=name)
    mirror.set_page(
        "demo",
        f"""<base href="../../packages/"><a>nothing</a><a href="../">up</a><a href="mailto:a@mirror.example.com">who</a>
        <a href="packages/{LINUX}" data-requires-python="&amp;gt;=3.8">x</a><a href='packages/{OLD}'>x""".encode(),
    )
    proxied = await site()
    assert [file.get("requires-python") for file in (await proxied.page())["files"]] == [">=3.8", None]
    assert (await proxied.lock()).packages == {"demo": "2.0"}


@row(14, "`yanked` and `requires-python` are lost in HTML only", "asks for JSON first")
async def test_14_json_is_asked_for_first(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(LINUX, yanked="bad", requires_python=">=3.9")
    (file,) = (await (await site()).page())["files"]
    assert (file["yanked"], file["requires-python"]) == ("bad", ">=3.9")
    assert mirror.asked_for("page:demo")[0].headers["Accept"].startswith(JSON)


@row(14, "`yanked` and `requires-python` are lost", "fills both by sha256 from a second index, where one is configured")
async def test_14_what_is_lost_is_filled_from_a_reference(mirror: BrokenMirror, site: MakeSite) -> None:
    for name in (OLD, LINUX):
        mirror.add(name, extra={"yanked": None})
    assert (await (await site()).lock()).packages == {"demo": "2.0"}
    async with BrokenMirror() as whole:
        whole.add(OLD, requires_python=">=3.8")
        whole.add(LINUX, yanked="broken")
        proxied = await site(reference={"url": whole.url})
        assert [file.get("requires-python") for file in (await proxied.page())["files"]] == [">=3.8", None]
        assert (await proxied.lock()).packages == {"demo": "1.0"}


@row(16, "a page is redirected, and its links are relative", "joins them to where the page really came from")
async def test_16_links_are_joined_after_redirects(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(LINUX, path=f"deep/{LINUX}")
    mirror.set_page("a/b/demo", f'<a href="../../../../packages/packages/deep/{LINUX}">x</a>'.encode())
    mirror.fault("page:demo", redirects("../a/b/demo/"))
    proxied = await site()
    assert (await proxied.lock()).packages == {"demo": "2.0"}


@row(16, "every link of a page is answered by 404", "takes that for a misreading: drops nothing, and the file request says what happened")
async def test_16_a_page_of_which_nothing_comes(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault("*", artifactory_404())
    proxied = await site()
    assert await proxied.names() == ALL
    told = await proxied.problem(f"/files/demo/{LINUX}")
    assert (told["status"], told["upstream_status"]) == (502, 404)


@row(17, "an empty page for a name that is not there, or 404", "keeps the meaning of both, and adds no project")
async def test_17_absence_keeps_its_meaning(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.set_page("empty", b"<!DOCTYPE html><html><body><h1>Links for empty</h1></body></html>")
    proxied = await site()
    assert await proxied.names("empty") == []
    assert (await proxied.get("/simple/absent/"))[0] == 404
    listed = (await proxied.get("/simple/", Accept="text/html"))[2]
    assert b"demo" in listed
    assert b"absent" not in listed


@row(18, "a page that is old by the time it is used", "asks the mirror again after two minutes, or as configured, at little cost")
async def test_18_a_page_is_asked_for_again(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site(upstream={"fresh": FRESH})
    assert await proxied.names() == ALL
    await asyncio.sleep(FRESH)
    assert await proxied.names() == ALL
    assert "If-None-Match" in stocked.asked_for("page:demo")[-1].headers
    stocked.add("demo-3.0-py3-none-any.whl")
    await asyncio.sleep(FRESH)
    assert await proxied.names() == [*ALL, "demo-3.0-py3-none-any.whl"]


@row(22, "a name that only its author's spelling finds", "tries the normalised name, then the spelling that was asked for")
async def test_22_a_page_under_the_authors_spelling(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(LINUX, project="De.Mo")
    proxied = await site()
    code, _, body = await proxied.get("/simple/De.Mo/", Accept=JSON)
    assert (code, [file["filename"] for file in json.loads(body)["files"]]) == (200, [LINUX])
    assert (await proxied.get("/simple/De.Mo", Accept=JSON))[0] == 200


@row(22, "escapes in paths that a mirror wants as it wrote them", "passes the bytes of a path as they are")
async def test_22_escapes_pass_unchanged(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(LINUX, path=f"a+b/{LINUX}", url=f"{PATH}a%2Bb/{LINUX}")
    proxied = await site()
    assert (await proxied.get(f"/files/demo/{LINUX}"))[2] == content_by_name(LINUX)
    assert all("%2B" in each.path for each in mirror.asked_for(LINUX))


@row(22, "a conditional request is answered by 400", "asks again without the condition")
async def test_22_conditions_are_refused(stocked: BrokenMirror, site: MakeSite) -> None:
    async def refuses(target: Target) -> Any:
        conditional = {"If-None-Match", "If-Modified-Since"} & set(target.request.headers)
        return await status(400)(target) if conditional else None

    stocked.fault("page:*", refuses)
    proxied = await site(upstream={"fresh": FRESH})
    for _ in range(2):
        await asyncio.sleep(FRESH)
        code, headers, _ = await proxied.get("/simple/demo/", Accept=JSON)
        assert code == 200
        assert "mirrormend-stale" not in headers


@row(24, "`size: null`, `upload-time: null`, or no `hashes` in an entry", "leaves the key out, and adds an empty `hashes`")
async def test_24_nulls_in_an_entry(mirror: BrokenMirror, site: MakeSite) -> None:
    tell(mirror, entry(OLD), {**entry(LINUX), "size": None, "upload-time": None, "hashes": None})
    proxied = await site()
    assert not (await proxied.lock(index=mirror.url)).ok
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert [set(file) for file in (await proxied.page())["files"]][1] == {"filename", "url", "hashes", "core-metadata"}


@row(24, "any other value for which uv refuses the whole page", "corrects it or leaves it out: [uv-pages.md](uv-pages.md)")
async def test_24_values_that_uv_refuses(mirror: BrokenMirror, site: MakeSite) -> None:
    tell(mirror, entry(OLD), {**entry(LINUX), "requires-python": ">=3.x"})
    proxied = await site()
    assert (await proxied.lock(index=mirror.url)).packages == (await proxied.lock()).packages == {"demo": "1.0"}
    tell(mirror, entry(OLD), {**entry(LINUX), "size": 2**64, "upload-time": "2024-01-02T03:04:05"})
    assert not (await proxied.lock(index=mirror.url)).ok
    assert (await (await site()).lock()).packages == {"demo": "2.0"}


@row(13, "an entry or link that makes no sense", "is skipped alone")
async def test_13_an_entry_that_makes_no_sense(mirror: BrokenMirror, site: MakeSite) -> None:
    tell(mirror, entry(LINUX), {**entry(MAC), "url": 5}, {**entry(SDIST), "filename": "../../etc/passwd.tar.gz"})
    assert await (await site()).names() == [LINUX]
