"""The forms of the report, from a report of the worst words that a mirror could send."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from selectolax.lexbor import LexborHTMLParser

from proxy.audit.findings import Effect, Exchange, Fault, Finding, Level, ProjectReport, Report
from proxy.audit.formats import FORMATS
from proxy.audit.formats.table import print_report
from proxy.audit.matrix import Cell, Matrix, Row
from proxy.audit.pages import page_findings
from proxy.audit.platforms import PLATFORMS
from proxy.audit.wanted import LeftOut, Omission, Place, Source
from proxy.core.parse import parse_page
from proxy.core.verdict.reason import Reason
from proxy.telemetry.price import Cost
from tests.audit.conftest import MAC, Audit, Check
from tests.faults import artifactory_404
from tests.listing import JSON_TYPE
from tests.mirror import BrokenMirror

NASTY = "<script>alert(1)</script>&\"'%,:\x1b[31m]]>\r\n::error::x {{ 7*7 }} [bold]"
URL = "https://mirror.example.com/simple/"

DEAD = Finding(
    Level.ERROR,
    Fault.FILE_UNDELIVERABLE,
    "demo",
    f"the mirror says {NASTY}",
    "2.0",
    MAC,
    "macOS arm64",
    "absent",
    Effect.DROPPED,
    Exchange(f"{URL}{MAC}", "GET bytes=0-0", 404, 0.0, headers={"server": NASTY}),
    Place("locks, all/uv.lock", 7),
)
NOTE = Finding(Level.NOTE, Fault.PAGE_HTML_ONLY, "demo", "HTML only")
UNCHECKED = Finding(Level.UNCHECKED, Fault.PAGE_FAILED, "other", "no answer", exchange=Exchange(URL, "GET", None, 0.0, "timeout"))
ROW = Row("demo", "2.0", {each.name: {"3.12": Cell.WHEEL, "3.13": Cell.SDIST} for each in PLATFORMS})
REPORT = Report(
    URL,
    "artifactory",
    (Source("uv.lock", "uv.lock"),),
    0.0,
    1.5,
    (
        ProjectReport("demo", f"{URL}demo/", files=2, undeliverable=1, findings=(DEAD, NOTE)),
        ProjectReport("other", URL, findings=(UNCHECKED,)),
    ),
    matrix=Matrix(("3.12", "3.13"), (ROW,)),
    version="1",
)


def test_html_is_one_file_that_runs_nothing_and_fetches_nothing() -> None:
    text = FORMATS["html"](REPORT)
    page = LexborHTMLParser(text)
    assert page.css("script, link, img, iframe, object, form, [src], [href], [style], [onclick]") == []
    assert "@import" not in text
    assert "url(" not in text
    policy = page.css_first("meta[http-equiv='Content-Security-Policy']").attributes["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    body = page.css_first("body").text()
    assert "<script>alert(1)</script>" in body
    assert "{{ 7*7 }}" in body


def test_html_can_be_read_by_ear_and_in_the_dark() -> None:
    text = FORMATS["html"](REPORT)
    page = LexborHTMLParser(text)
    assert page.css_first("html").attributes["lang"] == "en"
    assert [len(page.css(each)) for each in ("title", "h1", "main", "caption")] == [1, 1, 1, 1]
    assert all(cell.attributes.get("scope") for cell in page.css("th"))
    assert "prefers-color-scheme: dark" in text
    # What scrolls can be reached without a mouse.
    assert all(each.attributes.get("tabindex") == "0" for each in page.css(".scroll, pre"))


def test_html_tells_the_finding_and_the_matrix() -> None:
    page = LexborHTMLParser(FORMATS["html"](REPORT))
    body = " ".join(page.css_first("body").text().split())
    assert MAC in body
    assert f"curl -sSL -o /dev/null -w '%{{http_code}} %{{content_type}}\\n' -r 0-0 {URL}{MAC}" in body
    assert "sdist (3.13)" in body
    assert "with builds" in body
    assert "1 error" in body


def test_junit_is_sound_xml_whose_counts_are_right() -> None:
    root = ET.fromstring(FORMATS["junit"](REPORT))  # noqa: S314 - made here a moment ago
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    for suite in root.iter("testsuite"):
        assert suite.get("tests") == str(len(suite.findall("testcase")))
    case = next(root.iter("testcase"))
    assert (case.get("classname"), case.get("name"), case.get("file"), case.get("line")) == (
        "demo.2.0",
        f"file-undeliverable {MAC}",
        "locks, all/uv.lock",
        "7",
    )
    failure = case.find("failure")
    assert failure is not None
    assert failure.text is not None
    assert "curl -sSL" in failure.text


def test_a_sound_project_is_a_passed_case_and_an_interruption_an_error() -> None:
    sound = replace(REPORT, projects=(ProjectReport("demo", URL),), interrupted=True, unreached=3)
    root = ET.fromstring(FORMATS["junit"](sound))  # noqa: S314 - made here a moment ago
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "0", "1")


def test_annotations_are_one_command_a_line_at_the_line_of_the_lock() -> None:
    lines = FORMATS["github"](REPORT).splitlines()
    assert all(re.match(r"::(error|warning|notice) [^:]+::", line) for line in lines)
    assert lines[0].startswith(
        "::error file=locks%2C all/uv.lock,line=7,title=demo 2.0 macOS arm64%3A file-undeliverable::the mirror says <script>"
    )
    assert "%25,:" in lines[0]
    assert "%0D%0A::error::x" in lines[0]
    assert lines[-1] == f"::notice title=mirrormend check::{URL}: 1 error, 0 warnings, 1 project not checked"


@pytest.mark.parametrize("width", [60, 200])
def test_the_table_is_plain_text_whatever_the_mirror_sends(width: int) -> None:
    text = StringIO()
    print_report(REPORT, Console(file=text, width=width))
    shown = text.getvalue()
    assert "\x1b" not in shown
    assert "[bold]" in "".join(shown.split())
    assert f"curl -sSL -o /dev/null -w '%{{http_code}} %{{content_type}}\\n' -r 0-0 {URL}{MAC}\n" in shown


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_platforms_names_its_packages_however_narrow_the_terminal(width: int) -> None:
    text = StringIO()
    print_report(REPORT, Console(file=text, width=width))
    matrix = text.getvalue().partition("Installable from this mirror")[2]
    assert re.search(r"^demo 2\.0 ", matrix, flags=re.MULTILINE)
    assert "…" not in matrix
    assert matrix.count("(3.13)") == len(PLATFORMS)


async def test_every_form_is_written_by_the_command(stocked: BrokenMirror, check: Check, tmp_path: Path) -> None:
    stocked.fault(MAC, artifactory_404())
    for form, start in (("html", "<!DOCTYPE html>"), ("junit", "<?xml"), ("github", "::error title=demo 2.0 macOS arm64")):
        done = await check("demo", "-q", "--format", form)
        assert done.returncode == 1
        assert done.stdout.startswith(start)


async def test_a_mirror_without_macos_is_one_line_of_the_table(mirror: BrokenMirror, audit: Audit) -> None:
    for number in range(1, 30):
        for name in (f"demo-{number}.0-py3-none-any.whl", f"demo-{number}.0-cp312-cp312-macosx_11_0_arm64.whl"):
            mirror.add(name, upload_time="2024-01-01T00:00:00Z")
    mirror.fault("*macosx*", artifactory_404())
    text = StringIO()
    print_report(await audit("demo"), Console(file=text, width=160))
    assert text.getvalue().count("macOS arm64") == 1
    assert "29.0, 28.0, 27.0 and 26 more" in text.getvalue()
    assert text.getvalue().count("curl") == 1


SOUND = replace(REPORT, projects=(ProjectReport("demo", f"{URL}demo/", files=1, deliverable=1),), matrix=None, requests=1)
EVERYWHERE = {each.name: {"3.12": Cell.WHEEL} for each in PLATFORMS}


def table_of(report: Report, width: int = 160) -> str:
    text = StringIO()
    print_report(report, Console(file=text, width=width))
    return text.getvalue()


def test_the_table_and_the_page_say_what_the_check_cost_the_mirror() -> None:
    costs = (Cost(Reason.AWAITED, 40, 40), Cost(Reason.CONSTRAINT, 0, 0), Cost(Reason.PROOF, 12, 1))
    said = "Requests for files: awaited 40 (40 files), proof 12 (1 file)."
    assert said in table_of(replace(SOUND, price=costs))
    assert said in FORMATS["html"](replace(SOUND, price=costs))
    assert "Requests for files" not in table_of(SOUND)


def row(name: str, cell: Cell, *platforms: str) -> Row:
    return Row(name, "1.0", {**EVERYWHERE, **{platform: {"3.12": cell} for platform in platforms}})


def noted(count: int) -> Report:
    return replace(SOUND, projects=(replace(SOUND.projects[0], findings=(NOTE,) * count),))


LACKING = "not all of it can be installed on"
MAC_ARM, WINDOWS = PLATFORMS[4], PLATFORMS[5]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (SOUND, "Sound: nothing was found."),
        (noted(1), "No error and no warning; 1 note."),
        (noted(2), "No error and no warning; 2 notes."),
        (replace(SOUND, matrix=Matrix(("3.12",), (row("a", Cell.SDIST, WINDOWS.name),))), "Sound: nothing was found."),
        (
            replace(noted(1), matrix=Matrix(("3.12",), (row("a", Cell.NONE, WINDOWS.name), row("b", Cell.UNKNOWN, MAC_ARM.name)))),
            f"No error and no warning; 1 note; {LACKING} {WINDOWS.title}; not known whether all of it can be installed on {MAC_ARM.title}.",
        ),
    ],
)
def test_a_report_is_simply_sound_only_if_there_is_nothing_to_say_against_it(report: Report, said: str) -> None:
    assert report.exit_status == 0
    assert table_of(report, 400).splitlines()[-1] == said
    headline = LexborHTMLParser(FORMATS["html"](report)).css_first("h1").text()
    assert headline == f"{'Sound:' if said.startswith('Sound') else 'No error and no warning at'} {URL}"


@pytest.mark.parametrize("form", ["table", *FORMATS])
def test_one_is_counted_as_one(form: str) -> None:
    warning = replace(DEAD, level=Level.WARNING, says="it is slow")
    one = replace(
        REPORT,
        sources=(Source("uv.lock", "uv.lock", elsewhere=1), Source("requirements", "r.txt", left_out=(LeftOut(Omission.OPTION, "--pre"),))),
        projects=(ProjectReport("demo", URL, files=2, deliverable=1, findings=(replace(DEAD, says="dead"), warning)),),
        requests=1,
        matrix=Matrix(("3.12",), (row("a", Cell.WHEEL), row("b", Cell.NONE, WINDOWS.name))),
    )
    interrupted = replace(one, interrupted=True, unreached=1)
    for report in (one, interrupted, replace(one, projects=(ProjectReport("other", URL, findings=(UNCHECKED,)),))):
        text = table_of(report) if form == "table" else FORMATS[form](report)
        assert not re.search(r"\b1 (?:packages|projects|errors|warnings|notes|requests|files|lines)\b", text), text


def test_packages_that_a_lock_does_not_take_from_the_mirror_are_of_no_index_in_particular() -> None:
    said = "2 packages come from a folder, a URL, Git or another index, and were left out."
    assert said in table_of(replace(SOUND, sources=(Source("uv.lock", "uv.lock", elsewhere=2),)))


def test_no_line_that_repeats_a_finding_stands_there_twice() -> None:
    page = Exchange(f"{URL}demo/", "GET", 200, 0.0)
    found = tuple(replace(DEAD, fault=fault, exchange=page, effect=Effect.NONE) for fault in (Fault.HASH_DIFFERS, Fault.SIZE_DIFFERS))
    text = table_of(replace(SOUND, projects=(replace(SOUND.projects[0], findings=found),)))
    assert (text.count("curl "), "To repeat it:" in text) == (1, True)


def test_packages_are_more_only_than_those_that_stand_there() -> None:
    plain, lacking = (row("a", Cell.WHEEL), row("b", Cell.WHEEL)), row("c", Cell.NONE, WINDOWS.name)
    alone, beside = (table_of(replace(SOUND, matrix=Matrix(("3.12",), rows))) for rows in (plain, (*plain, lacking)))
    assert ("2 packages more" in alone, "2 packages " in alone) == (False, True)
    assert "2 packages more" in beside


def test_a_finding_of_a_page_stands_at_the_line_of_the_lock() -> None:
    body = b'{"files": [{"filename": "demo-1.0.tar.gz", "url": "demo-1.0.tar.gz", "hashes": {}}]}'
    page = parse_page(body, JSON_TYPE, URL, "demo")
    found = page_findings(page, body, JSON_TYPE, Exchange(URL, "GET", 200, 0.0), Place("uv.lock", 7))
    lines = FORMATS["github"](replace(SOUND, projects=(replace(SOUND.projects[0], findings=tuple(found)),))).splitlines()
    assert len(lines) > 2
    assert all(" file=uv.lock,line=7," in line for line in lines[:-1])
