"""What the audit finds, from a mirror on a real socket: what the proxy would drop, and no more."""

import asyncio
import shlex

import pytest
from aiohttp import web

from proxy.audit.curl import curl_line
from proxy.audit.findings import Effect, Exchange, Fault, Finding, Level, Report
from proxy.config import Settings
from proxy.core.identity import SHARED
from proxy.index import Index
from proxy.store import open_store
from proxy.upstream import Mirror
from tests.audit.conftest import LINUX, MAC, OLD, SDIST, Audit
from tests.faults import ANYTHING, Target, artifactory_404, hang, lies_on_head, quota, status, wrong_type
from tests.listing import HTML_TYPE
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel


def of(report: Report, *faults: Fault) -> list[Finding]:
    return [each for each in report.findings if each.fault in faults]


async def test_a_sound_mirror_gives_no_finding_and_status_0(stocked: BrokenMirror, audit: Audit) -> None:
    report = await audit("demo")
    assert (report.findings, report.exit_status) == ((), 0)
    assert [(each.name, each.files, each.deliverable, each.unasked) for each in report.projects] == [("demo", 4, 4, 0)]


async def test_a_listed_file_that_is_absent_is_an_error_with_all_that_repeats_it(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.server_header = "Artifactory/7.90"
    stocked.fault(MAC, artifactory_404())
    report = await audit("demo")
    assert report.exit_status == 1
    (found,) = report.findings
    assert (found.level, found.fault, found.cause, found.effect) == (Level.ERROR, Fault.FILE_UNDELIVERABLE, "absent", Effect.DROPPED)
    assert (found.project, found.release, found.filename, found.platform) == ("demo", "2.0", MAC, "macOS arm64")
    assert found.exchange is not None
    assert (found.exchange.status, found.exchange.asked, found.exchange.url) == (404, "GET bytes=0-0", stocked.file_url(MAC))
    assert found.exchange.headers["server"] == "Artifactory/7.90"
    assert found.exchange.at == pytest.approx(report.began, abs=60)


async def test_the_curl_line_repeats_the_finding(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.credentials = ("reader", "s3cret")
    stocked.fault(MAC, artifactory_404())
    (found,) = (await audit("demo", upstream={"username": "reader", "password": "s3cret"})).findings
    assert found.exchange is not None
    line = curl_line(found.exchange)
    assert "s3cret" not in line
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        line,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "MIRROR_USER": "reader", "MIRROR_PASSWORD": "s3cret", "NO_PROXY": "*"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert out.decode().split()[0] == "404"


def test_a_curl_line_keeps_what_a_shell_would_read_for_data() -> None:
    url = "https://mirror.example.com/a'$(touch x)`;&|.whl"
    assert shlex.split(curl_line(Exchange(url, "HEAD", 404, 0.0)))[-1] == url


async def test_without_a_file_that_is_delivered_no_absence_is_reported(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault("*", artifactory_404())
    report = await audit("demo")
    assert not of(report, Fault.FILE_UNDELIVERABLE)
    assert {(each.level, each.cause) for each in of(report, Fault.FILE_UNKNOWN)} == {(Level.WARNING, "absent")}
    assert all("would prove it" in each.says for each in of(report, Fault.FILE_UNKNOWN))


@pytest.mark.parametrize("code", [401, 429, 500, 503])
async def test_what_is_no_absence_is_unknown_with_its_cause(stocked: BrokenMirror, audit: Audit, code: int) -> None:
    stocked.fault(MAC, status(code))
    (found,) = (await audit("demo")).findings
    assert (found.fault, found.effect) == (Fault.FILE_UNKNOWN, Effect.KEPT)
    assert found.exchange is not None
    assert found.exchange.status == code


async def test_what_fails_in_passing_is_asked_again(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault("page:demo", status(503), times=1)
    stocked.fault(MAC, status(503), times=1)
    report = await audit("demo", upstream={"retries": 1})
    assert (report.findings, report.exit_status) == ((), 0)


async def test_a_403_that_begins_in_the_middle_is_a_quota_and_no_block(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault("*", quota(2))
    assert not of(await audit("demo"), Fault.FILE_UNDELIVERABLE)


async def test_a_policy_block_is_an_error(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault(LINUX, status(403))
    (found,) = (await audit("demo")).findings
    assert (found.fault, found.cause) == (Fault.FILE_UNDELIVERABLE, "blocked")


async def test_a_mirror_whose_head_lies_is_sound(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault("*", lies_on_head(404))
    assert (await audit("demo")).exit_status == 0


async def test_the_last_file_of_a_release_awaits_a_second_answer(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault(OLD, artifactory_404())
    (found,) = (await audit("demo")).findings
    assert (found.level, found.effect) == (Level.ERROR, Effect.AWAITING)


async def test_the_findings_are_what_the_proxy_drops(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault(MAC, artifactory_404())
    stocked.fault(LINUX, wrong_type())
    stocked.fault(SDIST, status(503))
    report = await audit("demo")
    settings = Settings.model_validate({"upstream": {"url": stocked.url, "retries": 0}, "store": {"location": "memory"}})
    async with Mirror(settings.upstream[0], settings.probe) as mirror:
        store = open_store(settings.store)
        await store.open()
        index = Index(mirror, store, settings)
        served = await index.page("demo", SHARED)
        await index.close()
        await store.close()
    dropped = {each.filename for each in report.findings if each.effect is Effect.DROPPED}
    assert dropped == {each.file.filename for each in served.mended.dropped} == {MAC, LINUX}


async def test_a_file_that_never_answers_is_unknown(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.fault(MAC, hang(30))
    (found,) = (await audit("demo", upstream={"read_timeout": 0.5})).findings
    assert found.fault is Fault.FILE_UNKNOWN
    assert found.exchange is not None
    assert (found.exchange.status, found.exchange.trouble) == (None, "timeout")


async def test_a_project_is_absent_only_where_another_page_came(stocked: BrokenMirror, audit: Audit) -> None:
    report = await audit("demo", "nosuch")
    (found,) = report.findings
    assert (found.level, found.fault, report.exit_status) == (Level.ERROR, Fault.PROJECT_ABSENT, 1)
    alone = await audit("nosuch")
    assert [each.level for each in alone.findings] == [Level.UNCHECKED]
    assert alone.exit_status == 2


@pytest.mark.parametrize("code", [401, 403, 500])
async def test_a_page_that_cannot_be_had_means_that_it_could_not_be_checked(stocked: BrokenMirror, audit: Audit, code: int) -> None:
    stocked.fault(ANYTHING, status(code))
    report = await audit("demo")
    assert [(each.level, each.fault) for each in report.findings] == [(Level.UNCHECKED, Fault.PAGE_FAILED)]
    assert report.exit_status == 2


async def test_a_page_that_fails_beside_others_is_not_called_absent(stocked: BrokenMirror, audit: Audit) -> None:
    stocked.add("other-1.0-py3-none-any.whl")
    stocked.fault("page:other", status(500))
    report = await audit("demo", "other")
    assert [(each.level, each.fault) for each in report.findings] == [(Level.UNCHECKED, Fault.PAGE_FAILED)]
    assert report.exit_status == 2


async def test_a_costly_mirror_is_asked_about_no_more_than_its_budget(stocked: BrokenMirror, audit: Audit) -> None:
    report = await audit("demo", upstream={"kind": "nexus"})
    assert report.projects[0].unasked == 3
    assert len({each.name for each in stocked.asked if each.kind == "file"}) == 1


async def test_everything_is_asked_about_where_that_is_wanted(stocked: BrokenMirror, audit: Audit) -> None:
    report = await audit("demo", upstream={"kind": "nexus"}, everything=True)
    assert report.projects[0].unasked == 0


async def test_metadata_that_is_advertised_and_absent_is_an_error_while_the_wheel_is_delivered(mirror: BrokenMirror, audit: Audit) -> None:
    mirror.add(OLD, upload_time="2024-01-01T00:00:00Z", core_metadata=True)
    mirror.fault(f"metadata:{OLD}", status(404))
    (found,) = (await audit("demo")).findings
    assert (found.level, found.fault, found.filename) == (Level.ERROR, Fault.METADATA_UNDELIVERABLE, OLD)
    assert found.exchange is not None
    assert (found.exchange.url, found.exchange.status) == (f"{mirror.file_url(OLD)}.metadata", 404)


async def test_metadata_is_called_absent_in_html_only_where_uv_asks_for_it(mirror: BrokenMirror, audit: Audit) -> None:
    listed = mirror.add(OLD)
    found = []
    for said in ("true", "sha256=short"):
        mirror.set_page("demo", f'<a href="{listed.link}" data-core-metadata="{said}">{OLD}</a>'.encode(), HTML_TYPE)
        found.append(Fault.METADATA_UNDELIVERABLE in {each.fault for each in (await audit("demo")).findings})
    assert found == [True, False]


async def test_metadata_that_fails_in_passing_is_a_warning(mirror: BrokenMirror, audit: Audit) -> None:
    mirror.add(OLD, upload_time="2024-01-01T00:00:00Z", core_metadata=True)
    mirror.fault(f"metadata:{OLD}", status(503))
    assert [(each.level, each.fault) for each in (await audit("demo")).findings] == [(Level.WARNING, Fault.METADATA_UNKNOWN)]


async def test_metadata_is_not_called_absent_where_the_wheel_is_not_delivered_either(mirror: BrokenMirror, audit: Audit) -> None:
    mirror.add(OLD, upload_time="2024-01-01T00:00:00Z", core_metadata=True)
    mirror.fault(f"metadata:{OLD}", status(404))

    async def gone_since_metadata_was_asked_for(target: Target) -> web.StreamResponse | None:
        return await status(404)(target) if mirror.asked_for(f"metadata:{OLD}") else None

    mirror.fault(OLD, gone_since_metadata_was_asked_for)
    assert [(each.level, each.fault) for each in (await audit("demo")).findings] == [(Level.WARNING, Fault.METADATA_UNKNOWN)]


async def test_a_project_that_is_only_required_and_absent_is_a_warning(mirror: BrokenMirror, audit: Audit) -> None:
    top = "top-1.0-py3-none-any.whl"
    mirror.add(top, make_wheel(top, requires_dist=["rare"]), upload_time="2024-01-01T00:00:00Z")
    report = await audit("top", closure=True)
    assert [(each.level, each.fault, each.project) for each in report.findings] == [(Level.WARNING, Fault.PROJECT_ABSENT, "rare")]


async def test_metadata_with_another_hash_than_advertised_is_an_error(mirror: BrokenMirror, audit: Audit) -> None:
    mirror.add(OLD, upload_time="2024-01-01T00:00:00Z", extra={"core-metadata": {"sha256": "0" * 64}}, core_metadata=True)
    assert [(each.level, each.fault) for each in (await audit("demo")).findings] == [(Level.ERROR, Fault.METADATA_WRONG)]


async def test_a_wheel_that_is_no_zip_is_told(mirror: BrokenMirror, audit: Audit) -> None:
    mirror.add(OLD, b"this is no zip file" * 100, upload_time="2024-01-01T00:00:00Z")
    assert [each.fault for each in (await audit("demo")).findings] == [Fault.WHEEL_UNREADABLE]


async def test_a_closure_is_followed_through_metadata_for_every_environment(mirror: BrokenMirror, audit: Audit) -> None:
    requires = ["alpha; sys_platform == 'win32'", "beta[fast]>=1", "gamma; extra == 'docs'"]
    mirror.add("top-1.0-py3-none-any.whl", make_wheel("top-1.0-py3-none-any.whl", requires_dist=requires))
    mirror.add("alpha-1.0-py3-none-any.whl")
    beta = "beta-1.0-py3-none-any.whl"
    mirror.add(beta, make_wheel(beta, requires_dist=["delta; extra == 'fast'"]))
    for name in ("gamma", "delta"):
        mirror.add(f"{name}-1.0-py3-none-any.whl")
    report = await audit("top", closure=True)
    assert [each.name for each in report.projects] == ["alpha", "beta", "delta", "top"]


async def test_projects_that_require_each_other_are_followed_once(mirror: BrokenMirror, audit: Audit) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        wheel = f"{name}-1.0-py3-none-any.whl"
        mirror.add(wheel, make_wheel(wheel, requires_dist=[other]))
    async with asyncio.timeout(20):
        report = await audit("one", closure=True)
    assert [each.name for each in report.projects] == ["one", "two"]
