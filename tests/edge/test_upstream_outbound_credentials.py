"""Credentials of an outbound proxy: sent to it with each request, never to the mirror, and missed in words that name the proxy."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trustme

from proxy.core.errors import OutboundProxyRefused, UpstreamError, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from proxy.core.flows.exchange import Trouble
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.core.verdict.judge import Cause, cause_of
from proxy.upstream import FetchedPage, Mirror
from tests.edge.dialling import answer, file_of, headers_of, mirror_at, page, path_of, saying
from tests.edge.outbound import Outbound, basic, outbound
from tests.edge.scripted import Server, always, serving

WANTED = basic("me@corp:p/w")
GIVEN = "me%40corp:p%2Fw"
FILE = answer(206, b"PK", content_range="bytes 0-1/2")


def stocked(path: str, _: object) -> bytes:
    return page() if path.startswith("/simple/") else FILE


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """The context of a server at 127.0.0.1, whose authority is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def authorizations(way: Outbound) -> set[str | None]:
    return {headers_of(head).get("proxy-authorization") for head in way.heads}


def told_to_mirror(server: Server) -> set[str]:
    return {name for head in server.requests for name in headers_of(head) if name.startswith("proxy-")}


async def everything(mirror: Mirror, server: Server, scheme: str = "http") -> None:
    """Ask for a page, by a probe, and for a file."""
    assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
    assert (await mirror.converse(probe(server.url("/a.whl", scheme), head=False), SHARED)).status == 206
    assert await file_of(mirror, server.url("/a.whl", scheme)) == (206, b"PK")


class TestSent:
    @pytest.mark.parametrize("by", ["environment", "settings"])
    async def test_they_go_with_each_plain_request_and_stay_at_the_proxy(self, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
        async with outbound(WANTED) as way, serving(saying(stocked)) as server:
            if by == "environment":
                monkeypatch.setenv("HTTP_PROXY", way.url_with(GIVEN))
            settings = {"proxy": way.url_with(GIVEN)} if by == "settings" else {}
            async with mirror_at(server.url("/simple/"), token="secret", **settings) as mirror:
                await everything(mirror, server)
            assert len(way.heads) == len(server.requests) == 3
            assert authorizations(way) == {WANTED}
            assert told_to_mirror(server) == set()
            assert {headers_of(head)["authorization"] for head in server.requests} == {"Bearer secret"}

    async def test_they_go_with_connect_alone_where_there_is_a_tunnel(
        self, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, tmp_path: Path
    ) -> None:
        async with outbound(WANTED) as way, serving(saying(stocked), tls=tls) as server:
            monkeypatch.setenv("HTTPS_PROXY", way.url_with(GIVEN))
            async with mirror_at(server.url("/simple/", "https"), ca_bundle=tmp_path / "ca.pem") as mirror:
                await everything(mirror, server, "https")
            assert set(way.lines) == {f"CONNECT 127.0.0.1:{server.port}"}
            assert authorizations(way) == {WANTED}
            assert told_to_mirror(server) == set()

    async def test_a_redirect_that_goes_directly_takes_none_along(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with outbound(WANTED) as way, serving(always(FILE)) as exempt:
            async with serving(always(answer(302, location=exempt.url("/a.whl")))) as server:
                monkeypatch.setenv("http_proxy", way.url_with(GIVEN))
                monkeypatch.setenv("no_proxy", f"127.0.0.1:{exempt.port}")
                async with mirror_at(server.url("/simple/"), allow_hosts=[f"127.0.0.1:{exempt.port}"]) as mirror:
                    assert (await file_of(mirror, server.url("/a.whl")))[0] == 206
            assert way.lines == [f"GET {server.url('/a.whl')}"]
            assert len(exempt.requests) == 1
            assert told_to_mirror(exempt) == set()

    async def test_a_redirect_that_leaves_a_direct_mirror_takes_them_to_the_proxy_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with outbound(WANTED) as way, serving(always(FILE)) as behind:
            async with serving(always(answer(302, location=behind.url("/a.whl")))) as server:
                monkeypatch.setenv("http_proxy", way.url_with(GIVEN))
                monkeypatch.setenv("no_proxy", f"127.0.0.1:{server.port}")
                async with mirror_at(server.url("/simple/"), token="secret", allow_hosts=[f"127.0.0.1:{behind.port}"]) as mirror:
                    assert (await file_of(mirror, server.url("/a.whl")))[0] == 206
            assert authorizations(way) == {WANTED}
            assert not any(b"secret" in head for head in way.heads)
            assert told_to_mirror(server) == told_to_mirror(behind) == set()


@asynccontextmanager
async def refused(
    monkeypatch: pytest.MonkeyPatch, credentials: str, scheme: str = "http", wants: str | None = WANTED, refuses: int | None = None
) -> AsyncIterator[tuple[Mirror, Outbound]]:
    """A mirror that nobody has seen, behind a proxy that lets nothing through."""
    async with outbound(wants, refuses) as way:
        monkeypatch.setenv(f"{scheme}_proxy", way.url_with(credentials) if credentials else way.url)
        async with mirror_at(f"{scheme}://mirror.invalid/simple/", retries=2) as mirror:
            yield mirror, way


@pytest.mark.parametrize("scheme", ["http", "https"])
class TestRefused:
    @pytest.mark.parametrize(
        ("credentials", "says"),
        [
            ("", r"wants credentials \(407\): write its user and password into {}"),
            ("me:geheim", r"does not accept its credentials .* in {}"),
        ],
    )
    async def test_a_407_names_the_proxy_and_the_variable_and_no_password(
        self, monkeypatch: pytest.MonkeyPatch, scheme: str, credentials: str, says: str
    ) -> None:
        async with refused(monkeypatch, credentials, scheme) as (mirror, way):
            for asked in (mirror.fetch_page("demo", SHARED), file_of(mirror, f"{scheme}://mirror.invalid/a.whl")):
                with pytest.raises(OutboundProxyRefused, match=says.format(f"{scheme}_proxy")) as caught:
                    await asked
                assert f"the outbound proxy refuses: {way.url} " in str(caught.value)
                assert "geheim" not in str(caught.value)
            # Asking again would only be the next wrong password.
            assert len(way.heads) == 2

    async def test_a_407_to_a_probe_is_evidence_of_nothing(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        async with refused(monkeypatch, "", scheme) as (mirror, _):
            for head in (True, False):
                evidence = await mirror.converse(probe(f"{scheme}://mirror.invalid/a.whl", head=head), SHARED)
                assert (evidence.status, evidence.trouble) == (None, Trouble.OUTBOUND_PROXY.value)
                assert cause_of(evidence, 1) is Cause.NO_ANSWER

    async def test_the_mirror_is_not_taken_to_be_down(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        async with refused(monkeypatch, "", scheme) as (mirror, way):
            with structlog.testing.capture_logs() as logs:
                for _ in range(12):
                    with pytest.raises(OutboundProxyRefused):
                        await mirror.fetch_page("demo", SHARED)
            assert logs == []
            assert mirror.health.state == "fails"
            assert way.url in mirror.health.last_failure


class TestOtherFailures:
    async def test_a_refusal_of_connect_is_the_proxys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with refused(monkeypatch, "", "https", refuses=403) as (mirror, way):
            with pytest.raises(OutboundProxyRefused, match=f"{way.url} answered CONNECT by 403 So it is: have it let that host through"):
                await mirror.fetch_page("demo", SHARED)

    @pytest.mark.parametrize("status", [502, 503, 504])
    async def test_a_gateways_error_to_connect_names_the_proxy_and_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        async with refused(monkeypatch, "", "https", refuses=status) as (mirror, way):
            with pytest.raises(UpstreamUnreachable, match=rf"the outbound proxy {way.url} cannot connect to it \({status}") as caught:
                await mirror.fetch_page("demo", SHARED)
            assert not isinstance(caught.value, OutboundProxyRefused)
            assert len(way.heads) == 3

    @pytest.mark.parametrize("status", [403, 502, 503, 504])
    async def test_without_a_tunnel_it_may_be_the_proxys_or_the_mirrors(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        async with refused(monkeypatch, "", refuses=status) as (mirror, way):
            with pytest.raises(
                UpstreamStatus, match=f"answered {status}: by way of the outbound proxy {way.url}, which may be what failed"
            ):
                await mirror.fetch_page("demo", SHARED)

    async def test_a_404_is_the_mirrors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with refused(monkeypatch, "", refuses=404) as (mirror, _):
            with pytest.raises(UpstreamStatus, match=r"answered 404$"):
                await mirror.fetch_page("demo", SHARED)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_proxy_whose_name_does_not_resolve_is_named(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        monkeypatch.setenv(f"{scheme}_proxy", "http://me:geheim@proxy.invalid:3128")
        async with mirror_at(f"{scheme}://mirror.invalid/simple/") as mirror:
            with pytest.raises(UpstreamError, match=r"the name of the outbound proxy http://proxy\.invalid:3128 does not resolve"):
                await mirror.fetch_page("demo", SHARED)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_proxy_that_is_gone_is_what_the_breaker_names(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        async with outbound() as way:
            pass
        monkeypatch.setenv(f"{scheme}_proxy", way.url)
        async with mirror_at(f"{scheme}://mirror.invalid/simple/") as mirror:
            with structlog.testing.capture_logs() as logs:
                for _ in range(9):
                    with pytest.raises(UpstreamError) as caught:
                        await mirror.fetch_page("demo", SHARED)
            assert f"nothing was answered by way of the outbound proxy {way.url} lately" in str(caught.value)
            assert [(each["event"], way.url in each["why"]) for each in logs] == [("breaker-open", True)]

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_silent_proxy_is_not_waited_for_without_end(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        async with outbound(silent=True) as way:
            monkeypatch.setenv(f"{scheme}_proxy", way.url)
            times = {"connect_timeout": 1.0, "read_timeout": 1.0}
            async with mirror_at(f"{scheme}://mirror.invalid/simple/", **times) as mirror:
                with pytest.raises(UpstreamTimeout, match=f"by way of the outbound proxy {way.url}"):
                    await file_of(mirror, f"{scheme}://mirror.invalid/a.whl")

    async def test_a_407_of_the_mirror_in_its_tunnel_is_the_mirrors_own(
        self, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, tmp_path: Path
    ) -> None:
        async with outbound() as way, serving(always(answer(407)), tls=tls) as server:
            monkeypatch.setenv("HTTPS_PROXY", way.url)
            async with mirror_at(server.url("/simple/", "https"), ca_bundle=tmp_path / "ca.pem") as mirror:
                with pytest.raises(UpstreamStatus, match="answered 407"):
                    await mirror.fetch_page("demo", SHARED)
            assert path_of(server.requests[0]) == "/simple/demo/"
