"""TLS towards the mirror: verified always, by the authorities that the settings and the environment name."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from proxy.config import UpstreamSection
from proxy.core.errors import UpstreamUnreachable
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage
from proxy.upstream.tls import tls_context
from tests.edge.dialling import answer, mirror_at, page
from tests.edge.scripted import Server, Wire, always, serving

Secure = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def secure(authority: trustme.CA) -> Secure:
    """Serves pages over TLS; `client` is the authority whose certificates clients have to show."""

    @asynccontextmanager
    async def make(*, name: str = "127.0.0.1", client: trustme.CA | None = None) -> AsyncIterator[Server]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        if client is not None:
            client.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        async with serving(always(page()), tls=context) as server:
            yield server

    return make


def simple(server: Server) -> str:
    return server.url("/simple/", "https")


async def test_an_authority_nobody_named_is_not_trusted(secure: Secure) -> None:
    async with secure() as server, mirror_at(simple(server)) as mirror:
        with pytest.raises(UpstreamUnreachable, match="ca_bundle or SSL_CERT_FILE"):
            await mirror.fetch_page("demo", SHARED)
        reply = await mirror.ask(Ask(Method.HEAD, server.url("/a", "https")), SHARED)
        assert isinstance(reply, NoAnswer)
        assert reply.trouble is Trouble.TLS


async def test_the_authorities_of_the_settings_are_trusted_in_both_lanes(secure: Secure, bundle: Path) -> None:
    async with secure() as server, mirror_at(simple(server), ca_bundle=bundle) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert (await mirror.converse(probe(server.url("/a.whl", "https")), SHARED)).status == 200


async def test_those_of_ssl_cert_file_are_trusted(secure: Secure, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with secure() as server, mirror_at(simple(server)) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)


async def test_those_of_the_settings_are_trusted_beside_those_of_ssl_cert_file(
    secure: Secure, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with secure() as server, mirror_at(simple(server), ca_bundle=other) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)


async def test_a_certificate_for_another_name_is_refused(secure: Secure, bundle: Path) -> None:
    async with secure(name="other.example") as server, mirror_at(simple(server), ca_bundle=bundle) as mirror:
        with pytest.raises(UpstreamUnreachable, match="TLS"):
            await mirror.fetch_page("demo", SHARED)


@pytest.mark.parametrize("apart", [True, False])
async def test_a_client_certificate_is_shown(secure: Secure, authority: trustme.CA, bundle: Path, tmp_path: Path, apart: bool) -> None:
    mine = trustme.CA()
    issued = mine.issue_cert("proxy@example.com")
    files = {"client_cert": tmp_path / "cert.pem", "client_key": tmp_path / "key.pem"}
    if apart:
        issued.cert_chain_pems[0].write_to_path(files["client_cert"])
        issued.private_key_pem.write_to_path(files["client_key"])
    else:
        del files["client_key"]
        issued.private_key_and_cert_chain_pem.write_to_path(files["client_cert"])
    async with secure(client=mine) as server, mirror_at(simple(server), ca_bundle=bundle, **files) as mirror:
        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert isinstance(await mirror.ask(Ask(Method.GET, server.url("/a", "https"), 0, 0, 1), SHARED), Answer)


async def test_a_mirror_that_wants_a_client_certificate_and_gets_none_is_a_matter_of_tls(secure: Secure, bundle: Path) -> None:
    async with secure(client=trustme.CA()) as server, mirror_at(simple(server), ca_bundle=bundle) as mirror:
        reply = await mirror.ask(Ask(Method.HEAD, server.url("/a", "https")), SHARED)
        assert isinstance(reply, NoAnswer)
        assert reply.trouble in {Trouble.TLS, Trouble.RESET}


async def test_plain_http_at_a_tls_port_is_no_answer() -> None:
    async def script(wire: Wire) -> None:
        await wire.say(answer(400))

    async with serving(script) as server, mirror_at(simple(server)) as mirror:
        with pytest.raises(UpstreamUnreachable, match="TLS"):
            await mirror.fetch_page("demo", SHARED)


class TestFiles:
    """A file that cannot be used is named, with its setting."""

    @staticmethod
    def context(**files: Path) -> ssl.SSLContext:
        return tls_context(UpstreamSection.model_validate({"url": "https://mirror.example.com/simple", **files}))

    def test_certificates_are_verified_by_name(self) -> None:
        context = self.context()
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    def test_a_bundle_that_cannot_be_read(self, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(OSError, match=r"ca_bundle: .*ca\.pem"):
            self.context(ca_bundle=path)

    def test_a_certificate_without_its_key(self, tmp_path: Path) -> None:
        path = tmp_path / "cert.pem"
        trustme.CA().issue_cert("a.example").cert_chain_pems[0].write_to_path(path)
        with pytest.raises(OSError, match=r"client_cert: .*cert\.pem"):
            self.context(client_cert=path)

    def test_an_encrypted_key_is_refused_and_not_asked_for_at_the_terminal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme brings it

        issued = trustme.CA().issue_cert("a.example")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        (tmp_path / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
            )
        )
        with pytest.raises(OSError, match="encrypted keys are not read"):
            self.context(client_cert=tmp_path / "cert.pem", client_key=tmp_path / "key.pem")
