"""What can go wrong, each error holding its facts and composing its own sentence.

    MirrormendError
    ├── InvalidProjectName        the client asked for what no project can be called
    ├── NoSuchMirror              the address names a mirror that is not configured
    ├── AccessDenied              nobody knows the client
    ├── AddressWithheld           the client asks for a mirror's address, which may hold a secret
    ├── TooManyRequests           the client wants more of the proxy than is its share
    │   └── TooManySignIns        too many passwords wait to be checked
    ├── FileNotListed             the page of the project lists no such file
    ├── PageUnreadable            the mirror's bytes are no simple-API page
    ├── MetadataUnavailable       no wheel or sdist of the release gave its metadata
    ├── FileUndeliverable         the mirror lists a file and does not deliver it
    └── UpstreamError             the mirror did not do what was asked of it
        ├── UpstreamStatus        it answered with a status that is no success
        ├── UpstreamTimeout       it did not answer in time
        ├── UpstreamUnreachable   it could not be reached: DNS, refused
        │   ├── UpstreamUntrusted its TLS failed: a certificate, of either side, or a version
        │   └── OutboundProxyRefused  the outbound proxy on the way does not let the request through
        ├── UpstreamBroke         it broke off, or spoke no HTTP
        ├── UpstreamDoubted       it denies what it had, and everything else as well
        ├── OwnLimit              it was not asked: the proxy has as much under way as it allows itself
        ├── UpstreamOverLimit     what it sent is larger than the limits allow
        └── DestinationRefused    its link or redirect leads where the proxy does not go

Rules for this file: no error has a status code of ours (`server.outcomes` chooses it), and no secret is ever a fact of an error:
URLs are given without user information and query.
"""

from collections.abc import Mapping


class MirrormendError(Exception):
    """The root of all that mirrormend raises on purpose."""


class InvalidProjectName(MirrormendError):
    """A name that the name format of the packaging specifications does not allow."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"{self.name!r} cannot be the name of a project"


class NoSuchMirror(MirrormendError):
    """The address names a mirror called `name`; `known` are the names of those that there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"there is no mirror called {self.name!r} here, but {', '.join(self.known)}"


class AccessDenied(MirrormendError):
    """The client at the address `client` showed no credentials, or (`given`) such as nobody has."""

    def __init__(self, client: str, *, given: bool = False) -> None:
        self.client = client
        self.given = given

    def __str__(self) -> str:
        return "the credentials are not known to the proxy" if self.given else "the proxy wants credentials, and none were given"


class AddressWithheld(MirrormendError):
    """The client asks for the whole address of the mirror that is known as `url`, in whose path there may be a secret."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return f"the whole address of {self.url} is told only to who signed in at the proxy, or knows it already"


class TooManyRequests(MirrormendError):
    """The client at the address `client` asks for more than its share, and may try again in so many `seconds`."""

    def __init__(self, client: str, seconds: float) -> None:
        self.client = client
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.client} asks for more than its share"


class TooManySignIns(TooManyRequests):
    """A password of the client at the address `client` was not checked: too many wait. It may try again in so many `seconds`."""

    def __str__(self) -> str:
        return "too many passwords wait to be checked"


class FileNotListed(MirrormendError):
    """The mirror's page of `project` lists no file called `filename`."""

    def __init__(self, project: str, filename: str) -> None:
        self.project = project
        self.filename = filename

    def __str__(self) -> str:
        return f"the mirror's page of {self.project} lists no file {self.filename}"


class PageUnreadable(MirrormendError):
    """The bytes at `url` (sent as `content_type`) are no simple-API page, because of `why`."""

    def __init__(self, url: str, content_type: str, why: str) -> None:
        self.url = url
        self.content_type = content_type
        self.why = why

    def __str__(self) -> str:
        return f"{self.url} ({self.content_type or 'no content type'}) is no simple-API page: {self.why}"


class MetadataUnavailable(MirrormendError):
    """Neither `filename` nor another file of its release gave core metadata; `tried` says how each one failed."""

    def __init__(self, project: str, filename: str, tried: Mapping[str, str]) -> None:
        self.project = project
        self.filename = filename
        self.tried = dict(tried)

    def __str__(self) -> str:
        reasons = "; ".join(f"{name}: {why}" for name, why in self.tried.items()) or "nothing could be tried"
        return f"the metadata of {self.filename} cannot be had from the mirror ({reasons})"


class FileUndeliverable(MirrormendError):
    """The mirror lists `filename` at `url`, and what it gives instead of it is told by `status` and `why`."""

    def __init__(self, project: str, filename: str, url: str, status: int, why: str) -> None:
        self.project = project
        self.filename = filename
        self.url = url
        self.status = status
        self.why = why

    def __str__(self) -> str:
        return f"{self.filename}: {self.url} {self.why}"


class UpstreamError(MirrormendError):
    """The mirror at `url` failed; `url` carries neither credentials nor query.

    `trouble` says in a word why no answer came (`core.flows.exchange.Trouble`), empty where that is not it.
    """

    def __init__(self, url: str, detail: str = "") -> None:
        self.url = url
        self.detail = detail
        self.trouble = ""

    def _sentence(self, what: str) -> str:
        return f"{what}: {self.detail}" if self.detail else what

    def __str__(self) -> str:
        return self._sentence(f"{self.url} failed")


class UpstreamStatus(UpstreamError):
    """The mirror answered `status`; `challenges` are its WWW-Authenticate values, `retry_after` is in seconds.

    `remedy` is what to do, if what it says in its answer tells that.
    """

    def __init__(
        self,
        url: str,
        status: int,
        detail: str = "",
        *,
        challenges: tuple[str, ...] = (),
        retry_after: float | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(url, f"{detail}; {remedy}" if remedy else detail)
        self.remedy = remedy
        self.status = status
        self.challenges = challenges
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self._sentence(f"{self.url} answered {self.status}")


class UpstreamTimeout(UpstreamError):
    """The mirror did not answer within `seconds`."""

    def __init__(self, url: str, seconds: float, detail: str = "") -> None:
        super().__init__(url, detail)
        self.seconds = seconds

    def __str__(self) -> str:
        return self._sentence(f"{self.url} did not answer within {self.seconds:g} s")


class UpstreamUnreachable(UpstreamError):
    """No connection: the name does not resolve, the port refuses, TLS does not verify, or the breaker is open."""

    def __str__(self) -> str:
        return self._sentence(f"{self.url} cannot be reached")


class OutboundProxyRefused(UpstreamUnreachable):
    """The outbound proxy on the way does not let the request through: the mirror was not asked."""


class UpstreamUntrusted(UpstreamUnreachable):
    """TLS failed: `detail` says why, and what to do."""


class UpstreamBroke(UpstreamError):
    """The connection broke in the middle of an answer, or what came was no HTTP."""

    def __str__(self) -> str:
        return self._sentence(f"{self.url} broke off its answer")


class UpstreamDoubted(UpstreamError):
    """The mirror denies a page that it had, and no other page bears witness that it means it: it is not believed."""

    def __str__(self) -> str:
        return self._sentence(f"{self.url} is denied, and nothing else that the mirror had shows that it is in health")


class OwnLimit(UpstreamError):
    """The mirror was not asked, since the proxy has as many requests under way as it allows itself."""

    def __str__(self) -> str:
        return self._sentence(f"{self.url} was not asked for")


class UpstreamOverLimit(UpstreamError):
    """The answer is larger than `limit` (`unit` says of what)."""

    def __init__(self, url: str, limit: int, unit: str) -> None:
        super().__init__(url)
        self.limit = limit
        self.unit = unit

    def __str__(self) -> str:
        return f"{self.url} sent more than {self.limit} {self.unit}"


class DestinationRefused(UpstreamError):
    """A link or a redirect of the mirror leads to an address that the proxy does not fetch from."""

    def __str__(self) -> str:
        return self._sentence(f"{self.url} is not fetched")
