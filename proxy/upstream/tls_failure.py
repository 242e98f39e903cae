"""The cause of a failure of TLS, and its remedy, in one sentence: by codes of OpenSSL rather than by its words."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohappyeyeballs import start_connection

from proxy.config import UpstreamSection
from proxy.upstream.address_order import RACE_DELAY
from proxy.upstream.tls import tls_context, unusable_variables

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_NOT_YET_VALID = 9
_EXPIRED = 10
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME = frozenset({62, 64})

_WITHOUT_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME."""

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTPS_PROXY_REQUEST"})
_OLD_VERSION = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "UNSUPPORTED_SSL_VERSION")
_CERTIFICATE_REFUSED = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
)
"""Alerts of servers about a client's certificate, and of there being none (RFC 8446, section 6.2)."""

_NAMES_TOLD = 4
_KEPT_FOR = 60.0
_HOSTS_KEPT = 64
_LISTENED_FOR = 0.5
"""Seconds within which a server that refuses a client says so after the handshake."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A server as it shows itself: the names and the time of its certificate, in seconds since the epoch, and its `alert` if any."""

    names: tuple[str, ...] = ()
    begins: float | None = None
    ends: float | None = None
    alert: ssl.SSLError | None = None


def worth_inspecting(error: ssl.SSLError | None) -> bool:
    """Return whether the server's certificate says more of this failure than the failure does itself."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in {_EXPIRED, _NOT_YET_VALID, *_WRONG_NAME}


def tls_error_in(error: BaseException) -> ssl.SSLError | None:
    """Return the failure of TLS that `error` is or comes from, None if there is none."""
    # Some errors of aiohttp are ones of ssl as well, without what these know.
    return next((each for each in (error.__cause__, error) if isinstance(each, ssl.SSLError)), None)


def explain(error: ssl.SSLError, host: str, section: UpstreamSection, seen: Inspection | None = None) -> str:
    """Return the cause of `error`, which came of a connection to `host`, and its remedy; `seen` is what else is known of the host."""
    return f"TLS failed: {_cause(error, host, section, seen or Inspection())}"


def _cause(error: ssl.SSLError, host: str, section: UpstreamSection, seen: Inspection) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error, host, seen)
    reason = error.reason or ""
    if reason in _NO_TLS:
        return f"{host} speaks no TLS at this port; if it is an http:// service, write http:// in the URL, else correct the port"
    if reason.endswith(_OLD_VERSION):
        return f"{host} speaks only versions of TLS older than 1.2; its admin has to allow TLS 1.2 or later"
    if reason.endswith(_CERTIFICATE_REFUSED):
        return _client_certificate(reason, host, section)
    if reason.endswith("ALERT_HANDSHAKE_FAILURE"):
        asks = f"{host} ended the handshake, as servers do that want a client certificate or share no cipher"
        return f"{asks}; {_HOW_TO_SHOW if section.client_cert is None else 'see that client_cert is the certificate that it wants'}"
    if isinstance(error, ssl.SSLEOFError):
        return f"{host} hung up in the middle of the handshake; see that this port is one for https://, and what stands before it"
    return f"{_words(error)} at {host}; ask its admin, with this reason"


_HOW_TO_SHOW = "name one in client_cert, and its key in client_key"


def _client_certificate(reason: str, host: str, section: UpstreamSection) -> str:
    if section.client_cert is None:
        return f"{host} wants a client certificate and none is configured; {_HOW_TO_SHOW}"
    said = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
    return f"{host} refuses the client certificate of client_cert ({said}); ask its admin for one that it accepts"


def _unverified(error: ssl.SSLCertVerificationError, host: str, seen: Inspection) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        if seen.ends is not None and seen.ends >= time.time():
            return f"a certificate in the chain of {host} has expired; its admin has to renew it"
        on = "" if seen.ends is None else f" on {_day(seen.ends)}"
        return f"the certificate of {host} expired{on}; its admin has to renew it"
    if code == _NOT_YET_VALID:
        before = "yet" if seen.begins is None else f"before {_day(seen.begins)}"
        return f"the certificate of {host} is not valid {before}; set the clock of the proxy's machine, or ask the mirror's admin"
    if code in _WRONG_NAME:
        if not seen.names:
            return f"the certificate of {host} is for another name; write that name in the URL, or ask its admin for one with this name"
        more = "" if len(seen.names) <= _NAMES_TOLD else f" and {len(seen.names) - _NAMES_TOLD} more"
        named = f"{', '.join(seen.names[:_NAMES_TOLD])}{more}"
        return f"the certificate is for {named}, not for {host}; write such a name in the URL, or ask the admin for one with this name"
    if code in _UNKNOWN_AUTHORITY:
        unusable = "".join(f"; {each}" for each in unusable_variables(os.environ))
        by = f"the certificate of {host} is by an authority that is not trusted ({error.verify_message})"
        return f"{by}; name the right authorities in ca_bundle or SSL_CERT_FILE{unusable}"
    return f"the certificate of {host} is not accepted ({error.verify_message}); ask its admin"


def _words(error: ssl.SSLError) -> str:
    return (error.reason or type(error).__name__).replace("_", " ").lower()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


class Inspector:
    """Looks at the certificates of hosts where TLS failed, at each at most once a minute; `section` has the authorities.

    Only certificates by an authority that is trusted are seen, whatever their names and times.
    """

    def __init__(self, section: UpstreamSection, clock: Callable[[], float] = time.monotonic) -> None:
        self._section = section
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._seen: dict[tuple[str, int], tuple[float, Inspection]] = {}
        self._turn = asyncio.Lock()

    def seen(self, host: str, port: int) -> Inspection | None:
        """Return what was seen of this host lately, None if it was not looked at."""
        at, seen = self._seen.get((host, port), (0.0, None))
        return seen if self._clock() < at + _KEPT_FOR else None

    async def inspect(self, host: str, port: int, addresses: Sequence[tuple[int, str]]) -> Inspection:
        """Return what `host` shows at one of these addresses: nothing, where it cannot be reached."""
        async with self._turn:
            seen = self.seen(host, port)
            if seen is None:
                seen = Inspection()
                with suppress(OSError, ValueError, RuntimeError):
                    seen = await self._look(host, port, addresses)
                if len(self._seen) >= _HOSTS_KEPT:
                    self._seen.clear()
                self._seen[host, port] = self._clock(), seen
            return seen

    async def _look(self, host: str, port: int, addresses: Sequence[tuple[int, str]]) -> Inspection:
        if self._context is None:
            self._context = tls_context(self._section)
            self._context.check_hostname = False
            self._context.verify_flags |= _WITHOUT_TIME
        infos = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for family, address in addresses]
        async with asyncio.timeout(self._section.connect_timeout):
            sock = await start_connection(infos, happy_eyeballs_delay=RACE_DELAY)
            try:
                reader, writer = await asyncio.open_connection(sock=sock, ssl=self._context, server_hostname=host)
            except BaseException:
                sock.close()
                raise
        try:
            certificate = writer.get_extra_info("peercert")
            return _inspection(certificate, await _alert(reader))
        finally:
            writer.transport.abort()


async def _alert(reader: asyncio.StreamReader) -> ssl.SSLError | None:
    # In TLS 1.3 a server looks at the client's certificate after the handshake is over for the client.
    try:
        async with asyncio.timeout(_LISTENED_FOR):
            await reader.read(1)
    except ssl.SSLError as error:
        return error
    except OSError:
        return None
    return None


def _inspection(certificate: Mapping[str, Any], alert: ssl.SSLError | None) -> Inspection:
    names = tuple(str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    begins, ends = (certificate.get(each) for each in ("notBefore", "notAfter"))
    return Inspection(
        names,
        None if begins is None else float(ssl.cert_time_to_seconds(begins)),
        None if ends is None else float(ssl.cert_time_to_seconds(ends)),
        alert,
    )
