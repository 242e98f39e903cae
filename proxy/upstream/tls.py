"""TLS towards the mirror: always verified, with the system's authorities, SSL_CERT_FILE's, and those of the settings."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

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


def unusable_variables(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with SSL_CERT_FILE and SSL_CERT_DIR, a sentence for each; OpenSSL ignores without a word what it cannot use."""
    return [said for said in (_unusable_file(environ.get("SSL_CERT_FILE")), _unusable_folders(environ.get("SSL_CERT_DIR"))) if said]


def _unusable_file(named: str | None) -> str:
    if named is None:
        return ""
    if not named:
        return "SSL_CERT_FILE is set to nothing, and names no authority; unset it for those of the system"
    try:
        with Path(named).open("rb"):
            pass
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=named)
    except FileNotFoundError:
        return f"SSL_CERT_FILE names {named}, which is not there; correct or unset it"
    except ssl.SSLError:
        return f"SSL_CERT_FILE names {named}, which holds no certificates; correct or unset it"
    except (OSError, ValueError) as error:
        why = _why(error) if isinstance(error, OSError) else str(error)
        return f"SSL_CERT_FILE names {named}, which cannot be read ({why}); correct or unset it"
    return ""


def _unusable_folders(named: str | None) -> str:
    if named is None:
        return ""
    if not named:
        return "SSL_CERT_DIR is set to nothing, and names no authority; unset it for those of the system"
    if not any(Path(each).is_dir() for each in named.split(os.pathsep)):
        return f"SSL_CERT_DIR names {named}, which is no folder; correct or unset it"
    return ""


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
