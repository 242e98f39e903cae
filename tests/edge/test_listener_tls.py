"""TLS towards clients: what the listener shows, and what is said of files that cannot be used."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from proxy.config import ServerSection, Settings
from proxy.server.app import create_app
from proxy.server.tls import listener_tls, renew
from proxy.server.warm import WarmRunner
from tests.mirror import BrokenMirror
from tests.web.test_request_id import lines, logging_to_text
from tests.web.test_warm import WHEEL, Connection, request


class Certificate:
    """A certificate for the loopback address in files, and a client that trusts its authority alone."""

    def __init__(self, folder: Path) -> None:
        self.section = ServerSection.model_validate({"tls_cert": folder / "server.pem", "tls_key": folder / "server-key.pem"})
        self.trusting = ssl.create_default_context()
        self.issue()

    def issue(self) -> None:
        """Writes a new certificate, by a new authority."""
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        assert self.section.tls_cert is not None
        assert self.section.tls_key is not None
        self.section.tls_cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.section.tls_key)
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@asynccontextmanager
async def listening(mirror: BrokenMirror, tls: ssl.SSLContext | None, **sections: Any) -> AsyncIterator[int]:
    app = create_app(Settings.model_validate({"upstream": {"url": mirror.url}, "store": {"location": "memory"}, **sections}))
    runner = WarmRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(port: int, trusting: ssl.SSLContext) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_pages_come_over_tls_also_where_they_are_at_hand(mirror: BrokenMirror, certificate: Certificate) -> None:
    mirror.add(WHEEL)
    async with listening(mirror, listener_tls(certificate.section)) as port, connected(port, certificate.trusting) as connection:
        answers = [await connection.get("Accept-Encoding: gzip") for _ in range(6)]
    assert {status for status, _, _ in answers} == {200}
    assert all(WHEEL.encode() in gzip.decompress(body) for _, _, body in answers)


async def test_plain_http_and_old_tls_get_nothing(mirror: BrokenMirror, certificate: Certificate) -> None:
    tls = listener_tls(certificate.section)
    assert tls is not None
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    async with listening(mirror, tls) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_renewed_certificate_is_shown_from_then_on(mirror: BrokenMirror, certificate: Certificate) -> None:
    log = logging_to_text("json")
    tls = listener_tls(certificate.section)
    async with listening(mirror, tls) as port, connected(port, certificate.trusting) as before:
        old = certificate.trusting
        certificate.issue()
        renew(tls, certificate.section)
        async with connected(port, certificate.trusting) as after:
            for connection in (before, after):
                await connection.send(request(path="/healthz"))
                assert (await connection.answer())[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected(port, old):
                pytest.fail("it still shows the old one")
    assert lines(log, "certificate-read")


@pytest.mark.parametrize("wrong", ["certificate", "key", "gone"])
async def test_a_renewal_that_cannot_be_used_changes_nothing(mirror: BrokenMirror, certificate: Certificate, wrong: str) -> None:
    log: StringIO = logging_to_text("json")
    tls = listener_tls(certificate.section)
    trusting = certificate.trusting
    certificate.issue()
    assert certificate.section.tls_cert is not None
    assert certificate.section.tls_key is not None
    if wrong == "certificate":
        certificate.section.tls_cert.write_text("no certificate")
    elif wrong == "key":
        trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(certificate.section.tls_key)
    else:
        certificate.section.tls_key.unlink()
    renew(tls, certificate.section)
    assert lines(log, "certificate-unchanged")
    async with listening(mirror, tls) as port, connected(port, trusting) as connection:
        await connection.send(request(path="/healthz"))
        assert (await connection.answer())[0] == 200


def test_without_a_certificate_plain_http_is_served() -> None:
    assert listener_tls(ServerSection()) is None
    renew(None, ServerSection())


def test_the_key_may_stand_in_the_file_of_the_certificate(tmp_path: Path) -> None:
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    assert listener_tls(ServerSection.model_validate({"tls_cert": tmp_path / "both.pem"})) is not None


def test_an_encrypted_key_is_refused_and_not_asked_for_at_the_terminal(certificate: Certificate) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme brings it

    assert certificate.section.tls_key is not None
    key = serialization.load_pem_private_key(certificate.section.tls_key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    certificate.section.tls_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(OSError, match=r"tls_cert: .*server\.pem and tls_key: .*encrypted keys are not read"):
        listener_tls(certificate.section)
