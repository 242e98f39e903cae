"""What real clients install of files that the mirror lists and cannot deliver."""

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from tests.clients import Pip, ProxyProcess, Uv, write_project
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
WHEEL = make_wheel(NAME, payload=b"x" * 1_000_000)
FORGED = make_wheel(NAME, payload=b"y" * 1_000_000)


@pytest.fixture
async def whole() -> AsyncIterator[BrokenMirror]:
    """The second index, which has the wheel."""
    async with BrokenMirror() as running:
        running.add(NAME, WHEEL)
        yield running


@pytest.fixture
def lossy(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists the wheel, and has it no more."""
    mirror.add(NAME, WHEEL)
    mirror.add("other-1.0-py3-none-any.whl")
    mirror.fault(NAME, artifactory_404())
    return mirror


def enabled(whole: BrokenMirror) -> Mapping[str, str]:
    """The settings of a rescue from `whole`."""
    return {"MIRRORMEND_RESCUE_ENABLED": "true", "MIRRORMEND_RESCUE_URL": whole.url}


async def test_uv_sync_of_a_lock_that_names_a_dead_wheel_works(lossy: BrokenMirror, whole: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", ["demo", "other"])
    async with ProxyProcess(lossy.url, tmp_path, environment=enabled(whole)) as proxy:
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        assert NAME in locked.files
        assert sha256(WHEEL).hexdigest() in (project / "uv.lock").read_text(encoding="utf-8")
        done = await uv.sync(project, proxy.simple, "--locked")
        assert done.ok, done
        listed = await uv.run("pip", "list", "--format", "freeze", "--python", str(project / ".venv"), cwd=project)
        assert "demo==1.0" in listed.stdout
    # The file, and what uv reads of it, both came from the second index in the end.
    assert [line for line in proxy.log if line.get("outcome") == "rescued"]
    assert not any(each.authorization for each in whole.asked)


async def test_without_the_rescue_it_does_not(lossy: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", ["demo", "other"])
    async with ProxyProcess(lossy.url, tmp_path) as proxy:
        assert not (await uv.sync(project, proxy.simple)).ok


async def test_a_file_of_other_bytes_is_installed_by_nobody(lossy: BrokenMirror, whole: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", ["demo", "other"])
    async with ProxyProcess(lossy.url, tmp_path, environment=enabled(whole)) as proxy:
        assert (await uv.lock(project, proxy.simple)).ok
        whole.add(NAME, FORGED, hashes={"sha256": sha256(WHEEL).hexdigest()})
        uv.fresh_cache()
        done = await uv.sync(project, proxy.simple, "--locked")
        assert not done.ok
        assert not list((project / ".venv").rglob("demo*"))
        assert any(line.get("event") == "rescue-failed" and "sha256" in line["why"] for line in proxy.log)


async def test_pip_installs_it_too(lossy: BrokenMirror, whole: BrokenMirror, pip: Pip, tmp_path: Path) -> None:
    async with ProxyProcess(lossy.url, tmp_path, environment=enabled(whole)) as proxy:
        done = await pip.install(proxy.simple, "demo", "other")
        assert done.ok, done
        listed = await pip.run("freeze", "--all")
    assert "demo==1.0" in listed.stdout


async def test_uv_gets_the_refusal_of_a_file_that_was_absent_before(
    lossy: BrokenMirror, whole: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project", ["demo", "other"])
    young = {"MIRRORMEND_VERDICT_NO": "0", "MIRRORMEND_VERDICT_NO_YOUNG": "0"}
    async with ProxyProcess(lossy.url, tmp_path, environment={**enabled(whole), **young}) as proxy:
        assert (await uv.lock(project, proxy.simple)).ok
        lossy.heal()
        lossy.fault(NAME, status(403))
        whole.forget()
        uv.fresh_cache()
        done = await uv.sync(project, proxy.simple, "--locked")
        assert not done.ok
        assert "403 Forbidden" in done.stderr
        assert not whole.asked_for(NAME)


async def test_uv_locks_what_is_left_while_the_second_index_is_out_of_service(
    lossy: BrokenMirror, whole: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    lossy.add("demo-0.9-py3-none-any.whl")
    project = write_project(tmp_path / "project", ["demo"])
    whole.fault(NAME, status(503))
    async with ProxyProcess(lossy.url, tmp_path, environment={**enabled(whole), "MIRRORMEND_VERDICT_CONFIRM": "0"}) as proxy:
        # The first request finds out.
        await uv.lock(project, proxy.simple)
        (project / "uv.lock").unlink(missing_ok=True)
        uv.fresh_cache()
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        assert locked.packages == {"demo": "0.9"}
        assert (await uv.sync(project, proxy.simple, "--locked")).ok
