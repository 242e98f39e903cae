"""The main job: what real uv locks through the proxy, from mirrors that fail in the ways that mirrors fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Locked, ProxyProcess, Uv
from tests.faults import artifactory_404, lies_on_head, status
from tests.mirror import BrokenMirror
from tests.world import MACOS, World

TORNADO = "6.6.1"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that depends on jupyter."""
    return World.write_project(tmp_path / "project")


@pytest.fixture
def full(mirror: BrokenMirror) -> BrokenMirror:
    """A healthy mirror with all that jupyter needs."""
    World.load().fill(mirror)
    return mirror


@asynccontextmanager
async def proxied(
    mirror: BrokenMirror, tmp_path: Path, *options: str, upstream: str | None = None, **environment: str
) -> AsyncIterator[ProxyProcess]:
    """The proxy as a process before `mirror`, with the longest deadline: on a busy machine this mirror, written in Python, is slow."""
    environment = {"MIRRORMEND_PROBE_DEADLINE": "14", **environment}
    async with ProxyProcess(upstream or mirror.url, tmp_path, *options, environment=environment) as proxy:
        yield proxy


async def lock(uv: Uv, project: Path, index: str, **environment: str) -> Locked:
    """A lock made from nothing."""
    uv.fresh_cache()
    (project / "uv.lock").unlink(missing_ok=True)
    return await uv.lock(project, index, **environment)


def is_whole(locked: Locked) -> None:
    """The lock is the one that a healthy mirror gives."""
    assert locked.ok, locked
    assert len(locked.packages) + 1 == 100
    assert dict(locked.packages) == dict(World.load().chosen)
    assert locked.packages["tornado"] == TORNADO


async def test_every_macos_wheel_dead_the_direct_lock_fails_and_the_one_through_the_proxy_is_whole(
    full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path
) -> None:
    full.fault(MACOS, artifactory_404())
    direct = await lock(uv, project, full.url)
    assert not direct.ok
    assert "404" in direct.stderr
    async with proxied(full, tmp_path) as proxy:
        mended = await lock(uv, project, proxy.simple)
        is_whole(mended)
        assert not [name for name in mended.files if MACOS(name)]
        assert all(url.startswith(proxy.url) for url in mended.files.values())
        again = await lock(uv, project, proxy.simple)
        assert (again.packages, again.files) == (mended.packages, mended.files)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda mirror: mirror.fault("*", lies_on_head(405)),
        lambda mirror: mirror.fault("*", lies_on_head(404)),
        lambda mirror: setattr(mirror, "forms", {"json"}),
        lambda mirror: setattr(mirror, "forms", {"html"}),
        lambda mirror: None,
    ],
    ids=["HEAD answers 405", "HEAD answers 404", "JSON only", "HTML only", "healthy"],
)
async def test_from_a_mirror_that_can_deliver_everything_the_lock_names_exactly_the_files_of_the_direct_lock(
    full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path, prepare: Any
) -> None:
    direct = await lock(uv, project, full.url)
    is_whole(direct)
    prepare(full)
    async with proxied(full, tmp_path) as proxy:
        mended = await lock(uv, project, proxy.simple)
    is_whole(mended)
    assert set(mended.files) == set(direct.files)


async def test_one_macos_wheel_that_answers_503_stays_listed(full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path) -> None:
    wheel = next(name for name in World.load().wheels("tornado") if MACOS(name))
    full.fault(wheel, status(503))
    async with proxied(full, tmp_path) as proxy:
        mended = await lock(uv, project, proxy.simple)
    is_whole(mended)
    assert wheel in mended.files


@pytest.mark.parametrize("whose", ["the client's own", "configured", "in the upstream URL"])
async def test_a_mirror_that_needs_basic_credentials_is_locked_from(
    full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path, whose: str
) -> None:
    full.credentials = ("reader", "s3cret")
    full.fault(MACOS, artifactory_404())
    upstream, index_user, environment = full.url, "", {}
    if whose == "configured":
        environment = {"MIRRORMEND_UPSTREAM_USERNAME": "reader", "MIRRORMEND_UPSTREAM_PASSWORD": "s3cret"}
    elif whose == "in the upstream URL":
        upstream = full.url.replace("://", "://reader:s3cret@")
    else:
        index_user = "reader:s3cret@"
    async with proxied(full, tmp_path, upstream=upstream, **environment) as proxy:
        mended = await lock(uv, project, proxy.simple.replace("://", f"://{index_user}"))
        is_whole(mended)
        assert not [name for name in mended.files if MACOS(name)]
        assert "s3cret" not in str(proxy.log)
        if index_user:
            assert not (await lock(uv, project, proxy.simple)).ok


async def test_with_a_mirror_that_offers_neither_metadata_nor_json_uv_needs_no_head_and_no_range(
    full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path
) -> None:
    full.forms = {"html"}
    async with proxied(full, tmp_path) as proxy:
        is_whole(await lock(uv, project, proxy.simple))
        requests = [line for line in proxy.log if line["event"] == "request"]
    assert {line["method"] for line in requests} == {"GET"}
    assert {line["status"] for line in requests} == {200}
    files = [line["path"] for line in requests if line["path"].startswith("/files/")]
    assert files
    assert all(path.endswith(".metadata") for path in files)


async def test_redirected_and_direct_links_lock_too(full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path) -> None:
    full.fault(MACOS, artifactory_404())
    for mode in ("redirect", "direct"):
        async with proxied(full, tmp_path, "--links", mode) as proxy:
            mended = await lock(uv, project, proxy.simple)
            is_whole(mended)
            assert not [name for name in mended.files if MACOS(name)]
            assert all(url.startswith(full.origin if mode == "direct" else proxy.url) for url in mended.files.values())


async def test_what_the_proxy_learned_survives_its_restart(full: BrokenMirror, project: Path, uv: Uv, tmp_path: Path) -> None:
    full.fault(MACOS, artifactory_404())
    store = f"sqlite:{tmp_path / 'store.sqlite3'}"
    async with proxied(full, tmp_path, "--store", store) as proxy:
        is_whole(await lock(uv, project, proxy.simple))
        assert await proxy.stop() == 0
    full.forget()
    async with proxied(full, tmp_path, "--store", store) as proxy:
        mended = await lock(uv, project, proxy.simple)
    is_whole(mended)
    assert not [name for name in mended.files if MACOS(name)]
    asked_again = {each.path.rstrip("/").rpartition("/")[2] for each in full.asked if each.kind == "page"}
    # What is required and not on the mirror is looked for again, and before its 404 is believed one or two pages bear witness.
    assert len(asked_again & set(mended.packages)) <= 2
