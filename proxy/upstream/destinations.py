"""Where the proxy may connect to: the mirror itself, public addresses, and what the configuration allows.

Rules for this file: pure; `client` and the fast lane ask it at connect time, after names are resolved.
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import inet_aton

_CARRIER_GRADE_NAT = (IPv4Address("100.64.0.0"), IPv4Address("100.127.255.255"))


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
        inside = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inside is not None:
            parsed = inside
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return Reach.NEVER
    if parsed.is_loopback:
        return Reach.LOOPBACK
    if isinstance(parsed, IPv4Address) and _CARRIER_GRADE_NAT[0] <= parsed <= _CARRIER_GRADE_NAT[1]:
        return Reach.PRIVATE
    if parsed.is_private:
        return Reach.PRIVATE
    return Reach.NEVER if parsed.is_reserved else Reach.PUBLIC


def literal_address(host: str) -> str | None:
    """Gives the address that `host` spells, in whatever odd way resolvers accept (0x7f.1, 2130706433); None where it is a name."""
    try:
        return str(ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        pass
    if not host or not (host[0].isdigit()) or not all(letter in "0123456789abcdefxABCDEFX." for letter in host):
        return None
    try:
        return str(IPv4Address(inet_aton(host)))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Destinations:
    """The rule for one mirror: its own `host` and `port`, and the hosts (or host:port) that the configuration allows."""

    host: str
    port: int
    allowed: frozenset[str] = frozenset()

    def named(self, host: str, port: int) -> bool:
        """Whether the host is the mirror's own or an allowed one, so that its address does not matter."""
        lowered = host.lower()
        return (lowered, port) == (self.host, self.port) or lowered in self.allowed or f"{lowered}:{port}" in self.allowed

    def refusal(self, host: str, port: int, address: str, own_reach: Reach) -> str:
        """Says why a connection to `address`, which `host` resolves to, is refused; empty where it is not.

        `own_reach` is that of the mirror's own address: a private mirror may lead to private hosts.
        """
        if self.named(host, port):
            return ""
        reach = reach_of(address)
        if reach is Reach.PUBLIC or (reach is Reach.PRIVATE and own_reach in {Reach.PRIVATE, Reach.LOOPBACK}):
            return ""
        what = {Reach.PRIVATE: "private", Reach.LOOPBACK: "the proxy's own machine", Reach.NEVER: "link-local or reserved"}[reach]
        return f"{host} is at {address}, which is {what}"
