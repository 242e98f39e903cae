"""Closed doors, at connect time: no link and no redirect leads the proxy where it must not go."""

import socket

import pytest

from proxy.core.errors import DestinationRefused
from proxy.core.flows.exchange import Ask, Method, NoAnswer, Trouble
from proxy.core.identity import SHARED
from proxy.upstream.destinations import Destinations, Reach
from proxy.upstream.resolver import GuardedResolver, Refused
from tests.edge.dialling import answer, file_of, mirror_at, page
from tests.edge.scripted import always, serving

SECRETS = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://224.0.0.1/",
    "http://[fd00:ec2::254]/",
]


@pytest.mark.parametrize("address", SECRETS)
async def test_link_local_and_its_kin_are_never_asked_however_they_are_spelled(address: str) -> None:
    async with serving(always(answer(302, location=address))) as server, mirror_at(server.url("/simple/")) as mirror:
        with pytest.raises(DestinationRefused):
            await file_of(mirror, address)
        with pytest.raises(DestinationRefused):
            await file_of(mirror, server.url("/redirects"))
        with pytest.raises(DestinationRefused):
            await mirror.fetch_page("demo", SHARED)
        reply = await mirror.ask(Ask(Method.HEAD, address), SHARED)
        assert isinstance(reply, NoAnswer)
        assert reply.trouble is Trouble.FORBIDDEN_DESTINATION


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "127.9.9.9"])
async def test_another_port_of_the_proxys_own_machine_is_closed_even_to_a_mirror_on_it(host: str) -> None:
    async with serving(always(answer(200))) as secret, serving(always(page())) as server, mirror_at(server.url("/simple/")) as mirror:
        with pytest.raises(DestinationRefused, match="own machine"):
            await file_of(mirror, f"http://{host}:{secret.port}/")
        assert secret.wires == []


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}"])
async def test_it_is_open_where_the_settings_allow_it(allowed: str) -> None:
    async with (
        serving(always(answer(200, b"x"))) as files,
        serving(always(page())) as server,
        mirror_at(server.url("/simple/"), allow_hosts=(allowed.format(port=files.port),)) as mirror,
    ):
        assert await file_of(mirror, files.url()) == (200, b"x")


async def test_an_allowed_port_opens_no_other() -> None:
    async with (
        serving(always(answer(200))) as files,
        serving(always(answer(200))) as other,
        serving(always(page())) as server,
        mirror_at(server.url("/simple/"), allow_hosts=(f"localhost:{files.port}",)) as mirror,
    ):
        assert (await file_of(mirror, f"http://localhost:{files.port}/"))[0] == 200
        with pytest.raises(DestinationRefused):
            await file_of(mirror, f"http://localhost:{other.port}/")


@pytest.mark.parametrize("address", ["http://10.0.0.1/", "http://192.168.0.1/", "http://[fd00::1]/", "http://100.64.0.1/"])
async def test_a_public_mirror_leads_to_no_private_host(address: str) -> None:
    async with mirror_at("http://mirror.invalid/simple/") as mirror:
        with pytest.raises(DestinationRefused, match="private"):
            await file_of(mirror, address)


class Names(GuardedResolver):
    """A resolver with a name server of its own."""

    def __init__(self, own: str, names: dict[str, list[str]]) -> None:
        super().__init__(Destinations(own, 443), frozenset({("outbound.example", 3128)}), 1.0)
        self.names = names
        self.lookups = 0

    async def addresses(self, host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        self.lookups += 1
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in self.names[host]]


class TestNames:
    """What a name resolves to counts, at the moment when it is dialled."""

    @staticmethod
    async def dialled(resolver: GuardedResolver, host: str, port: int = 443) -> list[str]:
        return [each["host"] for each in await resolver.resolve(host, port)]

    async def test_of_several_addresses_only_the_open_ones_are_handed_out(self) -> None:
        names = Names("mirror.example", {"mirror.example": ["8.8.8.8"], "files.example": ["127.0.0.1", "8.8.4.4", "fe80::1", "10.0.0.1"]})
        assert await self.dialled(names, "files.example") == ["8.8.4.4"]

    async def test_a_name_that_changes_its_address_is_looked_at_again(self) -> None:
        names = Names("mirror.example", {"mirror.example": ["8.8.8.8"], "files.example": ["8.8.4.4"]})
        assert await self.dialled(names, "files.example") == ["8.8.4.4"]
        names.names["files.example"] = ["169.254.169.254"]
        with pytest.raises(Refused, match=r"files\.example is at 169\.254\.169\.254"):
            await names.resolve("files.example", 443)

    @pytest.mark.parametrize("own", ["10.9.9.9", "127.0.0.1"])
    async def test_a_private_mirrors_private_hosts_are_open_before_the_mirror_was_dialled_itself(self, own: str) -> None:
        """After a restart the first request may be for a file that lies elsewhere."""
        names = Names("mirror.example", {"mirror.example": [own], "files.example": ["10.0.0.1"]})
        assert await self.dialled(names, "files.example") == ["10.0.0.1"]

    async def test_a_mirror_whose_address_cannot_be_found_out_counts_as_public(self) -> None:
        names = Names("mirror.example", {"files.example": ["10.0.0.1"]})
        with pytest.raises(Refused):
            await names.resolve("files.example", 443)
        names.names["mirror.example"] = ["10.9.9.9"]
        assert await self.dialled(names, "files.example") == ["10.0.0.1"]

    async def test_the_mirror_itself_is_dialled_wherever_it_is(self) -> None:
        names = Names("mirror.example", {"mirror.example": ["127.0.0.1"]})
        assert await self.dialled(names, "mirror.example") == ["127.0.0.1"]
        assert await names.own_reach() is Reach.LOOPBACK

    async def test_an_outbound_proxy_is_dialled_at_its_port_and_no_other(self) -> None:
        names = Names("mirror.example", {"mirror.example": ["8.8.8.8"], "outbound.example": ["127.0.0.1"]})
        assert await self.dialled(names, "outbound.example", 3128) == ["127.0.0.1"]
        with pytest.raises(Refused):
            await names.resolve("outbound.example", 22)

    async def test_a_name_for_an_outbound_proxy_is_looked_at_as_far_as_it_is_known_here(self) -> None:
        names = Names("mirror.example", {"mirror.example": ["8.8.8.8"], "metadata.example": ["169.254.169.254"]})
        assert "link-local" in await names.refusal("metadata.example", 80)
        assert await names.refusal("unknown.example", 443) == ""
        assert await names.refusal("mirror.example", 443) == ""

    async def test_what_is_no_name_does_not_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def getaddrinfo(host: str, *_: object, **__: object) -> None:
            host.encode("idna")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        resolver = GuardedResolver(Destinations("mirror.example", 443), frozenset(), 1.0)
        with pytest.raises(OSError, match="no host name"):
            await resolver.addresses("a" * 64 + ".invalid", 443)
