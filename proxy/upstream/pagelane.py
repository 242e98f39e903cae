"""Pages by lean connections of their own, so that probes that hang hold back no page; what is unusual the ordinary client asks."""

from collections.abc import Mapping

from proxy.core.flows.exchange import Answer, Ask, Method, Trouble
from proxy.upstream.addresses import shown
from proxy.upstream.failure import Failure
from proxy.upstream.fastlane import FastLane, Unusual

PLAIN = (304, 401, 407)
"""Statuses that are answers for a page, though not for a file."""

_ON_THE_WAY = frozenset({Trouble.TIMEOUT, Trouble.RESET, Trouble.OWN_LIMIT})


class PageLane:
    """Asks for pages of at most `limit` bytes by `lane`; `read_timeout` is the lane's, in seconds."""

    def __init__(self, lane: FastLane, limit: int, read_timeout: float) -> None:
        self._lane = lane
        self._limit = limit
        self._read_timeout = read_timeout

    async def answer(self, url: str, headers: Mapping[str, str], authorization: str | None) -> Answer | None:
        """Gives the answer for `url`, None where the ordinary client must ask: because it is unusual, or no connection could be made.

        Raises Failure where the request left and no whole answer came, and where all connections were busy for too long.
        """
        # One byte more tells a body of the limit from a longer one.
        reply = await self._lane.ask(Ask(Method.GET, url, read=self._limit + 1), authorization, headers)
        if isinstance(reply, Answer):
            return reply
        if isinstance(reply, Unusual) or reply.trouble not in _ON_THE_WAY:
            return None
        timed_out = reply.trouble is Trouble.TIMEOUT
        raise Failure(reply.trouble, shown(url), "" if timed_out else reply.detail, self._read_timeout if timed_out else 0.0)

    async def close(self) -> None:
        """Closes the connections."""
        await self._lane.close()
