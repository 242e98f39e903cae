"""Where the proxy may connect to: the mirror itself, public addresses, and what the configuration allows.

Rules for this file: pure; `resolver` and `client` ask it at connect time, after names are resolved, so that a name which changes
its address in between leads nowhere else.
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import inet_aton

_CARRIER_GRADE_NAT = IPv4Network("100.64.0.0/10")  # RFC 6598; ipaddress calls it neither private nor global
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # RFC 1122, 3.2.1.3: a source, never a destination; Linux takes 0.0.0.0 for itself
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address stands in the last 32 bits

_HANDS_OUT_SECRETS = frozenset(
    ip_address(each)
    for each in (
        "fd00:ec2::254",  # AWS, by IPv6
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "168.63.129.16",  # Azure
    )
)
"""Metadata services of clouds that are not link-local, as most are."""


class Reach(IntEnum):
    """How far an address is from being public."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    NEVER = 3
    """Link-local (where cloud machines find their secrets), multicast, unspecified, reserved."""


def reach_of(address: str) -> Reach:
    """Gives the reach of an IP address; what is no address is never reached."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return Reach.NEVER
    if isinstance(parsed, IPv6Address):
        parsed = _inside(parsed)
    if parsed in _HANDS_OUT_SECRETS or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return Reach.NEVER
    if parsed.is_loopback:
        return Reach.LOOPBACK
    if parsed.is_reserved or (isinstance(parsed, IPv4Address) and parsed in _THIS_NETWORK):
        return Reach.NEVER
    site_local = isinstance(parsed, IPv6Address) and parsed.is_site_local
    shared = isinstance(parsed, IPv4Address) and parsed in _CARRIER_GRADE_NAT
    return Reach.PRIVATE if parsed.is_private or site_local or shared else Reach.PUBLIC


def _inside(address: IPv6Address) -> IPv4Address | IPv6Address:
    """Gives the IPv4 address that packets to `address` end at, if there is one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def literal_address(host: str) -> str | None:
    """Gives the address that `host` spells, in whatever odd way resolvers accept (0x7f.1, 2130706433); None where it is a name."""
    host = host.strip("[]").partition("%")[0].removesuffix(".")
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    if not host[:1].isdecimal() or not all(letter in "0123456789abcdefxABCDEFX." for letter in host):
        return None
    try:
        return str(IPv4Address(inet_aton(host)))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Destinations:
    """The rule for one mirror: its own `host` and `port`, and the hosts (or host:port) that the configuration allows, in lower case."""

    host: str
    port: int
    allowed: frozenset[str] = frozenset()

    def own(self, host: str, port: int) -> bool:
        """Whether the host is the mirror's own, so that its address does not matter."""
        return (host.lower(), port) == (self.host, self.port)

    def refusal(self, host: str, port: int, address: str, own_reach: Reach) -> str:
        """Says why a connection to `address`, which `host` resolves to, is refused; empty where it is not.

        `own_reach` is that of the mirror's own address: a mirror that is not public may lead to private hosts, but other ports
        of the proxy's own machine have to be allowed by name, and link-local addresses cannot be allowed at all.
        """
        if self.own(host, port):
            return ""
        reach = reach_of(address)
        if reach is Reach.PUBLIC or (reach is Reach.PRIVATE and own_reach in {Reach.PRIVATE, Reach.LOOPBACK}):
            return ""
        if reach is not Reach.NEVER and self._named(host, port):
            return ""
        what = {Reach.PRIVATE: "private", Reach.LOOPBACK: "the proxy's own machine", Reach.NEVER: "link-local or reserved"}[reach]
        return f"{host} is at {address}, which is {what}"

    def _named(self, host: str, port: int) -> bool:
        lowered = host.lower()
        bracketed = f"[{lowered}]" if ":" in lowered else lowered
        return not self.allowed.isdisjoint({lowered, bracketed, f"{bracketed}:{port}"})
