"""pypiserver: a folder of files, listed as they are found there."""

from collections.abc import Iterator

import pytest

from tests.peers.contract import Peer, PeerContract, TruthfulPeerContract
from tests.peers.releases import everything
from tests.peers.serving import free_port, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def peer(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder, port = tmp_path_factory.mktemp("pypiserver"), free_port()
    kept = folder / "kept"
    kept.mkdir()
    for files in everything().values():
        for filename, data in files.items():
            (kept / filename).write_bytes(data)
    options = ["--port", str(port), "--interface", "127.0.0.1", "--disable-fallback"]
    with running([programs.commands("pypiserver") / "pypi-server", "run", *options, kept], port, folder):
        yield Peer(f"http://127.0.0.1:{port}/simple/", lambda filename: (kept / filename).unlink())


class TestPypiserver(PeerContract, TruthfulPeerContract):
    """It never lists what is not in its folder, and where files vanish nobody could tell; but whoever read its page before asks in vain."""
