"""devpi-server: an index of its own, to which files are uploaded, and one that mirrors another index and fetches when it is asked."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.clients import Uv, write_project
from tests.peers.contract import CachingPeerContract, LosingPeerContract, Peer, PeerContract
from tests.peers.origin import Origin
from tests.peers.releases import LOSING, REQUIRED, WHOLE, everything
from tests.peers.serving import free_port, run_once, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

_PASSWORD = "a password of the test"


# Its secret is derived at each start, which takes seconds at the usual cost.
_CHEAPER = ("--argon2-memory-cost", "64", "--argon2-parallelism", "1", "--argon2-time-cost", "1")


@dataclass(frozen=True)
class Devpi:
    """A running devpi-server, with what can be done to it by its API."""

    url: str
    folder: Path

    def index(self, name: str) -> str:
        """The address of an index's simple API."""
        return f"{self.url}/root/{name}/+simple/"

    def create(self, name: str, **facts: Any) -> None:
        """Makes an index."""
        login = {"user": "root", "password": _PASSWORD}
        token = self._ask("POST", "/+login", {"Content-Type": "application/json"}, json.dumps(login).encode())["result"]["password"]
        headers = {"Content-Type": "application/json", "X-Devpi-Auth": b64encode(f"root:{token}".encode()).decode()}
        self._ask("PUT", f"/root/{name}", headers, json.dumps(facts).encode())

    def upload(self, filename: str, data: bytes) -> None:
        """Uploads a file to `root/stage`, as twine does."""
        name, version = filename.removesuffix(".tar.gz").split("-")[:2]
        fields = {":action": "file_upload", "name": name, "version": version}
        body = b"".join(f'--=\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items())
        body += f'--=\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'.encode() + data + b"\r\n--=--\r\n"
        credentials = b64encode(f"root:{_PASSWORD}".encode()).decode()
        headers = {"Content-Type": 'multipart/form-data; boundary="="', "Authorization": f"Basic {credentials}"}
        self._ask("POST", "/root/stage/", headers, body)

    def lose(self, filename: str) -> None:
        """Deletes a file of `root/stage` from the disk, behind its back."""
        (stored,) = self.folder.glob(f"+files/root/stage/+f/*/*/{filename}")
        stored.unlink()

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        request = Request(self.url + path, body, {"Accept": "application/json", **headers}, method=method)  # noqa: S310 - see Devpi.url
        with urlopen(request, timeout=30) as response:  # noqa: S310 - see Devpi.url
            answer = response.read()
        return json.loads(answer) if answer else None


@pytest.fixture(scope="module")
def devpi(programs: Programs, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devpi]:
    commands, folder, port = programs.commands("devpi-server"), tmp_path_factory.mktemp("devpi"), free_port()
    run_once([commands / "devpi-init", "--serverdir", "data", "--no-root-pypi", "--root-passwd", _PASSWORD], folder)
    command = [commands / "devpi-server", "--serverdir", "data", "--host", "127.0.0.1", "--port", str(port), *_CHEAPER]
    with running(command, port, folder):
        server = Devpi(f"http://127.0.0.1:{port}", folder / "data")
        server.create("mirror", type="mirror", mirror_url=f"{origin.url}/simple/")
        server.create("stage", type="stage", bases=[])
        uploaded = everything()[REQUIRED] | {name: each.files[name] for each in (WHOLE, LOSING) for name in each.newest}
        for filename, data in uploaded.items():
            server.upload(filename, data)
        yield server


class TestMirror(PeerContract, LosingPeerContract, CachingPeerContract):
    """An index that mirrors another one keeps its pages for half an hour, and answers 404 for a file that the other has lost meanwhile."""

    @pytest.fixture
    def peer(self, devpi: Devpi, origin: Origin) -> Peer:
        return Peer(devpi.index("mirror"), origin.lose)


class TestStage(PeerContract, LosingPeerContract):
    """An index of its own lists what was uploaded, and answers 404 for what is gone from its disk."""

    @pytest.fixture
    def peer(self, devpi: Devpi) -> Peer:
        return Peer(devpi.index("stage"), devpi.lose)


async def test_the_address_of_an_index_itself_will_do_as_it_does_for_uv(devpi: Devpi, uv: Uv, tmp_path: Path) -> None:
    """There devpi has the simple API for those whose User-Agent is a package client's, and pages for people or nothing for others."""
    peer = Peer(f"{devpi.url}/root/mirror/", devpi.lose)
    project = write_project(tmp_path / "project", [WHOLE.name])
    direct = await uv.lock(project, peer.url)
    assert direct.ok, direct
    (project / "uv.lock").unlink()
    async with peer.proxied(tmp_path) as proxy:
        mended = await uv.lock(project, proxy.simple)
    assert mended.ok, mended
    assert set(mended.files) == set(direct.files)
