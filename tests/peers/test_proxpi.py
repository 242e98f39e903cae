"""proxpi: it keeps the pages of another index for half an hour, and the files that it was asked for."""

from collections.abc import Iterator

import pytest

from tests.peers.contract import CachingPeerContract, LosingPeerContract, Peer, PeerContract
from tests.peers.origin import Origin
from tests.peers.serving import free_port, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

_REDIRECTS = {"MIRRORMEND_UPSTREAM_ALLOW_HOSTS": "127.0.0.1"}
"""What it cannot fetch quickly it redirects to the index behind it, here on the proxy's own machine, where no link leads unasked."""

_PATIENT = {"PROXPI_DOWNLOAD_TIMEOUT": "10"}
"""Seconds after which it redirects; of its own accord it waits for less than one, which on a busy machine would be a matter of luck."""


@pytest.fixture(scope="module")
def peer(programs: Programs, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder, port = tmp_path_factory.mktemp("proxpi"), free_port()
    command = [programs.commands("proxpi") / "python", "-m", "flask", "--app", "proxpi.server", "run", "--port", str(port)]
    environment = {"PROXPI_INDEX_URL": f"{origin.url}/simple/", "PROXPI_CACHE_DIR": str(folder / "cache")} | _PATIENT
    with running(command, port, folder, environment):
        yield Peer(f"http://127.0.0.1:{port}/index/", origin.lose, _REDIRECTS)


class TestProxpi(PeerContract, LosingPeerContract, CachingPeerContract):
    """It lists what the index behind it has lost meanwhile, and redirects there, to a 404, whoever asks for it."""
