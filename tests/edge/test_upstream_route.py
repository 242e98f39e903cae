"""Outbound proxies: chosen as curl and uv choose them, and told nothing that is the mirror's."""

import ssl
from pathlib import Path

import pytest
import trustme

from proxy.config import UpstreamSection
from proxy.core.errors import DestinationRefused, UpstreamUnreachable
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage
from proxy.upstream.route import Route
from tests.edge.dialling import answer, file_of, headers_of, mirror_at, page
from tests.edge.outbound import basic, outbound
from tests.edge.scripted import always, serving


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_plain_http_goes_in_absolute_form_even_to_loopback(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    async with outbound() as way, serving(always(page())) as server:
        monkeypatch.setenv(variable, way.url)
        async with mirror_at(server.url("/simple/")) as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert way.lines == [f"GET {server.url('/simple/demo/')}"]


async def test_probes_take_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound() as way, serving(always(answer(206, b"x", content_range="bytes 0-0/1"))) as server:
        monkeypatch.setenv("http_proxy", way.url)
        async with mirror_at(server.url("/simple/")) as mirror:
            assert (await mirror.converse(probe(server.url("/a%2Bb.whl"), head=False), SHARED)).status == 206
        assert way.lines == [f"GET {server.url('/a%2Bb.whl')}"]


async def test_https_goes_through_a_tunnel_which_sees_no_credentials_of_the_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with outbound(basic("me@corp:p/w")) as way, serving(always(page()), tls=context) as server:
        monkeypatch.setenv("HTTPS_PROXY", way.url_with("me%40corp:p%2Fw"))
        async with mirror_at(server.url("/simple/", "https"), ca_bundle=tmp_path / "ca.pem", token="secret") as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert way.lines == [f"CONNECT 127.0.0.1:{server.port}"]
        assert b"secret" not in way.heads[0]
        assert headers_of(server.requests[0])["authorization"] == "Bearer secret"
        assert "proxy-authorization" not in headers_of(server.requests[0])


async def test_a_proxy_that_refuses_is_told_apart_from_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound("Basic right") as way:
        monkeypatch.setenv("https_proxy", way.url_with("user:wrong"))
        async with mirror_at("https://mirror.invalid/simple/") as mirror:
            with pytest.raises(UpstreamUnreachable, match="the outbound proxy refuses") as caught:
                await mirror.fetch_page("demo", SHARED)
            assert "wrong" not in str(caught.value)


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound() as way:
        address = way.url
    monkeypatch.setenv("http_proxy", address)
    async with mirror_at("http://mirror.invalid/simple/") as mirror:
        with pytest.raises(UpstreamUnreachable, match="outbound proxy"):
            await mirror.fetch_page("demo", SHARED)


async def test_a_socks_proxy_is_refused_with_a_word_about_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    async with mirror_at("http://mirror.invalid/simple/") as mirror:
        with pytest.raises(UpstreamUnreachable, match="speaks no HTTP; name an http:// one") as caught:
            await mirror.fetch_page("demo", SHARED)
        assert "secret" not in str(caught.value)


async def test_hosts_of_no_proxy_are_dialled_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound() as way, serving(always(page())) as server:
        monkeypatch.setenv("http_proxy", way.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with mirror_at(server.url("/simple/")) as mirror:
            await mirror.fetch_page("demo", SHARED)
        assert way.lines == []


async def test_doors_are_closed_by_this_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outbound() as way, serving(always(page())) as server:
        monkeypatch.setenv("http_proxy", way.url)
        async with mirror_at(server.url("/simple/")) as mirror:
            for closed in ("http://169.254.169.254/", f"http://localhost:{way.port}/", f"http://127.0.0.1:{way.port}/"):
                with pytest.raises(DestinationRefused):
                    await file_of(mirror, closed)
        assert way.lines == []


class TestChoice:
    @staticmethod
    def chosen(url: str, proxy: str | None = None) -> str | None:
        section = UpstreamSection.model_validate({"url": "https://mirror.example.com/simple", "proxy": proxy})
        found = Route(section.proxy).proxy_for(url)
        return None if found is None else found.address

    def test_the_proxy_of_the_settings_wins_over_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://environment.example:1")
        assert self.chosen("https://files.example/", "http://settings.example:2") == "http://settings.example:2"
        monkeypatch.setenv("no_proxy", "*")
        assert self.chosen("https://files.example/", "http://settings.example:2") == "http://settings.example:2"
        assert self.chosen("https://files.example/", "settings.example:2") == "http://settings.example:2"

    def test_the_scheme_of_the_address_chooses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://one.example:1")
        monkeypatch.setenv("all_proxy", "http://two.example:2")
        assert self.chosen("https://files.example/") == "http://one.example:1"
        assert self.chosen("http://files.example/") == "http://two.example:2"

    @pytest.mark.parametrize(
        ("exempt", "url", "direct"),
        [
            ("*", "https://files.example/", True),
            ("files.example", "https://files.example/", True),
            (".example", "https://a.files.example/", True),
            ("files.example", "https://myfiles.example/", False),
            ("files.example:8443", "https://files.example:8443/", True),
            ("files.example:8443", "https://files.example/", False),
            ("::1", "https://[::1]:8443/", True),
            ("other.example, files.example", "https://files.example/", True),
            ("", "https://files.example/", False),
        ],
    )
    def test_no_proxy_names_hosts_suffixes_and_ports(self, monkeypatch: pytest.MonkeyPatch, exempt: str, url: str, direct: bool) -> None:
        monkeypatch.setenv("https_proxy", "http://one.example:1")
        monkeypatch.setenv("no_proxy", exempt)
        assert (self.chosen(url) is None) is direct

    def test_without_any_the_way_is_direct(self) -> None:
        assert self.chosen("https://files.example/") is None
