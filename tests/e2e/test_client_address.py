"""Behind the nginx of the documentation each client is counted under its own address, whatever it says of itself."""

import re
from pathlib import Path

import aiohttp
import pytest

from tests.__main__ import ROOT
from tests.clients import ProxyProcess
from tests.mirror import BrokenMirror
from tests.peers.serving import free_port, nginx, running
from tests.waiting import until

CLIENT = "127.0.0.2"
MADE_UP = [
    {},
    {"Forwarded": "for=192.0.2.1"},
    {"X-Forwarded-For": "192.0.2.1"},
    {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "Forwarded": 'for=192.0.2.3, for="[2001:db8::1]"'},
    {"Forwarded": f"for={CLIENT}"},
]


def documented(port: int) -> str:
    """Return the location that docs/deployment.md shows, before the proxy at `port`."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n.*?(    location / \{.*?\n    \}\n)", text, re.DOTALL)
    assert found is not None
    location, count = re.subn(r"proxy_pass http://127\.0\.0\.1:8080;", f"proxy_pass http://127.0.0.1:{port};", found[1])
    assert count == 1
    return location


@pytest.mark.parametrize("headers", MADE_UP, ids=str)
async def test_a_client_is_counted_under_its_own_address(mirror: BrokenMirror, tmp_path: Path, headers: dict[str, str]) -> None:
    assert await counted_as(mirror, tmp_path, headers) == CLIENT


@pytest.mark.parametrize("headers", MADE_UP, ids=str)
async def test_a_header_that_nginx_does_not_write_does_not_pass_it(mirror: BrokenMirror, tmp_path: Path, headers: dict[str, str]) -> None:
    assert await counted_as(mirror, tmp_path, headers, MIRRORMEND_ACCESS_CLIENT_ADDRESS_HEADER="Forwarded") == "127.0.0.1"


async def counted_as(mirror: BrokenMirror, tmp_path: Path, headers: dict[str, str], **variables: str) -> str:
    """Ask through nginx with these headers, and return the client that the proxy logs."""
    mirror.add("demo-1.0-py3-none-any.whl")
    settings = {"MIRRORMEND_ACCESS_TRUSTED_PROXIES": "127.0.0.1", **variables}
    async with ProxyProcess(mirror.url, tmp_path, environment=settings) as proxy:
        port = free_port()
        command = nginx(tmp_path, port, "", documented(int(proxy.url.rpartition(":")[2])))
        with running(command, port, tmp_path):
            connector = aiohttp.TCPConnector(local_addr=(CLIENT, 0))
            address = f"http://127.0.0.1:{port}/simple/demo/"
            async with aiohttp.ClientSession(connector=connector) as session, session.get(address, headers=headers) as answer:
                assert answer.status == 200
        await until(lambda: any(line.get("event") == "request" for line in proxy.log))
    (client,) = (str(line["client"]) for line in proxy.log if line.get("event") == "request")
    return client
