"""simple-repository-server: it serves a folder, or passes on another index, of which it keeps nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients import Uv, write_project
from tests.peers.contract import Peer, PeerContract, TruthfulPeerContract, dropped, installs
from tests.peers.origin import Origin
from tests.peers.releases import LOSING, everything
from tests.peers.serving import free_port, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

_REDIRECTS = {"MIRRORMEND_UPSTREAM_ALLOW_HOSTS": "127.0.0.1"}
"""It redirects to the files of the index behind it, here on the proxy's own machine, where no link leads unasked."""


@contextmanager
def serving(programs: Programs, folder: Path, *arguments: str) -> Iterator[str]:
    """Runs the server, and gives the address of its simple API."""
    port = free_port()
    command = [programs.commands("simple-repository-server") / "simple-repository-server", "--host", "127.0.0.1", "--port", str(port)]
    with running([*command, *arguments], port, folder):
        yield f"http://127.0.0.1:{port}/simple/"


@pytest.fixture(scope="module")
def serving_a_folder(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder = tmp_path_factory.mktemp("simple-repository-server")
    kept = folder / "kept"
    for project, files in everything().items():
        (kept / project).mkdir(parents=True)
        for filename, data in files.items():
            (kept / project / filename).write_bytes(data)
    with serving(programs, folder, str(kept)) as url:
        yield Peer(url, lambda filename: (kept / filename.partition("-")[0] / filename).unlink())


@pytest.fixture(scope="module", params=[(), ("--stream-http-resources",)], ids=["redirecting", "streaming"])
def passing_on(
    request: pytest.FixtureRequest, programs: Programs, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    with serving(programs, tmp_path_factory.mktemp("simple-repository-server"), *request.param, f"{origin.url}/simple") as url:
        yield Peer(url, origin.lose, _REDIRECTS)


class TestFolder(PeerContract, TruthfulPeerContract):
    """It lists what is in the folder when it is asked, without hashes, and offers metadata that it reads out of the wheels."""

    @pytest.fixture
    def peer(self, serving_a_folder: Peer) -> Peer:
        return serving_a_folder


class TestPassingOn(PeerContract):
    """It asks the other index for the page, and by HEAD for the file, whenever it is asked for the file.

    What the index has lost it answers by 500, as when the index does not answer at all. That proves nothing, and the file stays listed.
    """

    @pytest.fixture
    def peer(self, passing_on: Peer) -> Peer:
        return passing_on

    async def test_a_file_that_it_lists_and_answers_by_500_fails_the_direct_lock_and_not_the_one_through_the_proxy(
        self, peer: Peer, uv: Uv, tmp_path: Path
    ) -> None:
        peer.lose(LOSING.mac)
        project = write_project(tmp_path / "project", [LOSING.name])
        direct = await uv.lock(project, peer.url, UV_HTTP_RETRIES="0")
        assert not direct.ok
        assert LOSING.mac in direct.stderr
        assert "500 Internal Server Error" in direct.stderr
        uv.fresh_cache()
        async with peer.proxied(tmp_path) as proxy:
            mended = await uv.lock(project, proxy.simple, UV_HTTP_RETRIES="0")
            assert mended.ok, mended
            assert LOSING.newest < set(mended.files)
            await installs(uv, project, proxy, LOSING)
            assert await dropped(proxy, LOSING) == "0"
