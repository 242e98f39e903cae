"""The metadata that a client gets for a file is the file's own; another file's only where there is no other way, and never for longer."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.flows.metadata import TAIL_OF_UNKNOWN
from proxy.core.identity import SHARED
from proxy.core.verdict.judge import Cause, Kind, Verdict
from proxy.index.documents import MetadataDocument, decode, encode
from proxy.index.gate import WHOLE_LIMIT
from proxy.index.project import Project, Read
from proxy.store import Room
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Fault, Target, artifactory_404, cut, empty, hang, reset, status, wrong_content_range, wrong_type
from tests.mirror import BrokenMirror
from tests.waiting import at_rest
from tests.web.test_known import index_of
from tests.wheels import make_sdist, make_wheel, metadata_of

LINUX, MAC = "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"
OTHER, LARGE = "demo-0.9-py3-none-any.whl", "demo-0.8-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
JSON = "application/vnd.pypi.simple.v1+json"
QUIET: dict[str, Any] = {"upstream": {"retries": 0}, "probe": {"ahead": False, "budget": 0}}


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror of a release whose wheels require different projects, each with the mirror's own copy of its metadata."""
    mirror.add(OTHER)
    mirror.add(LINUX, make_wheel(LINUX, requires_dist=["for-linux"]), core_metadata="hash")
    mirror.add(MAC, make_wheel(MAC, requires_dist=["for-macos"]), core_metadata="hash")
    return mirror


async def metadata(client: Client, name: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers with lower-case names, and body."""
    async with client.get(f"/files/demo/{name}.metadata", headers=headers) as response:
        return response.status, {each.lower(): value for each, value in response.headers.items()}, await response.read()


async def offered(client: Client) -> dict[str, Any]:
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        assert response.status == 200
        return {file["filename"]: file.get("core-metadata") for file in json.loads(await response.read())["files"]}


async def refused_for_this_file(mirror: BrokenMirror, fault: Fault) -> None:
    """The linux wheel and its metadata fail, and nothing else."""
    mirror.fault(f"metadata:{LINUX}", fault)
    mirror.fault(LINUX, fault)


def parts_asked(mirror: BrokenMirror, name: str) -> list[str]:
    return [each.range for each in mirror.asked_for(name) if each.range]


async def read_ahead(client: Client) -> None:
    """Ask for the page, and wait until the metadata of the first wheel of its newest release is read."""
    await offered(client)
    await at_rest(index_of(client).tasks)


async def test_the_end_of_wheels_of_unknown_size_is_asked_for_and_nothing_else(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (LINUX, MAC):
        mirror.add(name, make_wheel(name), size=None)
    client = await app_client(**QUIET)
    await read_ahead(client)
    for name in (LINUX, MAC):
        assert (await metadata(client, name))[2] == metadata_of(make_wheel(name))
        assert parts_asked(mirror, name) == [f"bytes=-{TAIL_OF_UNKNOWN}"]


async def test_a_mirror_that_refuses_to_give_the_end_of_files_is_asked_for_it_once(mirror: BrokenMirror, app_client: MakeClient) -> None:
    async def fault(target: Target) -> web.StreamResponse | None:
        return web.Response(status=501) if target.request.headers.get("Range", "").startswith("bytes=-") else None

    for name in (LINUX, MAC):
        mirror.add(name, make_wheel(name), size=None)
        mirror.fault(name, fault)
    client = await app_client(**QUIET)
    await read_ahead(client)
    for name in (MAC, LINUX):
        assert (await metadata(client, name))[2] == metadata_of(make_wheel(name))
    # It may still give what is asked for by both ends, so the wheel is not read whole.
    by_size = ["bytes=0-0", f"bytes=0-{len(make_wheel(MAC)) - 1}"]
    assert parts_asked(mirror, MAC) == [f"bytes=-{TAIL_OF_UNKNOWN}", *by_size]
    assert parts_asked(mirror, LINUX)[0] == "bytes=0-0"


async def test_a_mirror_that_ignores_the_end_alone_is_not_taken_to_ignore_ranges(mirror: BrokenMirror, app_client: MakeClient) -> None:
    async def fault(target: Target) -> web.StreamResponse | None:
        if not target.request.headers.get("Range", "").startswith("bytes=-"):
            return None
        return web.Response(body=target.data, content_type="application/octet-stream")

    for name in (LINUX, OTHER):
        mirror.add(name, make_wheel(name), size=None)
        mirror.fault(name, fault)
    # A wheel that is not read whole is offered where ranges work.
    mirror.add(LARGE, make_wheel(LARGE), extra={"size": WHOLE_LIMIT + 1})
    client = await app_client(**QUIET)
    for name in (LINUX, OTHER):
        assert (await metadata(client, name))[2] == metadata_of(make_wheel(name))
        assert (await offered(client))[LARGE] is True
    assert parts_asked(mirror, LINUX) == [f"bytes=-{TAIL_OF_UNKNOWN}"]
    assert parts_asked(mirror, OTHER)[0] == "bytes=0-0"


async def test_a_size_that_head_told_is_not_asked_for_again(mirror: BrokenMirror, app_client: MakeClient) -> None:
    for name in (LINUX, MAC):
        mirror.add(name, make_wheel(name), size=None)
    client = await app_client(upstream={"retries": 0}, probe={"ahead": False})
    await read_ahead(client)
    assert parts_asked(mirror, LINUX) == []
    assert (await metadata(client, LINUX))[2] == metadata_of(make_wheel(LINUX))
    assert parts_asked(mirror, LINUX) == [f"bytes=0-{len(make_wheel(LINUX)) - 1}"]


PASSING: dict[str, Fault] = {
    "503": status(503),
    "500": status(500),
    "429": status(429),
    "403, once": status(403),
    "404, once": artifactory_404(),
    "a reset": reset(),
    "no answer in time": hang(3),
    "a short copy": cut(),
    "an empty one": empty(),
    "a login page": wrong_type(),
    "other ranges than asked for": wrong_content_range(),
    "other bytes": status(200, {"Content-Type": "application/octet-stream"}, b"x" * 300),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_another_wheels_metadata_is_served_once_and_forgotten_as_soon_as_the_file_delivers(
    stocked: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    stocked.fault(f"metadata:{LINUX}", fault)
    stocked.fault(LINUX, fault)
    client = await app_client(**QUIET | {"upstream": {"retries": 0, "read_timeout": 1}})
    code, headers, body = await metadata(client, LINUX)
    assert code == 200
    if b"for-linux" not in body:
        assert headers["mirrormend-metadata-from"] == MAC
        assert headers["cache-control"] == "no-store"
    # What makes a denial count is not the matter here: without a witness's second look it is none.
    denied = index_of(client)._projects.known(SHARED, "demo").verdicts.get(LINUX)
    proven = denied is not None and denied.kind.value == "undeliverable"
    stocked.heal()
    if proven:
        async with client.get(f"/files/demo/{LINUX}") as response:
            assert response.status == 200
    code, headers, body = await metadata(client, LINUX)
    assert (code, b"for-linux" in body, "mirrormend-metadata-from" in headers) == (200, True, False)


async def test_nothing_of_a_passing_failure_is_left_after_a_restart(stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path) -> None:
    store = {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    stocked.fault(f"*{LINUX}*", status(503))
    stocked.fault(f"metadata:{LINUX}", status(503))
    first = await app_client(**QUIET, store=store)
    assert b"for-macos" in (await metadata(first, LINUX))[2]
    await first.close()
    stocked.heal()
    second = await app_client(**QUIET, store=store)
    assert b"for-linux" in (await metadata(second, LINUX))[2]


async def test_what_an_older_run_stored_of_another_wheel_is_not_trusted(
    stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path
) -> None:
    store = {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    first = await app_client(**QUIET, store=store)
    await metadata(first, MAC)
    keeper = index_of(first)._keeper
    key = keeper._key("demo")
    kept = decode(await keeper._store.get(Room.METADATA, key), MetadataDocument)
    assert kept is not None
    digest = stocked.projects["demo"].files[LINUX].hashes["sha256"]
    # As releases before this one kept it: three facts, and another wheel's content.
    stored = {**kept.read, LINUX: Read(MAC, metadata_of(make_wheel(MAC, requires_dist=["for-macos"])), digest)}
    keeper._store.put(Room.METADATA, key, encode(MetadataDocument(stored)), 1000.0)
    await first.close()
    second = await app_client(**QUIET, store=store)
    assert b"for-linux" in (await metadata(second, LINUX))[2]


def test_what_a_replica_learned_of_the_file_itself_wins_over_what_stood_in_for_it() -> None:
    own, another = Read(LINUX, b"own", "mark"), Read(MAC, b"another", "mark")
    denied = Verdict(Kind.UNDELIVERABLE, Cause.ABSENT, Evidence(Asked.GET, 404, 1.0), 1.0, 1.0)
    for verdicts, mine, theirs, kept in (
        ({}, None, another, None),
        ({}, None, own, b"own"),
        ({LINUX: denied}, None, another, b"another"),
        ({LINUX: denied}, another, own, b"own"),
        ({LINUX: denied}, own, another, b"own"),
    ):
        project = Project("demo", SHARED, verdicts=dict(verdicts))
        if mine is not None:
            project.read[LINUX] = mine
        project.take_over_metadata({LINUX: theirs})
        found = project.read.get(LINUX)
        assert (None if found is None else found.content) == kept


async def test_metadata_of_a_wheel_that_is_proven_absent_is_remembered_until_the_wheel_is_back(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    await refused_for_this_file(stocked, artifactory_404())
    client = await app_client(upstream={"retries": 0})
    assert LINUX not in await offered(client)
    assert (await metadata(client, LINUX))[1]["mirrormend-metadata-from"] == MAC
    await at_rest(index_of(client).tasks)
    stocked.forget()
    code, headers, body = await metadata(client, LINUX)
    assert (code, headers["mirrormend-metadata-from"], b"for-macos" in body) == (200, MAC, True)
    assert headers["cache-control"] == "no-store"
    assert not stocked.asked, "it is known"
    stocked.heal()
    async with client.get(f"/files/demo/{LINUX}") as response:
        assert response.status == 200
    assert b"for-linux" in (await metadata(client, LINUX))[2]


async def test_a_denial_of_yesterday_is_no_reason_to_go_on_with_another_wheels_metadata(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    clock = Clock()
    await refused_for_this_file(stocked, artifactory_404())
    client = await app_client(clock, upstream={"retries": 0})
    assert LINUX not in await offered(client)
    assert (await metadata(client, LINUX))[1]["mirrormend-metadata-from"] == MAC
    stocked.heal()
    clock.passes(90_000)
    assert b"for-linux" in (await metadata(client, LINUX))[2]


async def test_the_page_never_tells_the_hash_of_another_wheels_metadata(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault(f"metadata:{LINUX}", status(503))
    stocked.fault(LINUX, status(503))
    client = await app_client(**QUIET)
    own = hashlib.sha256(metadata_of(make_wheel(MAC, requires_dist=["for-macos"]))).hexdigest()
    await metadata(client, LINUX)
    assert await offered(client) == {OTHER: True, LINUX: True, MAC: {"sha256": own}}


# What a client may keep


async def test_a_files_own_metadata_may_be_kept_as_the_file_may(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    caching = (await metadata(client, LINUX))[1]["cache-control"]
    assert caching == "max-age=86400, immutable"
    code, headers, _ = await metadata(client, LINUX, **{"If-None-Match": (await metadata(client, LINUX))[1]["etag"]})
    assert (code, headers["cache-control"]) == (304, caching)


async def test_metadata_of_a_file_without_a_sha256_is_asked_for_again(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(LINUX, hashes={})
    assert (await metadata(await app_client(), LINUX))[1]["cache-control"] == "no-cache"


async def test_metadata_that_a_clients_own_credentials_gave_is_kept_by_no_cache_that_others_use(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    stocked.credentials = ("somebody", "secret")
    client = await app_client()
    headers = (await metadata(client, LINUX, Authorization="Basic c29tZWJvZHk6c2VjcmV0"))[1]
    assert headers["cache-control"] == "private, max-age=86400, immutable"


# What a mirror's copy may be


@pytest.mark.parametrize("how", ["without the header", "with the header"])
@pytest.mark.parametrize("advertised", [True, "hash"])
async def test_a_copy_that_came_packed_although_nobody_asked_for_that_is_unpacked(
    mirror: BrokenMirror, app_client: MakeClient, how: str, advertised: Any
) -> None:
    wheel = make_wheel(LINUX, requires_dist=["for-linux"])
    mirror.add(LINUX, wheel, core_metadata=advertised)
    headers = {"Content-Encoding": "gzip"} if how == "with the header" else {}
    mirror.fault(f"metadata:{LINUX}", status(200, headers, gzip.compress(metadata_of(wheel))))
    # Nothing else has it.
    mirror.fault(LINUX, status(503))
    code, _, body = await metadata(await app_client(**QUIET), LINUX)
    assert (code, body) == (200, metadata_of(wheel))


async def test_a_wheel_that_came_packed_although_nobody_asked_for_that_is_unpacked(mirror: BrokenMirror, app_client: MakeClient) -> None:
    wheel = make_wheel(LINUX, requires_dist=["for-linux"])
    mirror.add(LINUX, wheel)
    mirror.fault(LINUX, status(200, {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}, gzip.compress(wheel)))
    assert (await metadata(await app_client(**QUIET), LINUX))[2] == metadata_of(wheel)


LOCALS = {
    "in METADATA only": ("demo-1.0-py3-none-any.whl", "1.0+cu118"),
    "in the file's name only": ("demo-1.0+cu118-py3-none-any.whl", "1.0"),
    "in both, spelled otherwise": ("demo-1.0+cu.118-py3-none-any.whl", "1.0.0+CU_118"),
}


@pytest.mark.parametrize("advertised", [False, "hash"])
@pytest.mark.parametrize(("name", "version"), LOCALS.values(), ids=LOCALS)
async def test_a_local_version_that_stands_in_one_place_only_is_the_same_release(
    mirror: BrokenMirror, app_client: MakeClient, name: str, version: str, advertised: Any
) -> None:
    said = f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n"
    mirror.add(name, make_wheel(name, metadata=said), core_metadata=advertised)
    assert (await metadata(await app_client(), name))[::2] == (200, said.encode())


async def test_metadata_that_does_not_say_its_own_version_is_served_as_clients_take_it(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(OTHER, make_wheel(OTHER, metadata="Name: Demo\nVersion: 0.9\n"))
    assert (await metadata(await app_client(), OTHER))[::2] == (200, b"Name: Demo\nVersion: 0.9\n")


ANOTHERS = {
    "another local version": ("demo-1.0+cu118-py3-none-any.whl", "demo", "1.0+cpu"),
    "another epoch": ("demo-1.0-py3-none-any.whl", "demo", "1!1.0"),
    "a post-release": ("demo-1.0-py3-none-any.whl", "demo", "1.0.post1+cu118"),
    "another version": ("demo-1.0-py3-none-any.whl", "demo", "1.1"),
    "another project": ("demo-1.0-py3-none-any.whl", "other", "1.0"),
}


@pytest.mark.parametrize(("name", "project", "version"), ANOTHERS.values(), ids=ANOTHERS)
async def test_metadata_of_another_release_is_refused(
    mirror: BrokenMirror, app_client: MakeClient, name: str, project: str, version: str
) -> None:
    mirror.add(name, make_wheel(name, metadata=f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"))
    assert (await metadata(await app_client(), name))[0] == 502


# Sdists


SAID = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: what-a-build-would-find\n"


def add_sdist(mirror: BrokenMirror, told: Any, answer: Fault, **more: Any) -> None:
    """List an sdist of which only a build, or the mirror's copy, tells the requirements."""
    mirror.add(SDIST, make_sdist(SDIST, dynamic=["Requires-Dist"], **more), extra={"core-metadata": told})
    mirror.fault("metadata:*", answer)


@pytest.mark.parametrize("told", [True, {"sha256": hashlib.sha256(SAID).hexdigest()}], ids=["without a hash", "with a hash"])
@pytest.mark.parametrize("mode", ["proxy", "direct"])
async def test_the_mirrors_metadata_of_an_sdist_stays_on_the_page_and_is_served(
    mirror: BrokenMirror, app_client: MakeClient, told: Any, mode: str
) -> None:
    add_sdist(mirror, told, status(200, body=SAID))
    client = await app_client(links={"mode": mode})
    assert (await offered(client))[SDIST]
    assert (await metadata(client, SDIST))[::2] == (200, SAID)
    assert (await offered(client))[SDIST] == told


@pytest.mark.parametrize("answer", [status(404), status(503), status(200, body=SAID + b"X: y\n")], ids=["404", "503", "another"])
async def test_an_sdist_whose_metadata_turns_out_not_to_be_there_is_built_as_one_that_has_none(
    mirror: BrokenMirror, app_client: MakeClient, answer: Fault
) -> None:
    add_sdist(mirror, {"sha256": hashlib.sha256(SAID).hexdigest()}, answer)
    client = await app_client(**QUIET)
    assert (await metadata(client, SDIST))[0] == 502
    assert (await offered(client))[SDIST] is None


@pytest.mark.parametrize("fault", [status(502), reset()], ids=["502", "reset"])
async def test_what_is_offered_stays_offered_after_a_moment_in_which_nothing_of_the_release_came(
    stocked: BrokenMirror, app_client: MakeClient, fault: Fault
) -> None:
    told = {"sha256": hashlib.sha256(SAID).hexdigest()}
    add_sdist(stocked, told, status(200, body=SAID))
    client = await app_client(**QUIET)
    before = await offered(client)
    stocked.heal()
    stocked.fault("*demo-1.0*", fault)
    stocked.fault("metadata:*", fault)
    for name in (LINUX, SDIST):
        assert (await metadata(client, name))[0] in {502, 504}
    assert await offered(client) == before


async def test_an_sdist_of_which_the_mirror_says_nothing_is_offered_no_metadata(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(SDIST)
    assert (await offered(await app_client()))[SDIST] is None


async def test_where_a_wheel_is_lacking_others_of_its_platform_are_read_last(mirror: BrokenMirror, app_client: MakeClient) -> None:
    wheels = [f"demo-1.0-cp3{minor}-cp3{minor}-macosx_11_0_{of}.whl" for minor in (10, 11, 12) for of in ("arm64", "x86_64")]
    for name in (*wheels, LINUX):
        mirror.add(name, make_wheel(name, requires_dist=["a-project"]), core_metadata=True)
    for pattern in ("*macosx*", "metadata:*macosx*"):
        mirror.fault(pattern, artifactory_404())
    client = await app_client(**QUIET)
    status, _, body = await metadata(client, wheels[0])
    assert (status, b"Requires-Dist: a-project" in body) == (200, True)
    asked = {each.name.removeprefix("metadata:") for each in mirror.asked if each.kind == "metadata"}
    assert asked == {wheels[0], LINUX}
