"""`mirrormend warm`: a proxy that starts with the store asks the mirror nothing that was learned before."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.audit.conftest import LINUX, MAC, OLD, SDIST, command, environment
from tests.clients import Completed, ProxyProcess, Uv, run_command, write_project
from tests.faults import artifactory_404, slow
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

Warm: TypeAlias = Callable[..., Awaitable[Completed]]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store in a file."""
    return f"sqlite:{tmp_path / 'store.sqlite3'}"


@pytest.fixture
def warm(mirror: BrokenMirror, tmp_path: Path, store: str) -> Warm:
    """Gives `run(*words, **variables)`: the command as a process, to its end."""

    async def run(*words: str, **variables: str) -> Completed:
        chosen = {"MIRRORMEND_UPSTREAM": mirror.url, "MIRRORMEND_STORE": store, "MIRRORMEND_UPSTREAM_RETRIES": "0"} | variables
        return await run_command(command("warm", *words), environment(tmp_path, **chosen), tmp_path)

    return run


async def page(proxy: ProxyProcess, tmp_path: Path) -> str:
    accept = "Accept: application/vnd.pypi.simple.v1+json"
    done = await run_command(["curl", "-s", "--noproxy", "*", "-H", accept, f"{proxy.simple}demo/"], environment(tmp_path), tmp_path)
    return done.stdout


async def test_a_proxy_that_starts_with_the_store_asks_nothing_again(stocked: BrokenMirror, warm: Warm, store: str, tmp_path: Path) -> None:
    stocked.fault(MAC, artifactory_404())
    done = await warm("demo")
    assert done.returncode == 0, done
    assert done.stdout == "1 of 1 projects: 4 files listed, 1 of them dropped, 0 not known, 0 not asked about\n"
    assert "warming: 1 of 1 project, 1 file dropped" in done.stderr
    stocked.forget()
    async with ProxyProcess(stocked.url, tmp_path, store=store) as proxy:
        listed = {each["filename"] for each in json.loads(await page(proxy, tmp_path))["files"]}
    assert listed == {OLD, LINUX, SDIST}
    assert stocked.asked == []


async def test_the_metadata_is_waited_for_where_it_takes_longer_than_all_else(
    stocked: BrokenMirror, warm: Warm, store: str, tmp_path: Path
) -> None:
    rule = stocked.fault(lambda name: name in {LINUX, MAC, OLD}, slow(0.5), methods=("GET",))
    assert (await warm("demo", "-q")).returncode == 0
    stocked.heal(rule)
    stocked.forget()
    async with ProxyProcess(stocked.url, tmp_path, store=store) as proxy:
        await page(proxy, tmp_path)
        picked = f"{proxy.url}/files/demo/{MAC}.metadata"
        done = await run_command(["curl", "-s", "--noproxy", "*", picked], environment(tmp_path), tmp_path)
    assert done.stdout.startswith("Metadata-Version")
    assert stocked.asked == []


async def test_for_a_lock_its_releases_and_their_metadata_are_learned(
    stocked: BrokenMirror, warm: Warm, store: str, tmp_path: Path, uv: Uv
) -> None:
    project = write_project(tmp_path / "project", ["demo==1"])
    assert (await uv.lock(project, stocked.url)).ok
    stocked.forget()
    done = await warm("--lock", str(project / "uv.lock"), "-q")
    assert (done.returncode, done.stderr) == (0, "")
    # The newest release is what a page waits for, whatever the lock names.
    assert {each.name for each in stocked.asked if each.kind == "file"} == {OLD, MAC, LINUX, SDIST}
    stocked.forget()
    async with ProxyProcess(stocked.url, tmp_path, store=store) as proxy:
        (project / "uv.lock").unlink()
        uv.fresh_cache()
        locked = await uv.lock(project, proxy.simple)
    assert locked.ok, locked
    assert [each.name for each in stocked.asked if each.name == OLD] == []


async def test_on_a_costly_mirror_one_file_of_a_locked_release_is_read_and_no_other_asked_about(stocked: BrokenMirror, warm: Warm) -> None:
    done = await warm("demo==1.0", MIRRORMEND_UPSTREAM_KIND="nexus")
    assert done.returncode == 0
    # It is read by ranges, and not probed besides.
    assert {(each.name, each.method) for each in stocked.asked if each.kind == "file"} == {(OLD, "GET")}


async def test_what_is_required_is_followed_where_that_is_wanted(mirror: BrokenMirror, warm: Warm) -> None:
    top = "top-1.0-py3-none-any.whl"
    mirror.add(top, make_wheel(top, requires_dist=["leaf", "rare; python_version < '3.10'"]))
    mirror.add("leaf-1.0-py3-none-any.whl")
    done = await warm("top", "--closure", "-q")
    assert done.returncode == 0, done
    assert done.stdout.startswith("2 of 3 projects: 2 files listed")
    assert "not on the mirror, and perhaps not needed: rare" in done.stdout


async def test_what_cannot_be_had_is_named_and_ends_with_1_or_2(stocked: BrokenMirror, warm: Warm) -> None:
    some = await warm("demo", "nosuch", "-q")
    assert some.returncode == 1
    assert f"not learned: nosuch: {stocked.page_url('nosuch')} answered 404" in some.stdout
    assert (await warm("nosuch", "-q")).returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is given to learn; name projects, or give --lock FILE or -r FILE"),
        (("demo", "--store", "memory"), "a store in memory is forgotten at the end of this command"),
        (("demo", "--mirror", "other"), "--mirror: no mirror is called 'other'; choose one of default"),
    ],
)
async def test_a_wrong_word_gets_one_line_and_status_2(warm: Warm, words: tuple[str, ...], said: str) -> None:
    done = await warm(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_store_that_takes_nothing_is_an_error(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    done = await warm("demo", "-q", "--store", f"sqlite:{tmp_path / 'file' / 'store.sqlite3'}")
    assert done.returncode == 1
    assert "the store did not take" in done.stderr


async def test_ctrl_c_keeps_what_was_learned(stocked: BrokenMirror, tmp_path: Path, store: str) -> None:
    stocked.fault(SDIST, slow(60))
    process = await asyncio.create_subprocess_exec(
        *command("warm", "demo", "-q"),
        env=environment(tmp_path, MIRRORMEND_UPSTREAM=stocked.url, MIRRORMEND_STORE=store),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        while len({each.name for each in stocked.asked if each.kind == "file"}) < 3:  # noqa: ASYNC110 - the mirror has no event for it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert "Interrupted: what was learned is kept." in out.decode()
    stocked.heal()
    stocked.forget()
    async with ProxyProcess(stocked.url, tmp_path, store=store) as proxy:
        assert MAC in await page(proxy, tmp_path)
    assert SDIST in {each.name for each in stocked.asked}
    assert MAC not in {each.name for each in stocked.asked}
