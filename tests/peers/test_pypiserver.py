"""pypiserver: a folder of files, listed as they are found there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv, write_project
from tests.peers.contract import Peer, PeerContract, TruthfulPeerContract, installs
from tests.peers.origin import Origin
from tests.peers.releases import REQUIRED, WHOLE, everything
from tests.peers.serving import free_port, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)


@contextmanager
def serving(programs: Programs, folder: Path, files: Mapping[str, bytes], *options: str) -> Iterator[Peer]:
    """Runs the server over a folder with these files."""
    port, kept = free_port(), folder / "kept"
    kept.mkdir()
    for filename, data in files.items():
        (kept / filename).write_bytes(data)
    address = ["--port", str(port), "--interface", "127.0.0.1"]
    with running([programs.commands("pypiserver") / "pypi-server", "run", *address, *options, kept], port, folder):
        yield Peer(f"http://127.0.0.1:{port}/simple/", lambda filename: (kept / filename).unlink())


@pytest.fixture(scope="module")
def peer(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    files = {name: data for project in everything().values() for name, data in project.items()}
    with serving(programs, tmp_path_factory.mktemp("pypiserver"), files, "--disable-fallback") as running_one:
        yield running_one


class TestPypiserver(PeerContract, TruthfulPeerContract):
    """It never lists what is not in its folder, and where files vanish nobody could tell; but whoever read its page before asks in vain."""


async def test_projects_that_it_sends_to_another_index_come_from_there(programs: Programs, origin: Origin, uv: Uv, tmp_path: Path) -> None:
    """What is not in its folder it redirects to a fallback index: it does so of its own accord, to PyPI, unless it is told otherwise."""
    (tmp_path / "server").mkdir()
    project = write_project(tmp_path / "project", [WHOLE.name])
    with serving(programs, tmp_path / "server", WHOLE.files, "--fallback-url", f"{origin.url}/simple/") as peer:
        async with ProxyProcess(peer.url, tmp_path, environment={"MIRRORMEND_UPSTREAM_ALLOW_HOSTS": "127.0.0.1"}) as proxy:
            mended = await uv.lock(project, proxy.simple)
            assert mended.ok, mended
            assert set(mended.files) == WHOLE.newest | {f"{REQUIRED}-1.0-py3-none-any.whl"}
            await installs(uv, project, proxy, WHOLE)
