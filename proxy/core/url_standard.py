"""Addresses over HTTP in their one spelling: that of the URL Standard, which uv's parser follows, as browsers do.

Rules for this file: pure. There is one spelling for dot segments, default ports and the forms of a host.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes

from yarl import URL

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_BEGINNING = re.compile(r"(https?):[/\\]*", re.IGNORECASE)
_HTTP = re.compile(r"[\x00-\x20]*https?:", re.IGNORECASE)
_AUTHORITY_ENDS = re.compile(r"[/\\?#]")
_IGNORED = str.maketrans("", "", "\t\n\r")
_CONTROLS_AND_SPACE = "".join(map(chr, range(0x21)))
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_NUMBER = re.compile(r"0[xX]([0-9a-fA-F]*)|0([0-7]*)|([1-9][0-9]*)")
_NO_HOST = frozenset("\0\t\n\r #/:<>?@[\\]^|%")
_DOT = re.compile(r"%2e", re.IGNORECASE)


def _kept(escaped: str) -> str:
    return "".join(letter for letter in _PRINTABLE if letter not in escaped)


_IN_PATH, _IN_QUERY, _IN_FRAGMENT, _IN_USER = _kept('"#<>?`{}'), _kept("\"#<>'"), _kept('"<>`'), _kept('"#<>?`{}/:;=@[]\\^|')


@dataclass(frozen=True, slots=True)
class StandardUrl:
    """An http or https address in its parts: `place` is host and port, each other part has the sign that sets it apart."""

    scheme: str
    user: str
    place: str
    path: str
    query: str
    fragment: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.user}{self.place}{self.path}{self.query}{self.fragment}"


def is_http(url: str) -> bool:
    """Return whether `url` begins as an address that is asked over HTTP does."""
    return _HTTP.match(url) is not None


def parse_url(text: str) -> StandardUrl:
    """Return the parts of an http or https address, each in its one spelling; raise ValueError if `text` is no such address."""
    text = text.strip(_CONTROLS_AND_SPACE).translate(_IGNORED)
    begins = _BEGINNING.match(text)
    if begins is None:
        raise ValueError("it is no http or https address")
    scheme, rest = begins[1].lower(), text[begins.end() :]
    ends = _AUTHORITY_ENDS.search(rest)
    authority, rest = (rest, "") if ends is None else (rest[: ends.start()], rest[ends.start() :])
    user, _, place = authority.rpartition("@")
    rest, number_sign, fragment = rest.partition("#")
    path, question_mark, query = rest.partition("?")
    return StandardUrl(
        scheme,
        _user(user),
        _place(place, scheme),
        _path(path),
        question_mark + _escaped(query, _IN_QUERY),
        number_sign + _escaped(fragment, _IN_FRAGMENT),
    )


def _escaped(text: str, kept: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=kept)


def _user(text: str) -> str:
    name, _, password = text.partition(":")
    both = f"{_escaped(name, _IN_USER)}:{_escaped(password, _IN_USER)}".removesuffix(":")
    return f"{both}@" if both else ""


def _path(text: str) -> str:
    segments: list[str] = []
    given = text.replace("\\", "/").removeprefix("/").split("/")
    for place, segment in enumerate(given):
        last = place == len(given) - 1
        dots = _DOT.sub(".", segment)
        if dots == "..":
            del segments[-1:]
        elif dots != ".":
            segments.append(_escaped(segment, _IN_PATH))
            continue
        if last:
            segments.append("")
    return "/" + "/".join(segments)


def _place(text: str, scheme: str) -> str:
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        host = f"[{_ipv6(host[1:])}]"
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("its host is not spelled as one")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        host = _host(host)
    if port and not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise ValueError("its port is none")
    port = port and str(int(port))
    return host if port in {"", _DEFAULT_PORTS[scheme]} else f"{host}:{port}"


def _host(text: str) -> str:
    name = unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
    if not name.isascii():
        # UTS #46, as browsers have it.
        name = URL.build(scheme="http", host=name).raw_host or ""
    name = name.lower()
    if not name or not _NO_HOST.isdisjoint(name) or not name.isprintable():
        raise ValueError("it names no host")
    last = name.removesuffix(".").rpartition(".")[2]
    return str(_ipv4(name.removesuffix("."))) if last.isdigit() or _NUMBER.fullmatch(last) else name


def _ipv6(text: str) -> str:
    # The scope of one is no part of an address here.
    if "%" in text:
        raise ValueError("its host is no IPv6 address")
    address = IPv6Address(text)
    mapped = address.ipv4_mapped
    # From Python 3.13 on it would have dots.
    return address.compressed if mapped is None else f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"


def _ipv4(text: str) -> IPv4Address:
    numbers = [_number(part) for part in text.split(".")]
    if len(numbers) > 4 or any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError("its host is no IPv4 address")
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(numbers[:-1])) + numbers[-1])


def _number(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError("its host is no IPv4 address")
    hexadecimal, octal, decimal = found.groups()
    return int(hexadecimal or "0", 16) if hexadecimal is not None else int(octal or "0", 8) if octal is not None else int(decimal)
