"""`mirrormend lock` at a mirror that delivers no file of a release: an older one is locked, but never because of a moment's failure."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.clients import ProxyProcess, Uv, read_lock, write_project
from tests.e2e.test_lock_command import Mirrormend, index
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.waiting import until

NEWEST, SDIST = "storm-6.5.0-py3-none-any.whl", "storm-6.5.0.tar.gz"
OLDER, OLDEST = "storm-6.4.2-py3-none-any.whl", "storm-6.4.1-py3-none-any.whl"


@pytest.fixture
def mend(mirror: BrokenMirror, tmp_path: Path) -> Mirrormend:
    """The command in a project that needs storm and another project, of which the mirror has everything."""
    for name in (NEWEST, SDIST, OLDER, OLDEST, "other-1.0-py3-none-any.whl"):
        mirror.add(name)
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    uv.environment["UV_HTTP_RETRIES"] = "0"
    return Mirrormend(uv, write_project(tmp_path / "project", ["storm", "other"], extra=index(mirror.url)))


def deny(mirror: BrokenMirror, *names: str) -> None:
    """Answers 404 for these files, from now on."""
    for name in names:
        mirror.fault(name, artifactory_404())


async def heal_once_proven(mirror: BrokenMirror) -> None:
    """Delivers everything again as soon as nobody asks any more: then the absence was proven once, and is to be confirmed."""
    await until(lambda: bool(mirror.asked_for(SDIST)), within=30)
    before = -1
    while before != len(mirror.asked):
        before = len(mirror.asked)
        await asyncio.sleep(2)
    mirror.heal()


async def test_an_older_release_is_locked_and_the_dead_one_is_named(mirror: BrokenMirror, mend: Mirrormend) -> None:
    deny(mirror, NEWEST, SDIST)
    done = await mend.lock()
    assert done.ok, done
    assert read_lock(mend.file)[0] == {"storm": "6.4.2", "other": "1.0"}
    assert "mirrormend: the mirror denies every file of storm 6.5.0; it is asked once more 10 s later" in done.stderr
    assert "mirrormend: locking again\n" in done.stderr
    assert "mirrormend: storm 6.5.0 not offered to uv: the mirror does not deliver the files (404)" in done.stderr


async def test_no_page_waits_longer_than_uv_does(mirror: BrokenMirror, mend: Mirrormend) -> None:
    deny(mirror, NEWEST, SDIST)
    done = await mend.lock(UV_HTTP_TIMEOUT="3")
    assert done.ok, done
    assert read_lock(mend.file)[0] == {"storm": "6.4.2", "other": "1.0"}


async def test_a_dead_release_that_nobody_needs_is_neither_waited_for_nor_told(mirror: BrokenMirror, mend: Mirrormend) -> None:
    write_project(mend.project, ["storm<6.5", "other"], extra=index(mirror.url))
    deny(mirror, NEWEST, SDIST)
    done = await mend.lock()
    assert done.ok, done
    assert "6.5.0" not in done.stderr
    write_project(mend.project, ["storm<6.5", "other", "unheard-of"], extra=index(mirror.url))
    done = await mend.lock("--", "--upgrade")
    assert done.returncode == 1
    assert "6.5.0" not in done.stderr
    assert done.stderr.count("unheard-of was not found") == 1


async def test_each_dead_release_is_told_once_however_often_uv_fails(mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    deny(mirror, NEWEST, SDIST)
    (tmp_path / "bin").mkdir()
    # As where another index is down by then.
    words = f'[ -e {tmp_path}/ran ] && exit 2\ntouch {tmp_path}/ran\nexec "$REAL_UV" "$@"\n'
    (tmp_path / "bin" / "uv").write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec "$REAL_UV" --version\n{words}', encoding="utf-8")
    (tmp_path / "bin" / "uv").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{mend.environment['PATH']}"
    done = await mend.lock(PATH=path, REAL_UV=Uv(tmp_path).command, MIRRORMEND_VERDICT_CONFIRM="1")
    assert done.returncode == 2
    assert done.stderr.count("mirrormend: locking again") == 1


async def test_a_release_that_is_denied_for_some_seconds_is_locked(mirror: BrokenMirror, mend: Mirrormend) -> None:
    deny(mirror, NEWEST, SDIST)
    healing = asyncio.create_task(heal_once_proven(mirror))
    done = await mend.lock()
    await healing
    assert done.ok, done
    # It was proven absent once, and not the second time.
    assert "the mirror denies every file of storm 6.5.0" in done.stderr
    assert set(read_lock(mend.file)[1]) == {NEWEST, SDIST, "other-1.0-py3-none-any.whl"}
    assert "not offered" not in done.stderr


async def test_in_an_outage_no_release_is_left_out_and_the_lock_stays(mirror: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    mirror.fault(lambda name: not name.startswith("page:"), artifactory_404())
    done = await mend.lock("--", "--upgrade", "--refresh")
    assert not done.ok
    assert mend.file.read_bytes() == made
    assert "not offered" not in done.stderr
    assert "asked once more" not in done.stderr


async def test_a_dead_release_that_no_page_waited_for_is_left_out_as_well(mirror: BrokenMirror, mend: Mirrormend) -> None:
    write_project(mend.project, ["storm<6.5", "other"], extra=index(mirror.url))
    deny(mirror, OLDER)
    done = await mend.lock(MIRRORMEND_PROBE_BUDGET="1", MIRRORMEND_VERDICT_CONFIRM="1")
    assert done.ok, done
    assert read_lock(mend.file)[0] == {"storm": "6.4.1", "other": "1.0"}
    assert "mirrormend: storm 6.4.2 not offered to uv: the mirror does not deliver the files (404)" in done.stderr


async def test_a_release_of_which_only_the_metadata_is_delivered_does_not_stay_in_the_lock(mirror: BrokenMirror, mend: Mirrormend) -> None:
    write_project(mend.project, ["storm<6.5", "other"], extra=index(mirror.url))
    mirror.add(OLDER, core_metadata="hash")
    deny(mirror, OLDER)
    done = await mend.lock(MIRRORMEND_PROBE_BUDGET="1", MIRRORMEND_VERDICT_CONFIRM="1")
    assert done.ok, done
    assert read_lock(mend.file)[0]["storm"] == "6.4.1"


async def test_where_every_release_is_dead_it_fails_and_says_so(mirror: BrokenMirror, mend: Mirrormend) -> None:
    deny(mirror, NEWEST, SDIST, OLDER, OLDEST)
    done = await mend.lock(MIRRORMEND_VERDICT_CONFIRM="1")
    assert not done.ok
    assert "mirrormend: the mirror delivers no file of storm that it lists" in done.stderr
    assert not mend.file.exists()


async def test_a_proxy_that_serves_goes_on_listing_what_the_command_left_out(
    mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path
) -> None:
    deny(mirror, NEWEST, SDIST)
    store = f"sqlite:{tmp_path / 'store'}"
    done = await mend.lock(MIRRORMEND_STORE=store, MIRRORMEND_VERDICT_CONFIRM="1")
    assert read_lock(mend.file)[0]["storm"] == "6.4.2", done
    async with ProxyProcess(mirror.url, tmp_path, store=store) as proxy, aiohttp.ClientSession() as session:
        async with session.get(f"{proxy.simple}storm/") as response:
            assert NEWEST in await response.text()
        async with session.get(f"{proxy.url}/explain/storm/{NEWEST}") as response:
            assert "listed-until-confirmed" in await response.text()
