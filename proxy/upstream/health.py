"""How a mirror does, as far as its answers tell: for the breaker, and for who looks at the status."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import structlog

from proxy.core.flows.exchange import Answer, Reply, Trouble
from proxy.telemetry.counts import MirrorCounts
from proxy.upstream.breaker import Breaker

_log = structlog.get_logger("mirrormend.upstream")

_DOWN = frozenset({502, 503, 504})
_TELLS_NOTHING = frozenset({Trouble.FORBIDDEN_DESTINATION, Trouble.TOO_MANY_REDIRECTS, Trouble.BREAKER_OPEN})
_KNOWN = {status.value: str(status.value) for status in HTTPStatus}
"""Statuses as words; of others the class is counted, so that no mirror can make up ever new ones."""

_IN_WORDS = {Trouble.TIMEOUT: "it did not answer in time"}
_ANSWERED_SOMEHOW = frozenset({Trouble.NOT_HTTP})


@dataclass(slots=True)
class Health:
    """When the mirror last answered, and what its last failure was; times are in seconds since the epoch.

    `requests` and `failures` count what was asked of its own origin. `resting` says that it is left alone, since it did not answer.
    """

    last_answer: float | None = None
    last_failure: str = ""
    last_failure_at: float | None = None
    requests: int = 0
    failures: int = 0
    resting: bool = False

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

    `time` does not go back.
    """

    def __init__(self, name: str, time: Callable[[], float], counts: MirrorCounts | None = None) -> None:
        self.health = Health()
        self._answers = (counts or MirrorCounts()).answers
        self.breaker = Breaker()
        self._name = name
        self._time = time

    def hear(self, replies: Sequence[Reply]) -> None:
        """Notes what came of requests, in the order in which it came.

        A status is an answer, whatever it says, but for those by which a gateway says that nobody is behind it.
        """
        answers, health = self._answers, self.health
        for reply in replies:
            if isinstance(reply, Answer):
                status = reply.status
                answers[_KNOWN.get(status) or f"{status // 100}xx"] += 1
                if status in _DOWN:
                    self._failed(reply, f"it answered {status}")
                    continue
                health.requests += 1
                health.last_answer = reply.at
                if self.breaker.failures:
                    self._recovered()
            else:
                answers[reply.trouble.value] += 1
                if reply.trouble not in _TELLS_NOTHING:
                    self._failed(reply, reply.detail or _IN_WORDS.get(reply.trouble, reply.trouble.value))

    def _failed(self, reply: Reply, why: str) -> None:
        health = self.health
        health.requests += 1
        health.failures += 1
        health.last_failure, health.last_failure_at = why, reply.at
        if isinstance(reply, Answer) or reply.trouble not in _ANSWERED_SOMEHOW:
            self.breaker.failed(self._time())
        if self.breaker.open and not health.resting:
            _log.warning("breaker-open", mirror=self._name, why=why)
        health.resting = self.breaker.open

    def _recovered(self) -> None:
        if self.health.resting:
            _log.info("breaker-closed", mirror=self._name)
        self.breaker.succeeded()
        self.health.resting = False
