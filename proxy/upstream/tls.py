"""TLS towards the mirror: always verified, with the system's authorities, SSL_CERT_FILE's, and those of the settings."""

import ssl

from proxy.config import UpstreamSection


def tls_context(section: UpstreamSection) -> ssl.SSLContext:
    """Gives the context for connections to the mirror.

    Raises OSError, naming the setting and the file, where one of the settings cannot be read.
    """
    # It reads SSL_CERT_FILE and SSL_CERT_DIR, else the system's store.
    context = ssl.create_default_context()
    if section.ca_bundle is not None:
        try:
            context.load_verify_locations(cafile=section.ca_bundle)
        except OSError as error:
            raise OSError(f"ca_bundle: {section.ca_bundle} holds no readable certificates ({_why(error)})") from None
    if section.client_cert is not None:
        try:
            # An encrypted key would be asked for at the terminal, and a server has none.
            context.load_cert_chain(section.client_cert, section.client_key, password="")
        except OSError as error:
            key = "" if section.client_key is None else f" and client_key: {section.client_key}"
            raise OSError(
                f"client_cert: {section.client_cert}{key} give no certificate with its key; encrypted keys are not read ({_why(error)})"
            ) from None
    return context


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
