"""The way to a host: directly, or through the outbound proxy that the settings or the environment name."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypedDict
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import SecretStr

from proxy.config import SecondSection, Settings, SettingsError, UpstreamSection
from proxy.config.section import proxy_url
from proxy.upstream.addresses import origin_of, shown, without_credentials
from proxy.upstream.credentials import basic, netrc_authorization
from proxy.upstream.no_proxy import Exemptions

_REMEMBERED = 1024
_SCHEMES = ("http", "https", "all")


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """An HTTP proxy: its `address` without credentials, and the Proxy-Authorization it wants, if any; `named_by` says where it is set."""

    address: str
    authorization: str | None = field(default=None, repr=False)
    named_by: str = "HTTP_PROXY"

    @property
    def usable(self) -> bool:
        """Whether it speaks HTTP; SOCKS proxies do not."""
        return origin_of(self.address)[0] in {"http", "https"}

    def credentials(self, *, tunnel: bool) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the headers for the request itself, and those for CONNECT, that hold the credentials.

        A `tunnel` is what https is asked through: there the proxy reads CONNECT alone, and the mirror the request. Without one the proxy
        reads the request, and takes the header off (RFC 9110, section 11.7.2).
        """
        headers = {} if self.authorization is None else {"Proxy-Authorization": self.authorization}
        return ({}, headers) if tunnel else (headers, {})


@dataclass(frozen=True, slots=True)
class ProxyVariables:
    """The outbound proxies that the environment names, by scheme (`http`, `https` or `all`), and the hosts that NO_PROXY exempts from them.

    With `of_system` they are those that macOS or Windows have in their settings, and which hosts are exempt is known there.
    """

    proxies: Mapping[str, OutboundProxy]
    exemptions: Exemptions = field(default_factory=Exemptions)
    of_system: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return what `environ`, by default that of this process, says in `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`.

        The lower-case variable counts before the upper-case one, as at curl. An empty lower-case one says that there is no proxy, even if
        the upper-case one names one. HTTP_PROXY does not count in a CGI process, where a client sets it by a header.
        Raises SettingsError, naming the variable, for what can be no address of a proxy.
        """
        variables = os.environ if environ is None else environ
        proxies: dict[str, OutboundProxy] = {}
        for scheme in _SCHEMES:
            lower, upper = f"{scheme}_proxy", f"{scheme.upper()}_PROXY"
            variable = lower if lower in variables or (scheme == "http" and "REQUEST_METHOD" in variables) else upper
            address = variables.get(variable, "").strip()
            if address:
                proxies[scheme] = _read(address, variable)
        if proxies:
            return cls(proxies, Exemptions.read(variables.get("no_proxy", "").strip() or variables.get("NO_PROXY", "")))
        # Elsewhere these are the variables again, in any case.
        named = getproxies() if environ is None and platform.system() in {"Darwin", "Windows"} else {}
        found = {scheme: _read(named[scheme], "the system's proxy settings") for scheme in ("http", "https") if named.get(scheme)}
        return cls(found, of_system=bool(found))

    def proxy_for(self, scheme: str, host: str, port: int) -> OutboundProxy | None:
        """Return the proxy on the way to a host, None where the way is direct."""
        proxy = self.proxies.get(scheme) or self.proxies.get("all")
        if proxy is None:
            return None
        exempt = bool(proxy_bypass(f"{host}:{port}")) if self.of_system else self.exemptions.exempt(host, port)
        return None if exempt else proxy


class Route:
    """Chooses the outbound proxy for a URL: the `configured` one, else the one that the environment names.

    The mirror's being on this machine makes no difference: only NO_PROXY exempts hosts, and nothing does from the proxy of the settings.
    Raises SettingsError, naming the variable, where the environment is read and has what can be no address of a proxy.
    """

    def __init__(self, configured: SecretStr | None = None) -> None:
        self._configured = None if configured is None else _read(configured.get_secret_value(), "`proxy` of the settings")
        self._environment = ProxyVariables.read() if self._configured is None else ProxyVariables({})
        self._chosen: dict[tuple[str, str, int], OutboundProxy | None] = {}

    def proxy_for(self, url: str) -> OutboundProxy | None:
        """Return the proxy on the way to `url`, None where the way is direct."""
        if self._configured is not None or not self._environment.proxies:
            return self._configured
        origin = origin_of(url)
        if origin not in self._chosen:
            if len(self._chosen) >= _REMEMBERED:
                self._chosen.clear()
            self._chosen[origin] = self._environment.proxy_for(*origin)
        return self._chosen[origin]

    def proxies(self) -> frozenset[tuple[str, int]]:
        """Return host and port of every proxy that may be dialled."""
        named = self._environment.proxies.values() if self._configured is None else (self._configured,)
        return frozenset(origin_of(proxy.address)[1:] for proxy in named)


class RequestOptions(TypedDict, total=False):
    """aiohttp's options for the way of one request."""

    headers: Mapping[str, str]
    proxy: str
    proxy_headers: Mapping[str, str]


def options_of_environment(url: str) -> RequestOptions:
    """Return how a command asks a mirrormend at `url`: by HTTP_PROXY or HTTPS_PROXY, and with the credentials of netrc if the URL has none.

    ALL_PROXY, which is often for SOCKS alone, does not count here. Raises SettingsError as `ProxyVariables.read` does.
    """
    scheme, host, port = origin_of(url)
    variables = ProxyVariables.read()
    proxy = variables.proxy_for(scheme, host, port) if scheme in variables.proxies else None
    authorization = None if urlsplit(url).username is not None else netrc_authorization(host, os.environ)
    headers = {} if authorization is None else {"Authorization": authorization}
    if proxy is None or not proxy.usable:
        return {"headers": headers}
    to_proxy, to_tunnel = proxy.credentials(tunnel=scheme == "https")
    return {"headers": {**headers, **to_proxy}, "proxy": proxy.address, "proxy_headers": to_tunnel}


def proxies_of_environment(settings: Settings) -> ProxyVariables | None:
    """Return what the environment says of outbound proxies, None where every section has a `proxy` of its own.

    Raises SettingsError as `ProxyVariables.read` does.
    """
    sections: tuple[UpstreamSection | SecondSection, ...] = (*settings.upstream, settings.reference, settings.rescue)
    return ProxyVariables.read() if any(each.url is not None and each.proxy is None for each in sections) else None


def _read(named: str, where: str) -> OutboundProxy:
    try:
        url = proxy_url(named)
    except ValueError as error:
        raise SettingsError(where, f"it is no address of a proxy; {error}") from None
    parts = urlsplit(url)
    authorization = None if parts.username is None else basic(unquote(parts.username), unquote(parts.password or ""))
    return OutboundProxy(shown(without_credentials(url)), authorization, where)
