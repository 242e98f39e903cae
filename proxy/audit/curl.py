"""The one line that repeats a finding."""

import shlex

from proxy.audit.findings import Exchange

_CREDENTIALS = {"basic": '-u "$MIRROR_USER:$MIRROR_PASSWORD"', "bearer": '-H "Authorization: Bearer $MIRROR_TOKEN"'}
"""Variables for whoever repeats it to set: the secret itself is nowhere in a report."""


def curl_line(exchange: Exchange) -> str:
    """Gives a command for a POSIX shell that asks the mirror the same and prints the status and the type of the answer."""
    words = ["curl", "-sSL", "-o", "/dev/null", "-w", shlex.quote("%{http_code} %{content_type}\\n")]
    if exchange.asked == "HEAD":
        words.append("-I")
    elif exchange.asked == "GET bytes=0-0":
        words += ["-r", "0-0"]
    if exchange.accept:
        words += ["-H", shlex.quote(f"Accept: {exchange.accept}")]
    if exchange.credentials:
        words.append(_CREDENTIALS[exchange.credentials])
    return " ".join([*words, shlex.quote(exchange.url)])
