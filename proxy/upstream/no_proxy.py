"""NO_PROXY: the hosts that are dialled directly although the environment names an outbound proxy.

No standard says how the list is written. docs/no-proxy.md shows how curl and uv read each form of an entry. An entry exempts a host here
if it does at either of them, or if only one reading of it makes sense: the mirror's credentials must not reach a proxy that an
administrator meant to leave out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self, TypeAlias

from yarl import URL

from proxy.upstream.destinations import literal_address

_Network: TypeAlias = IPv4Network | IPv6Network

_SEPARATORS = re.compile(r"[,\s]+")
_BRACKETED = re.compile(r"\[([^\[\]]+)\](/[0-9]+)?(?::([0-9]+))?")
_WITH_PORT = re.compile(r"([^:]+)(?::([0-9]+))?")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_MAPPED = IPv6Network("::ffff:0:0/96")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class _Entry:
    """The hosts below a `name` ("*" stands for all), or those of the `networks`; on one `port`, or on any (None)."""

    name: str = ""
    networks: tuple[_Network, ...] = ()
    port: int | None = None

    def covers(self, name: str, addresses: tuple[IPv4Address | IPv6Address, ...], port: int) -> bool:
        if self.port not in {None, port}:
            return False
        if self.networks:
            return any(address in network for address in addresses for network in self.networks)
        return self.name in {"*", name} or name.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The entries of a NO_PROXY list; `not_understood` are those that exempt no host, since no reading of them makes sense."""

    entries: tuple[_Entry, ...] = ()
    not_understood: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the entries of `text`, which are separated by commas or white space."""
        found = [(each, _entry(each)) for each in _SEPARATORS.split(text) if each]
        return cls(
            tuple(entry for _, entry in found if entry is not None),
            tuple(dict.fromkeys(each for each, entry in found if entry is None)),
        )

    def exempt(self, host: str, port: int) -> bool:
        """Return whether `host`, a name or an address without brackets, is dialled directly at `port`.

        Networks cover addresses that are written as such. A name is not resolved for them, neither by curl nor by uv.
        """
        name = _ascii(host.lower().removesuffix("."))
        literal = literal_address(name)
        addresses = () if literal is None else tuple(_both_forms(ip_address(literal)))
        return any(entry.covers(name, addresses, port) for entry in self.entries)


def _entry(text: str) -> _Entry | None:
    text = text.lower()
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed is not None:
        host, bits, port = bracketed.groups()
        networks = _networks(host + (bits or ""))
        return _Entry(networks=networks, port=_port(port)) if networks and _right_port(port) else None
    networks = _networks(text)
    if networks:
        return _Entry(networks=networks)
    parts = _WITH_PORT.fullmatch(text)
    if parts is None or not _right_port(parts[2]):
        return None
    host, port = parts.groups()
    networks = _networks(host)
    if networks:
        return _Entry(networks=networks, port=_port(port))
    name = host if host == "*" else _ascii(host.removeprefix("*." if host.startswith("*.") else "").lstrip(".").removesuffix("."))
    # A text that ends in a number is no name (WHATWG URL, "ends in a number"), but an attempt at an address, such as 10.1 or 192.168.
    if name != "*" and (_NAME.fullmatch(name) is None or name.rpartition(".")[2].isdecimal()):
        return None
    return _Entry(name, port=_port(port))


def _networks(text: str) -> tuple[_Network, ...]:
    host, slash, bits = text.removesuffix(".").partition("/")
    try:
        network = ip_network(f"{host.partition('%')[0]}{slash}{bits}", strict=False)
    except ValueError:
        return ()
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        inside = IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
        return network, inside
    return (network,)


def _both_forms(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    yield address
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        yield address.ipv4_mapped


def _ascii(name: str) -> str:
    """Return a name in the form in which it is dialled (IDNA); what has none, as it is."""
    if name.isascii():
        return name
    try:
        return URL.build(scheme="http", host=name).raw_host or name
    except ValueError:
        return name


def _port(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _right_port(digits: str | None) -> bool:
    return digits is None or 0 < int(digits[:6]) <= _LAST_PORT
