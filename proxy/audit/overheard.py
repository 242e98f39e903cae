"""The mirror, overheard: what it answers to probes goes the same way as in the proxy, and is noted besides for the report.

So verdicts need not carry headers, which the proxy would have to hold in memory for thousands of files.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.audit.findings import Exchange
from proxy.core.flows.evidence import Evidence, asked_as
from proxy.core.flows.exchange import Answer, Ask, Flow, Reply
from proxy.core.identity import SHARED, Identity
from proxy.core.verdict.reason import Reason
from proxy.upstream import Mirror
from proxy.upstream.addresses import dialled, shown

K = TypeVar("K")
T = TypeVar("T")

_TELLING = frozenset({"server", "via", "content-type", "content-length", "content-range", "retry-after", "date", "x-cache", "x-request-id"})
_OF_PRODUCTS = ("x-artifactory-", "x-jfrog-", "x-nexus-", "x-devpi-", "x-amz-request-id", "x-served-by", "x-checksum-")
_LONGEST = 200


def telling_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Gives those of an answer's headers (lower-case names) that help an admin to find the request in the mirror's log."""
    return {name: value[:_LONGEST] for name, value in headers.items() if name in _TELLING or name.startswith(_OF_PRODUCTS)}


@dataclass(slots=True)
class Ear:
    """What was heard: of each address the headers of the last answer, and how many requests there were.

    `ended` is called when a conversation is over.
    """

    ended: Callable[[], None] = lambda: None
    requests: int = 0
    _headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def hear(self, ask: Ask, reply: Reply) -> None:
        """Notes one exchange."""
        self.requests += 1
        self._headers[ask.url] = telling_headers(reply.headers) if isinstance(reply, Answer) else {}

    def headers_of(self, url: str) -> dict[str, str]:
        """Gives the headers of the last answer from this address."""
        return self._headers.get(url, {})

    def forget(self, urls: Iterable[str]) -> None:
        """Forgets what is not needed any more."""
        for url in urls:
            self._headers.pop(url, None)


class OverheardMirror(Mirror):
    """A mirror whose conversations an `ear` listens to."""

    ear: Ear

    async def converse(self, flow: Flow[T], who: Identity, *, within: float | None = None, reason: Reason = Reason.DEMAND) -> T:
        """As Mirror."""
        return await super().converse(_overheard(flow, self.ear), who, within=within, reason=reason)

    async def converse_all(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        background: bool = False,
        patient: bool = False,
        urgent: bool = False,
        reason: Reason | Callable[[K], Reason] = Reason.DEMAND,
    ) -> None:
        """As Mirror."""

        def listened() -> Iterator[tuple[K, Flow[T]]]:
            for key, flow in flows:
                yield key, _overheard(flow, self.ear)

        def ended(key: K, outcome: T) -> None:
            learned(key, outcome)
            self.ear.ended()

        await super().converse_all(listened(), who, learned=ended, background=background, patient=patient, urgent=urgent, reason=reason)

    async def converse_alone(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        within: float,
        reason: Reason = Reason.DEMAND,
    ) -> bool:
        """As Mirror."""
        listened = ((key, _overheard(flow, self.ear)) for key, flow in flows)
        return await super().converse_alone(listened, who, learned=learned, within=within, reason=reason)

    def credentials_for(self, url: str) -> str:
        """Names the kind of credentials that requests to `url` carry: `basic`, `bearer`, or nothing."""
        authorization = self._client.authorization_for(SHARED.authorization) if self._client.own_origin(url) else None
        return "" if authorization is None else "bearer" if authorization.lower().startswith("bearer ") else "basic"

    def exchange_of(self, url: str, evidence: Evidence, headers: Mapping[str, str] | None = None) -> Exchange:
        """Return the exchange that `evidence` of the file at `url` came of, with these `headers`, else those heard there last."""
        return Exchange(
            spelled(url),
            evidence.asked.value,
            evidence.status,
            evidence.at,
            evidence.trouble,
            self.ear.headers_of(url) if headers is None else telling_headers(headers),
            self.credentials_for(url),
        )


def spelled(url: str) -> str:
    """Gives an address as it is sent, without user information, query and fragment, and with nothing that commands a terminal."""
    try:
        return shown(str(dialled(url)))
    except ValueError:
        return "".join(letter if letter.isprintable() else "?" for letter in shown(url))


def _overheard(flow: Flow[T], ear: Ear) -> Flow[T]:
    try:
        ask = next(flow)
        while True:
            reply = yield ask
            ear.hear(ask, reply)
            ask = flow.send(reply)
    except StopIteration as end:
        outcome: T = end.value
        return outcome
    finally:
        flow.close()


__all__ = ["Ear", "OverheardMirror", "asked_as", "spelled", "telling_headers"]
