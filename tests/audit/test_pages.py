"""Pages that are malformed, mislabelled or lack fields are told, each fault by its name."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.findings import Fault, Level
from proxy.audit.refused_values import refused_in_html
from proxy.core.uv_refusals import BASE
from tests.audit.conftest import OLD, Audit, Check
from tests.clients import Uv, write_project
from tests.listing import HTML_TYPE, JSON_TYPE
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel


async def faults(audit: Audit) -> list[tuple[Fault, Level]]:
    return [(each.fault, each.level) for each in (await audit("demo")).findings]


def entry(mirror: BrokenMirror, **changes: Any) -> dict[str, Any]:
    listed = mirror.projects["demo"].files[OLD]
    made = {**listed.as_json(), "upload-time": "2024-01-01T00:00:00Z"} | changes
    return {key: value for key, value in made.items() if value != "gone"}


def write(mirror: BrokenMirror, *entries: dict[str, Any], content_type: str = JSON_TYPE) -> None:
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "versions": ["1.0"], "files": list(entries)}).encode()
    mirror.set_page("demo", body, content_type)


@pytest.fixture
def one(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror of one file, on a page of the test's own."""
    mirror.add(OLD)
    write(mirror, entry(mirror))
    return mirror


async def test_a_page_as_it_should_be_is_no_finding(one: BrokenMirror, audit: Audit) -> None:
    assert await faults(audit) == []


@pytest.mark.parametrize(
    "said", ["text/plain", "application/octet-stream", "text/html", "", "application/json", JSON_TYPE.title(), JSON_TYPE]
)
async def test_a_page_is_called_mislabelled_where_real_uv_cannot_use_it(
    one: BrokenMirror, audit: Audit, uv: Uv, tmp_path: Path, said: str
) -> None:
    write(one, entry(one), content_type=said)
    locked = await uv.lock(write_project(tmp_path / "project", ["demo"]), one.url)
    assert await faults(audit) == ([] if locked.ok else [(Fault.PAGE_MISLABELLED, Level.ERROR)])
    assert locked.ok == (said == JSON_TYPE)


ENTRIES: list[dict[str, Any]] = [
    {"size": None},
    {"size": "12"},
    {"size": -1},
    {"upload-time": None},
    {"upload-time": "yesterday"},
    {"hashes": "gone"},
    {"hashes": {"sha256": "abc"}},
    {"hashes": {"md5": "x"}},
    {"hashes": {"sha256": None}},
    {"hashes": {"sha256": "A" * 64}},
    {"yanked": None},
    {"yanked": "a reason"},
    {"filename": 3},
    {"url": None},
    {"requires-python": None},
    {"requires-python": 3},
    {"core-metadata": "true"},
    {"core-metadata": None},
    {"dist-info-metadata": None},
    {"gpg-sig": None},
    {"unknown": [1]},
    {"size": 2**64},
    {"upload-time": "2024-01-02T03:04:05"},
    {"upload-time": "2024-01-02T03:04:05+00:00"},
    {"hashes": {"sha256": "g" * 64}},
    {"yanked": "\ud800"},
    {"unknown": "\ud800"},
]


@pytest.mark.parametrize("changes", ENTRIES, ids=lambda changes: json.dumps(changes)[:40])
async def test_an_entry_is_called_invalid_where_real_uv_refuses_the_page(
    one: BrokenMirror, audit: Audit, uv: Uv, tmp_path: Path, changes: dict[str, Any]
) -> None:
    write(one, entry(one, **changes))
    # A pin, since uv chooses nothing that is yanked without one.
    locked = await uv.lock(write_project(tmp_path / "project", ["demo==1.0"]), one.url)
    told = (Fault.PAGE_ENTRY_INVALID, Level.ERROR) in await faults(audit)
    assert told is not locked.ok, locked


async def test_a_requires_python_for_which_uv_passes_over_a_file_is_an_error_with_an_example(one: BrokenMirror, check: Check) -> None:
    write(one, entry(one, **{"requires-python": ">=3.x"}))
    done = await check("demo")
    assert done.returncode == 1
    assert f'{OLD}: requires-python is ">=3.x", and uv takes version specifiers' in " ".join(done.stdout.split())


async def test_half_a_character_in_a_name_breaks_no_report(one: BrokenMirror, check: Check) -> None:
    write(one, entry(one), entry(one, filename="demo\ud800-2.0.tar.gz"))
    for form in ("table", "json", "html", "junit", "github"):
        done = await check("demo", "--format", form)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done
        assert "page-entry-invalid" in done.stdout or "refuses the whole page" in done.stdout


async def test_a_name_that_no_file_can_have_is_no_error_since_uv_passes_over_it(one: BrokenMirror, audit: Audit) -> None:
    write(one, entry(one), entry(one, filename=".."), entry(one, filename=""))
    assert await faults(audit) == [(Fault.PAGE_ENTRY_SKIPPED, Level.WARNING)]


async def test_an_entry_that_names_no_file_is_told(one: BrokenMirror, audit: Audit) -> None:
    write(one, entry(one), {"filename": 3, "url": "x"})
    assert (Fault.PAGE_ENTRY_SKIPPED, Level.ERROR) in await faults(audit)


async def test_what_the_entries_lack_is_told(one: BrokenMirror, audit: Audit) -> None:
    write(one, entry(one, **{"upload-time": "gone", "size": "gone", "hashes": {}}))
    assert await faults(audit) == [
        (Fault.PAGE_LACKS_HASHES, Level.WARNING),
        (Fault.PAGE_LACKS_UPLOAD_TIME, Level.WARNING),
        (Fault.PAGE_LACKS_SIZE, Level.NOTE),
    ]


async def test_a_page_in_html_only_is_a_note_and_no_failure(one: BrokenMirror, audit: Audit) -> None:
    one.projects["demo"].raw = None
    one.forms = {"html"}
    report = await audit("demo")
    assert [(each.fault, each.level) for each in report.findings] == [(Fault.PAGE_HTML_ONLY, Level.NOTE)]
    assert report.exit_status == 0


async def test_a_login_page_is_unreadable(one: BrokenMirror, audit: Audit) -> None:
    one.set_page("demo", b"<html><form><input type=password></form></html>", HTML_TYPE)
    report = await audit("demo")
    assert [(each.fault, each.level) for each in report.findings] == [(Fault.PAGE_UNREADABLE, Level.ERROR)]


async def test_a_lost_requires_python_is_told_by_the_metadata(one: BrokenMirror, audit: Audit) -> None:
    text = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3.9\n"
    one.add(OLD, make_wheel(OLD, metadata=text), upload_time="2024-01-01T00:00:00Z")
    one.projects["demo"].raw = None
    assert await faults(audit) == [(Fault.PAGE_LACKS_REQUIRES_PYTHON, Level.WARNING)]
    one.add(OLD, make_wheel(OLD, metadata=text), upload_time="2024-01-01T00:00:00Z", requires_python=">=3.9")
    assert await faults(audit) == []


@pytest.mark.parametrize(("link", "refused"), [("packages/", True), ("https://mirror.example.com/packages/", False)])
def test_a_base_of_another_scheme_costs_the_page_only_where_a_link_is_joined_to_it(link: str, refused: bool) -> None:
    body = f'<base href="mailto:x"><a href="{link}{OLD}">x</a><a href="../">up</a>'.encode()
    assert [each.refusal.rule is BASE for each in refused_in_html(body, "demo")] == [True] * refused
