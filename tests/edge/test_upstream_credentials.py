"""Who asks the mirror, and that nobody but the mirror is told."""

import base64
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from proxy.config import UpstreamSection
from proxy.core.flows.exchange import Ask, Method
from proxy.core.identity import SHARED, Identity
from proxy.upstream.credentials import configured_authorization
from tests.edge.dialling import answer, file_of, headers_of, mirror_at, page, path_of, saying
from tests.edge.scripted import Server, Wire, always, serving

CLIENT = Identity("digest", "Bearer of-the-client")


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def credentials_at(server: Server) -> dict[str, str | None]:
    """Gives the Authorization that each path was asked with."""
    return {path_of(head): headers_of(head).get("authorization") for head in server.requests}


def chosen(environ: dict[str, str] | None = None, **settings: str) -> str | None:
    section = UpstreamSection.model_validate({"url": "https://mirror.example.com/simple"} | settings)
    return configured_authorization(section, environ or {})


class TestChoice:
    def test_a_token_is_a_bearer_token(self) -> None:
        assert chosen(token="abc", url="https://u:p@mirror.example.com/simple") == "Bearer abc"

    def test_user_and_password_come_before_those_of_the_url(self) -> None:
        assert chosen(username="a", password="b", url="https://u:p@mirror.example.com/simple") == basic("a:b")

    def test_those_of_the_url_are_percent_decoded(self) -> None:
        assert chosen(url="https://me%40corp:p%2Fw%3A@mirror.example.com/simple") == basic("me@corp:p/w:")

    def test_netrc_comes_last(self, tmp_path: Path) -> None:
        netrc = tmp_path / "my-netrc"
        netrc.write_text("machine mirror.example.com login nettie password rc\nmachine other.example.com login x password y\n")
        assert chosen({"NETRC": str(netrc)}) == basic("nettie:rc")
        assert chosen({"NETRC": str(netrc)}, url="https://u:p@mirror.example.com/simple") == basic("u:p")
        assert chosen({"NETRC": str(netrc)}, url="https://third.example.com/simple") is None

    @pytest.mark.parametrize("name", [".netrc", "_netrc"])
    def test_netrc_is_looked_for_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / name).write_text("machine mirror.example.com login nettie password rc\n")
        assert chosen() == basic("nettie:rc")

    def test_without_any_nobody_asks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert chosen() is None

    def test_a_broken_netrc_is_told_without_its_words(self, tmp_path: Path) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine mirror.example.com login me\nhunter2 hunter3\n")
        structlog.reset_defaults()
        with capture_logs() as logs:
            assert chosen({"NETRC": str(netrc)}) is None
        assert [each["event"] for each in logs] == ["netrc-unreadable"]
        assert "hunter" not in str(logs)

    def test_a_netrc_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        structlog.reset_defaults()
        with capture_logs() as logs:
            assert chosen({"NETRC": str(tmp_path)}) is None
            assert chosen({"NETRC": str(tmp_path / "missing")}) is None
        assert [each["event"] for each in logs] == ["netrc-unreadable"]

    def test_a_user_without_a_home_has_no_netrc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", home)
        assert chosen() is None


async def test_the_mirror_gets_the_configured_credentials_for_pages_files_ranges_and_heads_alike() -> None:
    def say(path: str, _: object) -> bytes:
        return page() if path.endswith("/") else answer(200, b"" if path.endswith("head") else b"x")

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/"), username="u", password="p") as mirror:
        await mirror.fetch_page("demo", SHARED)
        await file_of(mirror, server.url("/file"), Range="bytes=0-0")
        await mirror.ask(Ask(Method.HEAD, server.url("/head")), SHARED)
        async with mirror.fetch_project_list(SHARED, "text/html"):
            pass
        assert credentials_at(server) == dict.fromkeys(["/simple/demo/", "/file", "/head", "/simple/"], basic("u:p"))


async def test_a_clients_own_credentials_take_the_place_of_the_configured_ones() -> None:
    async with serving(always(page())) as server, mirror_at(server.url("/simple/"), token="configured") as mirror:
        await mirror.fetch_page("demo", CLIENT)
        assert credentials_at(server) == {"/simple/demo/": "Bearer of-the-client"}


async def test_credentials_of_the_url_are_sent_as_a_header_and_stand_nowhere_else() -> None:
    async with serving(always(page())) as server:
        url = server.url("/simple/").replace("://", "://user:secret@")
        async with mirror_at(url) as mirror:
            fetched = await mirror.fetch_page("demo", SHARED)
            assert "secret" not in fetched.url + mirror.url  # type: ignore[union-attr]  # a fetched page has a url
        assert credentials_at(server) == {"/simple/demo/": basic("user:secret")}
        assert b"secret" not in server.requests[0]


@pytest.mark.parametrize("who", [SHARED, CLIENT])
async def test_another_origin_gets_no_credentials_not_even_another_port(who: Identity) -> None:
    async with serving(always(answer(200, b"x"))) as elsewhere, serving(always(answer(302, location=elsewhere.url("/moved")))) as server:
        allowed = (f"127.0.0.1:{elsewhere.port}",)
        async with mirror_at(server.url("/simple/"), token="configured", allow_hosts=allowed) as mirror:
            await file_of(mirror, elsewhere.url("/linked"), who)
            await file_of(mirror, server.url("/file"), who)
            await mirror.fetch_page("demo", who)
            await mirror.ask(Ask(Method.HEAD, server.url("/head")), who)
        assert None not in credentials_at(server).values()
        assert credentials_at(elsewhere) == {"/linked": None, "/moved": None}


async def test_a_redirect_within_the_mirror_keeps_the_credentials() -> None:
    def say(path: str, _: object) -> bytes:
        return answer(200, b"x") if path == "/there" else answer(307, location="/there")

    async with serving(saying(say)) as server, mirror_at(server.url("/simple/"), token="configured") as mirror:
        assert await file_of(mirror, server.url("/here")) == (200, b"x")
        assert credentials_at(server) == {"/here": "Bearer configured", "/there": "Bearer configured"}


async def test_another_host_cannot_send_the_proxy_back_with_credentials() -> None:
    """Otherwise it would choose what is read at the mirror in the client's name."""
    home: list[Server] = []
    async with serving(saying(lambda _, __: answer(302, location=home[0].url("/private")))) as elsewhere:
        there = elsewhere.url("/there")
        async with serving(saying(lambda path, _: answer(200) if path == "/private" else answer(302, location=there))) as server:
            home.append(server)
            allowed = (f"127.0.0.1:{elsewhere.port}",)
            async with mirror_at(server.url("/simple/"), token="configured", allow_hosts=allowed) as mirror:
                await file_of(mirror, server.url("/file"))
            assert credentials_at(server) == {"/file": "Bearer configured", "/private": None}


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async with serving(always(page(set_cookie="session=1; Path=/"))) as server:
        # Cookie jars keep nothing of hosts without a name anyway.
        async with mirror_at(f"http://localhost:{server.port}/simple/") as mirror:
            await mirror.fetch_page("demo", SHARED)
            await mirror.fetch_page("demo", SHARED)
        assert [headers_of(head).get("cookie") for head in server.requests] == [None, None]


async def test_the_credentials_that_stand_in_a_link_go_to_its_host_and_not_along_with_a_redirect() -> None:
    async def script(wire: Wire) -> None:
        head = await wire.request()
        seen.append(b"Authorization: Basic bWU6c2VjcmV0" in head)
        await wire.say(answer(302, b"", Location="/elsewhere") if b"/file" in head else answer(200, b"x"))

    seen: list[bool] = []
    async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
        link = server.url("/file").replace("http://", "http://me:secret@")
        async with mirror.download("GET", link, SHARED) as download:
            assert download.status == 200
    assert seen == [True, False]
