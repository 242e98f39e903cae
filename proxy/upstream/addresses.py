"""From the spelling of an address on a page to what is dialled and sent: byte for byte where HTTP allows it.

Rules for this file: pure. Scheme, host and port are read once, by `dialled`, so that no two readers can take one
spelling for two hosts.
"""

import re
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import quote, unquote, urljoin, urlsplit

from aiohttp import encode_basic_auth
from yarl import URL

_PRINTABLE = "".join(chr(each) for each in range(0x21, 0x7F))
_PLAIN = re.compile(r"[!-~]*+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY_ENDS = re.compile(r"[/?#]")


def dialled(url: str) -> URL:
    """Gives `url` without user information and fragment, its path and query as they were spelled.

    Only what no request line can hold is escaped: spaces, control characters, and letters outside ASCII as UTF-8
    (RFC 3987, section 3.1). Raises ValueError where `url` is no http or https address.
    """
    if not _PLAIN.fullmatch(url):
        url = quote(url.encode("utf-8", "surrogateescape"), safe=_PRINTABLE)
    address = URL(without_credentials(url).partition("#")[0], encoded=True)
    if address.scheme not in _DEFAULT_PORTS:
        raise ValueError("only http and https are fetched")
    if not address.host or "%" in address.authority.rpartition("]")[2]:
        raise ValueError("it names no host")
    return address


def origin_of(url: str) -> tuple[str, str, int]:
    """Gives scheme, host and port of a URL (RFC 6454)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0)


def origin_of_dialled(address: URL) -> tuple[str, str, int]:
    """Gives scheme, host and port of what `dialled` made."""
    return address.scheme, (address.host or "").lower(), address.port or 0


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine's own by what it says alone."""
    try:
        return host == "localhost" or ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def redirected(url: str, location: str) -> str:
    """Gives where a redirect from `url` leads (RFC 9110, section 10.2.2)."""
    return urljoin(url, location.strip()).partition("#")[0]


def without_credentials(url: str) -> str:
    """Gives the URL without user information."""
    scheme, mark, rest = url.partition("://")
    end = _AUTHORITY_ENDS.search(rest)
    at = len(rest) if end is None else end.start()
    return f"{scheme}{mark}{rest[:at].rpartition('@')[2]}{rest[at:]}"


def link_authorization(url: str) -> str | None:
    """Return the Authorization header for the user information that stands in a link (RFC 3986, section 3.2.1), None where it has none.

    Clients send it to the link's own host, and so does the proxy. Raises ValueError where `url` is no address.
    """
    user, mark, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return encode_basic_auth(unquote(user), unquote(password)) if user or mark else None


def address_digest(url: str) -> str:
    """Return what shows that somebody knows the address `url`, however it is spelled: of scheme, host, port and path, as hex.

    Raises ValueError where it is no address.
    """
    scheme, host, port = origin_of(url)
    path = urlsplit(without_credentials(url)).path.rstrip("/")
    return sha256(f"{scheme} {host} {port} {path}".encode()).hexdigest()


def shown(url: str) -> str:
    """Gives the URL as it may stand in a log or an error: without user information, query and fragment."""
    return without_credentials(url).partition("#")[0].partition("?")[0]
