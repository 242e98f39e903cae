"""The way to a host: directly, or through the outbound proxy that the settings or the environment name."""

from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from proxy.config import UpstreamSection
from proxy.upstream.credentials import basic, without_credentials


class Route:
    """Chooses the outbound proxy for a URL: that of the settings, else HTTPS_PROXY and its kin, as curl and uv do."""

    def __init__(self, section: UpstreamSection) -> None:
        self._configured = section.proxy.get_secret_value() if section.proxy is not None else None
        self._environment = getproxies()

    def proxy_for(self, url: str) -> tuple[str, str | None] | None:
        """Gives the proxy's address and its Proxy-Authorization, None where the way is direct."""
        chosen = self._configured or self._from_environment(url)
        if not chosen:
            return None
        if "://" not in chosen:
            chosen = f"http://{chosen}"
        parts = urlsplit(chosen)
        authorization = None if parts.username is None else basic(unquote(parts.username), unquote(parts.password or ""))
        return without_credentials(chosen), authorization

    def _from_environment(self, url: str) -> str | None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not self._environment or proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
            return None
        return self._environment.get(parts.scheme) or self._environment.get("all")
