"""Which client a request comes from: the one at the other end of the connection, or the one that a trusted proxy names.

Rules for this file: pure. A header is believed as far as those who could have written it are trusted: from the last entry back to the
first one that no trusted proxy wrote. Whatever is not understood ends the search where it is.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_LONGEST_WAY = 32
_SUBSCRIBER = 64
"""Bits of an IPv6 address that one customer has at least: the rest is the customer's own choice."""


class Callers:
    """Finds callers behind the proxies in the `trusted` networks, by the one `header` that these write: X-Forwarded-For or Forwarded.

    A proxy that writes one of them passes the other one on as the client made it up, so that the other one never counts.
    """

    def __init__(self, trusted: Sequence[str], header: str = "X-Forwarded-For") -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(each, strict=False) for each in trusted)
        self.header = header
        """The name of the header that counts."""

    @property
    def believes_headers(self) -> bool:
        """Whether a header can make a difference at all."""
        return bool(self._trusted)

    def trusts(self, peer: str) -> bool:
        """Return whether `peer` is the address of a trusted proxy."""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def caller(self, peer: str, values: Sequence[str]) -> str:
        """Return the address of the client behind `peer`, by all `values` of the header (for Forwarded: RFC 7239)."""
        address = _address(peer) if values and self._trusted else None
        if address is None or not self._trusts(address):
            return peer
        entries = ",".join(values).split(",")
        way = [_for(each) for each in entries] if self.header == "Forwarded" else [each.strip() for each in entries]
        return str(self._behind(address, way))

    def _behind(self, address: Address, way: list[str]) -> Address:
        for hop in reversed(way[-_LONGEST_WAY:]):
            before = _address(hop)
            if before is None:
                break
            address = before
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def one_client(address: str) -> str:
    """Return the key under which requests of a client are counted: its address, of an IPv6 one the network that is surely its own."""
    parsed = _address(address) if ":" in address else None
    if not isinstance(parsed, IPv6Address):
        return address
    return str(IPv6Network((int(parsed) >> _SUBSCRIBER << _SUBSCRIBER, _SUBSCRIBER)))


def _address(text: str) -> Address | None:
    """Return the address that an entry of these headers holds, None if none; IPv6 ones may be in brackets, a port may follow."""
    text = text.strip('" ')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _for(element: str) -> str:
    """Return the parameter `for` of an element of Forwarded. No quoted address holds a separator of elements or parameters."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip()
    return ""
