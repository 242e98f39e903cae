"""Who asks the mirror: the client itself, else whoever the configuration names.

Credentials go to the mirror's own origin and nowhere else.
"""

import base64
import netrc
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from proxy.config import UpstreamSection

_log = structlog.get_logger("mirrormend.upstream")


def basic(user: str, password: str) -> str:
    """Gives the Authorization header of Basic authentication (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def configured_authorization(section: UpstreamSection, environ: Mapping[str, str]) -> str | None:
    """Gives the header for requests that bring no credentials of their own: from the settings, the upstream's URL, or netrc."""
    if section.token is not None:
        return f"Bearer {section.token.get_secret_value()}"
    if section.username is not None or section.password is not None:
        return basic(section.username or "", section.password.get_secret_value() if section.password else "")
    parts = urlsplit(section.url)
    if parts.username is not None:
        return basic(unquote(parts.username), unquote(parts.password or ""))
    return netrc_authorization(parts.hostname or "", environ)


def principal_of(authorization: str | None) -> str:
    """Gives whom an Authorization header is of, without its secret: the user of Basic authentication, else the scheme; empty for none.

    What is kept for one is not for another. A token that is renewed stays the same principal.
    """
    if authorization is None:
        return ""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return f" {scheme.lower()}"
    return f" basic {base64.b64decode(rest).decode('utf-8', 'replace').partition(':')[0]}"


def netrc_authorization(host: str, environ: Mapping[str, str]) -> str | None:
    """Return the Authorization header of what netrc has for `host`, None if there is nothing; an unreadable file is logged."""
    found = netrc_credentials(host, environ)
    return None if found is None else basic(*found)


def netrc_credentials(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return user and password that netrc has for `host`, None if there is nothing; an unreadable file is logged."""
    named = environ.get("NETRC")
    try:
        candidates = [Path(named)] if named else [Path.home() / name for name in (".netrc", "_netrc")]
    except RuntimeError:
        # A user without a home, as containers have.
        return None
    for path in candidates:
        try:
            found = netrc.netrc(str(path)).authenticators(host)
        except FileNotFoundError:
            continue
        except netrc.NetrcParseError as error:
            # Its message quotes what it stumbled over, which may be a password.
            _log.warning("netrc-unreadable", path=str(path), why=f"line {error.lineno} cannot be understood")
            continue
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("netrc-unreadable", path=str(path), why=type(error).__name__)
            continue
        if found is not None:
            return found[0] or "", found[2] or ""
    return None
