"""One evidence, one verdict: the page, `check`, `explain` at the mirror and `explain --proxy` say the same of a file, whatever fails."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from proxy.audit import Survey
from proxy.audit.explaining import look_at, status_of
from proxy.audit.findings import Fault, Level, Report
from proxy.config import Settings
from proxy.core.verdict.explain import Effect
from proxy.index import Index
from proxy.server.context import GENERATIONS
from tests.audit.conftest import LINUX, MAC, OLD, Audit, Check, Silent, command, environment
from tests.clients import ProxyProcess, run_command
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import (
    Fault as Misbehaviour,
)
from tests.faults import (
    Target,
    artifactory_404,
    cut,
    delivers_only_plain_get,
    empty,
    hang,
    ignores_range,
    lies_on_head,
    redirects,
    reset,
    status,
    without_length,
    wrong_content_range,
    wrong_type,
)
from tests.listing import content_by_name
from tests.mirror import BrokenMirror
from tests.waiting import eventually
from tests.wheels import make_wheel

ALL = ("HEAD", "GET")
GET = ("GET",)
HEAD = ("HEAD",)


def ranged(fault: Misbehaviour) -> Misbehaviour:
    """Misbehave where a part is asked for, and at nothing else."""

    async def only(target: Target) -> Any:
        return await fault(target) if "Range" in target.request.headers else None

    return only


def whole(fault: Misbehaviour) -> Misbehaviour:
    """Misbehave where all of a file is asked for by GET, and at nothing else."""

    async def only(target: Target) -> Any:
        return await fault(target) if target.request.method == "GET" and "Range" not in target.request.headers else None

    return only


@dataclass(frozen=True)
class Kind:
    """A kind of fault, at the requests of these methods, and the verdict that it leads to, with its cause."""

    fault: Misbehaviour
    methods: Collection[str]
    verdict: str
    cause: str


def good(fault: Misbehaviour, methods: Collection[str] = ALL) -> Kind:
    return Kind(fault, methods, "deliverable", "available")


def dead(fault: Misbehaviour, cause: str, methods: Collection[str] = ALL) -> Kind:
    return Kind(fault, methods, "undeliverable", cause)


def untold(fault: Misbehaviour, cause: str, methods: Collection[str] = ALL) -> Kind:
    return Kind(fault, methods, "unknown", cause)


KINDS: dict[str, Callable[[], Kind]] = {
    "healthy": lambda: good(lies_on_head(200), ()),
    "404": lambda: dead(artifactory_404(), "absent"),
    "410": lambda: dead(status(410), "absent"),
    "403": lambda: dead(status(403), "blocked"),
    "451": lambda: dead(status(451), "blocked"),
    "401": lambda: untold(status(401), "authentication"),
    "407": lambda: untold(status(407), "authentication"),
    "400": lambda: untold(status(400), "not-understood"),
    "429": lambda: untold(status(429), "mirror-error"),
    "500": lambda: untold(status(500), "mirror-error"),
    "503": lambda: untold(status(503), "mirror-error"),
    "reset": lambda: untold(reset(), "no-answer"),
    "hangs": lambda: untold(hang(5), "no-answer"),
    "page-for-people": lambda: dead(wrong_type(), "no-file"),
    "empty": lambda: dead(empty(), "no-file"),
    "login-redirect": lambda: dead(wrong_type(b"<html>log in</html>"), "no-file"),
    "redirect-to-nobody": lambda: untold(redirects("http://127.0.0.1:9/gone.whl"), "no-answer"),
    "redirect-without-end": lambda: untold(redirects("?again"), "no-answer"),
    "GET 404": lambda: dead(artifactory_404(), "absent", GET),
    "GET 410": lambda: dead(status(410), "absent", GET),
    "GET 403": lambda: dead(status(403), "blocked", GET),
    "GET 451": lambda: dead(status(451), "blocked", GET),
    "GET 401": lambda: untold(status(401), "authentication", GET),
    "GET 429": lambda: untold(status(429), "mirror-error", GET),
    "GET 503": lambda: untold(status(503), "mirror-error", GET),
    "GET resets": lambda: untold(reset(), "no-answer", GET),
    "GET hangs": lambda: untold(hang(5), "no-answer", GET),
    "GET gives a page": lambda: dead(wrong_type(), "no-file", GET),
    "GET gives nothing": lambda: dead(empty(), "no-file", GET),
    "HEAD 400": lambda: good(status(400), HEAD),
    "HEAD 401": lambda: good(status(401), HEAD),
    "HEAD 403": lambda: good(status(403), HEAD),
    "HEAD 404": lambda: good(lies_on_head(404), HEAD),
    "HEAD 405": lambda: good(status(405), HEAD),
    "HEAD 429": lambda: good(status(429), HEAD),
    "HEAD 500": lambda: good(status(500), HEAD),
    "HEAD 501": lambda: good(status(501), HEAD),
    "HEAD 503": lambda: good(status(503), HEAD),
    "HEAD hangs": lambda: good(hang(5), HEAD),
    "HEAD resets": lambda: good(reset(), HEAD),
    "HEAD gives a page": lambda: good(wrong_type(b""), HEAD),
    "Range ignored": lambda: good(ignores_range()),
    "Range 403": lambda: good(ranged(status(403))),
    "Range 404": lambda: good(ranged(status(404))),
    "Range 416": lambda: good(ranged(status(416))),
    "Range 500": lambda: good(ranged(status(500))),
    "Range gives nothing": lambda: good(ranged(empty())),
    "Range gives another part": lambda: good(ranged(wrong_content_range())),
    "HEAD and Range 404": lambda: good(delivers_only_plain_get(status(404))),
    "without length": lambda: good(without_length()),
    "shorter than listed": lambda: dead(status(200, {"Content-Type": "application/octet-stream"}, b"short"), "no-file"),
    "longer than listed": lambda: untold(status(200, {"Content-Type": "application/octet-stream"}, bytes(9999)), "not-understood"),
    "other bytes": lambda: good(status(200, {"Content-Type": "application/octet-stream"}, content_by_name(MAC)[::-1])),
    "only whole 404": lambda: good(whole(artifactory_404())),
    "only whole 403": lambda: good(whole(status(403))),
    "only whole 503": lambda: good(whole(status(503))),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of fault."""
    return KINDS[request.param]()


@dataclass(frozen=True)
class Said:
    """What one surface says of a file; None where it does not say that."""

    listed: bool
    verdict: str
    cause: str
    effect: str
    says: str
    status: int


def index_of(client: Client) -> Index:
    assert client.app is not None
    return next(iter(client.app[GENERATIONS].current.indexes.values()))


SETTINGS: dict[str, Any] = {"retries": 0, "read_timeout": 0.5}


async def listed(client: Client) -> set[str]:
    """Return the files that the page lists once nothing is asked about it any more."""
    names: set[str] = set()

    async def settled() -> bool:
        async with client.get("/simple/demo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}) as response:
            assert response.status == 200, await response.text()
            names.clear()
            names.update(each["filename"] for each in (await response.json(content_type=None))["files"])
            verified = response.headers["Mirrormend-Verified"] == "complete"
        return verified and index_of(client).tasks.count == 0

    await eventually(settled, within=60)
    return names


def of_told(told: dict[str, Any]) -> Said:
    verdict = told["verdict"] or {"kind": "", "cause": ""}
    return Said(told["listed"], verdict["kind"], verdict["cause"], told["effect"] or "", told["says"], status_of(told))


def of_report(report: Report, filename: str) -> Said:
    """Return what `check` says of a file that was asked about; a file without a finding is deliverable."""
    found = [each for each in report.findings if each.filename == filename and each.fault in {Fault.FILE_UNDELIVERABLE, Fault.FILE_UNKNOWN}]
    if not found:
        return Said(listed=True, verdict="deliverable", cause="available", effect="", says="the mirror delivers it", status=0)
    (one,) = found
    denied = one.fault is Fault.FILE_UNDELIVERABLE
    assert one.level is (Level.ERROR if denied else Level.WARNING)
    assert report.exit_status == 1
    says = one.says if one.effect in {Effect.DROPPED, Effect.KEPT} else f"{one.says}; {one.effect.value}"
    verdict = "undeliverable" if denied else "unknown"
    return Said(one.effect is not Effect.DROPPED, verdict, one.cause, one.effect.value, says, 1)


async def at_mirror(mirror: BrokenMirror, filename: str, **sections: Any) -> Said:
    """Return what `explain` says that asks the mirror itself."""
    settings = Settings.model_validate({"upstream": {"url": mirror.url} | SETTINGS, **sections})
    async with Survey(settings, Silent()) as survey:
        looked = await look_at(survey, "demo", filename)
    assert looked.told is not None
    return of_told(looked.told)


async def at_proxy(client: Client, filename: str) -> Said:
    """Return what `explain --proxy` says, and see that the page agrees."""
    names = await listed(client)
    async with client.get(f"/explain/demo/{filename}") as response:
        said = of_told(await response.json(content_type=None))
    assert said.listed == (filename in names)
    return said


async def fetch(client: Client, filename: str) -> None:
    """Have a client try the file."""
    async with client.get(f"/files/demo/{filename}") as response:
        try:
            await response.read()
        except ClientError:
            return


async def test_all_four_say_the_same_of_every_kind_of_fault(
    stocked: BrokenMirror, audit: Audit, app_client: MakeClient, kind: Kind
) -> None:
    stocked.fault(MAC, kind.fault, kind.methods)
    client = await app_client(upstream=SETTINGS)
    fresh = await at_proxy(client, MAC)
    live = await at_mirror(stocked, MAC)
    checked = of_report(await audit("demo", upstream=SETTINGS), MAC)
    await fetch(client, MAC)
    tried = await at_proxy(client, MAC)
    assert (live.verdict, live.cause) == (kind.verdict, kind.cause)
    assert {"check": checked, "fresh": fresh, "tried": tried} == {"check": live, "fresh": live, "tried": live}


async def test_a_transfer_that_breaks_off_takes_the_file_from_nobody(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.fault(MAC, cut(len(content_by_name(MAC))))
    client = await app_client(upstream=SETTINGS)
    fresh, live = await at_proxy(client, MAC), await at_mirror(stocked, MAC)
    checked = of_report(await audit("demo", upstream=SETTINGS), MAC)
    await fetch(client, MAC)
    for each in (fresh, live, checked, await at_proxy(client, MAC)):
        # The proxy knows of the break if it read metadata out of the file; one byte does not show it.
        assert each.listed
        assert each.verdict != "undeliverable"


async def test_they_agree_on_the_last_file_of_a_release(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.fault(OLD, artifactory_404(), GET)
    client = await app_client(upstream=SETTINGS)
    await listed(client)
    await fetch(client, OLD)
    told = await at_proxy(client, OLD)
    assert (told.listed, told.verdict, told.effect) == (True, "undeliverable", Effect.AWAITING)
    assert told == await at_mirror(stocked, OLD) == of_report(await audit("demo", upstream=SETTINGS), OLD)


async def test_they_agree_on_a_yanked_file(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.add(MAC, yanked="broken")
    stocked.fault(MAC, artifactory_404(), GET)
    told = await at_proxy(await app_client(upstream=SETTINGS), MAC)
    assert (told.listed, told.verdict) == (False, "undeliverable")
    assert told == await at_mirror(stocked, MAC) == of_report(await audit("demo", upstream=SETTINGS), MAC)


async def test_they_agree_on_files_that_are_all_that_the_page_has(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.add("other-1.0.tar.gz")
    stocked.fault(lambda name: name.startswith("demo-2"), artifactory_404())
    stocked.remove(OLD)
    clock = Clock()
    client = await app_client(clock, upstream=SETTINGS)
    async with client.get("/simple/other/"):
        await listed(client)
    clock.passes(200)
    told = await at_proxy(client, MAC)
    assert (told.listed, told.verdict, told.effect) == (True, "undeliverable", Effect.HELD)
    checked = of_report(await audit("demo", "other", upstream=SETTINGS, verdict={"confirm": 0}), MAC)
    assert checked == told


async def test_they_agree_where_no_other_file_bears_witness(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.fault("*", artifactory_404())
    told = await at_proxy(await app_client(upstream=SETTINGS), MAC)
    assert (told.listed, told.verdict, told.cause) == (True, "unknown", "absent")
    assert "would prove it" in told.says
    assert told == await at_mirror(stocked, MAC) == of_report(await audit("demo", upstream=SETTINGS), MAC)


@pytest.mark.parametrize("alike", [True, False], ids=["the same bytes", "other bytes"])
async def test_they_agree_on_twins(mirror: BrokenMirror, audit: Audit, app_client: MakeClient, alike: bool) -> None:
    wheel = "demo-1.0-py3-none-any.whl"
    one, other = make_wheel(wheel, requires_dist=["one"]), make_wheel(wheel, requires_dist=["other"])
    links = ""
    for folder, delivered, told in (("one", None, one), ("two", one if alike else other, one if alike else other)):
        mirror.add(wheel, delivered, project=folder, path=f"{folder}/{wheel}")
        links += f'<a href="../../packages/packages/{folder}/{wheel}#sha256={sha256(told).hexdigest()}">{wheel}</a>'
    mirror.set_page("demo", f"<html><body>{links}</body></html>".encode())
    client = await app_client(upstream=SETTINGS)
    async with client.get("/simple/demo/"):
        pass
    async with client.get(f"/explain/demo/{wheel}") as response:
        told_by_proxy = of_told(await response.json(content_type=None))
    effect = Effect.ELSEWHERE if alike else Effect.DROPPED
    assert (told_by_proxy.verdict, told_by_proxy.effect) == ("undeliverable", effect)
    assert told_by_proxy == await at_mirror(mirror, wheel) == of_report(await audit("demo", upstream=SETTINGS), wheel)


async def test_a_file_that_was_not_asked_about_is_said_to_be_neither(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.fault(MAC, artifactory_404())
    client = await app_client(upstream=SETTINGS, probe={"budget": 0})
    async with client.get("/simple/demo/") as response:
        assert MAC in await response.text()
    async with client.get(f"/explain/demo/{LINUX}") as response:
        told = await response.json(content_type=None)
    assert (told["listed"], told["verdict"]) == (True, None)
    report = await audit("demo", upstream=SETTINGS, probe={"budget": 0})
    assert (report.findings, report.projects[0].unasked) == ((), 4)


async def test_they_agree_that_a_second_index_may_have_it(stocked: BrokenMirror, audit: Audit, app_client: MakeClient) -> None:
    stocked.fault(MAC, artifactory_404(), GET)
    async with BrokenMirror() as whole:
        whole.add(MAC)
        rescue = {"reference": {"url": whole.url}, "rescue": {"enabled": True}}
        told = await at_proxy(await app_client(upstream=SETTINGS, **rescue), MAC)
        live = await at_mirror(stocked, MAC, **rescue)
        checked = of_report(await audit("demo", upstream=SETTINGS, **rescue), MAC)
    assert (told.listed, told.effect) == (True, Effect.RESCUED)
    assert live.effect == checked.effect == Effect.RESCUABLE
    assert (live.verdict, live.cause, live.says) == (checked.verdict, checked.cause, checked.says)
    assert told.says.partition(";")[0] == live.says.partition(";")[0]


@pytest.mark.parametrize("code", [401, 403, 451])
async def test_a_file_that_was_absent_and_is_refused_since_is_said_to_be_refused(
    stocked: BrokenMirror, audit: Audit, app_client: MakeClient, code: int
) -> None:
    gone = stocked.fault(MAC, artifactory_404())
    client = await app_client(upstream=SETTINGS)
    assert (await at_proxy(client, MAC)).cause == "absent"
    stocked.heal(gone)
    refused = stocked.fault(MAC, status(code))
    await fetch(client, MAC)
    told = await at_proxy(client, MAC)
    cause = "authentication" if code == 401 else "blocked"
    assert (told.listed, told.verdict, told.cause) == (False, "undeliverable", cause)
    assert str(code) in told.says
    live, checked = await at_mirror(stocked, MAC), of_report(await audit("demo", upstream=SETTINGS), MAC)
    assert (live.cause, live.says) == (checked.cause, checked.says) == (told.cause, told.says)
    stocked.heal(refused)
    await fetch(client, MAC)
    assert (await at_proxy(client, MAC)).verdict == "deliverable"


async def test_the_commands_end_alike(stocked: BrokenMirror, check: Check, tmp_path: Path) -> None:
    stocked.fault(MAC, artifactory_404(), GET)
    where = environment(tmp_path, MIRRORMEND_UPSTREAM=stocked.url)
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        for filename, ends in ((MAC, 1), (LINUX, 0)):
            await run_command(["curl", "-s", "--noproxy", "*", f"{proxy.simple}demo/"], where, tmp_path)
            live = await run_command(command("explain", filename), where, tmp_path)
            running = await run_command(command("explain", filename, "--proxy", proxy.url), where, tmp_path)
            assert (live.returncode, running.returncode) == (ends, ends), (live, running)
            assert live.stdout.splitlines()[-1] == running.stdout.splitlines()[-1]
    assert (await check("demo")).returncode == 1
