"""That no answer came: aiohttp's many exceptions, read once."""

import re
import ssl
from urllib.parse import urlsplit

import aiohttp

from proxy.config import UpstreamSection
from proxy.core.flows.exchange import Trouble
from proxy.telemetry import descriptors
from proxy.upstream.resolver import Refused
from proxy.upstream.route import OutboundProxy
from proxy.upstream.tls_failure import Inspection, explain, tls_error_in

_LONGEST = 200
_QUOTATION = re.compile(r"""[\s:]*(\bbytearray\()?\bb['"].*""", re.DOTALL)
"""How aiohttp's parsers quote bytes that came. They may be the body of another answer, which another client's credentials got."""


class Failure(Exception):
    """No answer from `url` (without user information and query): why, and the details. `seconds` is how long it was waited for."""

    def __init__(self, trouble: Trouble, url: str, detail: str = "", seconds: float = 0.0) -> None:
        super().__init__(trouble.value, detail)
        self.trouble = trouble
        self.url = url
        self.detail = detail
        self.seconds = seconds


def failure_of(error: Exception, url: str, section: UpstreamSection, seen: Inspection | None = None) -> Failure:
    """Return the meaning of `error`, raised while `url` was asked for; `seen` is what its host shows of itself, if it was looked at."""
    url = url.partition("?")[0]
    if isinstance(error, TimeoutError):
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        seconds = section.connect_timeout if connecting else section.read_timeout
        return Failure(Trouble.TIMEOUT, url, "no connection could be made" if connecting else "", seconds)
    if descriptors.caused(error):
        return Failure(Trouble.OWN_LIMIT, url, f"the proxy has no file descriptor left; {descriptors.REMEDY}")
    tls = tls_error_in(error)
    if isinstance(tls, ssl.SSLEOFError) and not isinstance(error, aiohttp.ClientConnectorError):
        # The handshake was over: it is a connection that closed.
        tls = None
    tls = tls or (None if seen is None else seen.alert)
    if tls is not None:
        return Failure(Trouble.TLS, url, explain(tls, urlsplit(url).hostname or "", section, seen))
    trouble, detail = _trouble(error)
    return Failure(trouble, url, detail)


def proxy_wants_credentials(proxy: OutboundProxy, url: str) -> Failure:
    """Return what a 407 of the outbound `proxy` means, and what to do about it."""
    if proxy.authorization is None:
        why = f"wants credentials (407): write its user and password into {proxy.named_by}, as http://USER:PASSWORD@HOST:PORT"
    else:
        why = f"does not accept its credentials (407): correct the user and the password in {proxy.named_by}"
    return Failure(Trouble.OUTBOUND_PROXY, url.partition("?")[0], f"the outbound proxy refuses: {proxy.address} {why}")


def failure_behind(proxy: OutboundProxy, error: Exception, url: str, section: UpstreamSection) -> Failure:
    """Return what `error` means if it was raised while `url` was asked for by way of the outbound `proxy`."""
    url, address = url.partition("?")[0], proxy.address
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == 407:
            return proxy_wants_credentials(proxy, url)
        if error.status < 500:
            why = f"answered CONNECT by {sentence(error)}: have it let that host through, or name the host in NO_PROXY"
            return Failure(Trouble.OUTBOUND_PROXY, url, f"the outbound proxy refuses: {address} {why}")
        return Failure(Trouble.REFUSED, url, f"the outbound proxy {address} cannot connect to it ({sentence(error)})")
    # The outbound proxy resolves all names but its own.
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure(Trouble.DNS, url, f"the name of the outbound proxy {address} does not resolve")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Failure(Trouble.REFUSED, url, f"no connection to the outbound proxy {address} ({sentence(error)})")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure(Trouble.TIMEOUT, url, f"no connection could be made by way of the outbound proxy {address}", section.connect_timeout)
    failure = failure_of(error, url, section)
    through = f"by way of the outbound proxy {address}"
    return Failure(failure.trouble, url, f"{failure.detail}, {through}" if failure.detail else through, failure.seconds)


def _trouble(error: Exception) -> tuple[Trouble, str]:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if isinstance(error.os_error, Refused):
            return Trouble.FORBIDDEN_DESTINATION, str(error.os_error)
        return Trouble.DNS, "its name does not resolve"
    if isinstance(error, aiohttp.InvalidURL):
        return Trouble.FORBIDDEN_DESTINATION, "its address cannot be dialled"
    if isinstance(error, aiohttp.ClientSSLError):
        return Trouble.TLS, f"TLS failed ({sentence(error)})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return Trouble.REFUSED, f"no connection ({sentence(error)})"
    if isinstance(error, ConnectionError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return Trouble.RESET, "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return Trouble.NOT_HTTP, f"what came is no proper HTTP ({sentence(error)})"
    return Trouble.RESET, sentence(error)


def sentence(error: BaseException) -> str:
    """Gives what an exception says, in one short line without what may hold secrets: the address with its query, and bytes that came."""
    said = f"{error.status} {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
    said = _QUOTATION.sub("", said)
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    return (text or type(error).__name__)[:_LONGEST]
