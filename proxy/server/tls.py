"""TLS towards clients: the certificate that the listener shows."""

import ssl
from pathlib import Path

import structlog

from proxy.config import ServerSection

_log = structlog.get_logger("mirrormend.server")


def listener_tls(section: ServerSection) -> ssl.SSLContext | None:
    """Gives the context to listen with, None where plain HTTP is served.

    Raises OSError, naming the setting and the file, where the certificate and its key cannot be used.
    """
    if section.tls_cert is None:
        return None
    # TLS 1.2 and later, without client certificates: the defaults of the standard library for servers.
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, section.tls_cert, section.tls_key)
    return context


def renew(context: ssl.SSLContext | None, section: ServerSection) -> None:
    """Reads the certificate again, for connections from now on; where it cannot be used, the log says so and the old one stays."""
    if context is None or section.tls_cert is None:
        return
    try:
        # A certificate that does not fit its key would be half in the context before that is found out.
        _load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), section.tls_cert, section.tls_key)
        _load(context, section.tls_cert, section.tls_key)
    except OSError as error:
        _log.error("certificate-unchanged", why=str(error))
    else:
        _log.info("certificate-read", file=str(section.tls_cert))


def _load(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    try:
        # An encrypted key would be asked for at the terminal, and a server has none.
        context.load_cert_chain(cert, key, password="")
    except OSError as error:
        named = f"tls_cert: {cert}" if key is None else f"tls_cert: {cert} and tls_key: {key}"
        why = error.strerror or type(error).__name__
        raise OSError(f"{named} give no certificate with its key; encrypted keys are not read ({why})") from None
