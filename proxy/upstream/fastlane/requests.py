"""An `Ask` to the bytes of a request, for the one origin that a fast lane leads to.

Path and query go out as the page spelled them, byte for byte: a mirror may tell `%2B` from `+` (RFC 3986, 6.2.2.2 would allow
to rewrite some escapes, and products exist that do not take it well). What could end a line early never goes out at all.
"""

import re
from collections.abc import Mapping

from proxy.core.flows.exchange import Ask, Method
from proxy.upstream.fastlane.words import Unusual

_TARGET = re.compile(r"""[!"$-~]*+""")
_is_target = _TARGET.fullmatch
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_VALUE = re.compile(r"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
_HEAD = Method.HEAD
_OF_THE_CONNECTION = ("negotiate", "ntlm")


class Requests:
    """Writes requests to `scheme://host:port`, each with these headers; raises ValueError where a header is none."""

    def __init__(self, scheme: str, host: str, port: int, headers: Mapping[str, str]) -> None:
        bracketed = f"[{host}]" if ":" in host else host
        usual = port == {"http": 80, "https": 443}[scheme]
        self._prefix = f"{scheme}://{bracketed}/" if usual else f"{scheme}://{bracketed}:{port}/"
        self._other_prefix = f"{scheme}://{bracketed}:{port}/"
        if not any(name.lower() == "host" for name in headers):
            headers = {"Host": self._prefix.split("/")[2], **headers}
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"{name!r} or its value cannot be a header")
        self._common = " HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._authorization: str | None = None
        self._ending = "\r\n"

    def written(self, ask: Ask, authorization: str | None, headers: Mapping[str, str] | None = None) -> bytes | Unusual:
        """Return the bytes that ask for it, with these `headers` besides, or why this is no request for the fast lane."""
        url, prefix = ask.url, self._prefix
        if not url.startswith(prefix):
            prefix = self._other_prefix
            if not url.startswith(prefix):
                return Unusual("the address is of another origin")
        target = url[len(prefix) - 1 :]
        if _is_target(target) is None:
            return Unusual("the address holds bytes that a request line cannot hold")
        if authorization != self._authorization:
            refused = self._learn(authorization)
            if refused is not None:
                return refused
        method = "HEAD" if ask.method is _HEAD else "GET"
        more = ""
        if headers is not None:
            if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in headers.items()):
                return Unusual("a header holds bytes that it cannot hold")
            more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if ask.first is not None and (ask.first < 0 or (ask.last is not None and ask.last < ask.first)):
            return Unusual("the range is none")
        if ask.range:
            more += f"Range: {ask.range}\r\n"
        return f"{method} {target}{self._common}{more}{self._ending}".encode("latin-1")

    def _learn(self, authorization: str | None) -> Unusual | None:
        """Keeps the ending that goes with these credentials: they change with the client, not with the request."""
        if authorization is None:
            self._authorization, self._ending = None, "\r\n"
            return None
        if not _VALUE.fullmatch(authorization):
            return Unusual("the credentials hold bytes that a header cannot hold")
        if authorization.partition(" ")[0].lower() in _OF_THE_CONNECTION:
            # These authenticate a connection, and this one is shared by everybody who asks.
            return Unusual("the credentials would belong to the connection")
        self._authorization, self._ending = authorization, f"Authorization: {authorization}\r\n\r\n"
        return None
