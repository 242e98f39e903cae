"""Real uv and real pip sign in at the proxy, in each way that they know, over plain HTTP and over TLS."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme

from tests.clients import Locked, Pip, ProxyProcess, Uv, write_project
from tests.e2e.test_operations import told
from tests.mirror import BrokenMirror

TOKEN = "0123456789abcdef-token"
PASSWORD = "lovelace:of the proxy"
WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def closed(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that wants credentials of its own."""
    mirror.add(WHEEL)
    mirror.credentials = ("reader", "of-the-mirror")
    return mirror


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The settings of a proxy that lets a user and a token in, and has the credentials of the mirror."""
    (tmp_path / "users").write_text(f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()}\n", encoding="utf-8")
    return {
        "MIRRORMEND_ACCESS_HTPASSWD": str(tmp_path / "users"),
        "MIRRORMEND_ACCESS_TOKENS": f"{TOKEN}, another-token-of-length",
        "MIRRORMEND_UPSTREAM_USERNAME": "reader",
        "MIRRORMEND_UPSTREAM_PASSWORD": "of-the-mirror",
    }


@pytest.fixture
async def proxy(closed: BrokenMirror, variables: dict[str, str], tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    async with ProxyProcess(closed.url, tmp_path, environment=variables) as running:
        yield running
    secrets = (TOKEN, PASSWORD, "of-the-mirror")
    assert not [secret for secret in secrets if secret in json.dumps(running.log)]


def with_credentials(url: str, credentials: str) -> str:
    return url.replace("://", f"://{credentials}@")


async def locked_and_synced(uv: Uv, folder: Path, index: str, **environment: str) -> Locked:
    project = write_project(folder / "project", ["demo"])
    locked = await uv.lock(project, index, **environment)
    assert locked.ok, locked
    assert locked.packages == {"demo": "1.0"}
    synced = await uv.sync(project, index, "--locked", **environment)
    assert synced.ok, synced
    assert not [secret for secret in (TOKEN, "lovelace") if secret in (project / "uv.lock").read_text(encoding="utf-8")]
    return locked


@pytest.mark.parametrize("credentials", [f"{TOKEN}:", f"{TOKEN}", f"__token__:{TOKEN}", "ada:lovelace%3Aof%20the%20proxy"])
async def test_uv_signs_in_by_the_index_url(closed: BrokenMirror, proxy: ProxyProcess, uv: Uv, tmp_path: Path, credentials: str) -> None:
    await locked_and_synced(uv, tmp_path, with_credentials(proxy.simple, credentials))
    assert len({each.authorization for each in closed.asked}) == 1


async def test_uv_signs_in_by_the_variables_of_a_named_index(proxy: ProxyProcess, uv: Uv, tmp_path: Path) -> None:
    variables = {"UV_INDEX_OURS_USERNAME": "ada", "UV_INDEX_OURS_PASSWORD": PASSWORD}
    await locked_and_synced(uv, tmp_path, f"ours={proxy.simple}", **variables)


async def test_uv_signs_in_by_netrc(closed: BrokenMirror, proxy: ProxyProcess, uv: Uv, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1\nlogin __token__\npassword {TOKEN}\n", encoding="ascii")
    await locked_and_synced(uv, tmp_path, proxy.simple, NETRC=str(tmp_path / "netrc"))


async def test_uv_without_credentials_is_told_by_whom_they_are_wanted(
    closed: BrokenMirror, proxy: ProxyProcess, uv: Uv, tmp_path: Path
) -> None:
    locked = await uv.lock(write_project(tmp_path / "project", ["demo"]), proxy.simple)
    assert not locked.ok
    assert "401" in locked.stderr, locked
    wrong = await uv.lock(write_project(tmp_path / "project", ["demo"]), with_credentials(proxy.simple, "ada:wrong"))
    assert not wrong.ok
    assert closed.asked == []


async def test_pip_signs_in_by_the_index_url_and_without_credentials_it_installs_nothing(
    closed: BrokenMirror, proxy: ProxyProcess, pip: Pip
) -> None:
    refused = await pip.install(proxy.simple, "demo")
    assert not refused.ok
    assert closed.asked == []
    for credentials in (f"{TOKEN}:", f"__token__:{TOKEN}", "ada:lovelace%3Aof%20the%20proxy"):
        installed = await pip.install(with_credentials(proxy.simple, credentials), "--force-reinstall", "demo")
        assert installed.ok, installed


async def test_uv_with_all_its_requests_at_once_gets_through_limits(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    names = [f"demo{number}" for number in range(60)]
    for name in names:
        mirror.add(f"{name}-1.0-py3-none-any.whl")
    limits = {"MIRRORMEND_ACCESS_REQUESTS_AT_ONCE": "4", "MIRRORMEND_ACCESS_REQUESTS_PER_SECOND": "50"}
    async with ProxyProcess(mirror.url, tmp_path, environment=limits) as proxy:
        project = write_project(tmp_path / "project", names)
        locked = await uv.lock(project, proxy.simple)
        assert locked.ok, locked
        assert len(locked.packages) == 60
        synced = await uv.sync(project, proxy.simple, "--locked")
        assert synced.ok, synced


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Any]:
    """The settings of a certificate for the loopback address, and the file of its authority under `authority`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return {"MIRRORMEND_SERVER_TLS_CERT": str(tmp_path / "server.pem"), "authority": str(tmp_path / "authority.pem")}


async def test_uv_and_pip_sign_in_over_tls(
    closed: BrokenMirror, variables: dict[str, str], certificate: dict[str, str], uv: Uv, pip: Pip, tmp_path: Path
) -> None:
    authority = certificate.pop("authority")
    async with ProxyProcess(closed.url, tmp_path, environment=variables | certificate) as proxy:
        assert proxy.url.startswith("https://")
        index = with_credentials(proxy.simple, f"__token__:{TOKEN}")
        project = write_project(tmp_path / "distrustful", ["demo"])
        distrustful = await uv.lock(project, index)
        assert not distrustful.ok
        locked = await locked_and_synced(uv, tmp_path, index, SSL_CERT_FILE=authority)
        assert locked.files[WHEEL].startswith(proxy.url)
        installed = await pip.install(index, "--cert", authority, "demo")
        assert installed.ok, installed


async def test_a_certificate_renewed_in_its_file_is_shown_after_sighup(
    closed: BrokenMirror, variables: dict[str, str], certificate: dict[str, str], uv: Uv, tmp_path: Path
) -> None:
    authority = certificate.pop("authority")
    async with ProxyProcess(closed.url, tmp_path, environment=variables | certificate) as proxy:
        renewed = trustme.CA()
        renewed.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(Path(certificate["MIRRORMEND_SERVER_TLS_CERT"]))
        renewed.cert_pem.write_to_path(authority)
        os.kill(proxy.pid, signal.SIGHUP)
        await told(proxy, "certificate-read")
        await locked_and_synced(uv, tmp_path, with_credentials(proxy.simple, f"{TOKEN}:"), SSL_CERT_FILE=authority)
