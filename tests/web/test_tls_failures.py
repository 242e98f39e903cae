"""A failure of TLS says which it is and what to do, wherever somebody reads of it: the client, the log, the status, `mirrormend check`."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from aiohttp.test_utils import TestClient, TestServer

from proxy.config import Settings
from proxy.core.errors import UpstreamUntrusted
from proxy.core.flows.exchange import Ask, Method, NoAnswer, Trouble
from proxy.core.identity import SHARED
from proxy.server import create_app
from tests.edge.dialling import answer, mirror_at, page
from tests.edge.scripted import Wire, always, on_both_loops, serving
from tests.edge.test_cli import process_environment
from tests.edge.tls_server import https_server

ROOT = Path(__file__).parent.parent.parent
AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
MINE = trustme.CA()
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
NO_CERTIFICATE = "400 No required SSL certificate was sent"


@dataclass(frozen=True)
class Cause:
    """A server's certificate and wishes, and parts of what is said of them; `settings` are files below a folder, or none."""

    said: tuple[str, ...]
    names: tuple[str, ...] = ("127.0.0.1",)
    certificate: dict[str, Any] = field(default_factory=dict)
    wants: trustme.CA | None = None
    version: ssl.TLSVersion | None = None
    settings: tuple[str, ...] = ("ca_bundle",)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert(*self.names, **self.certificate).configure_cert(context)
        if self.wants is not None:
            self.wants.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        if self.version is not None:
            # Today's OpenSSL speaks the versions that are out of use only if it is told that nothing has to be secure.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = self.version
        return context

    def files(self, folder: Path) -> dict[str, Path]:
        AUTHORITY.cert_pem.write_to_path(folder / "ca_bundle")
        MINE.issue_cert("proxy@example.com").private_key_and_cert_chain_pem.write_to_path(folder / "client_cert")
        return {name: folder / name for name in self.settings}


EXPIRED = (NOW - 3 * DAY).date().isoformat()
CAUSES = {
    "expired": Cause(
        (f"the certificate of 127.0.0.1 expired on {EXPIRED}", "its admin has to renew it"),
        certificate={"not_before": NOW - 9 * DAY, "not_after": NOW - 3 * DAY},
    ),
    "not yet valid": Cause(
        (f"is not valid before {(NOW + 3 * DAY).date().isoformat()}", "the clock of the proxy's machine"),
        certificate={"not_before": NOW + 3 * DAY, "not_after": NOW + 9 * DAY},
    ),
    "wrong host": Cause(("the certificate is for a.example, b.example, not for 127.0.0.1", "in the URL"), names=("a.example", "b.example")),
    "unknown authority": Cause(("an authority that is not trusted", "ca_bundle or SSL_CERT_FILE"), settings=()),
    "client certificate wanted": Cause(("wants a client certificate and none is configured", "client_cert", "client_key"), wants=MINE),
    "client certificate wanted in TLS 1.2": Cause(
        ("ended the handshake, as servers do that want a client certificate", "client_cert", "client_key"),
        wants=MINE,
        version=ssl.TLSVersion.TLSv1_2,
    ),
    "client certificate refused": Cause(
        ("refuses the client certificate of client_cert (unknown ca)", "ask its admin"),
        wants=STRANGER,
        settings=("ca_bundle", "client_cert"),
    ),
    "client certificate refused in TLS 1.2": Cause(
        ("refuses the client certificate of client_cert (unknown ca)", "ask its admin"),
        wants=STRANGER,
        version=ssl.TLSVersion.TLSv1_2,
        settings=("ca_bundle", "client_cert"),
    ),
}
every_cause = pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())


@contextmanager
def mirror_with(cause: Cause, folder: Path) -> Iterator[dict[str, Any]]:
    """Run a mirror of this kind; give the settings of an upstream for it."""
    with https_server(cause.context(), page()) as port:
        yield {"url": f"https://127.0.0.1:{port}/simple/", **cause.files(folder)}


def says(text: str, cause: Cause) -> None:
    assert "TLS failed" in text
    for part in cause.said:
        assert part in text


@every_cause
async def test_the_client_the_log_and_the_status_say_it(cause: Cause, tmp_path: Path) -> None:
    with mirror_with(cause, tmp_path) as upstream, structlog.testing.capture_logs() as logged:
        settings = Settings.model_validate({"store": {"location": "memory"}, "upstream": upstream})
        async with TestClient(TestServer(create_app(settings))) as client:
            async with client.get("/simple/demo/") as response:
                assert response.status == 503
                assert response.content_type == "application/problem+json"
                told = await response.json()
            async with client.get("/status.json") as response:
                status = await response.text()
            async with client.get("/readyz") as response:
                readiness = await response.text()
    says(told["detail"], cause)
    assert "TLS" in told["title"]
    assert "Check the network" not in told["detail"]
    says(str(logged), cause)
    says(status, cause)
    assert "no TLS connection to it can be made" in readiness


@every_cause
async def test_a_check_says_it(cause: Cause, tmp_path: Path) -> None:
    with mirror_with(cause, tmp_path) as upstream:
        options = {f"MIRRORMEND_UPSTREAM_{name.upper()}": str(value) for name, value in upstream.items()}
        checking = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "check", "demo", "--format", "json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**process_environment(), **options},
            cwd=ROOT,
        )
        out, _ = await checking.communicate()
    says(out.decode(), cause)
    assert b'"unreachable"' in out
    assert checking.returncode == 2


@every_cause
@on_both_loops
async def test_lean_connections_say_it_of_files(cause: Cause, tmp_path: Path) -> None:
    with mirror_with(cause, tmp_path) as upstream:
        async with mirror_at(**upstream) as mirror:
            assert mirror._fast is not None
            ask = Ask(Method.HEAD, upstream["url"].replace("/simple/", "/a.whl"))
            with pytest.raises(UpstreamUntrusted):
                await mirror.fetch_page("demo", SHARED)
            for _ in range(2):
                reply = await mirror._fast.ask(ask)
                assert isinstance(reply, NoAnswer)
                assert reply.trouble is Trouble.TLS
                says(reply.detail, cause)


async def test_a_reason_that_a_reset_overtakes_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither client hears the alert: they are cut off when they write, as Windows does and Linux at times."""
    with mirror_with(CAUSES["client certificate wanted"], tmp_path) as upstream:
        monkeypatch.setattr("proxy.upstream.failure.tls_error_in", lambda _: None)
        monkeypatch.setattr("proxy.upstream.tls_failure._LISTENED_FOR", 20.0)
        monkeypatch.setattr("proxy.upstream.client.tls_error_in", lambda _: None)
        monkeypatch.setattr(
            "proxy.upstream.fastlane.lane.FastLane.broke", lambda lane, connection, request, _: lane._send_again(connection, request)
        )
        async with mirror_at(**upstream) as mirror:
            with pytest.raises(UpstreamUntrusted, match="wants a client certificate and none is configured"):
                await mirror.fetch_page("demo", SHARED)


async def test_an_http_service_behind_an_https_url_is_called_one() -> None:
    async def script(wire: Wire) -> None:
        await wire.say(answer(400))

    async with serving(script) as server, mirror_at(server.url("/simple/", "https")) as mirror:
        with pytest.raises(UpstreamUntrusted, match=r"127\.0\.0\.1 speaks no TLS at this port.*write http:// in the URL"):
            await mirror.fetch_page("demo", SHARED)


async def test_a_server_that_speaks_old_versions_only_is_called_one() -> None:
    """It answers by an alert, as OpenSSL's does; that of this machine may have forgotten how to speak the old versions."""

    async def script(wire: Wire) -> None:
        # A record of TLS 1.0 with a fatal alert, protocol_version (RFC 5246, section 7.2).
        await wire.say(bytes((21, 3, 1, 0, 2, 2, 70)))

    async with serving(script) as server, mirror_at(server.url("/simple/", "https")) as mirror:
        with pytest.raises(UpstreamUntrusted, match=r"only versions of TLS older than 1\.2; its admin has to allow"):
            await mirror.fetch_page("demo", SHARED)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (NO_CERTIFICATE, "name one in client_cert, and its key in client_key"),
        ("400 The SSL certificate error", "refuses the client certificate of client_cert"),
        ("400 The plain HTTP request was sent to HTTPS port", "write https:// in the upstream URL"),
    ],
)
async def test_nginx_says_it_by_a_status(said: str, remedy: str) -> None:
    body = f"<html><head><title>{said}</title></head></html>".encode()
    async with serving(always(answer(400, body, content_type="text/html"))) as server:
        settings = Settings.model_validate({"store": {"location": "memory"}, "upstream": {"url": server.url("/simple/")}})
        async with TestClient(TestServer(create_app(settings))) as client, client.get("/simple/demo/") as response:
            assert response.status == 502
            detail = (await response.json())["detail"]
    assert said in detail
    assert remedy in detail
    assert "Ask the mirror's admin" not in detail


async def test_a_certificate_is_looked_at_once_for_many_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    look = asyncio.open_connection

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal looked
        looked += 1
        return await look(*arguments, **options)

    monkeypatch.setattr(asyncio, "open_connection", counted)
    with mirror_with(CAUSES["expired"], tmp_path) as upstream:
        async with mirror_at(**upstream) as mirror:
            ask = Ask(Method.HEAD, upstream["url"])
            replies = await asyncio.gather(*(mirror.ask(ask, SHARED) for _ in range(6)))
    assert {EXPIRED in reply.detail for reply in replies if isinstance(reply, NoAnswer)} == {True}
    assert looked == 1


class TestVariables:
    """OpenSSL ignores a variable that names nothing of use; the command goes on, as uv does, and says so."""

    @staticmethod
    async def checked(environment: dict[str, str]) -> str:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"https://127.0.0.1:{closed.getsockname()[1]}/simple/"
            checking = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "check", "demo", "--upstream", url, "--format", "json"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**process_environment(), **environment},
                cwd=ROOT,
            )
            out, err = await checking.communicate()
        assert out.startswith(b"{")
        return err.decode()

    @pytest.mark.parametrize(
        ("content", "said"),
        [(None, "which is not there"), ("", "which holds no certificates"), ("no certificate", "which holds no certificates")],
    )
    async def test_a_file_that_cannot_be_used_is_warned_of(self, content: str | None, said: str, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        warned = await self.checked({"SSL_CERT_FILE": str(path)})
        assert f"mirrormend: warning: SSL_CERT_FILE names {path}, {said}; correct or unset it\n" in warned

    async def test_so_is_a_folder_that_is_none_and_nothing_else(self, tmp_path: Path) -> None:
        warned = await self.checked({"SSL_CERT_DIR": str(tmp_path / "none")})
        assert f"mirrormend: warning: SSL_CERT_DIR names {tmp_path / 'none'}, which is no folder" in warned
        AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
        assert "SSL_CERT" not in await self.checked({"SSL_CERT_DIR": str(tmp_path), "SSL_CERT_FILE": str(tmp_path / "ca.pem")})

    async def test_an_authority_that_is_not_trusted_is_told_with_the_variable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        with mirror_with(CAUSES["unknown authority"], tmp_path) as upstream:
            async with mirror_at(**upstream) as mirror:
                with pytest.raises(UpstreamUntrusted, match=r"SSL_CERT_FILE names .*none\.pem, which is not there"):
                    await mirror.fetch_page("demo", SHARED)
