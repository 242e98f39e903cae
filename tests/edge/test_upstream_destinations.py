"""Closed doors: where a mirror's links may lead, whatever they spell."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.addresses import dialled, is_loopback, origin_of, origin_of_dialled, redirected, shown, without_credentials
from proxy.upstream.destinations import Destinations, Reach, literal_address, reach_of

PUBLIC, PRIVATE, LOOPBACK, NEVER = Reach


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", PUBLIC),
        ("2600::1", PUBLIC),
        ("10.1.2.3", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("172.32.0.1", PUBLIC),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("100.128.0.1", PUBLIC),
        ("fc00::1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("127.0.0.1", LOOPBACK),
        ("127.9.9.9", LOOPBACK),
        ("::1", LOOPBACK),
        ("169.254.169.254", NEVER),
        ("fe80::1", NEVER),
        ("fe80::1%eth0", NEVER),
        ("224.0.0.1", NEVER),
        ("ff02::1", NEVER),
        ("0.0.0.0", NEVER),
        ("0.1.2.3", NEVER),
        ("::", NEVER),
        ("240.0.0.1", NEVER),
        ("255.255.255.255", NEVER),
        ("fd00:ec2::254", NEVER),
        ("100.100.100.200", NEVER),
        ("168.63.129.16", NEVER),
        ("no address", NEVER),
        ("", NEVER),
    ],
)
def test_an_address_has_the_reach_of_its_network(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_has_its_own_reach(inner: IPv4Address) -> None:
    number = int(inner)
    mapped = IPv6Address((0xFFFF << 32) | number)
    nat64 = IPv6Address((0x64FF9B << 96) | number)
    six_to_four = IPv6Address((0x2002 << 112) | (number << 80))
    assert {reach_of(str(each)) for each in (inner, mapped, nat64, six_to_four)} == {reach_of(str(inner))}


@given(st.ip_addresses())
def test_only_globally_routed_addresses_are_public(address: IPv4Address | IPv6Address) -> None:
    if reach_of(str(address)) is PUBLIC and isinstance(address, IPv4Address):
        assert address.is_global


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "127.0.0.1.", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "017700000001"]
)
def test_odd_spellings_of_an_address_are_read_as_resolvers_read_them(spelling: str) -> None:
    assert literal_address(spelling) == "127.0.0.1"


@pytest.mark.parametrize("name", ["mirror.example.com", "1.example.com", "abc", "cafe.example", "", "1.2.3.4.5", "999999999999"])
def test_a_name_is_no_address(name: str) -> None:
    assert literal_address(name) is None


def test_an_ipv6_literal_loses_its_brackets_and_its_zone() -> None:
    assert literal_address("[fe80::1%eth0]") == "fe80::1"


class TestRule:
    """The rule for the mirror at mirror.example.com:8443."""

    RULE = Destinations("mirror.example.com", 8443, frozenset({"files.internal", "cache.internal:81", "[::1]:82", "metadata.internal"}))

    def refused(self, host: str, port: int, address: str, own: Reach = PUBLIC) -> bool:
        return bool(self.RULE.refusal(host, port, address, own))

    @pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.1.1", "8.8.8.8"])
    def test_the_mirror_itself_is_reached_wherever_it_is(self, address: str) -> None:
        assert not self.refused("mirror.example.com", 8443, address)
        assert not self.refused("Mirror.Example.COM", 8443, address)

    def test_another_port_of_its_host_is_another_place(self) -> None:
        assert self.refused("mirror.example.com", 22, "10.0.0.1")
        assert self.refused("mirror.example.com", 22, "127.0.0.1", LOOPBACK)

    def test_public_addresses_are_open(self) -> None:
        assert not self.refused("files.example.org", 443, "8.8.8.8")

    @pytest.mark.parametrize(("own", "refused"), [(PUBLIC, True), (PRIVATE, False), (LOOPBACK, False), (NEVER, True)])
    def test_private_addresses_are_open_to_a_mirror_that_is_not_public(self, own: Reach, refused: bool) -> None:
        assert self.refused("files.example.org", 443, "10.0.0.1", own) is refused

    @pytest.mark.parametrize("own", [PUBLIC, PRIVATE, LOOPBACK])
    def test_the_proxys_own_machine_is_closed(self, own: Reach) -> None:
        assert self.refused("localhost", 6379, "127.0.0.1", own)

    def test_allowed_hosts_are_open_with_their_port_where_it_is_named(self) -> None:
        assert not self.refused("Files.internal", 1234, "10.0.0.1")
        assert not self.refused("cache.internal", 81, "127.0.0.1")
        assert self.refused("cache.internal", 82, "10.0.0.1")
        assert not self.refused("::1", 82, "::1")

    @pytest.mark.parametrize("own", list(Reach))
    def test_link_local_addresses_cannot_even_be_allowed(self, own: Reach) -> None:
        assert self.refused("metadata.internal", 80, "169.254.169.254", own)
        assert "link-local" in self.RULE.refusal("metadata.internal", 80, "169.254.169.254", own)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pass@host.example/a",
        "http://host.example?@other.example/",
        "http://host.example#@other.example/",
        "http://host.example/@other.example/",
        "http://a@b@host.example:80/",
        "http://HOST.example:80/x",
        "http://[::1]:8080/x",
    ],
)
def test_one_spelling_is_one_host_for_every_reader(url: str) -> None:
    """What credentials are chosen by is what is dialled."""
    address = dialled(url)
    assert origin_of_dialled(address) == origin_of(url)
    assert "@" not in address.authority
    assert "other" not in (address.host or "")


@pytest.mark.parametrize("path", ["/a%2Bb+c%21", "/%c3%a9", "/a//b/;x=1", "/~x%7Ey", "/a%zz", "/x?y=%2F&z=a+b", "/a/../b"])
def test_path_and_query_stay_as_they_were_spelled(path: str) -> None:
    assert dialled(f"http://host.example{path}").raw_path_qs == path


def test_only_what_no_request_line_can_hold_is_escaped() -> None:
    assert dialled("http://host.example/é x\r\nHost: y%2B").raw_path_qs == "/%C3%A9%20x%0D%0AHost:%20y%2B"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host.example/",
        "file:///etc/passwd",
        "http:///x",
        "http://",
        "http://host.example:99999/",
        "x",
        "http://a\\b/",
        "http://h%61/",
    ],
)
def test_what_is_no_address_is_never_dialled(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dialled(url)


def test_what_is_shown_has_neither_credentials_nor_query() -> None:
    assert shown("https://user:secret@host.example/a?token=secret#secret") == "https://host.example/a"
    assert without_credentials("https://user:secret@host.example?x=a@b") == "https://host.example?x=a@b"


def test_a_redirect_is_joined_and_keeps_its_escapes() -> None:
    assert redirected("http://h.example/a/b", "../c%2Bd#x") == "http://h.example/c%2Bd"
    assert redirected("http://h.example/a/b", "//other.example/") == "http://other.example/"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::1%lo", True),
        ("mirror.example.com", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_this_machine_is_told_by_a_name_or_an_address_of_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here
