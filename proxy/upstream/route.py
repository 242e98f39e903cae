"""The way to a host: directly, or through the outbound proxy that the settings or the environment name."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from proxy.config import UpstreamSection
from proxy.upstream.addresses import origin_of, shown, without_credentials
from proxy.upstream.credentials import basic

_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """An HTTP proxy: its `address` without credentials, and the Proxy-Authorization it wants, if any."""

    address: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def usable(self) -> bool:
        """Whether it speaks HTTP; SOCKS proxies do not."""
        return origin_of(self.address)[0] in {"http", "https"}


class Route:
    """Chooses the outbound proxy for a URL: that of the settings, else HTTPS_PROXY and its kin, as curl and uv do.

    The mirror's being on this machine makes no difference: only NO_PROXY exempts hosts, and nothing does from the proxy of the settings.
    """

    def __init__(self, section: UpstreamSection) -> None:
        self._configured = section.proxy.get_secret_value() if section.proxy is not None else None
        self._environment = getproxies()
        self._chosen: dict[tuple[str, str, int], OutboundProxy | None] = {}

    def proxy_for(self, url: str) -> OutboundProxy | None:
        """Gives the proxy on the way to `url`, None where the way is direct."""
        if self._configured is None and not self._environment:
            return None
        origin = origin_of(url)
        if origin not in self._chosen:
            if len(self._chosen) >= _REMEMBERED:
                self._chosen.clear()
            self._chosen[origin] = _read(self._configured or self._from_environment(*origin))
        return self._chosen[origin]

    def proxies(self) -> frozenset[tuple[str, int]]:
        """Gives host and port of every proxy that may be dialled."""
        named = [self._configured] if self._configured is not None else self._environment.values()
        return frozenset(origin_of(found.address)[1:] for each in named if (found := _read(each)) is not None)

    def _from_environment(self, scheme: str, host: str, port: int) -> str | None:
        bracketed = f"[{host}]" if ":" in host else host
        if proxy_bypass(f"{bracketed}:{port}") or (bracketed != host and proxy_bypass(host)):
            return None
        return self._environment.get(scheme) or self._environment.get("all")


def _read(named: str | None) -> OutboundProxy | None:
    if not named:
        return None
    if "://" not in named:
        named = f"http://{named}"
    parts = urlsplit(named)
    authorization = None if parts.username is None else basic(unquote(parts.username), unquote(parts.password or ""))
    return OutboundProxy(shown(without_credentials(named)), authorization)
