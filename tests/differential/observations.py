"""The words of the differential: a response, what a client reads in it, and how two of these differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

UV_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
PIP_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
HTML_ACCEPT = "text/html"
ACCEPTS = {"uv": UV_ACCEPT, "pip": PIP_ACCEPT, "html": HTML_ACCEPT}


@dataclass(frozen=True)
class Response:
    """A page as it came: `headers` have lower-case names, `url` is where it came from after redirects."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def media_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Tell whether it is typed as a JSON page."""
        return self.media_type == "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Entry:
    """A file as a client reads it: its name, its absolute address without a fragment, and what the page says of it.

    `offered` is false where this client makes no use of the entry.
    """

    name: str
    url: str
    facts: Mapping[str, object]
    offered: bool = True


@dataclass(frozen=True)
class Reading:
    """A page as a client reads it, in the order of the page."""

    entries: Sequence[Entry]
    facts: Mapping[str, object] = field(default_factory=dict)


class Unreadable(Exception):
    """The client refuses the page."""


Reader = Callable[[Response, str], Reading]
"""Reads a response for a page of the project of this name. Raises Unreadable where the client would refuse it."""


@dataclass(frozen=True, order=True)
class Difference:
    """A thing that a client sees at the mirror and does not see through the proxy, or the other way round.

    `kind` groups differences; `subject` is the file or the fact; `form` says which form the mirror has and what the client accepts.
    """

    kind: str
    client: str
    page: str
    form: str
    subject: str
    direct: str = ""
    proxied: str = ""

    def __str__(self) -> str:
        text = f"{self.kind} · {self.client} ({self.form}) · {self.page} · {self.subject}"
        return f"{text}: {self.direct} → {self.proxied}" if self.direct or self.proxied else text


def shown(value: object, longest: int = 400) -> str:
    """Return `value` as text of at most so many letters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def describe(differences: Sequence[Difference]) -> str:
    """Return the differences as text, a line for each, those that say the same of several clients and forms once."""
    seen: dict[tuple[str, str, str, str, str], list[str]] = {}
    for each in differences:
        seen.setdefault((each.kind, each.page, each.subject, each.direct, each.proxied), []).append(f"{each.client}/{each.form}")
    lines = [
        f"{kind} | {page} | {subject} | {direct} → {proxied} | {', '.join(who)}"
        for (kind, page, subject, direct, proxied), who in seen.items()
    ]
    return "\n".join(shown(line, 600) for line in lines)
