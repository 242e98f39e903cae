"""Files that never change: real clients keep them, although the mirror forbids to."""

from pathlib import Path

from aiohttp import web

from tests.clients import Pip, ProxyProcess, Uv, write_project
from tests.faults import Target
from tests.mirror import BrokenMirror

WHEEL = "demo-1.0-py3-none-any.whl"


async def forbidding(target: Target) -> web.StreamResponse:
    """Send the file, not to be stored."""
    return web.Response(body=target.data, headers={"Cache-Control": "no-store", "Content-Type": "application/octet-stream"})


def fetched(mirror: BrokenMirror) -> int:
    """How often the whole wheel was asked for."""
    return len([each for each in mirror.asked_for(WHEEL) if each.method == "GET" and each.range is None])


async def test_pip_asks_once_for_a_wheel_that_the_mirror_forbids_to_store(mirror: BrokenMirror, pip: Pip, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    mirror.fault("*.whl", forbidding, methods=("GET",))
    seen = {}
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        for through, index in ((True, proxy.simple), (False, mirror.url)):
            mirror.forget()
            for number in range(2):
                # Of a plain http address pip keeps something only where the host is trusted.
                words = ["--no-deps", "--no-input", "--trusted-host", "127.0.0.1", "--cache-dir", str(tmp_path / f"cache-{through}")]
                words += ["--dest", str(tmp_path / f"{through}-{number}")]
                done = await pip.run("download", "--index-url", index, *words, "demo")
                assert done.ok, done
            seen[through] = fetched(mirror)
    assert seen == {True: 1, False: 2}


async def test_uv_asks_once_for_a_wheel_that_the_mirror_forbids_to_store(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.add(WHEEL)
    mirror.fault("*.whl", forbidding, methods=("GET",))
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        for number in range(2):
            project = write_project(tmp_path / f"project-{number}", ["demo"])
            assert (await uv.lock(project, proxy.simple)).ok
            done = await uv.sync(project, proxy.simple)
            assert done.ok, done
    assert fetched(mirror) == 1
