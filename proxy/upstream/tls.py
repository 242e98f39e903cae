"""TLS towards the mirror: always verified, with the system's authorities, SSL_CERT_FILE's, and those of the settings."""

import ssl

from proxy.config import UpstreamSection


def tls_context(section: UpstreamSection) -> ssl.SSLContext:
    """Gives the context for connections to the mirror; raises OSError where a file of the settings cannot be read."""
    context = ssl.create_default_context()
    if section.ca_bundle is not None:
        context.load_verify_locations(cafile=section.ca_bundle)
    if section.client_cert is not None:
        context.load_cert_chain(section.client_cert, section.client_key)
    return context
