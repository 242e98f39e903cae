"""What can be set: one frozen model per section of the configuration file.

All times are in seconds, all sizes in bytes. A field's description is its documentation: `docs/settings.md` is made from it.
No error of a validator quotes what was given: it may hold a password.
"""

from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from proxy.config.second import ReferenceSection, RescueSection
from proxy.config.section import Allowed, Budget, Bytes, File, Rate, Seconds, Section, Unit, check_token, http_proxy, simple_api_url
from proxy.core.verdict.budget import MirrorKind


class LinkMode(StrEnum):
    """Where the links of a served page lead."""

    PROXY = "proxy"
    REDIRECT = "redirect"
    DIRECT = "direct"


class LogFormat(StrEnum):
    """For whom log lines are written."""

    CONSOLE = "console"
    JSON = "json"


class ServerSection(Section):
    """Where the proxy listens."""

    listen: Annotated[str, Allowed("HOST:PORT")] = Field(
        "127.0.0.1:8080", description="Address and port to listen on, as HOST:PORT; port 0 takes a free one."
    )
    notice: Seconds = Field(
        0.0, description="How long to go on listening after SIGTERM, while /readyz says 503 already, so that a load balancer sends no more."
    )
    drain: Seconds = Field(10.0, description="How long requests in flight may take to finish after SIGTERM.")
    workers: int = Field(
        1, ge=1, le=64, description="Processes that serve on the one port; they share the store, so that it should not be memory."
    )
    tls_cert: File | None = Field(None, description="PEM file of the certificate to serve https with, followed by those that vouch for it.")
    tls_key: File | None = Field(None, description="PEM file of the certificate's key, where it is not in tls_cert.")

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key belongs to a certificate; give tls_cert as well")
        return self

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("write it as HOST:PORT, such as 127.0.0.1:8080")
        return listen

    @property
    def host(self) -> str:
        """The address to bind, an IPv6 one without its brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind."""
        return int(self.listen.rpartition(":")[2])


RESERVED_NAMES = frozenset({"explain", "files", "healthz", "livez", "metrics", "readyz", "simple", "static", "status", "verify"})
"""What addresses of the proxy begin with, or may begin with one day: no mirror can be called so."""


class UpstreamSection(Section):
    """The mirror to mend, and the way to it."""

    name: Annotated[str, Allowed("up to 32 of a-z, 0-9 and -")] = Field(
        "default", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="The mirror's name in addresses and logs."
    )
    url: Annotated[str, Allowed("an address starting with https:// or http://")] = Field(
        repr=False,
        description="The mirror's simple API, such as https://artifactory.example.com/artifactory/api/pypi/pypi/simple. "
        "It may hold credentials.",
    )
    kind: MirrorKind = Field(
        MirrorKind.AUTO, description="The product behind the URL, which decides how much may be probed; auto recognises it."
    )
    username: str | None = Field(None, description="User for Basic authentication at the mirror.")
    password: SecretStr | None = Field(None, description="Password for Basic authentication at the mirror.")
    token: SecretStr | None = Field(None, description="Bearer token for the mirror, instead of user and password.")
    user_agent: Annotated[str | None, Allowed("letters, digits and signs of ASCII")] = Field(
        None,
        description="User-Agent of all requests to the mirror, instead of mirrormend's own, "
        "which names pip and uv; for a firewall that lets only certain clients in.",
    )
    ca_bundle: File | None = Field(None, description="PEM file of the authorities trusted for the mirror, beside SSL_CERT_FILE.")
    client_cert: File | None = Field(None, description="PEM file of a client certificate to show to the mirror.")
    client_key: File | None = Field(None, description="PEM file of the client certificate's key, where it is not in client_cert.")
    proxy: Annotated[SecretStr | None, Allowed("an address starting with http://")] = Field(
        None, description="Outbound HTTP proxy to the mirror, instead of HTTPS_PROXY and HTTP_PROXY."
    )
    connect_timeout: Seconds = Field(5.0, description="How long a connection to the mirror may take.")
    read_timeout: Seconds = Field(20.0, description="How long the mirror may be silent.")
    retries: int = Field(2, ge=0, le=10, description="How often a request that failed in passing is asked again.")
    connections: int = Field(64, ge=1, le=1024, description="Connections to the mirror, probes not counted in.")
    budget: Budget | None = Field(None, description="Probes at this mirror that nobody waits for, instead of the budget of [probe].")
    rate: Rate | None = Field(None, description="How fast that budget comes back, a second, instead of the rate of [probe].")
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Probes under way at once at this mirror, instead of the concurrency of [probe]."
    )
    fresh: Seconds = Field(120.0, description="How long a page of the mirror is used before the mirror is asked again.")
    stale: Seconds = Field(7 * 86400.0, description="How long after that a page may be served while the mirror is down.")
    page_limit: Bytes = Field(64 * 1024 * 1024, description="Largest page accepted from the mirror, inflated.")
    link_limit: int = Field(200_000, gt=0, description="Most links accepted on one page.")
    allow_hosts: Annotated[tuple[str, ...], Allowed("a list of host or host:port")] = Field(
        (), description="Hosts that links may lead to although their addresses are private."
    )

    @field_validator("name")
    @classmethod
    def _no_address_of_ours(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"the proxy needs /{name} for itself; choose another name, such as {name}-mirror")
        return name

    @field_validator("url")
    @classmethod
    def _simple_api_url(cls, url: str) -> str:
        return simple_api_url(url)

    @field_validator("user_agent")
    @classmethod
    def _fits_a_header(cls, user_agent: str | None) -> str | None:
        if user_agent is not None and not (user_agent.isascii() and user_agent.isprintable() and user_agent == user_agent.strip() != ""):
            raise ValueError("write visible letters, digits and signs of ASCII, such as pip/25.0")
        return user_agent

    @field_validator("proxy")
    @classmethod
    def _http_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        return http_proxy(proxy)

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key belongs to a certificate; give client_cert as well")
        return self

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.token is not None and (self.username is not None or self.password is not None):
            raise ValueError("give either token, or username and password")
        return self


class ProbeSection(Section):
    """How much may be asked of the mirror, and how long a page waits for it."""

    budget: Budget = Field(
        "auto",
        description="Probes that nobody waits for, of all pages of a mirror together, before they keep to the rate; of one page no more "
        "are made at a refresh. auto goes by the kind of mirror, 0 leaves everything to the gate.",
    )
    patience: Seconds = Field(3.0, description="How long a page waits for more than what a resolver would read first.")
    deadline: Annotated[float, Field(gt=0, le=14), Unit.SECONDS] = Field(
        8.0, description="How long a page or a metadata file waits at all; pip, Poetry and PDM give up after 15 s."
    )
    rate: Rate = Field(
        "auto", description="How fast the budget comes back, and background probes, a second; auto goes by the kind of mirror."
    )
    concurrency: int = Field(
        192, ge=1, le=1024, description="Probes under way at once; fewer for a mirror nearby, and while the mirror shows strain."
    )
    ahead: bool = Field(
        default=True, description="Fetch the pages of what a project requires before a resolver asks; never where a probe is a download."
    )


class VerdictSection(Section):
    """How long answers are remembered, and what is done with them."""

    yes: Seconds = Field(7 * 86400.0, description="How long a deliverable file is not asked about again.")
    no: Seconds = Field(600.0, description="After how long at most an undeliverable file is asked about again; it stays dropped meanwhile.")
    no_young: Seconds = Field(60.0, description="The same at first, and for files uploaded or first listed within the hour.")
    no_keep: Seconds = Field(86400.0, description="How long an undeliverable file stays dropped while no answer can be had.")
    witness: Seconds = Field(10.0, description="How recent a good answer must be for a 404 to count.")
    confirm: Seconds = Field(180.0, description="How far apart the two answers lie that drop the last file of a release.")
    empty: Literal["keep", "drop"] = Field("keep", description="What becomes of a page whose files are all undeliverable.")
    sdist_only: Literal["keep-sdist", "drop-release"] = Field(
        "keep-sdist", description="What becomes of a release that had wheels and has only an sdist left."
    )


class StoreSection(Section):
    """Where pages, verdicts and metadata are kept."""

    location: Annotated[str, Allowed("memory, sqlite, sqlite:PATH, redis://HOST:PORT/DB")] = Field(
        "sqlite",
        repr=False,
        description="memory forgets at the end of the process; sqlite is a file, without PATH in the user's cache folder; "
        "redis:// or rediss:// is shared by several processes.",
    )
    memory_limit: Bytes = Field(64 * 1024 * 1024, description="Bytes of documents kept in the process.")
    disk_limit: Bytes = Field(1024 * 1024 * 1024, description="Bytes of documents kept in the SQLite file.")

    @field_validator("location")
    @classmethod
    def _known_location(cls, location: str) -> str:
        known = location in {"memory", "sqlite"} or location.startswith(("sqlite:", "redis://", "rediss://"))
        if not known or location == "sqlite:":
            raise ValueError("write memory, sqlite, sqlite:PATH or redis://HOST:PORT/DB")
        return location


class LinksSection(Section):
    """Where the links of served pages lead."""

    mode: LinkMode = Field(
        LinkMode.PROXY,
        description="proxy streams files through; redirect answers 307; direct writes the mirror's own links into the page.",
    )


CLIENT_ADDRESS_HEADERS = ("X-Forwarded-For", "Forwarded")
"""The headers in which proxies name the client."""


class AccessSection(Section):
    """Who may use the proxy, and how much of it.

    With a token or a user named here, every client has to sign in, and Authorization is the proxy's: it never goes on to a mirror.
    """

    tokens: Annotated[tuple[SecretStr, ...], Allowed("a list of at least 16 letters, digits and signs each, without a colon")] = Field(
        (), description="Tokens of clients: as password or user name of Basic, or as Bearer."
    )
    tokens_file: File | None = Field(
        None,
        description="A file with a token on each line, or sha256: and its digest; empty lines and those that start with # do not count.",
    )
    htpasswd: File | None = Field(
        None, description="A file of users and passwords, as `htpasswd -B` writes it: bcrypt, and nothing weaker."
    )
    trusted_proxies: Annotated[tuple[str, ...], Allowed("a list of addresses or networks, such as 10.0.0.0/8")] = Field(
        (), description="Proxies whose client_address_header says which client a request comes from."
    )
    client_address_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        "X-Forwarded-For", description="The header in which the trusted proxies write the client's address; the other one never counts."
    )
    requests_at_once: Literal["off"] | Annotated[int, Field(ge=1)] = Field(
        "off", description="Requests of one client under way at once at each worker; more wait for a moment, and are then answered by 429."
    )
    requests_per_second: Literal["off"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        "off", description="Requests of one client per second at each worker, ten seconds' worth of them in a row; more, as above."
    )

    @field_validator("tokens")
    @classmethod
    def _strong_tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for token in tokens:
            check_token(token.get_secret_value())
        return tokens

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError("write addresses or networks, such as 10.1.2.3 or 10.0.0.0/8") from None
        return networks

    @property
    def controlled(self) -> bool:
        """Whether clients have to sign in."""
        return bool(self.tokens) or self.tokens_file is not None or self.htpasswd is not None


class LogSection(Section):
    """What is logged, and how."""

    format: LogFormat = Field(LogFormat.CONSOLE, description="console for people, json for machines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least severe lines that are written.")


class Settings(Section):
    """All settings."""

    server: ServerSection = ServerSection()
    upstream: tuple[UpstreamSection, ...] = Field(min_length=1)
    probe: ProbeSection = ProbeSection()
    verdict: VerdictSection = VerdictSection()
    reference: ReferenceSection = ReferenceSection()
    rescue: RescueSection = RescueSection()
    store: StoreSection = StoreSection()
    links: LinksSection = LinksSection()
    access: AccessSection = AccessSection()
    log: LogSection = LogSection()

    def of(self, upstream: UpstreamSection) -> Self:
        """Gives the settings as they hold for one mirror: what it says of probes goes before `[probe]`."""
        said = {key: value for key in ("budget", "rate", "concurrency") if (value := getattr(upstream, key)) is not None}
        return self.model_copy(update={"probe": self.probe.model_copy(update=said)}) if said else self

    @field_validator("upstream", mode="before")
    @classmethod
    def _one_or_several(cls, upstream: object) -> object:
        return (upstream,) if isinstance(upstream, dict | UpstreamSection) else upstream

    @field_validator("upstream")
    @classmethod
    def _names_differ(cls, upstream: tuple[UpstreamSection, ...]) -> tuple[UpstreamSection, ...]:
        names = [each.name for each in upstream]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two upstreams are called {name!r}; give each a name of its own")
        return upstream

    @field_validator("rescue")
    @classmethod
    def _rescued_from_somewhere(cls, rescue: RescueSection, info: ValidationInfo) -> RescueSection:
        reference = info.data.get("reference")
        if rescue.enabled and rescue.url is None and reference is not None and reference.url is None:
            raise ValueError("enabled needs a second index; give its url here or below [reference]")
        return rescue

    @field_validator("links")
    @classmethod
    def _rescued_files_pass_through(cls, links: LinksSection, info: ValidationInfo) -> LinksSection:
        rescue = info.data.get("rescue")
        if rescue is not None and rescue.enabled and links.mode is LinkMode.DIRECT:
            raise ValueError(
                "mode cannot be direct where [rescue] is enabled: a rescued file comes through mirrormend; write proxy or redirect"
            )
        return links
