"""A secret in the path of the mirror's address: whoever looks at the proxy, or reads its log, does not learn it."""

import json
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.locking.addresses import Door
from proxy.locking.errors import LockFailed
from proxy.locking.whereabouts import mirror_behind
from tests.asked import Kind
from tests.clients import ProxyProcess
from tests.faults import Fault, Target, artifactory_404, reset, status, wrong_type
from tests.listing import Listed
from tests.mirror import BrokenMirror

SECRET = "t0ken-4711-geheim"
OTHER = "signed-8822-geheim"
WHEEL, SDIST = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
ARTIFACTORY = "/artifactory/api/pypi/pypi"


class SecretMirror(BrokenMirror):
    """A mirror whose pages and files are below a path that holds a token."""

    @property
    def url(self) -> str:
        """Its address, with the token."""
        return f"{self.origin}/{SECRET}/simple/"

    def _what(self, path: str) -> tuple[Kind, str, Listed | None]:
        return super()._what(path.replace(f"/{SECRET}", ARTIFACTORY, 1))


def denial_with_its_path(code: int) -> Fault:
    """Denies in words that repeat what was asked for, and asks for credentials of a realm that names it."""

    async def fault(target: Target) -> web.StreamResponse:
        url = target.request.url
        words = {"errors": [{"status": code, "message": f"No {url.path} at {url}, says the tenant {SECRET}"}]}
        headers = {"WWW-Authenticate": f'Basic realm="{url}"'} if code == 401 else {}
        return web.json_response(words, status=code, headers=headers)

    return fault


FAULTS = {
    "none": None,
    "404": denial_with_its_path(404),
    "401": denial_with_its_path(401),
    "403": denial_with_its_path(403),
    "429": denial_with_its_path(429),
    "500": denial_with_its_path(500),
    "503": denial_with_its_path(503),
    "no file": wrong_type(),
    "reset": reset(),
    "artifactory": artifactory_404(),
    "elsewhere": status(302, {"Location": f"http://10.1.2.3/{SECRET}/x?token={OTHER}"}),
}


def paths() -> list[str]:
    files = [f"{prefix}/files/demo/{name}" for prefix in ("", "/default") for name in (WHEEL, f"{WHEEL}.metadata", SDIST)]
    looks = [f"/explain/demo/{WHEEL}", "/explain/demo/none.whl", "/files/", "/files/demo/"]
    operators = ["/", "/?project=demo", "/?project=other", "/status.json", "/healthz", "/readyz", "/metrics"]
    return ["/simple/demo/", "/simple/other/", "/simple/", *files, *looks, *operators]


@pytest.mark.parametrize("mode", ["proxy", "redirect"])
async def test_a_secret_in_the_mirrors_path_is_told_by_no_answer_and_no_line_of_the_log(tmp_path: Path, mode: str) -> None:
    async with SecretMirror() as mirror:
        options = ("--log-level", "debug")
        chosen = {"MIRRORMEND_LINKS_MODE": mode, "MIRRORMEND_UPSTREAM_FRESH": "0", "MIRRORMEND_UPSTREAM_RETRIES": "0"}
        async with ProxyProcess(mirror.url, tmp_path, *options, environment=chosen) as proxy, aiohttp.ClientSession() as session:
            mirror.add(WHEEL, url=f"../../packages/packages/{WHEEL}?token={OTHER}", path=WHEEL)
            mirror.add(SDIST)
            statuses = set()
            for name, fault in FAULTS.items():
                mirror.heal()
                if fault is not None:
                    mirror.fault(lambda _: True, fault)
                for path in paths():
                    async with session.get(f"{proxy.url}{path}", allow_redirects=False) as response:
                        told, headers = (await response.read()).decode(errors="replace"), dict(response.headers)
                    statuses.add(response.status)
                    if response.status == 307:
                        # A client that is sent to the mirror has to be told where it is.
                        headers.pop("Location")
                    if path.startswith("/files/") and path.endswith("/") and mode == "redirect":
                        continue
                    for secret in (SECRET, OTHER):
                        assert secret not in told + json.dumps(headers), (name, path)
            assert {200, 401, 502, 503} <= statuses
        log = json.dumps(proxy.log)
        assert f"{mirror.origin}/…/" in json.dumps(proxy.log, ensure_ascii=False)
        for secret in (SECRET, OTHER):
            assert secret not in log, [line for line in proxy.log if secret in json.dumps(line)]


async def test_the_mirrors_address_is_told_to_who_knows_it_or_signed_in(tmp_path: Path) -> None:
    token = "a-token-of-this-proxy"
    async with SecretMirror() as mirror:
        mirror.add(WHEEL)
        async with ProxyProcess(mirror.url, tmp_path) as proxy:
            door = Door("", proxy.simple)
            assert await mirror_behind(door, (mirror.url.rstrip("/"),), by_environment=False) == mirror.url
            with pytest.raises(LockFailed, match="name the mirror as an index of the project"):
                await mirror_behind(door, (mirror.url.replace("geheim", "guessed"), "no address"), by_environment=False)
        async with ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_ACCESS_TOKENS": token}) as proxy:
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession() as session, session.get(f"{proxy.url}/files/", headers=headers) as response:
                assert (await response.json())["upstream"] == mirror.url
