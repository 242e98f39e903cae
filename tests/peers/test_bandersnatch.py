"""A mirror that bandersnatch made, behind nginx: what it has is on the disk twice, as files and as pages that list them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.contract import LosingPeerContract, Peer, PeerContract
from tests.peers.origin import Origin
from tests.peers.releases import everything
from tests.peers.serving import free_port, nginx, run_once, running
from tests.programs import Programs

pytestmark = pytest.mark.timeout(300)

_CONFIG = """
[mirror]
directory = {tree}
master = {master}
allow-non-https = true
"""
# As bandersnatch recommends: the page in the form that the client accepts.
_NEGOTIATED = r"""
map $http_accept $form {
    default html;
    "~application/vnd\.pypi\.simple\.v1\+json" v1_json;
}
"""
_SERVER = """
root {tree}/web;
location /simple/ {{
    index index.{form};
    types {{ text/html html; application/vnd.pypi.simple.v1+json v1_json; }}
}}
"""


@pytest.fixture(scope="module", params=["html", "$form"], ids=["pages in HTML alone", "pages in HTML and JSON"])
def peer(request: pytest.FixtureRequest, programs: Programs, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder, tree, port = tmp_path_factory.mktemp("bandersnatch"), tmp_path_factory.mktemp("tree"), free_port()
    config = folder / "bandersnatch.conf"
    config.write_text(_CONFIG.format(tree=tree, master=origin.url), encoding="utf-8")
    done = run_once([programs.commands("bandersnatch") / "bandersnatch", "-c", config, "sync", *everything()], folder)
    # It ends well whatever it could not fetch.
    assert all((tree / "web" / "simple" / project / "index.html").exists() for project in everything()), done
    command = nginx(folder, port, _NEGOTIATED, _SERVER.format(tree=tree, form=request.param))
    with running(command, port, folder):
        yield Peer(f"http://127.0.0.1:{port}/simple/", lambda filename: _delete(tree, filename))


class TestBandersnatch(PeerContract, LosingPeerContract):
    """A file that is deleted from the tree, by a hand or a disk, stays on its page: nothing compares the two before the next sync."""


def _delete(tree: Path, filename: str) -> None:
    (tree / "web" / "packages" / filename).unlink()
