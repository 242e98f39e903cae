"""How a mirror does, as far as its answers tell: for the breaker, and for who looks at the status."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import structlog

from proxy.core.flows.exchange import Answer, Reply, Trouble
from proxy.telemetry.counts import MirrorCounts
from proxy.upstream.breaker import FAILURES, Breaker

_log = structlog.get_logger("mirrormend.upstream")

_DOWN = frozenset({502, 503, 504})
_TELLS_NOTHING = frozenset({Trouble.FORBIDDEN_DESTINATION, Trouble.TOO_MANY_REDIRECTS, Trouble.BREAKER_OPEN, Trouble.OWN_LIMIT})
_NOT_REACHED = frozenset({Trouble.REFUSED, Trouble.DNS, Trouble.TLS})
"""Troubles of all that the mirror is asked for, whatever it is."""
_KNOWN = {status.value: str(status.value) for status in HTTPStatus}
"""Statuses as words; of others the class is counted, so that no mirror can make up ever new ones."""

_IN_WORDS = {Trouble.TIMEOUT: "it did not answer in time"}
_ANSWERED_SOMEHOW = frozenset({Trouble.NOT_HTTP, Trouble.OUTBOUND_PROXY})

_PAGES_THAT_PROVE = 2
"""So many pages that failed in a row, and the mirror is taken to be down."""

_REMEMBERED = 64


@dataclass(slots=True)
class Health:
    """When the mirror last answered, and what its last failure was; times are in seconds since the epoch.

    `requests` and `failures` count what was asked of its own origin. `resting` says that it is left alone, since it did not answer.
    `tls_fails` says that the last failure was one of TLS.
    """

    last_answer: float | None = None
    last_failure: str = ""
    last_failure_at: float | None = None
    requests: int = 0
    failures: int = 0
    resting: bool = False
    tls_fails: bool = False

    @property
    def state(self) -> Literal["unknown", "answers", "fails", "rests"]:
        """In a word, how it does."""
        if self.resting:
            return "rests"
        if self.last_failure_at is not None and self.last_failure_at >= (self.last_answer or 0.0):
            return "fails"
        return "unknown" if self.last_answer is None else "answers"


class Observer:
    """Hears every answer of one mirror's own origin, by either lane, and keeps its health, its breaker and the count of its answers.

    `time` does not go back. The trouble of one path, or of one kind of paths, is not the mirror's: before the breaker opens, several pages
    failed, or no connection could be made, or what `is_page` says is a page that was well before failed when it was asked for to find out.
    That is what `suspected` is called for, with the paths that failed.
    """

    def __init__(
        self,
        name: str,
        time: Callable[[], float],
        counts: MirrorCounts | None = None,
        *,
        is_page: Callable[[str], bool] | None = None,
        suspected: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self.health = Health()
        self._is_page = is_page
        self._suspected = suspected
        self._failing: dict[str, bool] = {}
        self.witness: str | None = None
        """The address that is asked for just now to find out whether the mirror as a whole is down."""
        self._answers = (counts or MirrorCounts()).answers
        self.breaker = Breaker()
        self._name = name
        self._time = time

    def hear(self, replies: Sequence[Reply], path: str | None = None) -> None:
        """Note what came of requests, in the order in which it came; `path` is the address that was asked for, None where it is not known.

        A status is an answer, whatever it says, but for those by which a gateway says that nobody is behind it.
        """
        answers, health = self._answers, self.health
        for reply in replies:
            if isinstance(reply, Answer):
                status = reply.status
                answers[_KNOWN.get(status) or f"{status // 100}xx"] += 1
                if status in _DOWN:
                    self._failed(reply, f"it answered {status}", path)
                    continue
                health.requests += 1
                health.last_answer = reply.at
                if self.breaker.failures:
                    self._recovered()
            else:
                answers[reply.trouble.value] += 1
                if reply.trouble not in _TELLS_NOTHING:
                    self._failed(reply, reply.detail or _IN_WORDS.get(reply.trouble, reply.trouble.value), path)

    def _failed(self, reply: Reply, why: str, path: str | None) -> None:
        health = self.health
        health.requests += 1
        health.failures += 1
        health.last_failure, health.last_failure_at = why, reply.at
        health.tls_fails = not isinstance(reply, Answer) and reply.trouble is Trouble.TLS
        if isinstance(reply, Answer) or reply.trouble not in _ANSWERED_SOMEHOW:
            proven = self._proves(reply, path)
            self.breaker.failed(self._time(), opens=proven)
            if not proven and self.breaker.failures >= FAILURES and not self.breaker.open and self._suspected is not None:
                self._suspected(self._failing)
        elif reply.trouble is Trouble.OUTBOUND_PROXY:
            # It tells nothing of the mirror: if this was the trial, the next request is.
            self.breaker.abandoned()
        if self.breaker.open and not health.resting:
            _log.warning("breaker-open", mirror=self._name, why=why)
        health.resting = self.breaker.open

    def _proves(self, reply: Reply, path: str | None) -> bool:
        """Note that `path` failed, and return whether by now that is the mirror's trouble rather than the path's."""
        if path is None or self._is_page is None or (not isinstance(reply, Answer) and reply.trouble in _NOT_REACHED):
            return True
        path = path.partition("?")[0]
        if len(self._failing) < _REMEMBERED:
            self._failing[path] = self._is_page(path)
        if self.breaker.open:
            # A mirror that is back is not to be shut out for what it never has.
            return not path.endswith(".metadata")
        return path == self.witness or sum(self._failing.values()) >= _PAGES_THAT_PROVE

    def _recovered(self) -> None:
        self._failing.clear()
        if self.health.resting:
            _log.info("breaker-closed", mirror=self._name)
        self.breaker.succeeded()
        self.health.resting = False
